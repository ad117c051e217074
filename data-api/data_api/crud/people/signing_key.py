"""Signing keys."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from data_api.crud import advisory_lock
from data_api.models.people.signing_key import SigningKey

ROTATION_LOCK = 0x6B657973
"""Key of the advisory lock under which signing keys change: "keys" in ASCII."""


def find(session: Session) -> Sequence[SigningKey]:
    """Every key, oldest first."""
    return session.scalars(select(SigningKey).order_by(SigningKey.created_at, SigningKey.kid)).all()


def lock(session: Session) -> None:
    """Takes the lock for changes of signing keys until the transaction ends."""
    advisory_lock.lock(session, ROTATION_LOCK)


def add(
    session: Session, kid: str, public_key: str, sealed_seed: bytes, signs_in: timedelta, others_retire_in: timedelta
) -> SigningKey:
    """Adds a key that signs after `signs_in`. The others retire after `others_retire_in`, if not before."""
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
