"""Requests that create something, once."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from data_api.models.idempotency import IdempotencyKey


def begin(session: Session, digest: str, body: str) -> IdempotencyKey | None:
    """The request that came before with this digest; None when this is the first. One that is still being answered is
    waited for: if it fails after all, this one is the first.
    """
    new = insert(IdempotencyKey).values(digest=digest, body=body).on_conflict_do_nothing().returning(IdempotencyKey)
    if session.scalar(new) is not None:
        return None
    return session.scalars(select(IdempotencyKey).where(IdempotencyKey.digest == digest)).one()


def end(session: Session, digest: str, answer: bytes) -> None:
    """Keeps the answer."""
    kept = session.get_one(IdempotencyKey, digest)
    kept.answer = answer
    session.flush()
