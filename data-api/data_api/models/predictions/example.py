"""What trainings read and accuracy is counted from: a row, its truth and its answer, free of the prediction."""

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
    """The person's role when the feedback met its prediction."""
    version: Mapped[int | None] = mapped_column(Integer)
    """Whose answer it is about. It and the answer are None only where the prediction was gone before they were kept."""
    answer_label: Mapped[str | None] = mapped_column(Text)
    answer_score: Mapped[float | None] = mapped_column(Double)
    answer_value: Mapped[float | None] = mapped_column(Double)
    asker_id: Mapped[UUID | None]
    """Whose row it is: who asked for the prediction. Erasing them erases this copy too."""
