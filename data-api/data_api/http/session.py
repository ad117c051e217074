"""The database sessions of a request: `DbSession`, one transaction each, and `ReadSession` for lists.

These dependencies are `async` and use a thread only for what blocks: FastAPI would use one for all of a plain `def`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from anyio import CancelScope, CapacityLimiter, to_thread
from fastapi import Depends, Request
from sqlalchemy.orm import Session

from data_api.database import Database
from data_api.models.audit import ANONYMOUS

from .context import AppContext


@asynccontextmanager
async def open_session(database: Database) -> AsyncIterator[Session]:
    """As `database.session()`, with a thread only for its end: its beginning sends nothing to Postgres.

    The thread is not one of those that run routes. Some of those wait for the connection that this end gives back.
    """
    manager = database.session()
    session = manager.__enter__()

    async def end(*error: Any) -> None:
        with CancelScope(shield=True):
            if session.in_transaction():
                await to_thread.run_sync(manager.__exit__, *error, limiter=CapacityLimiter(1))
            else:
                manager.__exit__(*error)

    try:
        yield session
    except BaseException as error:
        await end(type(error), error, error.__traceback__)
        raise
    else:
        await end(None, None, None)


async def request_session(request: Request, context: AppContext) -> AsyncIterator[Session]:
    """One transaction per request, committed before the response leaves. Its actor in the audit is anonymous until
    `http.caller.recognise` has found the caller.
    """
    async with open_session(context.database) as session:
        session.info.update(actor=ANONYMOUS, request_id=request.state.request_id)
        yield session


DbSession = Annotated[Session, Depends(request_session, scope="function")]


async def read_session(context: AppContext, session: DbSession) -> AsyncIterator[Session]:
    """A session on the replica if there is one, else the request's own transaction."""
    if context.replica is None:
        yield session
        return
    async with open_session(context.replica) as on_replica:
        yield on_replica


ReadSession = Annotated[Session, Depends(read_session, scope="function")]
