"""Invitations: one-time links on which people make their own account."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from data_api.database import Base
from data_api.models.audit import Audited


class Invitation(Audited, Base):
    """An invitation to make an account. The link holds 256 random bits, of which only the hash is stored."""

    __tablename__ = "invitations"
    __secret__ = frozenset({"hash", "email"})
    # The e-mail is not audited: before the account exists, erasing its owner could not find it.
    __table_args__ = (
        CheckConstraint("role IN ('user', 'trainer', 'admin')", name="role"),
        CheckConstraint("email = lower(email)", name="email"),
        Index(None, "email"),
        Index(None, "user_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    hash: Mapped[str] = mapped_column(Text, unique=True)
    email: Mapped[str] = mapped_column(Text)
    role: Mapped[str] = mapped_column(Text)
    invited_by: Mapped[UUID | None]
    """The admin; None: made on the command line. No foreign key: invitations of a deleted admin are refused."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=text("now()"))
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    accepted_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    user_id: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    """The account that was made with it."""
