"""People who are erased for good, and the ai-api replicas that have to say that they hold nothing of them any more."""

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
    """Requested until nothing is left in Postgres; then awaiting until every ai-api has said the same of itself."""

    REQUESTED = "requested"
    AWAITING = "awaiting"
    FINISHED = "finished"


class Erasure(Audited, Base):
    """A tombstone. It stays, so that rows of this person that arrive late, or come back with a backup, go as well."""

    __tablename__ = "erasures"
    __quiet__ = frozenset({"removed"})
    __table_args__ = (
        CheckConstraint("status IN ('requested', 'awaiting', 'finished')", name="status"),
        Index("ix_erasures_open", "id", postgresql_where=text("status <> 'finished'")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(unique=True)
    requested_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=text("now()"))
    requested_by: Mapped[UUID | None]
    """Who asked for it. None: it was replayed from the file of tombstones."""
    status: Mapped[str] = mapped_column(Text, server_default=text("'requested'"))
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    removed: Mapped[dict[str, dict[str, int]]] = mapped_column(JSONB, server_default=text("'{}'"))
    """How many things went, by the part of Volant that held them."""

    def person(self) -> None:
        """Nobody: the history of the tombstone itself stays."""
