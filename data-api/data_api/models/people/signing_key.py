"""Signing keys of access tokens."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import DateTime, LargeBinary, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from data_api.database import Base
from data_api.models.audit import Audited


class SigningKey(Audited, Base):
    """An Ed25519 key. Its seed is encrypted with a key that is not in the database, so the database alone cannot sign
    tokens, and a row that was inserted by others is ignored, as it cannot be decrypted.
    """

    __tablename__ = "signing_keys"
    __secret__ = frozenset({"sealed_seed"})

    kid: Mapped[str] = mapped_column(Text, primary_key=True)
    """The thumbprint of the public key (RFC 7638)."""
    public_key: Mapped[str] = mapped_column(Text)
    """In base64url, as JWKS shows it."""
    sealed_seed: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=text("now()"))
    signs_from: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    """A new key is published some minutes before it signs, so that every service that verifies has read it."""
    retires_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """From then on its tokens are refused."""
