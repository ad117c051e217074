"""Users."""

from __future__ import annotations

from functools import partial
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response

from data_api.crud.people import user
from data_api.database import commit_early
from data_api.errors import WrongCredentials, WrongPassword
from data_api.http.body.guarded_route import GuardedRoute
from data_api.http.caller import Admin, Person, PersonReading
from data_api.http.context import AppContext
from data_api.http.export import CSV, Responder
from data_api.http.idempotency import Idempotent
from data_api.http.precondition import Precondition
from data_api.http.session import DbSession
from data_api.http.sign_in import confirm_password
from data_api.models.people.user import Role
from data_api.schemas.base import NoNul, Page, TruthText
from data_api.schemas.people.user import Assignable, OwnChange, UserChange, UserIn, UserOut

router = APIRouter(route_class=GuardedRoute, prefix="/users", tags=["users"])
Search = Annotated[
    str | None, Query(min_length=1, max_length=200, description="Part of the e-mail or the name."), NoNul
]


@router.post("", status_code=201)
def create(body: UserIn, _: Admin, context: AppContext, session: DbSession, creation: Idempotent) -> UserOut:
    """Creates a user. For people who choose their own password, use POST /invitations."""
    password_hash = context.passwords.hash(body.password) if body.password else None

    def make() -> UserOut:
        return UserOut.model_validate(user.create(session, body.email, Role(body.role), password_hash, body.name))

    return creation.run(body, UserOut, make)


@router.get("", response_model=Page[UserOut], responses=CSV)
def find(
    _: Admin,
    responder: Responder,
    search: Search = None,
    role: Assignable | None = None,
    disabled: Annotated[bool, TruthText] | None = None,
) -> Response:
    """Lists users, newest first."""
    wanted = user.UserFilter(search, Role(role) if role else None, disabled)
    return responder.respond("users", UserOut, partial(user.find, wanted=wanted))


@router.get("/me")
def me(caller: PersonReading, session: DbSession, precondition: Precondition) -> UserOut:
    """The caller's own account."""
    return precondition.with_etag(UserOut.model_validate(user.get(session, caller.self_id)))


@router.patch("/me")
def change_me(body: OwnChange, caller: Person, context: AppContext, session: DbSession) -> UserOut:
    """Changes the caller's name or password. A new password ends every token of the caller."""
    if body.current_password is None or body.password is None:
        return UserOut.model_validate(user.change(session, caller.self_id, name=body.name))
    try:
        confirm_password(context, session, user.get(session, caller.self_id), body.current_password)
    except WrongCredentials:
        raise WrongPassword from None
    commit_early(session)  # releases the lock on the user: two such requests at once would deadlock
    fresh = context.passwords.hash(body.password)
    return UserOut.model_validate(user.change(session, caller.self_id, name=body.name, password_hash=fresh))


@router.get("/{user_id}")
def get(user_id: UUID, _: Admin, session: DbSession, precondition: Precondition) -> UserOut:
    """One user."""
    return precondition.with_etag(UserOut.model_validate(user.get(session, user_id)))


@router.patch("/{user_id}")
def change(
    user_id: UUID, body: UserChange, _: Admin, context: AppContext, session: DbSession, precondition: Precondition
) -> UserOut:
    """Changes e-mail, name, role, password, or whether the user is disabled."""
    password_hash = context.passwords.hash(body.password) if body.password else None
    precondition.check(lambda: UserOut.model_validate(user.get_locked(session, user_id)))
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
    return precondition.with_etag(UserOut.model_validate(changed))


@router.post("/{user_id}/logout-everywhere", status_code=204)
def sign_out_everywhere(user_id: UUID, _: Admin, session: DbSession) -> None:
    """Ends every access and refresh token of a user. API keys stay valid."""
    user.sign_out_everywhere(session, user_id)


@router.delete("/{user_id}", status_code=204)
def delete(user_id: UUID, _: Admin, session: DbSession, precondition: Precondition) -> None:
    """Deletes the user with API keys and sign-ins. Predictions and feedback stay."""
    precondition.check(lambda: UserOut.model_validate(user.get_locked(session, user_id)))
    user.delete(session, user_id)
