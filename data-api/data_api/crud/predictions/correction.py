"""The correction that counts for each prediction, for training and for the accuracy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Literal

from sqlalchemy import Boolean, Double, Select, Text, TextualSelect, Uuid, case, column, func, select, text
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session, aliased

from data_api.ids import floor
from data_api.models.people.user import Role
from data_api.models.predictions.example import Example

Rule = Literal["latest", "majority"]

BATCH = 500
TRUSTED_ROLES = (Role.TRAINER, Role.ADMIN)
"""Corrections by these roles count before those of users."""
IS_TRUSTED = case((Example.user_role.in_(TRUSTED_ROLES), 1), else_=0)
LAST_OF_EACH_PERSON = f"""
    SELECT DISTINCT ON (prediction_id, user_id)
           id, prediction_id, user_id, label, value,
           user_role IN ({", ".join(f"'{role}'" for role in TRUSTED_ROLES)}) AS trusted
    FROM examples WHERE task = :task AND {{condition}}
    ORDER BY prediction_id, user_id, id DESC
"""  # noqa: S608
"""The last correction of each person on each prediction of a task."""


def stream(session: Session, task: str, since: datetime | None, rule: Rule = "latest") -> Iterator[Sequence[Example]]:
    """The correction that counts for each prediction, in the order of ids, in batches from a server-side cursor.

    With `since`, `latest` leaves out corrections made before it, after the choice: a user's new correction does not
    replace a trainer's old one. `majority` leaves out predictions without a correction since then, because a
    correction can lose the majority without a new one for the winner.
    """
    query = latest(task) if rule == "latest" else majority(task, since)
    chosen = aliased(Example, query.subquery())
    lines = select(chosen).order_by(chosen.id)
    if since and rule == "latest":
        lines = lines.where(chosen.id >= floor(since))
    yield from session.scalars(lines, execution_options={"yield_per": BATCH}).partitions()


def latest(task: str) -> Select[Example]:
    """For each prediction: a trainer's correction before a user's, then the later before the earlier."""
    return (
        select(Example)
        .where(Example.task == task)
        .ext(distinct_on(Example.prediction_id))
        .order_by(Example.prediction_id, IS_TRUSTED.desc(), Example.id.desc())
    )


def majority(task: str, since: datetime | None = None) -> Select[Example]:
    """For each prediction: the most frequent truth among each person's last correction, only those of trainers if there
    are any; on a tie the truth with the latest correction. Returns the latest correction with that truth.
    """
    last = last_of_each_person(task, since).subquery("last")
    votes = func.count().over(partition_by=(last.c.prediction_id, last.c.trusted, last.c.label, last.c.value))
    counted = select(last, votes.label("votes")).subquery()
    winners = (
        select(counted.c.id)
        .ext(distinct_on(counted.c.prediction_id))
        .order_by(counted.c.prediction_id, counted.c.trusted.desc(), counted.c.votes.desc(), counted.c.id.desc())
        .subquery()
    )
    return select(Example).join(winners, winners.c.id == Example.id)


def last_of_each_person(task: str, since: datetime | None) -> TextualSelect:
    """`LAST_OF_EACH_PERSON` of a task; with `since`, of the predictions that were corrected since then."""
    corrected_since = "prediction_id IN (SELECT prediction_id FROM examples WHERE task = :task AND id >= :since)"
    statement = text(LAST_OF_EACH_PERSON.format(condition=corrected_since if since else "true"))
    parameters = {"task": task} | ({"since": floor(since)} if since else {})
    return statement.bindparams(**parameters).columns(
        column("id", Uuid),
        column("prediction_id", Uuid),
        column("user_id", Uuid),
        column("label", Text),
        column("value", Double),
        column("trusted", Boolean),
    )
