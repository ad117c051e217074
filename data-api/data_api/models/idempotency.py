"""Requests that carried an `Idempotency-Key`, with their sealed responses."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import DateTime, LargeBinary, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from data_api.database import Base


class IdempotencyKey(Base):
    """A request that created something, and its response, encrypted with a key derived from the caller's
    Idempotency-Key, which is not stored.
    """

    __tablename__ = "idempotency_keys"

    digest: Mapped[str] = mapped_column(Text, primary_key=True)
    """Digest of caller, call and key."""
    body: Mapped[str] = mapped_column(Text)
    """A keyed digest of the body, to detect another body with the same key."""
    answer: Mapped[bytes | None] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=text("now()"), index=True)
