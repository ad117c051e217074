"""The keys that access tokens are signed with."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import DateTime, LargeBinary, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from data_api.database import Base
from data_api.models.audit import Audited


class SigningKey(Audited, Base):
    """An Ed25519 key. Its seed is sealed with a key that is not in the database, so the database alone signs nothing,
    and a row that somebody else put here is trusted by nobody: it does not open.
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
    """A new key is shown for a while before it signs, so that whoever verifies knows it by then."""
    retires_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """From then on no token of this key is valid."""
