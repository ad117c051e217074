"""Counts of failed sign-ins, for the lockout."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import DateTime, Index, Integer, Text
from sqlalchemy.orm import Mapped, mapped_column

from data_api.database import Base


class SignInFailure(Base):
    """The failures of one source (an account with a device or an address), one account or one address. E-mails without
    an account are counted too.
    """

    __tablename__ = "sign_in_failures"
    __table_args__ = (Index(None, "failed_at"), Index(None, "account"))

    subject: Mapped[str] = mapped_column(Text, primary_key=True)
    """HMAC of what is counted, so that the table holds no personal data."""
    account: Mapped[str | None] = mapped_column(Text)
    """Of a source: the subject of its account."""
    failures: Mapped[int] = mapped_column(Integer)
    failed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    blocked_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
