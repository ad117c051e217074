"""Predictions."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, Double, Index, Integer, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from data_api.database import Base


class Prediction(Base):
    """One prediction with its row. Partitioned by the month in its id; no table has a foreign key to it."""

    __tablename__ = "predictions"
    __table_args__ = (
        CheckConstraint("role IN ('champion', 'pinned', 'canary', 'shadow', 'replay')", name="role"),
        Index(None, "task", "id"),
        Index(None, "task", "version", "id"),
        Index(None, "task", "label", "id"),
        Index(None, "user_id", "id"),
        {"postgresql_partition_by": "RANGE (id)"},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    """The time in the id, never the clock of the insert."""
    task: Mapped[str] = mapped_column(Text)
    version: Mapped[int] = mapped_column(Integer)
    row: Mapped[dict[str, object]] = mapped_column(JSONB)
    row_schema: Mapped[int] = mapped_column(Integer)
    answer: Mapped[dict[str, object]] = mapped_column(JSONB)
    label: Mapped[str | None] = mapped_column(Text)
    score: Mapped[float | None] = mapped_column(Double)
    value: Mapped[float | None] = mapped_column(Double)
    user_id: Mapped[UUID | None]
    role: Mapped[str] = mapped_column(Text)
    rollout: Mapped[UUID | None]
    request_id: Mapped[str | None] = mapped_column(Text)
    queue_ms: Mapped[float | None] = mapped_column(Double)
    compute_ms: Mapped[float | None] = mapped_column(Double)
    run_id: Mapped[str | None] = mapped_column(Text)
    """The MLflow run of the version: the same number is another version in a model that was deleted and made anew. None
    in rows stored before ai-api sent it.
    """
