"""Erasures of people."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, Index, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from data_api.database import Base
from data_api.models.audit import Audited


class ErasureStatus(StrEnum):
    """Requested until nothing is left in Postgres; then awaiting the reports of all ai-api instances; then finished."""

    REQUESTED = "requested"
    AWAITING = "awaiting"
    FINISHED = "finished"


class Erasure(Audited, Base):
    """A tombstone. It is kept, so that rows of this person that arrive late or come back with a backup are
    erased too.
    """

    __tablename__ = "erasures"
    __quiet__ = frozenset({"removed", "erased_at"})
    __table_args__ = (
        CheckConstraint("status IN ('requested', 'awaiting', 'finished')", name="status"),
        Index("ix_erasures_open", "id", postgresql_where=text("status <> 'finished'")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(unique=True)
    requested_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=text("now()"))
    requested_by: Mapped[UUID | None]
    """The user who requested it. None: it was replayed from the file of tombstones."""
    status: Mapped[str] = mapped_column(Text, server_default=text("'requested'"))
    erased_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """When nothing was left in Postgres."""
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    removed: Mapped[dict[str, dict[str, int]]] = mapped_column(JSONB, server_default=text("'{}'"))
    """Numbers of deleted rows and files, by the part of Volant that held them."""

    def subject_id(self) -> None:
        """None, as the audit of the tombstone itself is kept."""
