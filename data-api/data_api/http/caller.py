"""Authentication and authorisation: finds the caller of a request. The one place where roles and scopes are checked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Depends
from fastapi.concurrency import run_in_threadpool
from fastapi.security import APIKeyHeader, OAuth2PasswordBearer
from sqlalchemy.orm import Session

from data_api.crud.people import api_key, user
from data_api.database import commit_early
from data_api.errors import NotAllowed, NotSignedIn, UnknownUser
from data_api.models.audit import Actor
from data_api.models.people.api_key import Scope, scopes_of
from data_api.models.people.user import Role
from data_api.security import constant_time_equal, digest

from .context import AppContext, Context
from .session import DbSession


@dataclass(frozen=True)
class Caller:
    """An authenticated caller."""

    role: Role
    user_id: UUID | None = None
    """None: ai-api, which calls with the service key."""
    scopes: frozenset[Scope] | None = None
    """Those scopes of the caller's API key that the caller's role has now. None: no key was used, so only the role
    limits what is allowed.
    """

    @property
    def sees_all(self) -> bool:
        """Whether the caller may read other people's predictions and feedback."""
        return self.role in (Role.TRAINER, Role.ADMIN, Role.SERVICE)

    @property
    def self_id(self) -> UUID:
        """The caller's own user id; UnknownUser for the service, which has no account."""
        if self.user_id is None:
            raise UnknownUser
        return self.user_id

    @property
    def owner(self) -> UUID | None:
        """The only user whose rows the caller may read; None: the rows of every user."""
        return None if self.sees_all else self.user_id


BearerToken = Annotated[
    str | None,
    Depends(OAuth2PasswordBearer("auth/token", auto_error=False, description="A token from POST /auth/token.")),
]
HeaderKey = Annotated[str | None, Depends(APIKeyHeader(name="X-API-Key", auto_error=False, description="An API key."))]


async def recognise(context: AppContext, session: DbSession, token: BearerToken, key: HeaderKey) -> Caller:
    """The caller by token, else by key; NotSignedIn without a valid one. From here on the audit names the caller."""
    if key and not token and constant_time_equal(key, context.service_key):
        session.info["actor"] = Actor("service")
        return Caller(Role.SERVICE)
    return await run_in_threadpool(_person, context, session, token, key)


def _person(context: Context, session: Session, token: str | None, key: str | None) -> Caller:
    if token:
        caller = _by_token(context, session, token)
    elif key:
        caller = _by_key(session, key)
    else:
        raise NotSignedIn
    session.info["actor"] = Actor("user", caller.user_id)
    context.rate_limits.count_caller(str(caller.user_id))
    return caller


def _by_key(session: Session, key: str) -> Caller:
    found = api_key.find_live(session, digest(key))
    if found is None:
        raise NotSignedIn
    live_key, owner = found
    if api_key.note_use(session, live_key):
        commit_early(session)  # other calls with this key would wait for the row until this one ends
    role = Role(owner.role)
    return Caller(role, owner.id, scopes_of(role).intersection(map(Scope, live_key.scopes)))


def _by_token(context: Context, session: Session, token: str) -> Caller:
    claims = context.tokens.read(token)
    found = user.by_token(session, claims.user_id, claims.issued_at)
    if found is None:
        raise NotSignedIn
    return Caller(Role(found.role), found.id)


def allow(*roles: Role, scopes: frozenset[Scope] | None = None) -> Callable[[Caller], Awaitable[Caller]]:
    """A dependency that lets these roles pass, else NotAllowed. A key needs all `scopes`; None refuses keys."""

    async def allowed(caller: Annotated[Caller, Depends(recognise)]) -> Caller:
        if caller.role not in roles:
            raise NotAllowed
        if caller.scopes is not None and (scopes is None or not scopes <= caller.scopes):
            raise NotAllowed
        return caller

    return allowed


PEOPLE = (Role.USER, Role.TRAINER, Role.ADMIN)
READ, LABEL = frozenset({Scope.READ}), frozenset({Scope.READ, Scope.FEEDBACK})
"""Scopes for calls that return rows, and for those that return rows to be corrected."""
Service = Annotated[Caller, Depends(allow(Role.SERVICE))]
InstanceRemover = Annotated[Caller, Depends(allow(Role.SERVICE, Role.ADMIN))]
Admin = Annotated[Caller, Depends(allow(Role.ADMIN))]
Person = Annotated[Caller, Depends(allow(*PEOPLE))]
PersonReading = Annotated[Caller, Depends(allow(*PEOPLE, scopes=READ))]
Reader = Annotated[Caller, Depends(allow(*PEOPLE, Role.SERVICE, scopes=READ))]
Labeller = Annotated[Caller, Depends(allow(Role.TRAINER, Role.ADMIN, scopes=LABEL))]
Trainer = Annotated[Caller, Depends(allow(Role.TRAINER, Role.ADMIN, Role.SERVICE, scopes=READ))]
