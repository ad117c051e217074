"""Rows with their truth, for training and for the accuracy. They outlive their predictions."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, Double, Index, Integer, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from data_api.database import Base


class Example(Base):
    """Accepted feedback with a copy of its row and prediction. Id and time are those of the feedback."""

    __tablename__ = "examples"
    __table_args__ = (
        CheckConstraint("num_nonnulls(label, value) = 1", name="truth"),
        Index(None, "task", "prediction_id", "id"),
        Index(None, "user_id"),
        Index(None, "asker_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    prediction_id: Mapped[UUID]
    task: Mapped[str] = mapped_column(Text)
    row: Mapped[dict[str, object]] = mapped_column(JSONB)
    row_schema: Mapped[int] = mapped_column(Integer)
    label: Mapped[str | None] = mapped_column(Text)
    value: Mapped[float | None] = mapped_column(Double)
    user_id: Mapped[UUID]
    user_role: Mapped[str] = mapped_column(Text)
    """The role of the person who gave the feedback, at the time when it was joined with its prediction."""
    version: Mapped[int | None] = mapped_column(Integer)
    """The version that predicted. It and the `answer_*` columns are None only if the prediction had been deleted before
    these columns existed.
    """
    answer_label: Mapped[str | None] = mapped_column(Text)
    answer_score: Mapped[float | None] = mapped_column(Double)
    answer_value: Mapped[float | None] = mapped_column(Double)
    run_id: Mapped[str | None] = mapped_column(Text)
    """The MLflow run of that version; None in rows stored before ai-api sent it."""
    asker_id: Mapped[UUID | None]
    """The person who requested the prediction. Erasing them deletes this copy too."""
