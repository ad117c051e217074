"""What all admin views share: newest first, bounded counts, and a transaction whose changes are audited as the
admin's.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, ClassVar, cast

from markupsafe import Markup
from sqladmin import ModelView
from sqladmin.filters import OperationColumnFilter
from sqladmin.formatters import BASE_FORMATTERS
from sqlalchemy import Select, false, or_
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import StreamingResponse

from data_api.crud.page import first_rows
from data_api.database import Base
from data_api.errors import DataAPIError
from data_api.http.context import Context
from data_api.http.export import csv_lines, csv_response

log = logging.getLogger("data_api.admin")

MOST = 5_000
"""Most rows of a list; filters find the others."""


def as_json(value: object) -> str:
    """Nested values as JSON."""
    return json.dumps(value, ensure_ascii=False)


def to_the_second(moment: datetime) -> str:
    """A time in UTC, without fractions of a second, as the filters of the HTTP interface take it."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


LABELS = {
    name: name.removesuffix("_at").replace("_", " ").capitalize()
    for table in Base.metadata.tables.values()
    for name in ("before", "after", *table.columns.keys())
} | {
    "actor_id": "Who",
    "actor_kind": "Kind",
    "compute_ms": "Computed, ms",
    "entity": "Table",
    "entity_id": "Id in it",
    "prediction_id": "Prediction",
    "queue_ms": "Queued, ms",
    "request_id": "Request",
    "row_schema": "Schema of the row",
    "user_id": "User",
}


class TableView(ModelView):
    """A read-only table. Columns are always listed explicitly, so that a new column is not shown by default."""

    column_labels: ClassVar[dict[Any, str]] = LABELS
    can_create = False
    can_edit = False
    can_delete = False
    export_types: ClassVar[list[str]] = ["csv"]
    export_max_rows = MOST
    column_default_sort: ClassVar[Any] = ("id", True)
    column_type_formatters: ClassVar[dict[type, Any]] = {**BASE_FORMATTERS, dict: as_json, datetime: to_the_second}
    page_size = 25
    page_size_options: ClassVar[list[int]] = [25, 100]

    def search_query(self, stmt: Select[Any], term: str) -> Select[Any]:
        """The rows whose searchable columns contain the term as it is, whatever its case."""
        columns = [getattr(self.model, str(name)) for name in self.column_searchable_list]
        return stmt.where(or_(false(), *(column.icontains(term, autoescape=True) for column in columns)))

    def sort_query(self, stmt: Select[Any], request: Request) -> Select[Any]:
        """Sorted, and bounded to `MOST` rows: counting millions would take too long."""
        return first_rows(super().sort_query(stmt, request), MOST)

    async def get_model_objects(self, request: Request, limit: int | None = 0) -> list[Any]:  # noqa: ARG002  every list is bounded
        """The rows of an export: the newest, as in the list."""
        return list(await self._run_query(self.sort_query(self.list_query(request), request)))

    async def export_data(
        self,
        data: list[Any],
        export_type: str = "csv",  # noqa: ARG002  the only one of export_types
        request: Request | None = None,  # noqa: ARG002
    ) -> StreamingResponse:
        """The rows as CSV without spreadsheet formulas."""
        header = csv_lines([self._export_prop_names])
        rows = csv_lines([getattr(row, name) for name in self._export_prop_names] for row in data)
        return csv_response(self.identity, [header, rows])


class Equals(OperationColumnFilter):
    """A filter by equality, which indexes support."""

    def get_operation_options(self, column_obj: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        """Equality only."""
        return [("equals", "Equals")]

    async def get_filtered_query(
        self,
        query: Select[Any],
        operation: str,  # noqa: ARG002
        value: Any,
        model: Any,
    ) -> Select[Any]:
        """Equality, whatever operation the URL names."""
        return cast("Select[Any]", await super().get_filtered_query(query, "equals", value, model))


@contextmanager
def admin_transaction(request: Request) -> Iterator[Session]:
    """One transaction of the signed-in admin. Unexpected errors are logged by name, never with values."""
    context = cast("Context", request.app.state.context)
    try:
        with context.database.session() as session:
            session.info.update(actor=request.state.actor, request_id=request.state.request_id)
            yield session
    except DataAPIError:
        raise
    except Exception as error:
        log.error("unhandled error=%s request_id=%s", type(error).__name__, request.state.request_id)
        raise RuntimeError("Something went wrong here. The log has it by its request id.") from None


def comma_separated(model: Any, name: str) -> str:
    """A list as comma-separated text."""
    return ", ".join(getattr(model, name) or ())


def user_link(model: Any, name: str, request: Request) -> Markup | str:
    """A user's id as a link to the user's page."""
    user_id = getattr(model, name)
    if user_id is None:
        return ""
    address = request.url_for("admin:details", identity="user", pk=str(user_id))
    return Markup('<a href="{}">{}</a>').format(address, user_id)
