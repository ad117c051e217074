"""API keys."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter

from data_api.crud.people import api_key
from data_api.errors import NotAllowed
from data_api.http.body.guarded_route import GuardedRoute
from data_api.http.caller import Caller, Person, Service
from data_api.http.idempotency import Idempotent
from data_api.http.paging import Cursor, Limit, decode_cursor, page_of
from data_api.http.session import DbSession
from data_api.models.people.api_key import scopes_of
from data_api.models.people.user import Role
from data_api.schemas.base import Page
from data_api.schemas.people.api_key import KeyIn, KeyOut, KeyUses, NewKey
from data_api.security import digest, new_api_key

router = APIRouter(route_class=GuardedRoute, prefix="/api-keys", tags=["api keys"])


@router.post("", status_code=201)
def create(body: KeyIn, caller: Person, session: DbSession, creation: Idempotent) -> NewKey:
    """Creates a key for the caller, with scopes that the caller's role has (`train`: trainers and admins). The key
    itself is in this response only.
    """
    owner = caller.self_id
    if not body.scopes <= scopes_of(caller.role):
        raise NotAllowed("A key cannot have a scope that your role lacks: `train` takes the role trainer or admin.")

    def make() -> NewKey:
        key = new_api_key()
        kept = api_key.create(session, owner, body.name, digest(key), sorted(body.scopes), body.expires_at)
        return NewKey(**KeyOut.model_validate(kept).model_dump(), key=key)

    return creation.run(body, NewKey, make)


@router.get("")
def find(
    caller: Person,
    session: DbSession,
    user_id: UUID | None = None,
    live: bool = False,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[KeyOut]:
    """Lists the caller's keys, newest first; an admin sees everybody's. `live` leaves out the revoked and expired."""
    wanted = api_key.KeyFilter(_owner(caller), user_id, live)
    return page_of(KeyOut, *api_key.find(session, wanted, limit, decode_cursor(cursor)))


@router.post("/uses", status_code=204)
def note_uses(body: KeyUses, _: Service, session: DbSession) -> None:
    """Stores when keys were last used at ai-api, which reports it once a minute."""
    api_key.note_uses(session, body.uses)


@router.delete("/{key_id}", status_code=204)
def revoke(key_id: UUID, caller: Person, session: DbSession) -> None:
    """Revokes a key permanently; ai-api refuses it within seconds."""
    api_key.revoke(session, key_id, _owner(caller))


def _owner(caller: Caller) -> UUID | None:
    return None if caller.role == Role.ADMIN else caller.user_id
