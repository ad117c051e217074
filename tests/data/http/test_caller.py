"""What a caller may see; a token with impossible claims is refused."""

from __future__ import annotations

import time

import jwt
import pytest
from fastapi import FastAPI

from data_api.errors import NotSignedIn, UnknownUser
from data_api.http.caller import Caller
from data_api.ids import new_id
from data_api.models.people.user import Role


def test_the_service_has_no_user_of_its_own() -> None:
    with pytest.raises(UnknownUser):
        _ = Caller(Role.SERVICE).self_id
    user_id = new_id()
    assert Caller(Role.USER, user_id).self_id == user_id


@pytest.mark.parametrize(
    ("role", "sees_all"),
    [(Role.USER, False), (Role.TRAINER, True), (Role.ADMIN, True), (Role.SERVICE, True)],
)
def test_only_users_are_limited_to_their_own_rows(role: Role, sees_all: bool) -> None:
    caller = Caller(role, new_id())
    assert caller.sees_all is sees_all
    assert caller.owner == (None if sees_all else caller.user_id)


@pytest.mark.parametrize("issued_at", [1e300, -1e300, 1e18])
def test_a_token_whose_time_is_outside_the_calendar_is_refused(app: FastAPI, issued_at: float) -> None:
    tokens = app.state.context.tokens
    key, now = tokens._keyring.signing(), int(time.time())
    claims = {"iss": "volant", "aud": "volant", "sub": str(new_id()), "role": "user", "jti": "1"}
    claims |= {"iat": issued_at, "nbf": now, "exp": now + 60}  # type: ignore[dict-item]
    token = jwt.encode(claims, key.private, "EdDSA", headers={"kid": key.kid})
    with pytest.raises(NotSignedIn):
        tokens.read(token)
