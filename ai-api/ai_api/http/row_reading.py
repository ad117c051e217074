"""Read JSON and forms into the typed rows of a task."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence

from fastapi import Request
from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile

from ai_api.errors import InvalidRow, TooLarge
from ai_api.task import Modality, Row, Task

from .field_types import check_form_numbers
from .row_schemas import FORMS
from .validation import describe

MAX_FIELDS = 100
"""Fields in one form."""


async def read_rows(task: Task, inputs: Mapping[str, object] | Sequence[object], max_rows: int) -> list[Row]:
    """The rows of a /predict: one mapping or a list of them. InvalidRow names the place; TooLarge above `max_rows`."""
    if isinstance(inputs, Mapping):
        return [await read_row(task, inputs, "inputs")]
    if len(inputs) > max_rows:  # before the rows are validated, which takes time
        raise TooLarge(f"At most {max_rows} rows fit one call (AI_MAX_ROWS).")
    return [await read_row(task, row, f"inputs.{place}") for place, row in enumerate(inputs)]


async def read_body(request: Request, task: Task) -> Row:
    """The one row in a request's body: JSON, or a form in which the fields are the row's and images are files."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in FORMS:
        images = task.row.columns(Modality.IMAGE)
        async with request.form(max_files=max(1, len(images)), max_fields=MAX_FIELDS) as form:
            return await read_row(task, await form_fields(form, images), "body", strict=False)
    try:
        value = json.loads(await request.body())
    except (ValueError, RecursionError):
        raise InvalidRow("body: not valid JSON") from None
    return await read_row(task, value, "body")


async def form_fields(form: FormData, images: Sequence[str]) -> dict[str, object]:
    """The fields of a form, files as bytes. InvalidRow for a file in a field that is no image."""
    fields: dict[str, object] = dict(form)
    for name, value in form.items():
        if isinstance(value, UploadFile):
            if name not in images:
                raise InvalidRow(f"Files: {', '.join(images)}." if images else "This task takes no files.")
            fields[name] = await value.read()
        if name in images:
            fields[name] = fields[name] or None  # a form in which no file was chosen sends an empty one
    return fields


async def read_row(task: Task, value: object, place: str, *, strict: bool = True) -> Row:
    """The typed row; InvalidRow names `place` and the field, and never repeats the input.

    The fields of a form are texts, so they are read with `strict=False`. Images are decoded in a thread, one row at a
    time, while other requests go on.
    """
    if isinstance(value, Mapping) and any(value.get(name) for name in task.row.columns(Modality.IMAGE)):
        return await asyncio.to_thread(validate_row, task, value, place, strict=strict)
    return validate_row(task, value, place, strict=strict)


def validate_row(task: Task, value: object, place: str, *, strict: bool) -> Row:
    if not strict and isinstance(value, Mapping):
        check_form_numbers(task, value, place)
    try:
        return task.row.model_validate(value, strict=strict)
    except ValidationError as error:
        known = frozenset(task.row.model_fields)
        raise InvalidRow(describe(error.errors(include_input=False, include_context=False), known, place)) from None
