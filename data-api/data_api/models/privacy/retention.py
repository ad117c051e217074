"""Retention: after how many days rows of a task are deleted."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, DateTime, Integer, Text, func, text
from sqlalchemy.orm import Mapped, mapped_column

from data_api.database import Base
from data_api.models.audit import Audited


class Retention(Audited, Base):
    """The retention of one task. Without a row here, or with None in it, rows are never deleted."""

    __tablename__ = "retention"
    __quiet__ = frozenset({"changed_at"})
    __table_args__ = (
        CheckConstraint("predictions_days > 0", name="predictions_days"),
        CheckConstraint("examples_days > 0", name="examples_days"),
    )

    task: Mapped[str] = mapped_column(Text, primary_key=True)
    predictions_days: Mapped[int | None] = mapped_column(Integer)
    examples_days: Mapped[int | None] = mapped_column(Integer)
    """For examples and the feedback that they came from."""
    changed_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=text("now()"), onupdate=func.now()
    )
