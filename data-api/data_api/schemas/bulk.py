"""Bodies of up to 1,000 rows, each accepted or refused by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Generic, Literal, TypeVar, cast

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError, create_model

from data_api.crud.bulk import RowOutcome, Values
from data_api.errors import InvalidRequest

from .base import Schema
from .validation import describe

T = TypeVar("T")


class Rows(Schema):
    """Up to 1,000 rows, each accepted or refused by itself. Their fields are those of the row named in the call."""

    rows: list[object] = Field(max_length=1_000)


class Result(Schema):
    """The outcome of one row. `stored` and `duplicate`: it is in Postgres. `refused`: it is not, for the `reason`."""

    status: Literal["stored", "duplicate", "refused"]
    reason: str | None


class Results(Schema):
    """One result per row, in the order sent."""

    results: list[Result]


class RowParser(Generic[T]):
    """Parses bodies of rows of one schema into values for a table. `columns` may refuse a row with a ValueError."""

    def __init__(self, schema: type[T], columns: Callable[[T], Values]) -> None:
        row: Any = Annotated[cast("Any", schema), AfterValidator(columns)]
        self._row = TypeAdapter[Values](row)
        rows: Any = (list.__class_getitem__(row), Rows.model_fields["rows"])
        self._body = create_model(f"{schema.__name__}Rows", __base__=Rows, rows=rows)

    def parse(self, body: object) -> Sequence[Values | RowOutcome]:
        """The values of each well-formed row and a refusal for each other, in the order sent; InvalidRequest when this
        is no body of rows. All rows are validated at once, which is several times faster; one by one after an error.
        """
        try:
            return cast("list[Values]", self._body.model_validate(body).rows)
        except ValidationError:
            return [self._parse_one(row) for row in _rows(body)]

    def values(self, row: object) -> Values:
        """The values of one row; ValidationError when it is malformed."""
        return self._row.validate_python(row)

    def _parse_one(self, row: object) -> Values | RowOutcome:
        try:
            return self.values(row)
        except ValidationError as error:
            return RowOutcome("refused", describe(error))


def _rows(body: object) -> list[object]:
    """The rows of a body, not validated; InvalidRequest when this is no body of rows."""
    try:
        return Rows.model_validate(body).rows
    except ValidationError as error:
        raise InvalidRequest(describe(error, "body")) from None
