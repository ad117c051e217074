"""People."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter

from data_api.crud import user
from data_api.errors import UnknownUser, WrongPassword
from data_api.models import Role
from data_api.schemas.base import Page
from data_api.schemas.user import OwnChange, UserChange, UserIn, UserOut

from .caller import Admin, Caller, Database, Person, PersonReading, Wired
from .paging import Cursor, Limit, answer, below

router = APIRouter(prefix="/users", tags=["users"])


@router.post("", status_code=201)
def create(body: UserIn, _: Admin, wired: Wired, database: Database) -> UserOut:
    """Makes a user."""
    password_hash = wired.passwords.hash(body.password) if body.password else None
    return UserOut.model_validate(user.create(database, body.email, Role(body.role), password_hash))


@router.get("")
def find(_: Admin, database: Database, limit: Limit = 100, cursor: Cursor = None) -> Page[UserOut]:
    """Lists users, newest first."""
    return answer(UserOut, *user.find(database, limit, below(cursor)))


@router.get("/me")
def me(caller: PersonReading, database: Database) -> UserOut:
    """Who the caller is."""
    return UserOut.model_validate(user.get(database, _self(caller)))


@router.patch("/me")
def change_me(body: OwnChange, caller: Person, wired: Wired, database: Database) -> UserOut:
    """Changes the caller's password. Every token of theirs ends: they sign in again."""
    kept = user.get(database, _self(caller)).password_hash
    if not wired.passwords.verify(body.current_password, kept):
        raise WrongPassword
    changed = user.change(database, _self(caller), password_hash=wired.passwords.hash(body.password))
    return UserOut.model_validate(changed)


@router.get("/{user_id}")
def get(user_id: UUID, _: Admin, database: Database) -> UserOut:
    """One user."""
    return UserOut.model_validate(user.get(database, user_id))


@router.patch("/{user_id}")
def change(user_id: UUID, body: UserChange, _: Admin, wired: Wired, database: Database) -> UserOut:
    """Changes role, password, or whether the user may sign in."""
    password_hash = wired.passwords.hash(body.password) if body.password else None
    role = Role(body.role) if body.role else None
    changed = user.change(database, user_id, role=role, disabled=body.disabled, password_hash=password_hash)
    return UserOut.model_validate(changed)


@router.delete("/{user_id}", status_code=204)
def delete(user_id: UUID, _: Admin, database: Database) -> None:
    """Deletes the user with keys and sign-ins. Predictions and feedback stay."""
    user.delete(database, user_id)


def _self(caller: Caller) -> UUID:
    if caller.user_id is None:
        raise UnknownUser
    return caller.user_id
