"""Erasure of people."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path
from sqlalchemy.orm import Session

from data_api.crud.people import user
from data_api.crud.privacy import erasure, instance
from data_api.database import commit_early
from data_api.errors import InvalidRequest, NotAllowed, WrongCredentials, WrongPassword
from data_api.http.body.guarded_route import GuardedRoute
from data_api.http.caller import Admin, InstanceRemover, Person, Service
from data_api.http.context import AppContext, Context
from data_api.http.paging import Cursor, Limit, decode_cursor, page_of
from data_api.http.session import DbSession
from data_api.http.sign_in import confirm_password
from data_api.models.people.user import Role
from data_api.models.privacy.erasure import Erasure, ErasureStatus
from data_api.schemas.base import Page
from data_api.schemas.privacy.erasure import ErasureIn, ErasureOut, InstanceName, PartIn

router = APIRouter(route_class=GuardedRoute, tags=["erasure"])

NO_PASSWORD = ErasureIn()
ErasureId = Annotated[UUID, Path(description="The `id` in the response to the request for erasure.")]
InstancePath = Annotated[InstanceName, Path(description="The name under which it asked for the snapshot.")]


@router.delete("/users/{user_id}/data", status_code=202)
def erase(
    user_id: UUID, caller: Person, context: AppContext, session: DbSession, body: ErasureIn = NO_PASSWORD
) -> ErasureOut:
    """Erases a person: the account and all data about them, in every part of Volant. For admins, and for the person,
    who sends the password again in the body, as this cannot be undone.

    Their access ends at once; the data is deleted within seconds. GET /erasures/{id} shows the progress.
    """
    if caller.user_id == user_id:
        _confirm(context, session, user_id, body.password)
    elif caller.role != Role.ADMIN:
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
def delete_instance(replica_name: InstancePath, _: InstanceRemover, session: DbSession) -> None:
    """Says that an ai-api instance has ended: no erasure waits for it any more. ai-api reports it when another instance
    holds its rows or it ended without any; an admin can do it for one that is gone. One that still runs is awaited
    again from its next snapshot on.
    """
    instance.delete_one(session, replica_name)


def _confirm(context: Context, session: Session, user_id: UUID, password: str | None) -> None:
    """InvalidRequest without a password, WrongPassword with a wrong one."""
    if password is None:
        raise InvalidRequest("Erasing yourself cannot be undone: send your password as `password` in a JSON body.")
    try:
        confirm_password(context, session, user.get(session, user_id), password)
    except WrongCredentials:
        raise WrongPassword from None
    commit_early(session)  # releases the lock on the user, as a change of people takes another one first


def _with_awaited(session: Session, found: Erasure) -> ErasureOut:
    return _out(found, instance.present(session))


def _out(found: Erasure, present: set[str]) -> ErasureOut:
    columns = {column.key: getattr(found, column.key) for column in Erasure.__table__.columns}
    return ErasureOut(**columns, awaited=erasure.awaited(found, present))
