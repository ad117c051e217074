"""What is remembered of requests: those that may come twice, and how many came."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import DateTime, Integer, LargeBinary, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from data_api.database import Base


class IdempotencyKey(Base):
    """A request that created something, and its answer, sealed with the key that its caller sent and nobody keeps."""

    __tablename__ = "idempotency_keys"

    digest: Mapped[str] = mapped_column(Text, primary_key=True)
    """Of caller, call and key."""
    body: Mapped[str] = mapped_column(Text)
    """A keyed digest of the body, so that another body with the same key is noticed."""
    answer: Mapped[bytes | None] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=text("now()"), index=True)


class RateLimit(Base):
    """How many requests came from somebody in the window that ends at `ends_at`."""

    __tablename__ = "rate_limits"
    __table_args__ = ({"prefixes": ["UNLOGGED"]},)

    key: Mapped[str] = mapped_column(Text, primary_key=True)
    requests: Mapped[int] = mapped_column(Integer)
    ends_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
