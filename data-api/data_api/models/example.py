"""What trainings read: a row and its truth, free of the prediction that it was copied from."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, Double, Index, Integer, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from data_api.database import Base


class Example(Base):
    """An accepted feedback with the row it is about. Its id and time are the feedback's."""

    __tablename__ = "examples"
    __table_args__ = (
        CheckConstraint("num_nonnulls(label, value) = 1", name="truth"),
        Index(None, "task", "prediction_id", "id"),
        Index(None, "user_id"),
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
    """The person's role when the feedback met its prediction."""
