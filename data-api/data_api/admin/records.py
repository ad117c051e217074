"""Admin views that are read-only: audit, predictions, feedback, promotions, erasures, retention."""

from __future__ import annotations

from typing import Any, ClassVar

from sqladmin.filters import StaticValuesFilter
from sqlalchemy import Select
from starlette.requests import Request

from data_api.crud import audit
from data_api.models.audit import Action, Audit
from data_api.models.predictions.feedback import Feedback, FeedbackStatus
from data_api.models.predictions.prediction import Prediction
from data_api.models.privacy.erasure import Erasure
from data_api.models.privacy.retention import Retention
from data_api.models.promotions import Promotion

from .view import Equals, TableView, comma_separated, user_link


class AuditAdmin(TableView, model=Audit):
    """The audit."""

    name = "Change"
    icon = "fa-solid fa-clock-rotate-left"
    column_list: ClassVar[list[Any]] = [
        "created_at", "action", "entity", "fields", "entity_id", "actor_kind", "actor_id",
    ]  # fmt: skip
    column_details_list: ClassVar[list[Any]] = ["id", *column_list, "request_id", "before", "after"]
    column_export_list: ClassVar[list[Any]] = column_details_list
    column_filters: ClassVar[list[Any]] = [
        StaticValuesFilter("action", [(action.value, action.value) for action in Action], title="Action"),
        Equals("entity", title="Table"),
        Equals("entity_id", title="Id of what was changed"),
        Equals("actor_id", title="Who changed it"),
        Equals("request_id", title="Request"),
    ]
    column_formatters: ClassVar[dict[Any, Any]] = {"fields": comma_separated, "actor_id": user_link}
    column_formatters_detail: ClassVar[dict[Any, Any]] = column_formatters

    def list_query(self, request: Request) -> Select[Any]:
        """With the values, which an export contains."""
        return audit.with_values(super().list_query(request))

    def details_query(self, request: Request) -> Select[Any]:
        """With the values that are not erased."""
        return audit.with_values(super().details_query(request))


class PredictionAdmin(TableView, model=Prediction):
    """Predictions."""

    icon = "fa-solid fa-bullseye"
    column_list: ClassVar[list[Any]] = ["created_at", "task", "version", "label", "score", "value", "role", "user_id"]
    column_details_list: ClassVar[list[Any]] = [
        "id", *column_list, "row", "row_schema", "answer", "rollout", "request_id", "queue_ms", "compute_ms", "run_id",
    ]  # fmt: skip
    column_export_list: ClassVar[list[Any]] = ["id", *column_list]
    column_filters: ClassVar[list[Any]] = [Equals("task", title="Task"), Equals("user_id", title="User")]
    column_formatters: ClassVar[dict[Any, Any]] = {"user_id": user_link}
    column_formatters_detail: ClassVar[dict[Any, Any]] = column_formatters


class FeedbackAdmin(TableView, model=Feedback):
    """Feedback about predictions."""

    name_plural = "Feedback"
    icon = "fa-solid fa-comment"
    column_list: ClassVar[list[Any]] = ["created_at", "task", "label", "value", "status", "user_id", "prediction_id"]
    column_details_list: ClassVar[list[Any]] = ["id", *column_list, "comment", "reason", "request_id"]
    column_export_list: ClassVar[list[Any]] = ["id", *column_list, "comment", "reason"]
    column_filters: ClassVar[list[Any]] = [
        StaticValuesFilter("status", [(status.value, status.value) for status in FeedbackStatus], title="Status"),
        Equals("task", title="Task"),
        Equals("user_id", title="User"),
    ]
    column_formatters: ClassVar[dict[Any, Any]] = {"user_id": user_link}
    column_formatters_detail: ClassVar[dict[Any, Any]] = column_formatters


class PromotionAdmin(TableView, model=Promotion):
    """Changes of champions."""

    icon = "fa-solid fa-trophy"
    column_list: ClassVar[list[Any]] = ["created_at", "task", "version", "previous", "action", "reason", "actor"]
    column_details_list: ClassVar[list[Any]] = ["id", *column_list, "metrics"]
    column_export_list: ClassVar[list[Any]] = column_details_list
    column_filters: ClassVar[list[Any]] = [Equals("task", title="Task")]


class ErasureAdmin(TableView, model=Erasure):
    """Erasures, and what was deleted where."""

    icon = "fa-solid fa-eraser"
    column_list: ClassVar[list[Any]] = ["requested_at", "user_id", "status", "finished_at"]
    column_details_list: ClassVar[list[Any]] = ["id", *column_list, "requested_by", "removed"]
    column_export_list: ClassVar[list[Any]] = column_details_list
    column_filters: ClassVar[list[Any]] = [Equals("user_id", title="User")]
    column_formatters_detail: ClassVar[dict[Any, Any]] = {"requested_by": user_link}


class RetentionAdmin(TableView, model=Retention):
    """The retention of tasks."""

    name_plural = "Retention"
    icon = "fa-solid fa-hourglass-half"
    column_default_sort = "task"
    column_list: ClassVar[list[Any]] = ["task", "predictions_days", "examples_days", "changed_at"]
    column_details_list: ClassVar[list[Any]] = column_list
    column_export_list: ClassVar[list[Any]] = column_list


RECORDS = (AuditAdmin, PredictionAdmin, FeedbackAdmin, PromotionAdmin, ErasureAdmin, RetentionAdmin)
