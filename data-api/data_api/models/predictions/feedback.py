"""Feedback about predictions."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, Double, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from data_api.database import Base


class FeedbackStatus(StrEnum):
    """Pending until its prediction is stored; then accepted and copied into `examples`, or refused with a reason."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    REFUSED = "refused"


class Feedback(Base):
    """A correction or a confirmation. It may arrive before its prediction."""

    __tablename__ = "feedback"
    __table_args__ = (
        CheckConstraint("status IN ('pending', 'accepted', 'refused')", name="status"),
        CheckConstraint("num_nonnulls(label, value) = 1", name="truth"),
        Index("ix_feedback_pending", "prediction_id", postgresql_where=text("status = 'pending'")),
        Index(None, "prediction_id"),
        Index(None, "task", "id"),
        Index(None, "user_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    prediction_id: Mapped[UUID]
    task: Mapped[str | None] = mapped_column(Text)
    """Its prediction's task, None while pending."""
    label: Mapped[str | None] = mapped_column(Text)
    value: Mapped[float | None] = mapped_column(Double)
    comment: Mapped[str | None] = mapped_column(Text)
    user_id: Mapped[UUID]
    request_id: Mapped[str | None] = mapped_column(Text)
    status: Mapped[str] = mapped_column(Text, server_default=text("'pending'"))
    reason: Mapped[str | None] = mapped_column(Text)
    """Why it was refused."""
