"""What all schemas share: unknown fields are refused, and text that Postgres cannot store is refused."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Annotated, Generic, TypeVar, cast
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    with_config,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from data_api.ids import check

from .openapi_examples import EXAMPLES

T = TypeVar("T")
R = TypeVar("R", bound=type)
ROW_SCHEMAS: dict[str, type] = {}
"""The TypedDicts of rows, by their names."""
MAX_DEPTH = 32
PRINTED = re.compile(r"(\d{4}-\d\d-\d\d)|(\d{4}-\d\d-\d\d[Tt ][\d:.]+) (\d\d:?\d\d)", re.ASCII)
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
"""A number as JSON writes it. Python's own parser also takes `1_000`, ` 1`, `nan` and digits of other scripts."""
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}.*", re.DOTALL)
EARLIEST, LATEST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


class Schema(BaseModel):
    """Base class of bodies and of their parts."""

    model_config = ConfigDict(extra="forbid", from_attributes=True)

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        shown = handler(core)
        if example := cls.example():
            handler.resolve_ref_schema(shown)["examples"] = [example]
        return shown

    @classmethod
    def example(cls) -> dict[str, object] | None:
        """The example of this schema for the OpenAPI document."""
        return EXAMPLES.get(cls.__name__)


def row_schema(schema: R) -> R:
    """Marks the TypedDict of a row of a bulk request. A TypedDict, because making a model for each of 1,000 rows would
    take longer than storing them.
    """
    ROW_SCHEMAS[schema.__name__] = schema
    return with_config(extra="forbid")(schema)


class Page(Schema, Generic[T]):
    """One page of a list, newest first. `next` is the cursor of the next page, null at the end."""

    items: list[T]
    next: str | None

    @classmethod
    def example(cls) -> dict[str, object] | None:
        """A page with the example of its items."""
        shown = [item.example() for item in cls.__pydantic_generic_metadata__["args"] if issubclass(item, Schema)]
        return {"items": shown, "next": "AZmqL5wRe0CPbgJCrBIAAg"} if all(shown) else None


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not hold NUL characters")
    return text


def _as_name(text: str) -> str:
    if not text.isprintable() and CONTROL.search(text):
        raise ValueError("must not hold control characters")
    if text.isspace():
        raise ValueError("must not be blank")
    return text


def _whole_text(value: object) -> object:
    if isinstance(value, str) and not (NUMBER.fullmatch(value) and value.removeprefix("-").isdecimal()):
        raise PydanticCustomError("int_parsing", "Input should be a valid integer")
    return value


def _number_text(value: object) -> object:
    if isinstance(value, str) and not NUMBER.fullmatch(value):
        raise PydanticCustomError("float_parsing", "Input should be a valid number")
    return value


def _truth_text(value: object) -> object:
    if isinstance(value, str) and value not in ("true", "false"):
        raise PydanticCustomError("bool_parsing", "Input should be true or false")
    return value


def _date_text(value: object) -> object:
    """Refuses numbers, which pydantic takes as seconds or milliseconds since 1970, whichever seems likelier."""
    if not isinstance(value, datetime) and not (isinstance(value, str) and DATE.fullmatch(value)):
        raise PydanticCustomError("datetime_parsing", "Input should be a valid datetime of ISO 8601")
    return value


def _in_utc(moment: datetime) -> datetime:
    """The datetime in UTC, as Postgres refuses offsets of 16 hours and more, which Python accepts. A datetime that is
    out of range in UTC is clamped.
    """
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return EARLIEST if moment.year == 1 else LATEST


def _as_printed(value: object) -> object:
    """A datetime of a query as this service prints it: the `+` of its offset reads as a space when it is not encoded,
    and a day stands for its begin in UTC.
    """
    if isinstance(value, str) and (found := PRINTED.fullmatch(value)):
        return f"{found[1]}T00:00:00Z" if found[1] else f"{found[2]}+{found[3]}"
    return value


def _version_7(key: UUID) -> UUID:
    check(key)
    return key


def _storable_json(value: dict[str, object]) -> dict[str, object]:
    """Refuses what jsonb refuses (NUL characters, lone surrogates, NaN and infinities), and nesting of more than
    `MAX_DEPTH`.
    """
    level: list[object] = [value]
    for _ in range(MAX_DEPTH):
        next_level: list[object] = []
        for parent in level:
            children = [*parent.keys(), *parent.values()] if isinstance(parent, dict) else cast("list[object]", parent)
            for child in children:
                if isinstance(child, str):
                    _storable(child)
                elif isinstance(child, dict | list):
                    next_level.append(child)
                elif isinstance(child, float) and not math.isfinite(child):
                    raise ValueError("must hold finite numbers only")
        if not next_level:
            return value
        level = next_level
    raise ValueError(f"must not be nested deeper than {MAX_DEPTH} levels")


def _storable(text: str) -> None:
    _without_nul(text)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("must not hold lone surrogates") from None


NoNul = AfterValidator(_without_nul)
Text = Annotated[str, NoNul]
Name = Annotated[str, Field(min_length=1, max_length=200), NoNul, AfterValidator(_as_name)]
RequestId = Annotated[str, Field(max_length=64), NoNul]
Id7 = Annotated[UUID, AfterValidator(_version_7)]
Json = Annotated[dict[str, object], AfterValidator(_storable_json)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Version = Annotated[int, Field(strict=True, ge=1, le=2**31 - 1)]
Moment = Annotated[
    AwareDatetime,
    BeforeValidator(_date_text),
    AfterValidator(_in_utc),
    PlainSerializer(datetime.isoformat, when_used="json"),
]
QueryMoment = Annotated[Moment, BeforeValidator(_as_printed)]
Whole, NumberText, TruthText = BeforeValidator(_whole_text), BeforeValidator(_number_text), BeforeValidator(_truth_text)
"""For query parameters, which are texts: integers, numbers and booleans as JSON writes them, and nothing else."""
VersionText = Annotated[int, Field(ge=1, le=2**31 - 1), Whole]
