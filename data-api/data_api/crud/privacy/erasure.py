"""Erasure of a person: the tombstone, the deletion of their rows in Postgres, and the reports of ai-api instances."""

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
from data_api.database import Base
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
from .instance import AWAY

DATA_API, AI_API = "data-api", "ai-api"
OWNED_BY_PERSON: tuple[tuple[InstrumentedAttribute[UUID], InstrumentedAttribute[UUID | None]], ...] = (
    (Feedback.id, cast("InstrumentedAttribute[UUID | None]", Feedback.user_id)),
    (Example.id, cast("InstrumentedAttribute[UUID | None]", Example.user_id)),
    (Example.id, Example.asker_id),
)
"""Besides the predictions: the key of a table, and the column with the owner of a row."""
ABOUT_A_PREDICTION = (Feedback.prediction_id, Sample.prediction_id, Assignment.prediction_id)
OF_ACCOUNTS = {"users", "api_keys", "refresh_tokens", "known_addresses", "invitations", "audit_details"}
"""Tables that every erasure touches."""
IN_SNAPSHOT = timedelta(days=30)
"""How long a finished erasure stays in the snapshot, for an ai-api instance that was away and comes back."""


@dataclass(frozen=True)
class Tombstone:
    """What the file of tombstones holds of an erasure."""

    id: UUID
    user_id: UUID
    requested_at: datetime


def request(session: Session, user_id: UUID, by: UUID | None) -> Erasure:
    """Adds the tombstone and disables the account at once. Returns the existing erasure if there is one.

    UnknownUser if there is no data of this person, LastAdmin if no enabled admin would be left.
    """
    tombstone.lock_out_ingest(session)
    found = session.scalar(select(Erasure).where(Erasure.user_id == user_id))
    if found:
        return found
    if session.get(User, user_id):
        user.change(session, user_id, disabled=True)
    elif not _has_data(session, user_id):
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


def find(
    session: Session, status: ErasureStatus | None, limit: int, below: UUID | None
) -> tuple[Sequence[Erasure], bool]:
    """A page, newest first."""
    query = select(Erasure)
    if status is not None:
        query = query.where(Erasure.status == status)
    return page(session, query, Erasure.id, limit, below)


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
    _add_counts(_locked(session, erasure_id), f"{AI_API} {instance}", removed)
    session.flush()


def awaited(erasure: Erasure, present: set[str]) -> list[str]:
    """The parts that have yet to report. data-api is the last one, as it finishes the erasure."""
    if erasure.status == ErasureStatus.FINISHED:
        return []
    unreported = _unreported(erasure, present)
    return [DATA_API, *unreported] if erasure.status == ErasureStatus.REQUESTED or not unreported else unreported


def tombstones(session: Session) -> list[Tombstone]:
    """All tombstones."""
    rows = session.execute(select(Erasure.id, Erasure.user_id, Erasure.requested_at))
    return [Tombstone(key, user_id, requested_at) for key, user_id, requested_at in rows]


def replay(session: Session, in_file: Iterable[Tombstone]) -> int:
    """Adds the tombstones that Postgres lacks; how many."""
    tombstone.lock_out_ingest(session)
    present = set(session.scalars(select(Erasure.user_id)))
    missing = [one for one in in_file if one.user_id not in present]
    for one in missing:
        values = {"id": one.id, "user_id": one.user_id, "requested_at": one.requested_at}
        session.add(Erasure(**values, status=ErasureStatus.REQUESTED, removed={}))
    session.flush()
    return len(missing)


def repeat(session: Session) -> int:
    """Requests every erasure again, as after a backup was restored; how many."""
    found = session.scalars(select(Erasure).with_for_update()).all()
    for erasure in found:
        erasure.status, erasure.erased_at, erasure.finished_at = ErasureStatus.REQUESTED, None, None
        erasure.removed = {}
    session.flush()
    return len(found)


def with_status(session: Session, status: ErasureStatus) -> list[UUID]:
    """The ids of the erasures with this status, oldest first."""
    return list(session.scalars(select(Erasure.id).where(Erasure.status == status).order_by(Erasure.id)))


def erase_some(session: Session, erasure_id: UUID, most: int) -> bool:
    """Deletes up to `most` rows of one table. False: nothing is left, and the account is deleted too."""
    erasure = _locked(session, erasure_id)
    removed = _delete_predictions(session, erasure.user_id, most) or _delete_owned(session, erasure.user_id, most)
    _add_counts(erasure, DATA_API, removed)
    if not removed:
        _add_counts(erasure, DATA_API, _delete_account(session, erasure.user_id))
        erasure.status, erasure.erased_at = ErasureStatus.AWAITING, datetime.now(UTC)
    session.flush()
    return bool(removed)


def touched_tables(session: Session, erasure_ids: Iterable[UUID]) -> set[str]:
    """The tables from which these erasures have deleted something, and those of accounts."""
    found = session.scalars(select(Erasure.removed).where(Erasure.id.in_(erasure_ids)))
    counted = {kind for removed in found for kind, number in removed.get(DATA_API, {}).items() if number}
    return OF_ACCOUNTS | (counted & Base.metadata.tables.keys())


def is_reported(session: Session, erasure_id: UUID, present: set[str]) -> bool:
    """Whether every ai-api instance has reported."""
    return not _unreported(get(session, erasure_id), present)


def finish(session: Session, erasure_id: UUID, present: set[str]) -> bool:
    """Finishes the erasure if every ai-api instance has reported; whether it is finished."""
    erasure = _locked(session, erasure_id)
    if _unreported(erasure, present):
        return False
    erasure.status, erasure.finished_at = ErasureStatus.FINISHED, datetime.now(UTC)
    session.flush()
    return True


def _unreported(erasure: Erasure, present: set[str]) -> list[str]:
    """The ai-api instances that are present and have not reported. `ai-api`, while there is none, until one has
    reported or has had the time `AWAY` to appear: what an instance that comes back later holds is erased then.
    """
    unreported = sorted({f"{AI_API} {name}" for name in present} - erasure.removed.keys())
    is_known = present or any(part.startswith(AI_API) for part in erasure.removed)
    is_over = erasure.erased_at is not None and datetime.now(UTC) - erasure.erased_at > AWAY
    return unreported if is_known or is_over else [AI_API]


def _delete_predictions(session: Session, user_id: UUID, most: int) -> dict[str, int]:
    """Deletes up to `most` predictions of the person, with feedback, samples, assignments and examples about them.

    The lock prevents feedback that is being joined with one of them from copying its row again.
    """
    mine = select(Prediction.id, Prediction.task).where(Prediction.user_id == user_id)
    found = session.execute(mine.order_by(Prediction.id).limit(most)).all()
    if not found:
        return {}
    ids, tasks = [key for key, _ in found], {task for _, task in found}
    joining.lock(session, ids, exclusive=False)
    removed = {"predictions": _delete(session, Prediction.id, ids)}
    removed["examples"] = _delete(session, Example.prediction_id, ids, Example.task.in_(tasks))  # as its index has it
    for about in ABOUT_A_PREDICTION:
        removed[about.class_.__tablename__] = _delete(session, about, ids)
    return removed


def _delete_owned(session: Session, user_id: UUID, most: int) -> dict[str, int]:
    for key, owner in OWNED_BY_PERSON:
        ids = list(session.scalars(select(key).where(owner == user_id).order_by(key).limit(most)))
        if ids:
            return {key.class_.__tablename__: _delete(session, key, ids)}
    return {}


def _delete_account(session: Session, user_id: UUID) -> dict[str, int]:
    """Deletes the account with its keys and sign-ins, invitations, and every value about the person in the audit."""
    account: User | None = session.get(User, user_id, with_for_update=True)
    addresses = _addresses(session, user_id)
    invited = or_(Invitation.user_id == user_id, Invitation.user_id.is_(None) & Invitation.email.in_(addresses))
    invitations = session.scalars(select(Invitation).where(invited)).all()
    for invitation in invitations:
        session.delete(invitation)
    if account:
        session.merge(DeletedUser(id=user_id))
        session.delete(account)
    session.flush()  # the audit of these deletions has details too, which are deleted below
    address = or_(*(side["email"].astext.in_(addresses) for side in (AuditDetail.before, AuditDetail.after)))
    of_invitations = AuditDetail.user_id.is_(None) & address  # an invitation has no user until it is accepted
    details = session.execute(delete(AuditDetail).where(or_(AuditDetail.user_id == user_id, of_invitations)))
    return {
        "account": int(account is not None),
        "invitations": len(invitations),
        "audit_details": cast("CursorResult[object]", details).rowcount,
    }


def _addresses(session: Session, user_id: UUID) -> set[str]:
    """The e-mails that the person has or had, without those that are another user's now."""
    sides = (AuditDetail.before["email"].astext, AuditDetail.after["email"].astext)
    known = session.execute(select(*sides).where(AuditDetail.user_id == user_id)).all()
    found = {address for row in known for address in row if address}
    found.update(session.scalars(select(User.email).where(User.id == user_id)))
    return found - set(session.scalars(select(User.email).where(User.email.in_(found), User.id != user_id)))


def _has_data(session: Session, user_id: UUID) -> bool:
    """Whether there is data of a person who has no account."""
    places = (DeletedUser.id, Prediction.user_id, AuditDetail.user_id, *(owner for _, owner in OWNED_BY_PERSON))
    return any(session.scalar(select(exists().where(place == user_id))) for place in places)


def _locked(session: Session, erasure_id: UUID) -> Erasure:
    """The erasure, read again and locked, as several instances may report at once."""
    found: Erasure | None = session.get(Erasure, erasure_id, with_for_update=True, populate_existing=True)
    if found is None:
        raise UnknownErasure
    return found


def _add_counts(erasure: Erasure, part: str, removed: Mapping[str, int]) -> None:
    before = erasure.removed.get(part, {})
    total = {**before, **{kind: before.get(kind, 0) + number for kind, number in removed.items()}}
    erasure.removed = {**erasure.removed, part: total}


def _delete(
    session: Session, column: InstrumentedAttribute[UUID], values: Sequence[UUID], *others: ColumnElement[bool]
) -> int:
    statement = delete(column.class_).where(column.in_(values), *others)
    done = session.execute(statement, execution_options={"synchronize_session": False})
    return cast("CursorResult[object]", done).rowcount
