"""People and what they may do."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, Text, false, text
from sqlalchemy.orm import Mapped, mapped_column

from data_api.database import Base
from data_api.models.audit import Audited


class Role(StrEnum):
    """Who may do what. `service` is ai-api; it has no row among the users."""

    USER = "user"
    TRAINER = "trainer"
    ADMIN = "admin"
    SERVICE = "service"


class User(Audited, Base):
    """Somebody who signs in with a password, calls with API keys, or both."""

    __tablename__ = "users"
    __secret__ = frozenset({"password_hash"})
    __table_args__ = (
        CheckConstraint("role IN ('user', 'trainer', 'admin')", name="role"),
        CheckConstraint("email = lower(email)", name="email"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(Text, unique=True)
    password_hash: Mapped[str | None] = mapped_column(Text)
    """None: this user has no password and calls with keys only."""
    name: Mapped[str | None] = mapped_column(Text)
    role: Mapped[str] = mapped_column(Text)
    disabled: Mapped[bool] = mapped_column(server_default=false())
    tokens_valid_after: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """Access tokens issued before this moment are refused."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=text("now()"))

    def person(self) -> UUID:
        """Themselves."""
        return self.id


class DeletedUser(Base):
    """That a user was deleted, so that tokens still on their way are refused everywhere."""

    __tablename__ = "deleted_users"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    deleted_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=text("now()"), index=True)
