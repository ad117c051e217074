"""What all views share: newest first, bounded counts, and changes that go through crud/ as the one who is signed in."""

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
from sqlalchemy import Select
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import StreamingResponse

from data_api.crud.page import first_rows
from data_api.database import Base
from data_api.errors import DataAPIError
from data_api.http.context import Context
from data_api.http.export import attachment, lines

log = logging.getLogger("data_api.admin")

MOST = 5_000
"""Rows of a list that are counted and paged through; filters find what lies deeper."""


def as_json(value: object) -> str:
    """What is nested, as it came."""
    return json.dumps(value, ensure_ascii=False)


def to_the_second(moment: datetime) -> str:
    """A time in UTC, for eyes."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


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


class View(ModelView):
    """A table to look at. Which columns are shown is always spelled out, so that no new one shows by itself."""

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

    def sort_query(self, stmt: Select[Any], request: Request) -> Select[Any]:
        """Sorted, and bounded: counting millions of rows would take longer than anybody waits."""
        return first_rows(super().sort_query(stmt, request), MOST)

    async def get_model_objects(self, request: Request, limit: int | None = 0) -> list[Any]:  # noqa: ARG002  bounded as all is
        """What an export holds: the newest rows, like the list."""
        return list(await self._run_query(self.sort_query(self.list_query(request), request)))

    async def export_data(
        self,
        data: list[Any],
        export_type: str = "csv",  # noqa: ARG002  the only one of export_types
        request: Request | None = None,  # noqa: ARG002
    ) -> StreamingResponse:
        """The rows as CSV that no spreadsheet runs."""
        header = lines([self._export_prop_names])
        rows = lines([getattr(row, name) for name in self._export_prop_names] for row in data)
        return attachment(self.identity, [header, rows])


class Equals(OperationColumnFilter):
    """A filter for one value, as the indexes serve it."""

    def get_operation_options(self, column_obj: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        """The one comparison."""
        return [("equals", "Equals")]

    async def get_filtered_query(
        self,
        query: Select[Any],
        operation: str,  # noqa: ARG002
        value: Any,
        model: Any,
    ) -> Select[Any]:
        """The one comparison, whatever the address asks for."""
        return cast("Select[Any]", await super().get_filtered_query(query, "equals", value, model))


@contextmanager
def changing(request: Request) -> Iterator[Session]:
    """One transaction of the admin who is signed in. What goes wrong is told by name, never with a value in it."""
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


def joined(model: Any, name: str) -> str:
    """A list of words as text."""
    return ", ".join(getattr(model, name) or ())


def user_link(model: Any, name: str, request: Request) -> Markup | str:
    """A user's id as the way to their page."""
    user_id = getattr(model, name)
    if user_id is None:
        return ""
    address = request.url_for("admin:details", identity="user", pk=str(user_id))
    return Markup('<a href="{}">{}</a>').format(address, user_id)
