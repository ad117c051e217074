"""Refresh tokens: each is used once and gives the next of its family."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import DateTime, ForeignKey, Text
from sqlalchemy.orm import Mapped, mapped_column

from data_api.database import Base


class RefreshToken(Base):
    """One link of the chain that began with a sign-in. Kept after its use, so that a second use is noticed."""

    __tablename__ = "refresh_tokens"

    hash: Mapped[str] = mapped_column(Text, primary_key=True)
    family: Mapped[UUID] = mapped_column(index=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
