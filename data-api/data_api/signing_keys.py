"""Where the keyring meets the database: signing keys loaded, made and followed by the next."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.orm import Session

from .crud.people import signing_key
from .database import Database
from .keyring import Key, Seal

ANNOUNCED = timedelta(minutes=5)
"""How long a new key is shown before it signs: by then every data-api and ai-api has read it."""
MARGIN = timedelta(minutes=5)
"""How much longer than its last token a key is shown: clocks differ."""
AT_ONCE = timedelta(0)


def load(database: Database, seal: Seal) -> list[Key]:
    """The keys that our secret opens. With none that still signs, the secret itself becomes one: so it is at the very
    first start, and after the secret was exchanged.
    """
    with database.session() as session:
        keys = opened(session, seal)
        if not _can_sign(keys):
            signing_key.lock(session)
            session.expire_all()
            keys = opened(session, seal)
            if not _can_sign(keys):
                _add(session, seal, seal.first, AT_ONCE, AT_ONCE)
                keys = opened(session, seal)
    return keys


def opened(session: Session, seal: Seal) -> list[Key]:
    """The keys in the database that our secret opens. What it does not open was not put there by us."""
    return [
        Key(private, row.signs_from, row.retires_at)
        for row in signing_key.find(session)
        if (private := seal.open(row.kid, row.sealed_seed))
    ]


def rotate(session: Session, seal: Seal, token_lifetime: timedelta, *, at_once: bool = False) -> str:
    """Makes the next key and answers its `kid`. Tokens of the old ones hold until they expire by themselves; with
    `at_once`, which is for a key that leaked, they end now, and clients refresh.
    """
    signing_key.lock(session)
    overlap = AT_ONCE if at_once else ANNOUNCED + token_lifetime + MARGIN
    return _add(session, seal, Ed25519PrivateKey.generate(), AT_ONCE if at_once else ANNOUNCED, overlap)


def describe(session: Session, seal: Seal) -> Sequence[str]:
    """A line for each key, oldest first: its `kid`, its times, and what it does now. Nothing of it is secret."""
    ours = {key.kid: key for key in opened(session, seal)}
    now = datetime.now(UTC)
    signing = max((key for key in ours.values() if key.signs_from <= now), key=lambda key: key.signs_from, default=None)
    lines = []
    for row in signing_key.find(session):
        if row.kid not in ours:
            state = "sealed by another secret"
        elif ours[row.kid].is_retired(now):
            state = "retired"
        elif signing and row.kid == signing.kid:
            state = "signs"
        else:
            state = "announced" if row.signs_from > now else "verifies"
        retires = f"{row.retires_at:%Y-%m-%d %H:%M}" if row.retires_at else "-"
        lines.append(f"{row.kid}  from {row.signs_from:%Y-%m-%d %H:%M}  retires {retires}  {state}")
    return lines


def _can_sign(keys: Sequence[Key]) -> bool:
    now = datetime.now(UTC)
    return any(not key.is_retired(now) for key in keys)


def _add(session: Session, seal: Seal, private: Ed25519PrivateKey, signs_in: timedelta, overlap: timedelta) -> str:
    key = Key(private, datetime.now(UTC))
    return signing_key.add(session, key.kid, key.x, seal.close(key), signs_in, overlap).kid
