"""Erasing people."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path
from sqlalchemy.orm import Session

from data_api.crud.privacy import erasure, instance
from data_api.errors import NotAllowed
from data_api.http.caller import Admin, Person, Service
from data_api.http.paging import Cursor, Limit, answer, below
from data_api.http.session import DbSession
from data_api.models.people.user import Role
from data_api.models.privacy.erasure import Erasure
from data_api.schemas.base import Page
from data_api.schemas.privacy.erasure import ErasureOut, InstanceName, PartIn

router = APIRouter(tags=["erasure"])

Key = Annotated[UUID, Path(description="The `id` that the request for erasure answered.")]
Ended = Annotated[InstanceName, Path(description="The name under which it asked for the snapshot.")]


@router.delete("/users/{user_id}/data", status_code=202)
def erase(user_id: UUID, caller: Person, session: DbSession) -> ErasureOut:
    """Erases a person for good: the account, and everything that is kept of them anywhere. Admins, or they themselves.

    Their access ends with this answer; the rest follows within seconds. GET /erasures/{id} says how far it is.
    """
    if caller.role != Role.ADMIN and caller.user_id != user_id:
        raise NotAllowed
    return _shown(session, erasure.request(session, user_id, caller.user_id))


@router.get("/erasures")
def find(_: Admin, session: DbSession, limit: Limit = 100, cursor: Cursor = None) -> Page[ErasureOut]:
    """Lists erasures, newest first."""
    rows, more = erasure.find(session, limit, below(cursor))
    present = instance.present(session)
    return answer(ErasureOut, [_out(row, present) for row in rows], more)


@router.get("/erasures/{erasure_id}")
def get(erasure_id: Key, _: Admin, session: DbSession) -> ErasureOut:
    """What was removed, where, and who has yet to say that nothing is left."""
    return _shown(session, erasure.get(session, erasure_id))


@router.post("/erasures/{erasure_id}/parts", status_code=204)
def report(erasure_id: Key, body: PartIn, _: Service, session: DbSession) -> None:
    """Reports what an ai-api instance removed."""
    erasure.report(session, erasure_id, body.replica, body.removed)


@router.delete("/replicas/{replica_name}", status_code=204)
def forget(replica_name: Ended, _: Service, session: DbSession) -> None:
    """Reports that an ai-api instance has ended and another holds all its data: no erasure waits for it any more."""
    instance.delete_one(session, replica_name)


def _shown(session: Session, found: Erasure) -> ErasureOut:
    return _out(found, instance.present(session))


def _out(found: Erasure, present: set[str]) -> ErasureOut:
    columns = {column.key: getattr(found, column.key) for column in Erasure.__table__.columns}
    return ErasureOut(**columns, awaited=erasure.awaited(found, present))
