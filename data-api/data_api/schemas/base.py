"""What all schemas share: unknown fields are refused, and no text holds what Postgres cannot keep."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Annotated, Generic, TypeVar, cast
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    with_config,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from data_api.ids import check

from .openapi_examples import EXAMPLES

T = TypeVar("T")
R = TypeVar("R", bound=type)
ROW_KINDS: dict[str, type] = {}
"""Every kind of row, by its name."""
DEEPEST = 32
EARLIEST, LATEST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


class Schema(BaseModel):
    """A body, or a part of one."""

    model_config = ConfigDict(extra="forbid", from_attributes=True)

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        shown = handler(core)
        if example := cls.example():
            handler.resolve_ref_schema(shown)["examples"] = [example]
        return shown

    @classmethod
    def example(cls) -> dict[str, object] | None:
        """What it looks like."""
        return EXAMPLES.get(cls.__name__)


def row_kind(kind: R) -> R:
    """Marks the TypedDict of a row that comes among a thousand: making as many models of them would take longer than
    all that follows.
    """
    ROW_KINDS[kind.__name__] = kind
    return with_config(extra="forbid")(kind)


class Page(Schema, Generic[T]):
    """A part of a list, newest first. `next` is the cursor of the next part, null at the end."""

    items: list[T]
    next: str | None

    @classmethod
    def example(cls) -> dict[str, object] | None:
        """One of its items."""
        shown = [item.example() for item in cls.__pydantic_generic_metadata__["args"] if issubclass(item, Schema)]
        return {"items": shown, "next": "AZmqL5wRe0CPbgJCrBIAAg"} if all(shown) else None


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not hold NUL characters")
    return text


def _in_utc(moment: datetime) -> datetime:
    """Postgres refuses offsets that Python takes, of sixteen hours and more. At its ends the calendar is cut off."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return EARLIEST if moment.year == 1 else LATEST


def _version_7(key: UUID) -> UUID:
    check(key)
    return key


def _keepable(value: dict[str, object]) -> dict[str, object]:
    """Refuses what jsonb refuses: NUL characters, lone surrogates, numbers that are none; and bottomless nesting."""
    level: list[object] = [value]
    for _ in range(DEEPEST):
        below: list[object] = []
        for parent in level:
            children = [*parent.keys(), *parent.values()] if isinstance(parent, dict) else cast("list[object]", parent)
            for child in children:
                if isinstance(child, str):
                    _storable(child)
                elif isinstance(child, dict | list):
                    below.append(child)
                elif isinstance(child, float) and not math.isfinite(child):
                    raise ValueError("must hold finite numbers only")
        if not below:
            return value
        level = below
    raise ValueError(f"must not be nested deeper than {DEEPEST} levels")


def _storable(text: str) -> None:
    _without_nul(text)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("must not hold lone surrogates") from None


Clean = AfterValidator(_without_nul)
Text = Annotated[str, Clean]
Name = Annotated[str, Field(min_length=1, max_length=200), Clean]
Id7 = Annotated[UUID, AfterValidator(_version_7)]
Json = Annotated[dict[str, object], AfterValidator(_keepable)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Version = Annotated[int, Field(strict=True, ge=1, le=2**31 - 1)]
Moment = Annotated[AwareDatetime, AfterValidator(_in_utc), PlainSerializer(datetime.isoformat, when_used="json")]
