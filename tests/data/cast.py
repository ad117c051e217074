"""Callers and things of theirs, made past HTTP: so cheap that each case has its own, and none spoils another's."""

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
from tests.data.world import World, prediction


@dataclass(frozen=True)
class Member:
    """Somebody who calls. `id` is None for those who are no person."""

    headers: dict[str, str]
    id: UUID | None = None


class Cast:
    """Makes members of each kind, and things that belong to somebody."""

    def __init__(self, app: FastAPI, world: World) -> None:
        self._context: Context = app.state.context
        self._world = world

    def member(self, kind: str) -> Member:
        """A new caller of a kind: `nobody`, `service`, a role, or a role with `key` and scopes: `user key read`."""
        if kind == "nobody":
            return Member({})
        if kind == "service":
            return Member(self._world.service)
        role, _, scopes = kind.partition(" key ")
        with self._context.database.session() as session:
            made = user.create(session, f"{kind.replace(' ', '-')}-{new_id()}@example.org", Role(role), None)
            if scopes:
                return Member({"X-API-Key": _key(session, made.id, *map(Scope, scopes.split()))}, made.id)
        return Member({"Authorization": f"Bearer {self._context.tokens.issue(made.id, role)}"}, made.id)

    def person(self) -> UUID:
        """Somebody else, who does not call."""
        with self._context.database.session() as session:
            return _person(session)

    def thing(self, parameter: str, owner: UUID) -> str:
        """What a parameter in a path may name, belonging to `owner` where it can belong to anybody."""
        return THINGS[parameter](self, owner)

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


THINGS: dict[str, Callable[[Cast, UUID], str]] = {
    "user_id": lambda _, owner: str(owner),
    "key_id": Cast.key,
    "prediction_id": Cast.prediction,
    "invitation": lambda cast, _: cast.invitation(),
    "erasure_id": lambda cast, _: cast.erasure(),
    "replica_name": lambda *_: "nobody-heard-of-it",
    "task": lambda *_: "nobody-knows-it",
}
"""By the name of the parameter. A route with a new one says here how to make it."""


def _person(session: Session) -> UUID:
    return user.create(session, f"other-{new_id()}@example.org", Role.USER, None).id


def _key(session: Session, owner: UUID, *scopes: Scope) -> str:
    key = new_api_key()
    api_key.create(session, owner, "x", digest(key), scopes, None)
    return key
