"""Who is calling, and whether they may. The one place where roles and scopes are checked.

What every call depends on is `async` and has a thread do only what blocks: FastAPI would have one do all of it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, cast
from uuid import UUID

from anyio import CancelScope, CapacityLimiter, to_thread
from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.security import APIKeyHeader, OAuth2PasswordBearer
from sqlalchemy.orm import Session

from data_api.crud import api_key
from data_api.database import Database as Pool
from data_api.errors import NotAllowed, NotSignedIn, UnknownUser
from data_api.limiting import Limits
from data_api.models import ANONYMOUS, Actor, Role, Scope, User
from data_api.security import Passwords, Tokens, digest, same


@dataclass(frozen=True)
class Patience:
    """How many sign-ins in a row may fail before one has to wait, and how long one waits at most."""

    tries: int
    tries_per_address: int
    longest_wait: timedelta


@dataclass(frozen=True)
class Parts:
    """What main.py wired together and the calls need."""

    database: Pool
    passwords: Passwords
    tokens: Tokens
    service_key: str
    refresh_lifetime: timedelta
    invitation_lifetime: timedelta
    public_url: str
    patience: Patience
    pseudonym_key: bytes
    """Under which failed sign-ins are counted without saying whose."""
    answers_key: bytes
    """Without which nobody reads what is kept of answers to repeated requests."""
    limits: Limits
    label_share: float
    label_lifetime: timedelta
    replica: Pool | None
    """Where lists are read; None: from `database` too."""


@dataclass(frozen=True)
class Caller:
    """Somebody who was recognised."""

    role: Role
    user_id: UUID | None = None
    """None: the service."""
    scopes: frozenset[Scope] | None = None
    """What their key may be used for. None: they signed in themselves, and nothing narrows what they may do."""

    @property
    def sees_all(self) -> bool:
        """Whether other people's predictions and feedback are theirs to read."""
        return self.role in (Role.TRAINER, Role.ADMIN, Role.SERVICE)

    @property
    def self_id(self) -> UUID:
        """Their own id; UnknownUser for the service, which is nobody's account."""
        if self.user_id is None:
            raise UnknownUser
        return self.user_id

    @property
    def owner(self) -> UUID | None:
        """The only user whose things they see, None for all."""
        return None if self.sees_all else self.user_id


async def parts(request: Request) -> Parts:
    """What main.py wired together."""
    return cast("Parts", request.app.state.parts)


Wired = Annotated[Parts, Depends(parts)]


@asynccontextmanager
async def transaction(pool: Pool) -> AsyncIterator[Session]:
    """As `pool.session()`, with a thread only for what its end has to say to Postgres: its beginning says nothing. That
    thread is beside those of the calls, some of which wait for the connection that this end gives back.
    """
    opened = pool.session()
    session = opened.__enter__()

    async def end(*error: Any) -> None:
        with CancelScope(shield=True):
            if session.in_transaction():
                await to_thread.run_sync(opened.__exit__, *error, limiter=CapacityLimiter(1))
            else:
                opened.__exit__(*error)

    try:
        yield session
    except BaseException as error:
        await end(type(error), error, error.__traceback__)
        raise
    else:
        await end(None, None, None)


async def session(request: Request, wired: Wired) -> AsyncIterator[Session]:
    """One transaction a request, committed before the answer leaves. What it changes is nobody's until `recognise`."""
    async with transaction(wired.database) as session:
        session.info.update(actor=ANONYMOUS, request_id=request.state.request_id)
        yield session


Database = Annotated[Session, Depends(session, scope="function")]


async def listing(wired: Wired, database: Database) -> AsyncIterator[Session]:
    """Where lists are read: the replica if there is one, else the request's own transaction."""
    if wired.replica is None:
        yield database
        return
    async with transaction(wired.replica) as session:
        yield session


Listing = Annotated[Session, Depends(listing, scope="function")]
Bearer = Annotated[
    str | None,
    Depends(OAuth2PasswordBearer("auth/token", auto_error=False, description="A token from POST /auth/token.")),
]
Key = Annotated[str | None, Depends(APIKeyHeader(name="X-API-Key", auto_error=False, description="An API key."))]


async def recognise(wired: Wired, database: Database, token: Bearer, key: Key) -> Caller:
    """The caller by token, else by key; NotSignedIn for anybody else. The audit names them from here on."""
    if key and not token and same(key, wired.service_key):
        database.info["actor"] = Actor("service")
        return Caller(Role.SERVICE)
    return await run_in_threadpool(_person, wired, database, token, key)


def _person(wired: Parts, database: Session, token: str | None, key: str | None) -> Caller:
    if token:
        caller = _by_token(wired, database, token)
    elif key:
        caller = _by_key(database, key)
    else:
        raise NotSignedIn
    database.info["actor"] = Actor("user", caller.user_id)
    wired.limits.count_caller(str(caller.user_id))
    return caller


def _by_key(database: Session, key: str) -> Caller:
    found = api_key.holder(database, digest(key))
    if found is None:
        raise NotSignedIn
    held, user = found
    if api_key.note_use(database, held):
        database.commit()  # at once: other calls with this key would wait for the row until this one ends
    return Caller(Role(user.role), user.id, frozenset(Scope(scope) for scope in held.scopes))


def _by_token(wired: Parts, database: Session, token: str) -> Caller:
    claims = wired.tokens.read(token)
    user = database.get(User, claims.user_id)
    if user is None or user.disabled or (user.tokens_valid_after and claims.issued_at < user.tokens_valid_after):
        raise NotSignedIn
    return Caller(Role(user.role), user.id)


def allow(*roles: Role, scope: Scope | None = None) -> Callable[[Caller], Awaitable[Caller]]:
    """A dependency that lets these roles pass. A key needs the scope; without one, keys do not open this call."""

    async def allowed(caller: Annotated[Caller, Depends(recognise)]) -> Caller:
        if caller.role not in roles:
            raise NotAllowed
        if caller.scopes is not None and scope not in caller.scopes:
            raise NotAllowed
        return caller

    return allowed


PEOPLE = (Role.USER, Role.TRAINER, Role.ADMIN)
Service = Annotated[Caller, Depends(allow(Role.SERVICE))]
Admin = Annotated[Caller, Depends(allow(Role.ADMIN))]
Person = Annotated[Caller, Depends(allow(*PEOPLE))]
PersonReading = Annotated[Caller, Depends(allow(*PEOPLE, scope=Scope.READ))]
Reader = Annotated[Caller, Depends(allow(*PEOPLE, Role.SERVICE, scope=Scope.READ))]
Labeller = Annotated[Caller, Depends(allow(Role.TRAINER, Role.ADMIN, scope=Scope.FEEDBACK))]
Trainer = Annotated[Caller, Depends(allow(Role.TRAINER, Role.ADMIN, Role.SERVICE, scope=Scope.READ))]
