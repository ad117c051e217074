"""Refresh tokens: each can be used once, for the next one of its family."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import DateTime, ForeignKey, Text
from sqlalchemy.orm import Mapped, mapped_column

from data_api.database import Base


class RefreshToken(Base):
    """One token of a family, which began with a sign-in. Kept after its use, to detect a second use."""

    __tablename__ = "refresh_tokens"

    hash: Mapped[str] = mapped_column(Text, primary_key=True)
    family: Mapped[UUID] = mapped_column(index=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
