"""Authentication and authorisation: finds the caller of a request. The one place where roles and scopes are checked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.security import APIKeyHeader, OAuth2PasswordBearer
from sqlalchemy.orm import Session

from data_api.crud.people import api_key, user
from data_api.database import commit_early
from data_api.errors import NotAllowed, NotSignedIn, UnknownUser
from data_api.models.audit import Actor
from data_api.models.people.api_key import Scope
from data_api.models.people.user import Role
from data_api.security import constant_time_equal, digest

from .context import AppContext, Context
from .credentials import Credential, credential_of
from .session import DbSession


@dataclass(frozen=True)
class Caller:
    """An authenticated caller."""

    role: Role
    user_id: UUID | None = None
    """None: ai-api, which calls with the service key."""
    scopes: frozenset[Scope] | None = None
    """Scopes of the caller's API key. None: no key was used, so only the role limits what is allowed."""

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


async def recognise(
    request: Request,
    context: AppContext,
    session: DbSession,
    _token: BearerToken,  # these two are only for the OpenAPI document
    _key: HeaderKey,
) -> Caller:
    """The caller by token or by key; NotSignedIn without a valid one. From here on the audit names the caller."""
    sent = credential_of(request.headers)
    if sent.kind == "key" and constant_time_equal(sent.value, context.service_key):
        session.info["actor"] = Actor("service")
        return Caller(Role.SERVICE)
    return await run_in_threadpool(_person, context, session, sent)


def _person(context: Context, session: Session, sent: Credential) -> Caller:
    caller = _by_token(context, session, sent.value) if sent.kind == "token" else _by_key(session, sent.value)
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
    return Caller(Role(owner.role), owner.id, frozenset(Scope(scope) for scope in live_key.scopes))


def _by_token(context: Context, session: Session, token: str) -> Caller:
    claims = context.tokens.read(token)
    found = user.by_token(session, claims.user_id, claims.issued_at)
    if found is None:
        raise NotSignedIn
    return Caller(Role(found.role), found.id)


def allow(*roles: Role, scope: Scope | None = None) -> Callable[[Caller], Awaitable[Caller]]:
    """A dependency that lets these roles pass, else NotAllowed. An API key needs `scope`; None refuses API keys."""

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
