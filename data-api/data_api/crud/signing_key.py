"""Signing keys: read, and followed by new ones."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from data_api.models import SigningKey

ROTATION = 0x6B657973
"""Key of the advisory lock for changes of signing keys; it spells "keys"."""


def find(session: Session) -> Sequence[SigningKey]:
    """Every key, oldest first."""
    return session.scalars(select(SigningKey).order_by(SigningKey.created_at, SigningKey.kid)).all()


def lock(session: Session) -> None:
    """One change of keys at a time, until the transaction ends."""
    session.execute(select(func.pg_advisory_xact_lock(ROTATION)))


def add(
    session: Session, kid: str, public_key: str, sealed_seed: bytes, signs_in: timedelta, others_retire_in: timedelta
) -> SigningKey:
    """A key that signs after `signs_in`. The others retire after `others_retire_in`, unless they do so before."""
    now = session.scalars(select(func.now())).one()
    for other in find(session):
        if other.kid != kid and (other.retires_at is None or other.retires_at > now + others_retire_in):
            other.retires_at = now + others_retire_in
    key = session.get(SigningKey, kid) or SigningKey(kid=kid)
    key.public_key, key.sealed_seed = public_key, sealed_seed
    key.signs_from, key.retires_at = now + signs_in, None
    session.add(key)
    session.flush()
    return key
