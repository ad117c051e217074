"""Types of the fields of requests. data-api's schemas have the same rule for each field that crosses the services."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from ai_api.errors import InvalidRow
from ai_api.task import Modality, Task, Text

NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
"""A number as JSON writes it. Python's own parser also takes `1_000`, ` 1`, `nan` and digits of other scripts."""
LATEST_MILLISECONDS = (datetime.max.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
MAX_PARAMS_CHARACTERS = 10_000


def _version_7(key: uuid.UUID) -> uuid.UUID:
    if key.version != 7:
        raise ValueError("must be a UUID of version 7")
    if key.int >> 80 > LATEST_MILLISECONDS:
        raise ValueError("must carry a time before the year 10000")
    return key


def _whole_text(value: object) -> object:
    if isinstance(value, str) and not (NUMBER.fullmatch(value) and value.removeprefix("-").isdecimal()):
        raise PydanticCustomError("int_parsing", "Input should be a valid integer")
    return value


def _storable_params(params: dict[str, object]) -> dict[str, object]:
    """Refuses what Postgres and a command line cannot hold: NUL, lone surrogates, NaN and infinity; and long values."""
    try:
        text = json.dumps(params, allow_nan=False, ensure_ascii=False)
        is_storable = bool(text.encode()) and "\\u0000" not in text
    except (ValueError, RecursionError):
        is_storable = False
    if not is_storable or len(text) > MAX_PARAMS_CHARACTERS:
        raise ValueError("must be at most 10,000 characters of JSON without NUL, NaN and infinity")
    return params


Id7 = Annotated[uuid.UUID, AfterValidator(_version_7)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
VersionNumber = Annotated[int, Field(strict=True, ge=1, le=2**31 - 1)]
VersionAsked = Annotated[
    Annotated[int, Field(strict=True)] | Annotated[str, Field(max_length=200)],
    Field(description="A version's number or an alias; default: the champion"),
]
Reason = Annotated[Text, Field(min_length=1, max_length=1_000, pattern=r"\S")]
Params = Annotated[dict[str, object], AfterValidator(_storable_params)]
Whole = BeforeValidator(_whole_text)
"""For parameters of a query or a path, which are texts: an integer as JSON writes it, and nothing else."""


def check_form_numbers(task: Task, fields: Mapping[str, object], place: str) -> None:
    """InvalidRow when a text in a column of numbers is none that JSON takes: the fields of a form are texts. Empty ones
    are left to the row.
    """
    for name in task.row.columns(Modality.NUMBER):
        text = fields.get(name)
        if isinstance(text, str) and text not in ("", "true", "false") and not NUMBER.fullmatch(text):
            raise InvalidRow(f"{place}.{name}: Input should be a valid number")
