"""The corrections that a training reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from sqlalchemy import case, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session, aliased

from data_api.ids import floor
from data_api.models import Example, Role

BATCH = 500


def stream(session: Session, task: str, since: datetime | None) -> Iterator[Sequence[Example]]:
    """The word that counts for each prediction, in the order of ids, some at a time, through a server-side cursor.

    A trainer's word counts over a user's, then the later over the earlier. `since` leaves out the words given before
    it, after that choice: a user's new word does not step in for a trainer's old one.
    """
    trainer = case((Example.user_role.in_([Role.TRAINER, Role.ADMIN]), 1), else_=0)
    latest = (
        select(Example)
        .where(Example.task == task)
        .ext(distinct_on(Example.prediction_id))
        .order_by(Example.prediction_id, trainer.desc(), Example.id.desc())
    )
    chosen = aliased(Example, latest.subquery())
    query = select(chosen).order_by(chosen.id)
    if since:
        query = query.where(chosen.id >= floor(since))
    yield from session.scalars(query, execution_options={"yield_per": BATCH}).partitions()
