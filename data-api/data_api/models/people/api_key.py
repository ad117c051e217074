"""API keys, stored as hashes."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import ARRAY, CheckConstraint, DateTime, ForeignKey, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from data_api.database import Base
from data_api.models.audit import Audited

from .user import Role


class Scope(StrEnum):
    """What a key may be used for. The role of its owner limits it too."""

    PREDICT = "predict"
    FEEDBACK = "feedback"
    READ = "read"
    TRAIN = "train"


def scopes_of(role: Role) -> frozenset[Scope]:
    """The scopes that keys of a user with this role can have."""
    return frozenset(Scope) - (frozenset() if role in (Role.TRAINER, Role.ADMIN) else {Scope.TRAIN})


class APIKey(Audited, Base):
    """A key of a user. The key has 256 random bits, so a plain SHA-256 of it cannot be inverted."""

    __tablename__ = "api_keys"
    __secret__ = frozenset({"hash"})
    __quiet__ = frozenset({"last_used_at"})
    __table_args__ = (
        CheckConstraint(
            "cardinality(scopes) > 0 AND scopes <@ ARRAY['predict', 'feedback', 'read', 'train']", name="scopes"
        ),
        Index(None, "user_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(Text)
    hash: Mapped[str] = mapped_column(Text, unique=True)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=text("now()"))
    expires_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    last_used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """To the minute. Uses at ai-api arrive up to a minute late."""
