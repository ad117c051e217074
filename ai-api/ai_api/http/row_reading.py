"""Read JSON and forms into the typed rows of a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fastapi import Request
from pydantic import ValidationError

from ai_api.errors import InvalidRow, TooLarge
from ai_api.images.decoding import Decoding
from ai_api.images.reference import PixelBudget
from ai_api.slices import in_slices
from ai_api.task import Modality, Row, Task

from .body.form_reading import FormPart, read_form
from .body.json_reading import is_utf8, read_json
from .body.media_type import parse_media_type
from .field_types import check_form_numbers
from .row_schemas import FORMS
from .validation import describe


async def read_rows(
    task: Task, inputs: Mapping[str, object] | Sequence[object], max_rows: int, decoding: Decoding
) -> list[Row]:
    """The rows of a /predict: one mapping or a list of them. InvalidRow names the place; TooLarge above `max_rows`.

    Other requests go on in between: many rows do not hold the event loop.
    """
    if isinstance(inputs, Mapping):
        return [await read_row(task, inputs, "inputs", decoding)]
    if len(inputs) > max_rows:  # before the rows are validated, which takes time
        raise TooLarge(f"At most {max_rows} rows fit one call (AI_MAX_ROWS).")
    return [await read_row(task, row, f"inputs.{place}", decoding) async for place, row in in_slices(enumerate(inputs))]


async def read_body(request: Request, task: Task, decoding: Decoding) -> Row:
    """The one row in a request's body: JSON, or a form in which the fields are the row's and images are files."""
    kind, _ = parse_media_type(request.headers.get("content-type", ""))
    if kind in FORMS:
        return await read_row(task, form_fields(task, await read_form(request)), "body", decoding, strict=False)
    _, value = await read_json(request)
    return await read_row(task, value, "body", decoding)


def form_fields(task: Task, parts: Sequence[FormPart]) -> dict[str, object]:
    """The fields of a form, images as bytes; InvalidRow for a file in a field that is no image.

    An image may come as a file, as bytes in a field without a file name, or in base64. An empty field that the row
    does not need is a missing one: a page sends every field of a form.
    """
    images = task.row.columns(Modality.IMAGE)
    fields: dict[str, object] = {}
    for part in parts:
        if part.is_file and part.name not in images:
            raise InvalidRow(f"Files: {', '.join(images)}." if images else "This task takes no files.")
        info = task.row.model_fields.get(part.name)
        if not part.content and (part.name in images or (info is not None and not info.is_required())):
            continue
        if part.name in images and (part.is_file or not is_utf8(part.content)):
            fields[part.name] = part.content
        else:
            fields[part.name] = part.text
    return fields


async def read_row(task: Task, value: object, place: str, decoding: Decoding, *, strict: bool = True) -> Row:
    """The typed row; InvalidRow names `place` and the field, and never repeats the input.

    The fields of a form are texts, so they are read with `strict=False`. Images are decoded in a thread, one row at a
    time, while other requests go on.
    """
    if isinstance(value, Mapping) and any(value.get(name) for name in task.row.columns(Modality.IMAGE)):
        return await decoding.run(validate_row, task, value, place, strict, decoding.budget)
    return validate_row(task, value, place, strict)


def validate_row(task: Task, value: object, place: str, strict: bool, budget: PixelBudget | None = None) -> Row:
    if not strict and isinstance(value, Mapping):
        check_form_numbers(task, value, place)
    try:
        return task.row.model_validate(value, strict=strict, context=budget)
    except ValidationError as error:
        known = frozenset(task.row.model_fields)
        raise InvalidRow(describe(error.errors(include_input=False, include_context=False), known, place)) from None
