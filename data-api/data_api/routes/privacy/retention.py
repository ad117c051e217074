"""How long a task's rows are kept. `data-api maintain` carries it out."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from data_api.crud.privacy import retention
from data_api.http.caller import Admin
from data_api.http.precondition import Precondition
from data_api.http.session import DbSession
from data_api.schemas.base import Name
from data_api.schemas.privacy.retention import RetentionIn, RetentionList, RetentionOut

router = APIRouter(prefix="/retention", tags=["retention"])
Task = Annotated[Name, Path()]


@router.get("")
def find(_: Admin, session: DbSession) -> RetentionList:
    """Lists the tasks whose rows are not kept for ever."""
    return RetentionList(items=[RetentionOut.model_validate(one) for one in retention.find(session)])


@router.get("/{task}")
def get(task: Task, _: Admin, session: DbSession, state: Precondition) -> RetentionOut:
    """The days of one task."""
    return state.shown(RetentionOut.model_validate(retention.get(session, task)))


@router.put("/{task}")
def put(task: Task, body: RetentionIn, _: Admin, session: DbSession, state: Precondition) -> RetentionOut:
    """Sets the days of a task. The next maintenance deletes what is older."""
    state.expect(lambda: RetentionOut.model_validate(retention.hold(session, task)))
    changed = retention.put(session, task, body.predictions_days, body.examples_days)
    return state.shown(RetentionOut.model_validate(changed))


@router.delete("/{task}", status_code=204)
def remove(task: Task, _: Admin, session: DbSession, state: Precondition) -> None:
    """Keeps everything of the task from now on."""
    state.expect(lambda: RetentionOut.model_validate(retention.hold(session, task)))
    retention.remove(session, task)
