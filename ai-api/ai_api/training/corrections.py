"""Corrections from data-api as rows that can train: of today's shape, their pictures read back from the blob store."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from pydantic import ValidationError

from ai_api.corrections import Correction
from ai_api.datasets import Table
from ai_api.images import REFERENCE
from ai_api.task import Modality, Task

if TYPE_CHECKING:
    from ai_api.blobs import Blobs

log = logging.getLogger(__name__)


class _Gone(Exception):
    """A picture of the row is not in the blob store any more."""


def read_corrections(
    task: Task, table: Table, lines: Iterable[Mapping[str, object]], blobs: Blobs | None = None
) -> list[Correction]:
    """What people said. What fits neither the row nor the labels, or lost its picture, is left out, aloud.

    Pictures are read when something looks at them. BlobsUnavailable when their store does not answer.
    """
    labels = set(table.truths) if table.truths.dtype == object else None
    kept: list[Correction] = []
    unfit = gone = 0
    for line in lines:
        try:
            kept.append(_correction(task, labels, line, blobs))
        except _Gone:
            gone += 1
        except (ValidationError, ValueError, KeyError, TypeError):
            unfit += 1
    if unfit:
        log.warning("%d corrections do not fit today's rows or labels and are left out", unfit)
    if gone:
        log.warning("%d corrections are left out: their pictures are not in the blob store", gone)
    return kept


def _correction(task: Task, labels: set[object] | None, line: Mapping[str, object], blobs: Blobs | None) -> Correction:
    given, version = line["row"], int(str(line.get("row_schema") or 1))
    row: dict[str, object] = dict(given)  # type: ignore[call-overload]
    if version < task.row_version:
        row = task.upgrade(row, version)
    for name in task.row.columns(Modality.IMAGE):
        if row.get(name) is not None:
            row[name] = _picture(row[name], blobs)
    valid = task.row.model_validate(row).model_dump()
    truth: str | float = float(str(line["value"])) if labels is None else str(line["label"])
    if labels is not None and truth not in labels:
        raise ValueError("a label that the data set does not have")
    trusted = line.get("user_role") in ("trainer", "admin")
    return Correction(valid, truth, str(line.get("user_id")), trusted, str(line.get("created_at") or line.get("id")))


def _picture(reference: object, blobs: Blobs | None) -> object:
    found = REFERENCE.fullmatch(str(reference))
    if found is None:
        raise ValueError("a stored row refers to its pictures")
    picture = blobs.get(found[1]) if blobs is not None else None
    if picture is None:
        raise _Gone
    return picture
