"""Retention: after how many days rows of a task are deleted, by `data-api maintain`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from data_api.crud.privacy import retention
from data_api.http.body.guarded_route import GuardedRoute
from data_api.http.caller import Admin
from data_api.http.precondition import Precondition
from data_api.http.session import DbSession
from data_api.schemas.base import Name
from data_api.schemas.privacy.retention import RetentionIn, RetentionList, RetentionOut

router = APIRouter(route_class=GuardedRoute, prefix="/retention", tags=["retention"])
Task = Annotated[Name, Path()]


@router.get("")
def find(_: Admin, session: DbSession) -> RetentionList:
    """Lists the tasks that have a retention."""
    return RetentionList(items=[RetentionOut.model_validate(one) for one in retention.find(session)])


@router.get("/{task}")
def get(task: Task, _: Admin, session: DbSession, precondition: Precondition) -> RetentionOut:
    """The retention of one task."""
    return precondition.with_etag(RetentionOut.model_validate(retention.get(session, task)))


@router.put("/{task}")
def put(task: Task, body: RetentionIn, _: Admin, session: DbSession, precondition: Precondition) -> RetentionOut:
    """Sets the retention of a task. The next maintenance deletes older rows."""
    precondition.check(lambda: RetentionOut.model_validate(retention.get_locked(session, task)))
    changed = retention.put(session, task, body.predictions_days, body.examples_days)
    return precondition.with_etag(RetentionOut.model_validate(changed))


@router.delete("/{task}", status_code=204)
def remove(task: Task, _: Admin, session: DbSession, precondition: Precondition) -> None:
    """Removes the retention of a task: its rows are not deleted any more."""
    precondition.check(lambda: RetentionOut.model_validate(retention.get_locked(session, task)))
    retention.remove(session, task)
