"""People."""

from __future__ import annotations

from functools import partial
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response

from data_api.crud import user
from data_api.errors import WrongCredentials, WrongPassword
from data_api.models import Role
from data_api.schemas.base import Clean, Page
from data_api.schemas.user import Assignable, OwnChange, UserChange, UserIn, UserOut

from .caller import Admin, Database, Person, PersonReading, Wired
from .export import CSV, List
from .once import Once
from .precondition import Precondition
from .sign_in import Address, authenticate

router = APIRouter(prefix="/users", tags=["users"])
Search = Annotated[
    str | None, Query(min_length=1, max_length=200, description="Part of the e-mail or the name."), Clean
]


@router.post("", status_code=201)
def create(body: UserIn, _: Admin, wired: Wired, database: Database, creation: Once) -> UserOut:
    """Makes a user. To have people choose their own password, use POST /invitations."""
    password_hash = wired.passwords.hash(body.password) if body.password else None

    def make() -> UserOut:
        return UserOut.model_validate(user.create(database, body.email, Role(body.role), password_hash, body.name))

    return creation.once(body, UserOut, make)


@router.get("", response_model=Page[UserOut], responses=CSV)
def find(
    _: Admin,
    listed: List,
    search: Search = None,
    role: Assignable | None = None,
    disabled: bool | None = None,
) -> Response:
    """Lists users, newest first."""
    wanted = user.Filter(search, Role(role) if role else None, disabled)
    return listed.answer("users", UserOut, partial(user.find, wanted=wanted))


@router.get("/me")
def me(caller: PersonReading, database: Database, state: Precondition) -> UserOut:
    """Who the caller is."""
    return state.shown(UserOut.model_validate(user.get(database, caller.self_id)))


@router.patch("/me")
def change_me(body: OwnChange, caller: Person, wired: Wired, database: Database, address: Address) -> UserOut:
    """Changes the caller's name or password. With a new password every token of theirs ends: they sign in again."""
    if body.current_password is None or body.password is None:
        return UserOut.model_validate(user.change(database, caller.self_id, name=body.name))
    try:
        authenticate(wired, database, user.get(database, caller.self_id).email, body.current_password, address)
    except WrongCredentials:
        raise WrongPassword from None
    database.commit()  # lets go of the user: two such calls at once would wait for each other
    fresh = wired.passwords.hash(body.password)
    return UserOut.model_validate(user.change(database, caller.self_id, name=body.name, password_hash=fresh))


@router.get("/{user_id}")
def get(user_id: UUID, _: Admin, database: Database, state: Precondition) -> UserOut:
    """One user."""
    return state.shown(UserOut.model_validate(user.get(database, user_id)))


@router.patch("/{user_id}")
def change(user_id: UUID, body: UserChange, _: Admin, wired: Wired, database: Database, state: Precondition) -> UserOut:
    """Changes e-mail, name, role, password, or whether the user may sign in."""
    password_hash = wired.passwords.hash(body.password) if body.password else None
    state.expect(lambda: UserOut.model_validate(user.hold(database, user_id)))
    role = Role(body.role) if body.role else None
    changed = user.change(
        database,
        user_id,
        role=role,
        disabled=body.disabled,
        password_hash=password_hash,
        email=body.email,
        name=body.name,
    )
    return state.shown(UserOut.model_validate(changed))


@router.post("/{user_id}/logout-everywhere", status_code=204)
def sign_out_everywhere(user_id: UUID, _: Admin, database: Database) -> None:
    """Ends every access and refresh token of a user. API keys stay: revoke them one by one."""
    user.sign_out_everywhere(database, user_id)


@router.delete("/{user_id}", status_code=204)
def delete(user_id: UUID, _: Admin, database: Database, state: Precondition) -> None:
    """Deletes the user with keys and sign-ins. Predictions and feedback stay."""
    state.expect(lambda: UserOut.model_validate(user.hold(database, user_id)))
    user.delete(database, user_id)
