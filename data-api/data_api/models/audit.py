"""The audit: lines that can only be added, and in a table of their own the changed values, which erasure deletes."""

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
    """Who makes a change. A session holds it in `session.info["actor"]`, beside `session.info["request_id"]`."""

    kind: Literal["user", "service", "command", "anonymous"]
    """`anonymous`: a request without authentication, as when an invitation is accepted."""
    id: UUID | None = None


COMMAND, ANONYMOUS = Actor("command"), Actor("anonymous")


class Audited:
    """Base of the tables whose changes are audited. Change them through ORM objects: bulk statements are refused."""

    __secret__: ClassVar[frozenset[str]] = frozenset()
    """Columns whose names but not values are in the audit."""
    __quiet__: ClassVar[frozenset[str]] = frozenset()
    """Columns whose changes are not audited, such as the time of the last use."""

    def subject_id(self) -> UUID | None:
        """The user that the values are about. Erasing this user deletes the values from the audit."""
        return getattr(self, "user_id", None)


class Action(StrEnum):
    """The kind of a change."""

    CREATE = "create"
    CHANGE = "change"
    DELETE = "delete"


class Audit(Base):
    """One change of one row. The service's database role may only insert and select."""

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
    """The table of the changed row."""
    entity_id: Mapped[str] = mapped_column(Text)
    fields: Mapped[list[str]] = mapped_column(ARRAY(Text))
    request_id: Mapped[str | None] = mapped_column(Text)

    detail: Mapped[AuditDetail | None] = relationship(back_populates="line")

    @property
    def before(self) -> dict[str, object] | None:
        """The values before the change; None once they are erased."""
        return self.detail.before if self.detail else None

    @property
    def after(self) -> dict[str, object] | None:
        """The values after the change; None once they are erased."""
        return self.detail.after if self.detail else None


class AuditDetail(Base):
    """The values before and after a change, without secrets. Deleted when the person that they are about is erased."""

    __tablename__ = "audit_details"
    __table_args__ = (Index(None, "user_id"),)

    audit_id: Mapped[UUID] = mapped_column(ForeignKey("audit.id"), primary_key=True)
    user_id: Mapped[UUID | None]
    """None: the values are about nobody with an account."""
    before: Mapped[dict[str, object] | None] = mapped_column(JSONB(none_as_null=True))
    after: Mapped[dict[str, object] | None] = mapped_column(JSONB(none_as_null=True))

    line: Mapped[Audit] = relationship(back_populates="detail")
