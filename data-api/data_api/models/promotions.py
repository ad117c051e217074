"""Promotions: which version became champion, when and why."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, Index, Integer, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from data_api.database import Base


class Promotion(Base):
    """One change of a champion. The service's database role may only insert and select."""

    __tablename__ = "promotions"
    __table_args__ = (
        CheckConstraint("action IN ('promote', 'rollback', 'remove')", name="action"),
        Index(None, "task", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    task: Mapped[str] = mapped_column(Text)
    version: Mapped[int] = mapped_column(Integer)
    previous: Mapped[int | None] = mapped_column(Integer)
    action: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text)
    metrics: Mapped[dict[str, object]] = mapped_column(JSONB)
    actor: Mapped[str | None] = mapped_column(Text)
    run_id: Mapped[str | None] = mapped_column(Text)
    """The MLflow run that trained the version; None in rows stored before ai-api sent it."""
