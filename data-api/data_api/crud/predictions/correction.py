"""The corrections that a training reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Literal

from sqlalchemy import Select, case, func, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session, aliased

from data_api.ids import floor
from data_api.models.people.user import Role
from data_api.models.predictions.example import Example

BATCH = 500
TRUSTED = case((Example.user_role.in_([Role.TRAINER, Role.ADMIN]), 1), else_=0)


def stream(
    session: Session, task: str, since: datetime | None, word: Literal["latest", "majority"] = "latest"
) -> Iterator[Sequence[Example]]:
    """The word that counts for each prediction, in the order of ids, some at a time, through a server-side cursor.

    `since` leaves out the words given before it, after that choice: a user's new word does not step in for a trainer's
    old one. By majority it leaves out the predictions that nobody has spoken about since, as a word may lose the
    majority without a new one for the winner.
    """
    query = latest(task) if word == "latest" else majority(task, since)
    chosen = aliased(Example, query.subquery())
    lines = select(chosen).order_by(chosen.id)
    if since and word == "latest":
        lines = lines.where(chosen.id >= floor(since))
    yield from session.scalars(lines, execution_options={"yield_per": BATCH}).partitions()


def latest(task: str) -> Select[Example]:
    """A trainer's word over a user's, then the later over the earlier."""
    return (
        select(Example)
        .where(Example.task == task)
        .ext(distinct_on(Example.prediction_id))
        .order_by(Example.prediction_id, TRUSTED.desc(), Example.id.desc())
    )


def majority(task: str, since: datetime | None = None) -> Select[Example]:
    """What most people say, trainers' words alone if there are any; everybody's last word counts once, and of two
    truths with as many voices the one that was said last wins.
    """
    voices = (
        select(Example.id, Example.prediction_id, Example.label, Example.value, TRUSTED.label("trusted"))
        .where(Example.task == task)
        .ext(distinct_on(Example.prediction_id, Example.user_id))
        .order_by(Example.prediction_id, Example.user_id, Example.id.desc())
    )
    if since:
        recent = aliased(Example)
        voices = voices.where(
            Example.prediction_id.in_(
                select(recent.prediction_id).where(recent.task == task, recent.id >= floor(since))
            )
        )
    said = voices.subquery()
    about, trusted = said.c.prediction_id, said.c.trusted
    votes = func.count().over(partition_by=(about, trusted, said.c.label, said.c.value)).label("votes")
    counted = select(said, votes).subquery()
    winners = (
        select(counted.c.id)
        .ext(distinct_on(counted.c.prediction_id))
        .order_by(counted.c.prediction_id, counted.c.trusted.desc(), counted.c.votes.desc(), counted.c.id.desc())
        .subquery()
    )
    return select(Example).join(winners, winners.c.id == Example.id)
