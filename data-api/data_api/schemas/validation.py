"""Descriptions of validation errors that never repeat the input."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from pydantic import ValidationError

from .base import ROW_SCHEMAS, Schema

MAX_ERRORS = 5
OUTSIDE_BODY = ("query", "path", "header", "cookie")


def describe_errors(errors: Sequence[Mapping[str, Any]]) -> str:
    """Pydantic's errors as one line: `answer.score: Field required; version: Input should be a valid integer`."""
    lines = list(dict.fromkeys(_line(error) for error in errors))
    more = f"; and {len(lines) - MAX_ERRORS} more" if len(lines) > MAX_ERRORS else ""
    return "; ".join(lines[:MAX_ERRORS]) + more


def describe(error: ValidationError, *place: str) -> str:
    """The errors of one model as one line; `place` is where in the body the model lies."""
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    return describe_errors([{**one, "loc": (*place, *one["loc"])} for one in errors])


def _line(error: Mapping[str, Any]) -> str:
    kind, message, location = error["type"], error["msg"], error["loc"]
    if kind == "extra_forbidden":
        location, message = location[:-1], "has an unknown field"
    elif kind.endswith("_parsing"):
        message = message.partition(",")[0]  # what follows quotes the input
    place = ".".join(_known(location))
    message = message.removeprefix("Value error, ")
    return f"{place}: {message}" if place else message


def _known(location: tuple[int | str, ...]) -> Iterator[str]:
    """The parts of a location that are names of this service; keys that the caller chose are left out."""
    if location[:1] and location[0] in OUTSIDE_BODY:
        yield from map(str, location[:2])
        return
    for part in location:
        if isinstance(part, int) or part == "body" or part in _field_names():
            yield str(part)


@cache
def _field_names() -> frozenset[str]:
    names = {name for row in ROW_SCHEMAS.values() for name in row.__annotations__}
    pending = [Schema]
    while pending:
        schema = pending.pop()
        names.update(schema.model_fields)
        pending.extend(schema.__subclasses__())
    return frozenset(names)
