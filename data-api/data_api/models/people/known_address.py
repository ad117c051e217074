"""Addresses from which accounts were signed in to, so that the failures of strangers do not delay their owners."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import DateTime, ForeignKey, Text
from sqlalchemy.orm import Mapped, mapped_column

from data_api.database import Base


class KnownAddress(Base):
    """One address of one account. Deleted with the account, and some months after its last use."""

    __tablename__ = "known_addresses"

    subject: Mapped[str] = mapped_column(Text, primary_key=True)
    """HMAC of e-mail and address, so that the table holds no address."""
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    used_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), index=True)
    """To the day."""
