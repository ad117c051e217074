"""Authentication and authorisation: finds the caller of a request. The one place where roles and scopes are checked."""

from __future__ import annotations

from contextlib import asynccontextmanager
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
from data_api.models.people.api_key import Scope, scopes_of
from data_api.models.people.user import Role
from data_api.security import constant_time_equal, digest

from .body.request_body import body_of
from .context import AppContext, Context
from .context import context as find_context
from .credentials import Credential, credential_of
from .session import DbSession, request_session


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


BEARER = OAuth2PasswordBearer("auth/token", auto_error=False, description="A token from POST /auth/token.")
HEADER_KEY = APIKeyHeader(name="X-API-Key", auto_error=False, description="An API key.")
BearerToken = Annotated[str | None, Depends(BEARER)]
HeaderKey = Annotated[str | None, Depends(HEADER_KEY)]


async def recognise(
    request: Request,
    context: AppContext,
    session: DbSession,
    _token: BearerToken,  # these two are only for the OpenAPI document
    _key: HeaderKey,
) -> Caller:
    """The caller by token or by key; NotSignedIn without a valid one. From here on the audit names the caller and the
    body may be read. A request with a body calls this again after its body: rights may have ended meanwhile.
    """
    body, caller, sent = body_of(request), Caller(Role.SERVICE), credential_of(request.headers)
    if sent.kind != "key" or not constant_time_equal(sent.value, context.service_key):
        caller = await run_in_threadpool(_person, context, session, sent, counts=not body.is_admitted)
    body.admit(str(caller.user_id))
    session.info["actor"] = Actor("service") if caller.role == Role.SERVICE else Actor("user", caller.user_id)
    return caller


def _person(context: Context, session: Session, sent: Credential, *, counts: bool) -> Caller:
    caller = _by_token(context, session, sent.value) if sent.kind == "token" else _by_key(session, sent.value)
    if counts:
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


class RoleCheck:
    """`allowed` is the dependency of a call that these roles may make, else NotAllowed. A key needs all `scopes`; None
    refuses keys.
    """

    def __init__(self, *roles: Role, scopes: frozenset[Scope] | None = None) -> None:
        self._roles = roles
        self._scopes = scopes

    async def allowed(self, caller: Annotated[Caller, Depends(recognise)]) -> Caller:
        """The caller."""
        return self._check(caller)

    async def admit(self, request: Request) -> None:
        """The same before the body is read, in a transaction of its own: none is open while a body arrives."""
        wired = await find_context(request)
        async with asynccontextmanager(request_session)(request, wired) as session:
            self._check(await recognise(request, wired, session, await BEARER(request), await HEADER_KEY(request)))

    def _check(self, caller: Caller) -> Caller:
        if caller.role not in self._roles:
            raise NotAllowed
        if caller.scopes is not None and (self._scopes is None or not self._scopes <= caller.scopes):
            raise NotAllowed
        return caller


PEOPLE = (Role.USER, Role.TRAINER, Role.ADMIN)
READ, LABEL = frozenset({Scope.READ}), frozenset({Scope.READ, Scope.FEEDBACK})
"""Scopes for calls that return rows, and for those that return rows to be corrected."""
Service = Annotated[Caller, Depends(RoleCheck(Role.SERVICE).allowed)]
InstanceRemover = Annotated[Caller, Depends(RoleCheck(Role.SERVICE, Role.ADMIN).allowed)]
Admin = Annotated[Caller, Depends(RoleCheck(Role.ADMIN).allowed)]
Person = Annotated[Caller, Depends(RoleCheck(*PEOPLE).allowed)]
PersonReading = Annotated[Caller, Depends(RoleCheck(*PEOPLE, scopes=READ).allowed)]
Reader = Annotated[Caller, Depends(RoleCheck(*PEOPLE, Role.SERVICE, scopes=READ).allowed)]
Labeller = Annotated[Caller, Depends(RoleCheck(Role.TRAINER, Role.ADMIN, scopes=LABEL).allowed)]
Trainer = Annotated[Caller, Depends(RoleCheck(Role.TRAINER, Role.ADMIN, Role.SERVICE, scopes=READ).allowed)]
