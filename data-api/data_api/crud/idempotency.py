"""Requests with an Idempotency-Key."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from data_api.models.idempotency import IdempotencyKey


def begin(session: Session, digest: str, body: str) -> IdempotencyKey | None:
    """The earlier request with this digest; None if this is the first. Waits for an earlier one that is still running:
    if it fails, this one is the first.
    """
    new = insert(IdempotencyKey).values(digest=digest, body=body).on_conflict_do_nothing().returning(IdempotencyKey)
    if session.scalar(new) is not None:
        return None
    return session.scalars(select(IdempotencyKey).where(IdempotencyKey.digest == digest)).one()


def end(session: Session, digest: str, response: bytes) -> None:
    """Stores the encrypted response."""
    request = session.get_one(IdempotencyKey, digest)
    request.answer = response
    session.flush()
