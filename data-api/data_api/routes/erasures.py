"""Erasing people."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path
from sqlalchemy.orm import Session

from data_api.crud import erasure, replica
from data_api.errors import NotAllowed
from data_api.models import Erasure, Role
from data_api.schemas.base import Page
from data_api.schemas.erasure import ErasureOut, PartIn, ReplicaName

from .caller import Admin, Database, Person, Service
from .paging import Cursor, Limit, answer, below

router = APIRouter(tags=["erasure"])

Key = Annotated[UUID, Path(description="The `id` that the request for erasure answered.")]
Ended = Annotated[ReplicaName, Path(description="The name under which it asked for the snapshot.")]


@router.delete("/users/{user_id}/data", status_code=202)
def erase(user_id: UUID, caller: Person, database: Database) -> ErasureOut:
    """Erases a person for good: the account, and everything that is kept of them anywhere. Admins, or they themselves.

    Their access ends with this answer; the rest follows within seconds. GET /erasures/{id} says how far it is.
    """
    if caller.role != Role.ADMIN and caller.user_id != user_id:
        raise NotAllowed
    return _shown(database, erasure.request(database, user_id, caller.user_id))


@router.get("/erasures")
def find(_: Admin, database: Database, limit: Limit = 100, cursor: Cursor = None) -> Page[ErasureOut]:
    """Lists erasures, newest first."""
    rows, more = erasure.find(database, limit, below(cursor))
    present = replica.present(database)
    return answer(ErasureOut, [_out(row, present) for row in rows], more)


@router.get("/erasures/{erasure_id}")
def get(erasure_id: Key, _: Admin, database: Database) -> ErasureOut:
    """What was removed, where, and who has yet to say that nothing is left."""
    return _shown(database, erasure.get(database, erasure_id))


@router.post("/erasures/{erasure_id}/parts", status_code=204)
def report(erasure_id: Key, body: PartIn, _: Service, database: Database) -> None:
    """Tells what a replica of ai-api removed."""
    erasure.report(database, erasure_id, body.replica, body.removed)


@router.delete("/replicas/{replica_name}", status_code=204)
def forget(replica_name: Ended, _: Service, database: Database) -> None:
    """Tells that a replica of ai-api has ended and another has all that it held: no erasure waits for its word."""
    replica.forget(database, replica_name)


def _shown(database: Session, found: Erasure) -> ErasureOut:
    return _out(found, replica.present(database))


def _out(found: Erasure, present: set[str]) -> ErasureOut:
    columns = {column.key: getattr(found, column.key) for column in Erasure.__table__.columns}
    return ErasureOut(**columns, awaited=erasure.awaited(found, present))
