"""Who changed what: lines that are only added to, and beside them the values, which erasure reaches."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Literal
from uuid import UUID

from sqlalchemy import ARRAY, CheckConstraint, DateTime, ForeignKey, Index, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from data_api.database import Base


@dataclass(frozen=True)
class Actor:
    """Who is acting. It travels in `session.info["actor"]`, beside `session.info["request_id"]`."""

    kind: Literal["user", "service", "command", "anonymous"]
    """`anonymous`: a request that nobody signed, as when an invitation is accepted."""
    id: UUID | None = None


COMMAND, ANONYMOUS = Actor("command"), Actor("anonymous")


class Audited:
    """A table whose every change leaves a line. Change it through objects: a bulk statement leaves none."""

    __secret__: ClassVar[frozenset[str]] = frozenset()
    """Columns that a line names without their values."""
    __quiet__: ClassVar[frozenset[str]] = frozenset()
    """Columns that leave no line, such as the time of the last use."""

    def person(self) -> UUID | None:
        """Whom the values are about: erasing this user takes them out of the history."""
        return getattr(self, "user_id", None)


class Action(StrEnum):
    """What happened to a thing."""

    CREATE = "create"
    CHANGE = "change"
    DELETE = "delete"


class Audit(Base):
    """One change of one thing. The service's database role may add lines and read them, nothing else."""

    __tablename__ = "audit"
    __table_args__ = (
        CheckConstraint("actor_kind IN ('user', 'service', 'command', 'anonymous')", name="actor_kind"),
        CheckConstraint("action IN ('create', 'change', 'delete')", name="action"),
        Index(None, "entity", "entity_id", "id"),
        Index(None, "actor_id", "id"),
        Index(None, "request_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    """The time in the id."""
    actor_kind: Mapped[str] = mapped_column(Text)
    actor_id: Mapped[UUID | None]
    action: Mapped[str] = mapped_column(Text)
    entity: Mapped[str] = mapped_column(Text)
    """The table of the thing."""
    entity_id: Mapped[str] = mapped_column(Text)
    fields: Mapped[list[str]] = mapped_column(ARRAY(Text))
    request_id: Mapped[str | None] = mapped_column(Text)

    detail: Mapped[AuditDetail | None] = relationship(back_populates="line")

    @property
    def before(self) -> dict[str, object] | None:
        """The values that the change replaced, as far as they are still kept."""
        return self.detail.before if self.detail else None

    @property
    def after(self) -> dict[str, object] | None:
        """The values that the change left, as far as they are still kept."""
        return self.detail.after if self.detail else None


class AuditDetail(Base):
    """The values before and after a change, without secrets. Gone when the person whom they are about is erased."""

    __tablename__ = "audit_details"
    __table_args__ = (Index(None, "user_id"),)

    audit_id: Mapped[UUID] = mapped_column(ForeignKey("audit.id"), primary_key=True)
    user_id: Mapped[UUID | None]
    """None: the values are about nobody whose account we know."""
    before: Mapped[dict[str, object] | None] = mapped_column(JSONB(none_as_null=True))
    after: Mapped[dict[str, object] | None] = mapped_column(JSONB(none_as_null=True))

    line: Mapped[Audit] = relationship(back_populates="detail")
