"""Signing keys in the database: load, rotate and describe them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.orm import Session

from .crud.people import signing_key
from .database import Database
from .keyring import KeyPair, KeySeal

ANNOUNCED = timedelta(minutes=5)
"""How long a new key is in the JWKS before it signs, so that every data-api and ai-api has read it by then."""
MARGIN = timedelta(minutes=5)
"""How long a key stays in the JWKS after its last token has expired, as clocks differ."""
AT_ONCE = timedelta(0)


def load(database: Database, seal: KeySeal) -> list[KeyPair]:
    """The keys that this secret decrypts. If none of them can sign, the key made from the secret itself is added: at
    the first start, and after the secret was replaced.
    """
    with database.session() as session:
        keys = own_keys(session, seal)
        if not _can_sign(keys):
            signing_key.lock(session)
            session.expire_all()
            keys = own_keys(session, seal)
            if not _can_sign(keys):
                _add(session, seal, seal.first, AT_ONCE, AT_ONCE)
                keys = own_keys(session, seal)
    return keys


def own_keys(session: Session, seal: KeySeal) -> list[KeyPair]:
    """The keys in the database that this secret decrypts. Others were not written by this service and are ignored."""
    return [
        KeyPair(private, row.signs_from, row.retires_at)
        for row in signing_key.find(session)
        if (private := seal.unseal(row.kid, row.sealed_seed))
    ]


def rotate(session: Session, seal: KeySeal, token_lifetime: timedelta, *, at_once: bool = False) -> str:
    """Makes the next key and returns its `kid`. Tokens of the old keys stay valid until they expire; with `at_once`,
    for a key that leaked, they end now, and clients refresh.
    """
    signing_key.lock(session)
    overlap = AT_ONCE if at_once else ANNOUNCED + token_lifetime + MARGIN
    return _add(session, seal, Ed25519PrivateKey.generate(), AT_ONCE if at_once else ANNOUNCED, overlap)


def describe(session: Session, seal: KeySeal) -> Sequence[str]:
    """One line for each key, oldest first: its `kid`, its times and its state. Nothing in it is secret."""
    known = {key.kid: key for key in own_keys(session, seal)}
    now = datetime.now(UTC)
    signing = max(
        (key for key in known.values() if key.signs_from <= now), key=lambda key: key.signs_from, default=None
    )
    lines = []
    for row in signing_key.find(session):
        if row.kid not in known:
            state = "sealed by another secret"
        elif known[row.kid].is_retired(now):
            state = "retired"
        elif signing and row.kid == signing.kid:
            state = "signs"
        else:
            state = "announced" if row.signs_from > now else "verifies"
        retires = f"{row.retires_at:%Y-%m-%d %H:%M}" if row.retires_at else "-"
        lines.append(f"{row.kid}  from {row.signs_from:%Y-%m-%d %H:%M}  retires {retires}  {state}")
    return lines


def _can_sign(keys: Sequence[KeyPair]) -> bool:
    now = datetime.now(UTC)
    return any(not key.is_retired(now) for key in keys)


def _add(session: Session, seal: KeySeal, private: Ed25519PrivateKey, signs_in: timedelta, overlap: timedelta) -> str:
    key = KeyPair(private, datetime.now(UTC))
    return signing_key.add(session, key.kid, key.x, seal.seal(key), signs_in, overlap).kid
