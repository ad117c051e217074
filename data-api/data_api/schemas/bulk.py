"""Rows that come many at a time and are answered one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

from fastapi import Body
from pydantic import Field, TypeAdapter, ValidationError

from data_api.crud.bulk import Outcome, Values
from data_api.metrics import ROWS

from .base import Schema
from .examples import EXAMPLES
from .problem import describe

T = TypeVar("T", bound=Schema)


class Rows(Schema):
    """Up to 1,000 rows. Each is judged alone; the fields are those of the row named in the call."""

    rows: list[object] = Field(max_length=1_000)


def example_of(row: str) -> Any:
    """Says what a call's rows look like, for the OpenAPI document."""
    return Body(openapi_examples={row: {"value": {"rows": [EXAMPLES[row]]}}})


class Result(Schema):
    """What became of a row. Stored and duplicate: it is there. Refused: it never will be, and `reason` says why."""

    status: Literal["stored", "duplicate", "refused"]
    reason: str | None


class Results(Schema):
    """One result per row, in the order sent."""

    results: list[Result]


def judge(
    schema: type[T],
    raw: Sequence[object],
    values: Callable[[T], Values],
    store: Callable[[Sequence[Values]], list[Outcome]],
) -> list[Outcome]:
    """Stores the well-formed rows and refuses the others, in the order sent."""
    judged = _read(schema, raw)
    good = [values(row) for row in judged if not isinstance(row, Outcome)]
    stored = iter(store(good))
    return [row if isinstance(row, Outcome) else next(stored) for row in judged]


def results(kind: str, outcomes: Sequence[Outcome]) -> Results:
    """The answer; what became of the rows is counted on its way."""
    kinds = Counter(outcomes)
    for outcome, rows in kinds.items():
        ROWS.labels(kind, outcome.status).inc(rows)
    shown = {outcome: Result.model_validate(outcome) for outcome in kinds}
    return Results(results=[shown[outcome] for outcome in outcomes])


def _read(schema: type[T], raw: Sequence[object]) -> Sequence[T | Outcome]:
    """All at once, which is quicker; one by one when some row is refused."""
    try:
        return TypeAdapter(list[schema]).validate_python(raw)  # type: ignore[valid-type]
    except ValidationError:
        adapter = TypeAdapter(schema)
        return [_read_one(adapter, row) for row in raw]


def _read_one(adapter: TypeAdapter[T], row: object) -> T | Outcome:
    try:
        return adapter.validate_python(row)
    except ValidationError as error:
        return Outcome("refused", describe(error.errors(include_url=False, include_context=False, include_input=False)))
