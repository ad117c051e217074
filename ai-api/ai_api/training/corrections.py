"""Corrections exported by data-api as training rows, in the present row schema and with images from the blob store."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from pydantic import ValidationError

from ai_api.corrections import Correction
from ai_api.datasets import Table
from ai_api.images.reference import REFERENCE
from ai_api.task import Modality, Task

if TYPE_CHECKING:
    from ai_api.images.blobs import Blobs

log = logging.getLogger(__name__)


LARGEST_VALUE = 1e15
"""Largest size of a corrected value. The sum of many such squares is finite in floats of 32 bits, which libraries of
boosted trees use. What is plausible for a task is far below.
"""


class _TooLarge(Exception):
    """The value is larger than LARGEST_VALUE."""


class _ImageMissing(Exception):
    """An image of the row is not in the blob store any more."""


def read_corrections(
    task: Task, table: Table, lines: Iterable[Mapping[str, object]], blobs: Blobs | None = None
) -> list[Correction]:
    """Corrections that fit the present row schema and labels and have all their images. A warning counts the others.

    Image bytes are read later, when a feature needs them. BlobsUnavailable when the blob store cannot be reached.
    """
    labels = set(table.truths) if table.truths.dtype == object else None
    corrections: list[Correction] = []
    invalid = incomplete = too_large = 0
    for line in lines:
        try:
            corrections.append(_correction(task, labels, line, blobs))
        except _ImageMissing:
            incomplete += 1
        except _TooLarge:
            too_large += 1
        except (ValidationError, ValueError, KeyError, TypeError):
            invalid += 1
    if invalid:
        log.warning("%d corrections do not fit the present row schema or labels and are left out", invalid)
    if too_large:
        log.warning("%d corrections are left out: their values are larger than %g", too_large, LARGEST_VALUE)
    if incomplete:
        log.warning("%d corrections are left out: their images are not in the blob store", incomplete)
    return corrections


def _correction(task: Task, labels: set[object] | None, line: Mapping[str, object], blobs: Blobs | None) -> Correction:
    version = int(str(line.get("row_schema") or 1))
    row: dict[str, object] = dict(line["row"])  # type: ignore[call-overload]
    if version < task.row_version:
        row = task.upgrade(row, version)
    for name in task.row.columns(Modality.IMAGE):
        if row.get(name) is not None:
            row[name] = _image(row[name], blobs)
    valid = task.row.model_validate(row).model_dump()
    truth: str | float = float(str(line["value"])) if labels is None else str(line["label"])
    if labels is not None and truth not in labels:
        raise ValueError("a label that the data set does not have")
    if isinstance(truth, float) and not abs(truth) <= LARGEST_VALUE:
        raise _TooLarge
    trusted = line.get("user_role") in ("trainer", "admin")
    return Correction(valid, truth, str(line.get("user_id")), trusted, str(line.get("created_at") or line.get("id")))


def _image(reference: object, blobs: Blobs | None) -> object:
    match = REFERENCE.fullmatch(str(reference))
    if match is None:
        raise ValueError("not a reference to an image in the blob store")
    image = blobs.get(match[1]) if blobs is not None else None
    if image is None:
        raise _ImageMissing
    return image
