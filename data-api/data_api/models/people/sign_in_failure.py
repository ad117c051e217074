"""Sign-ins that failed, counted, so that guessing gets slower with every guess."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import DateTime, Index, Integer, Text
from sqlalchemy.orm import Mapped, mapped_column

from data_api.database import Base


class SignInFailure(Base):
    """The failures in a row of one account, or of one address. An account that nobody has is counted all the same."""

    __tablename__ = "sign_in_failures"
    __table_args__ = (Index(None, "failed_at"),)

    subject: Mapped[str] = mapped_column(Text, primary_key=True)
    """A keyed hash of the e-mail or of the address: the table says nothing about people."""
    failures: Mapped[int] = mapped_column(Integer)
    failed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    blocked_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
