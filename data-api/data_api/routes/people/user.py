"""People."""

from __future__ import annotations

from functools import partial
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response

from data_api.crud.people import user
from data_api.database import commit_early
from data_api.errors import WrongCredentials, WrongPassword
from data_api.http.caller import Admin, Person, PersonReading
from data_api.http.context import AppContext
from data_api.http.export import CSV, List
from data_api.http.idempotency import Once
from data_api.http.precondition import Precondition
from data_api.http.session import DbSession
from data_api.http.sign_in import Address, authenticate
from data_api.models.people.user import Role
from data_api.schemas.base import Clean, Page
from data_api.schemas.people.user import Assignable, OwnChange, UserChange, UserIn, UserOut

router = APIRouter(prefix="/users", tags=["users"])
Search = Annotated[
    str | None, Query(min_length=1, max_length=200, description="Part of the e-mail or the name."), Clean
]


@router.post("", status_code=201)
def create(body: UserIn, _: Admin, context: AppContext, session: DbSession, creation: Once) -> UserOut:
    """Makes a user. To have people choose their own password, use POST /invitations."""
    password_hash = context.passwords.hash(body.password) if body.password else None

    def make() -> UserOut:
        return UserOut.model_validate(user.create(session, body.email, Role(body.role), password_hash, body.name))

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
def me(caller: PersonReading, session: DbSession, state: Precondition) -> UserOut:
    """Who the caller is."""
    return state.shown(UserOut.model_validate(user.get(session, caller.self_id)))


@router.patch("/me")
def change_me(body: OwnChange, caller: Person, context: AppContext, session: DbSession, address: Address) -> UserOut:
    """Changes the caller's name or password. With a new password every token of theirs ends: they sign in again."""
    if body.current_password is None or body.password is None:
        return UserOut.model_validate(user.change(session, caller.self_id, name=body.name))
    try:
        authenticate(context, session, user.get(session, caller.self_id).email, body.current_password, address)
    except WrongCredentials:
        raise WrongPassword from None
    commit_early(session)  # lets go of the user: two such calls at once would wait for each other
    fresh = context.passwords.hash(body.password)
    return UserOut.model_validate(user.change(session, caller.self_id, name=body.name, password_hash=fresh))


@router.get("/{user_id}")
def get(user_id: UUID, _: Admin, session: DbSession, state: Precondition) -> UserOut:
    """One user."""
    return state.shown(UserOut.model_validate(user.get(session, user_id)))


@router.patch("/{user_id}")
def change(
    user_id: UUID, body: UserChange, _: Admin, context: AppContext, session: DbSession, state: Precondition
) -> UserOut:
    """Changes e-mail, name, role, password, or whether the user may sign in."""
    password_hash = context.passwords.hash(body.password) if body.password else None
    state.expect(lambda: UserOut.model_validate(user.hold(session, user_id)))
    role = Role(body.role) if body.role else None
    changed = user.change(
        session,
        user_id,
        role=role,
        disabled=body.disabled,
        password_hash=password_hash,
        email=body.email,
        name=body.name,
    )
    return state.shown(UserOut.model_validate(changed))


@router.post("/{user_id}/logout-everywhere", status_code=204)
def sign_out_everywhere(user_id: UUID, _: Admin, session: DbSession) -> None:
    """Ends every access and refresh token of a user. API keys stay: revoke them one by one."""
    user.sign_out_everywhere(session, user_id)


@router.delete("/{user_id}", status_code=204)
def delete(user_id: UUID, _: Admin, session: DbSession, state: Precondition) -> None:
    """Deletes the user with keys and sign-ins. Predictions and feedback stay."""
    state.expect(lambda: UserOut.model_validate(user.hold(session, user_id)))
    user.delete(session, user_id)
