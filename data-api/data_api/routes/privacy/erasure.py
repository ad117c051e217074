"""Erasure of people."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path
from sqlalchemy.orm import Session

from data_api.crud.privacy import erasure, instance
from data_api.errors import NotAllowed
from data_api.http.caller import Admin, Person, Service
from data_api.http.paging import Cursor, Limit, decode_cursor, page_of
from data_api.http.session import DbSession
from data_api.models.people.user import Role
from data_api.models.privacy.erasure import Erasure, ErasureStatus
from data_api.schemas.base import Page
from data_api.schemas.privacy.erasure import ErasureOut, InstanceName, PartIn

router = APIRouter(tags=["erasure"])

ErasureId = Annotated[UUID, Path(description="The `id` in the response to the request for erasure.")]
InstancePath = Annotated[InstanceName, Path(description="The name under which it asked for the snapshot.")]


@router.delete("/users/{user_id}/data", status_code=202)
def erase(user_id: UUID, caller: Person, session: DbSession) -> ErasureOut:
    """Erases a person: the account and all data about them, in every part of Volant. For admins, and for the person.

    Their access ends at once; the data is deleted within seconds. GET /erasures/{id} shows the progress.
    """
    if caller.role != Role.ADMIN and caller.user_id != user_id:
        raise NotAllowed
    return _with_awaited(session, erasure.request(session, user_id, caller.user_id))


@router.get("/erasures")
def find(
    _: Admin, session: DbSession, status: ErasureStatus | None = None, limit: Limit = 100, cursor: Cursor = None
) -> Page[ErasureOut]:
    """Lists erasures, newest first."""
    rows, more = erasure.find(session, status, limit, decode_cursor(cursor))
    present = instance.present(session)
    return page_of(ErasureOut, [_out(row, present) for row in rows], more)


@router.get("/erasures/{erasure_id}")
def get(erasure_id: ErasureId, _: Admin, session: DbSession) -> ErasureOut:
    """What was deleted where, and which parts have yet to report."""
    return _with_awaited(session, erasure.get(session, erasure_id))


@router.post("/erasures/{erasure_id}/parts", status_code=204)
def report(erasure_id: ErasureId, body: PartIn, _: Service, session: DbSession) -> None:
    """Reports what an ai-api instance removed."""
    erasure.report(session, erasure_id, body.replica, body.removed)


@router.delete("/replicas/{replica_name}", status_code=204, operation_id="forget_replicas__replica_name__delete")
def delete_instance(replica_name: InstancePath, _: Service, session: DbSession) -> None:
    """Reports that an ai-api instance has ended and another holds all its data: no erasure waits for it any more."""
    instance.delete_one(session, replica_name)


def _with_awaited(session: Session, found: Erasure) -> ErasureOut:
    return _out(found, instance.present(session))


def _out(found: Erasure, present: set[str]) -> ErasureOut:
    columns = {column.key: getattr(found, column.key) for column in Erasure.__table__.columns}
    return ErasureOut(**columns, awaited=erasure.awaited(found, present))
