"""Users and their roles."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, Text, false, text
from sqlalchemy.orm import Mapped, mapped_column

from data_api.database import Base
from data_api.models.audit import Audited


class Role(StrEnum):
    """The role of a caller. `service` is ai-api, which has no row in the table of users."""

    USER = "user"
    TRAINER = "trainer"
    ADMIN = "admin"
    SERVICE = "service"


class User(Audited, Base):
    """A person who signs in with a password, calls with API keys, or both."""

    __tablename__ = "users"
    __secret__ = frozenset({"password_hash"})
    __table_args__ = (
        CheckConstraint("role IN ('user', 'trainer', 'admin')", name="role"),
        CheckConstraint("email = lower(email)", name="email"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(Text, unique=True)
    password_hash: Mapped[str | None] = mapped_column(Text)
    """None: this user cannot sign in and calls with API keys only."""
    name: Mapped[str | None] = mapped_column(Text)
    role: Mapped[str] = mapped_column(Text)
    disabled: Mapped[bool] = mapped_column(server_default=false())
    tokens_valid_after: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """Access tokens issued before this moment are refused."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=text("now()"))

    def subject_id(self) -> UUID:
        """The user's own id."""
        return self.id


class DeletedUser(Base):
    """The id of a deleted user, so that access tokens that have not expired are refused everywhere."""

    __tablename__ = "deleted_users"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    deleted_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=text("now()"), index=True)
