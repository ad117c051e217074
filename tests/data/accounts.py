"""Callers and resources that belong to them, created directly in the database, so that each test case has its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

from fastapi import FastAPI
from sqlalchemy.orm import Session

from data_api.crud.people import api_key, invitation, user
from data_api.crud.privacy import erasure
from data_api.http.context import Context
from data_api.ids import new_id
from data_api.models.people.api_key import Scope
from data_api.models.people.user import Role
from data_api.security import digest, new_api_key, new_invitation
from tests.data.api import PASSWORD, ApiClient, prediction


@dataclass(frozen=True)
class CallerAccount:
    """A caller: the headers to send, and the user id; None for the service and without authentication."""

    headers: dict[str, str]
    id: UUID | None = None


class Accounts:
    """Creates callers of each kind, and resources that belong to a user."""

    def __init__(self, app: FastAPI, api: ApiClient) -> None:
        self._context: Context = app.state.context
        self._world = api

    def caller(self, kind: str) -> CallerAccount:
        """A new caller: `anonymous` (no authentication), `service`, a role, or a role with an API key and its scopes,
        as in `user key read`.
        """
        if kind == "anonymous":
            return CallerAccount({})
        if kind == "service":
            return CallerAccount(self._world.service)
        role, _, scopes = kind.partition(" key ")
        with self._context.database.session() as session:
            email = f"{kind.replace(' ', '-')}-{new_id()}@example.org"
            made = user.create(session, email, Role(role), self._context.passwords.hash(PASSWORD))
            if scopes:
                return CallerAccount({"X-API-Key": _key(session, made.id, *map(Scope, scopes.split()))}, made.id)
        return CallerAccount({"Authorization": f"Bearer {self._context.tokens.issue(made.id, role)}"}, made.id)

    def person(self) -> UUID:
        """The id of another user, who does not call."""
        with self._context.database.session() as session:
            return _person(session)

    def resource(self, parameter: str, owner: UUID) -> str:
        """A value for a path parameter: a new resource, which belongs to `owner` if it can belong to a user."""
        return RESOURCES[parameter](self, owner)

    def key(self, owner: UUID) -> str:
        with self._context.database.session() as session:
            return str(api_key.create(session, owner, "x", digest(new_api_key()), [Scope.READ], None).id)

    def prediction(self, owner: UUID) -> str:
        sent = prediction(f"task-{uuid4().hex}", str(owner))
        assert self._world.statuses("/predictions", sent) == ["stored"]
        return str(sent["id"])

    def invitation(self) -> str:
        hour = timedelta(hours=1)
        with self._context.database.session() as session:
            made = invitation.create(
                session, f"{new_id()}@example.org", Role.USER, digest(new_invitation()), None, hour
            )
            return str(made.id)

    def erasure(self) -> str:
        with self._context.database.session() as session:
            return str(erasure.request(session, _person(session), None).id)


RESOURCES: dict[str, Callable[[Accounts, UUID], str]] = {
    "user_id": lambda _, owner: str(owner),
    "key_id": Accounts.key,
    "prediction_id": Accounts.prediction,
    "invitation": lambda accounts, _: accounts.invitation(),
    "erasure_id": lambda accounts, _: accounts.erasure(),
    "replica_name": lambda *_: "unknown-instance",
    "task": lambda *_: "unknown-task",
}
"""How to create the resource of each path parameter. A route with a new parameter needs an entry here."""


def _person(session: Session) -> UUID:
    return user.create(session, f"other-{new_id()}@example.org", Role.USER, None).id


def _key(session: Session, owner: UUID, *scopes: Scope) -> str:
    key = new_api_key()
    api_key.create(session, owner, "x", digest(key), scopes, None)
    return key
