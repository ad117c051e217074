"""Labelling: rows assigned to people for some minutes, and the random share for the accuracy."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, Double, ForeignKey, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from data_api.database import Base


class Assignment(Base):
    """A prediction assigned to one person for labelling. Nobody else is offered it until `expires_at`."""

    __tablename__ = "assignments"
    __table_args__ = (Index(None, "user_id"), Index(None, "expires_at"))

    prediction_id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class Sample(Base):
    """A prediction sampled at random for labelling, independently of its content. Kept as long as examples."""

    __tablename__ = "samples"
    __table_args__ = (
        CheckConstraint("probability > 0 AND probability <= 1", name="probability"),
        Index(None, "task", "prediction_id"),
    )

    prediction_id: Mapped[UUID] = mapped_column(primary_key=True)
    task: Mapped[str] = mapped_column(Text)
    probability: Mapped[float] = mapped_column(Double)
    """The sampling probability when it was drawn."""
    drawn_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=text("now()"))
