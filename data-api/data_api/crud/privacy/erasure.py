"""Erasing a person: the tombstone, everything of theirs in Postgres, and who has yet to say that they hold nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import cast
from uuid import UUID

from sqlalchemy import ColumnElement, delete, exists, func, or_, select
from sqlalchemy.engine import CursorResult
from sqlalchemy.orm import InstrumentedAttribute, Session

from data_api.crud.page import page
from data_api.crud.people import user
from data_api.crud.predictions import joining
from data_api.errors import UnknownErasure, UnknownUser
from data_api.ids import new_id
from data_api.models.audit import AuditDetail
from data_api.models.people.invitation import Invitation
from data_api.models.people.user import DeletedUser, User
from data_api.models.predictions.example import Example
from data_api.models.predictions.feedback import Feedback
from data_api.models.predictions.labelling import Assignment, Sample
from data_api.models.predictions.prediction import Prediction
from data_api.models.privacy.erasure import Erasure, ErasureStatus

from . import tombstone

HERE, THERE = "data-api", "ai-api"
OF_A_PERSON: tuple[tuple[InstrumentedAttribute[UUID], InstrumentedAttribute[UUID | None]], ...] = (
    (Feedback.id, cast("InstrumentedAttribute[UUID | None]", Feedback.user_id)),
    (Example.id, cast("InstrumentedAttribute[UUID | None]", Example.user_id)),
    (Example.id, Example.asker_id),
)
"""Besides the predictions: the key of a table, and the column that says whose a row is."""
ABOUT_A_PREDICTION = (Feedback.prediction_id, Sample.prediction_id, Assignment.prediction_id)
IN_SNAPSHOT = timedelta(days=30)
"""How long a finished erasure stays in the snapshot, for an ai-api instance that was away and comes back."""


@dataclass(frozen=True)
class Tombstone:
    """What is kept of an erasure outside of Postgres."""

    id: UUID
    user_id: UUID
    requested_at: datetime


def request(session: Session, user_id: UUID, by: UUID | None) -> Erasure:
    """Puts up the tombstone and ends the person's access at once; their first one if there are two requests.

    UnknownUser when nothing of them is there, LastAdmin when nobody would be left to manage people.
    """
    tombstone.lock_out_ingest(session)
    found = session.scalar(select(Erasure).where(Erasure.user_id == user_id))
    if found:
        return found
    if session.get(User, user_id):
        user.change(session, user_id, disabled=True)
    elif not _left_something(session, user_id):
        raise UnknownUser
    erasure = Erasure(id=new_id(), user_id=user_id, requested_by=by, status=ErasureStatus.REQUESTED, removed={})
    session.add(erasure)
    session.flush()
    session.refresh(erasure)
    return erasure


def get(session: Session, erasure_id: UUID) -> Erasure:
    """The erasure, or UnknownErasure."""
    found: Erasure | None = session.get(Erasure, erasure_id)
    if found is None:
        raise UnknownErasure
    return found


def find(session: Session, limit: int, below: UUID | None) -> tuple[Sequence[Erasure], bool]:
    """A page, newest first."""
    return page(session, select(Erasure), Erasure.id, limit, below)


def open_ages(session: Session) -> list[timedelta]:
    """How long ago each erasure that is not finished was requested."""
    age = func.now() - Erasure.requested_at
    return list(session.scalars(select(age).where(Erasure.status != ErasureStatus.FINISHED)))


def in_snapshot(session: Session) -> Sequence[Erasure]:
    """The erasures that the snapshot names to ai-api: the open ones and the recently finished."""
    recent = Erasure.finished_at > func.now() - IN_SNAPSHOT
    return session.scalars(select(Erasure).where(or_(Erasure.status != ErasureStatus.FINISHED, recent))).all()


def report(session: Session, erasure_id: UUID, instance: str, removed: Mapping[str, int]) -> None:
    """Adds the counts of what an ai-api instance has removed."""
    _count(_hold(session, erasure_id), f"{THERE} {instance}", removed)
    session.flush()


def awaited(erasure: Erasure, present: set[str]) -> list[str]:
    """The parts that have something left to do; ours is the last to go, as it closes the erasure."""
    if erasure.status == ErasureStatus.FINISHED:
        return []
    silent = _silent(erasure, present)
    return [HERE, *silent] if erasure.status == ErasureStatus.REQUESTED or not silent else silent


def tombstones(session: Session) -> list[Tombstone]:
    """All that there are."""
    rows = session.execute(select(Erasure.id, Erasure.user_id, Erasure.requested_at))
    return [Tombstone(key, user_id, requested_at) for key, user_id, requested_at in rows]


def replay(session: Session, kept: Iterable[Tombstone]) -> int:
    """Puts up the tombstones that are missing here; how many."""
    tombstone.lock_out_ingest(session)
    there = set(session.scalars(select(Erasure.user_id)))
    missing = [one for one in kept if one.user_id not in there]
    for one in missing:
        asked = {"id": one.id, "user_id": one.user_id, "requested_at": one.requested_at}
        session.add(Erasure(**asked, status=ErasureStatus.REQUESTED, removed={}))
    session.flush()
    return len(missing)


def repeat(session: Session) -> int:
    """Asks for every erasure anew, as after a backup was restored; how many."""
    found = session.scalars(select(Erasure).with_for_update()).all()
    for erasure in found:
        erasure.status, erasure.finished_at, erasure.removed = ErasureStatus.REQUESTED, None, {}
    session.flush()
    return len(found)


def with_status(session: Session, status: ErasureStatus) -> list[UUID]:
    """The ids of the erasures with this status, oldest first."""
    return list(session.scalars(select(Erasure.id).where(Erasure.status == status).order_by(Erasure.id)))


def erase_some(session: Session, erasure_id: UUID, most: int) -> bool:
    """Removes up to `most` rows of a kind, as the owner of the tables. False: that was all, the account included."""
    erasure = _hold(session, erasure_id)
    removed = _predictions(session, erasure.user_id, most) or _of_theirs(session, erasure.user_id, most)
    _count(erasure, HERE, removed)
    if not removed:
        _count(erasure, HERE, _account(session, erasure.user_id))
        erasure.status = ErasureStatus.AWAITING
    session.flush()
    return bool(removed)


def finish(session: Session, erasure_id: UUID, present: set[str]) -> bool:
    """Closes the erasure if every ai-api has reported; whether it is closed."""
    erasure = _hold(session, erasure_id)
    if _silent(erasure, present):
        return False
    erasure.status, erasure.finished_at = ErasureStatus.FINISHED, datetime.now(UTC)
    session.flush()
    return True


def _silent(erasure: Erasure, present: set[str]) -> list[str]:
    """Each ai-api that is there and has not reported; `ai-api` when none is there and none ever has."""
    replicas = sorted({f"{THERE} {name}" for name in present} - erasure.removed.keys())
    has_any = present or any(part.startswith(THERE) for part in erasure.removed)
    return replicas if has_any else [THERE]


def _predictions(session: Session, user_id: UUID, most: int) -> dict[str, int]:
    """Some of their predictions, with what others said about them and the copies of their rows.

    The lock keeps feedback that meets one of them in this moment from copying its row once more.
    """
    mine = select(Prediction.id, Prediction.task).where(Prediction.user_id == user_id)
    found = session.execute(mine.order_by(Prediction.id).limit(most)).all()
    if not found:
        return {}
    ids, tasks = [key for key, _ in found], {task for _, task in found}
    joining.lock(session, ids, alone=False)
    removed = {"predictions": _delete(session, Prediction.id, ids)}
    removed["examples"] = _delete(session, Example.prediction_id, ids, Example.task.in_(tasks))  # as its index has it
    for about in ABOUT_A_PREDICTION:
        removed[about.class_.__tablename__] = _delete(session, about, ids)
    return removed


def _of_theirs(session: Session, user_id: UUID, most: int) -> dict[str, int]:
    for key, owner in OF_A_PERSON:
        ids = list(session.scalars(select(key).where(owner == user_id).order_by(key).limit(most)))
        if ids:
            return {key.class_.__tablename__: _delete(session, key, ids)}
    return {}


def _account(session: Session, user_id: UUID) -> dict[str, int]:
    """Who they were: the account with its keys and sign-ins, invitations, and every value that the audit holds."""
    held: User | None = session.get(User, user_id, with_for_update=True)
    addresses = _addresses(session, user_id)
    invited = or_(Invitation.user_id == user_id, Invitation.user_id.is_(None) & Invitation.email.in_(addresses))
    invitations = session.scalars(select(Invitation).where(invited)).all()
    for invitation in invitations:
        session.delete(invitation)
    if held:
        session.merge(DeletedUser(id=user_id))
        session.delete(held)
    session.flush()  # the history of these deletions has details too: they go with the others
    address = or_(*(side["email"].astext.in_(addresses) for side in (AuditDetail.before, AuditDetail.after)))
    nameless = AuditDetail.user_id.is_(None) & address  # of invitations, which are of nobody until they are accepted
    details = session.execute(delete(AuditDetail).where(or_(AuditDetail.user_id == user_id, nameless)))
    return {
        "account": int(held is not None),
        "invitations": len(invitations),
        "audit_details": cast("CursorResult[object]", details).rowcount,
    }


def _addresses(session: Session, user_id: UUID) -> set[str]:
    """The e-mails that they have or had, but for those that are somebody else's now."""
    sides = (AuditDetail.before["email"].astext, AuditDetail.after["email"].astext)
    known = session.execute(select(*sides).where(AuditDetail.user_id == user_id)).all()
    found = {address for row in known for address in row if address}
    found.update(session.scalars(select(User.email).where(User.id == user_id)))
    return found - set(session.scalars(select(User.email).where(User.email.in_(found), User.id != user_id)))


def _left_something(session: Session, user_id: UUID) -> bool:
    """Whether there is something of a person who has no account any more."""
    places = (DeletedUser.id, Prediction.user_id, AuditDetail.user_id, *(owner for _, owner in OF_A_PERSON))
    return any(session.scalar(select(exists().where(place == user_id))) for place in places)


def _hold(session: Session, erasure_id: UUID) -> Erasure:
    """The erasure, read anew and locked: several parts report at once."""
    found: Erasure | None = session.get(Erasure, erasure_id, with_for_update=True, populate_existing=True)
    if found is None:
        raise UnknownErasure
    return found


def _count(erasure: Erasure, part: str, removed: Mapping[str, int]) -> None:
    before = erasure.removed.get(part, {})
    total = {**before, **{kind: before.get(kind, 0) + number for kind, number in removed.items()}}
    erasure.removed = {**erasure.removed, part: total}


def _delete(
    session: Session, column: InstrumentedAttribute[UUID], values: Sequence[UUID], *others: ColumnElement[bool]
) -> int:
    statement = delete(column.class_).where(column.in_(values), *others)
    done = session.execute(statement, execution_options={"synchronize_session": False})
    return cast("CursorResult[object]", done).rowcount
