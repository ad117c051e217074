"""Requests that carried an `Idempotency-Key`, with their sealed responses."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import DateTime, LargeBinary, Text, text
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
