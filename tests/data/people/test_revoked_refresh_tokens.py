"""A change of a user revokes the refresh tokens of that user only; none is exchanged for a user who may not sign in."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from data_api.crud.people import refresh_token
from data_api.errors import NotSignedIn
from data_api.models.people.refresh_token import RefreshToken
from data_api.security import digest, new_refresh_token
from tests.data.api import PASSWORD, ApiClient, SignedInUser

HOUR = timedelta(hours=1)


def refresh(api: ApiClient, token: str) -> Any:
    return api.client.post("/auth/refresh", json={"refresh_token": token})


def live_tokens(engine: Engine, person: SignedInUser) -> int:
    """How many refresh tokens of this person are neither used nor revoked."""
    unused = RefreshToken.used_at.is_(None) & RefreshToken.revoked_at.is_(None)
    with Session(engine) as session:
        return len(session.scalars(select(RefreshToken).where(RefreshToken.user_id == UUID(person.id), unused)).all())


@pytest.mark.parametrize("change", [{"disabled": True}, {"password": "another horse battery"}], ids=str)
def test_a_change_ends_all_sign_ins_of_that_person_only(
    api: ApiClient, as_owner: Engine, change: dict[str, object]
) -> None:
    person, other = api.person(), api.person()
    again = api.sign_in(person.email, PASSWORD)
    assert (live_tokens(as_owner, person), live_tokens(as_owner, other)) == (2, 1)
    response = api.client.patch(f"/users/{person.id}", json=change, headers=api.admin.headers)
    assert response.status_code == 200, response.text
    assert (live_tokens(as_owner, person), live_tokens(as_owner, other)) == (0, 1)
    assert [refresh(api, token).status_code for token in (person.refresh, again.refresh)] == [401, 401]
    assert refresh(api, other.refresh).status_code == 200


def test_the_token_of_a_disabled_person_is_not_exchanged_even_if_it_is_not_revoked(
    api: ApiClient, as_owner: Engine
) -> None:
    person = api.person()
    with as_owner.begin() as connection:
        connection.execute(text("UPDATE users SET disabled = true WHERE id = :id"), {"id": person.id})
    response = refresh(api, person.refresh)
    assert (response.status_code, response.json()["error"]) == (401, "NotSignedIn")


def test_the_user_is_read_again_when_a_token_is_exchanged(api: ApiClient, as_owner: Engine) -> None:
    person, fresh = api.person(), digest(new_refresh_token())
    with Session(as_owner) as session:
        user = refresh_token.lock_user(session, UUID(person.id))
        assert user is not None
        with session.connection().begin_nested():
            session.execute(text("UPDATE users SET disabled = true WHERE id = :id"), {"id": person.id})
        assert not user.disabled, "the session still has the old values"
        with pytest.raises(NotSignedIn):
            refresh_token.rotate(session, digest(person.refresh), fresh, HOUR)
        session.rollback()


def test_signing_out_ends_the_family_of_that_token_only(api: ApiClient) -> None:
    person, other = api.person(), api.person()
    apart = api.sign_in(person.email, PASSWORD)
    assert api.client.post("/auth/logout", json={"refresh_token": person.refresh}).status_code == 204
    assert refresh(api, person.refresh).status_code == 401
    assert refresh(api, apart.refresh).status_code == 200
    assert refresh(api, other.refresh).status_code == 200


def test_a_replay_ends_the_family_of_that_token_only(api: ApiClient) -> None:
    person, other = api.person(), api.person()
    apart = api.sign_in(person.email, PASSWORD)
    fresh = refresh(api, person.refresh).json()["refresh_token"]
    assert refresh(api, person.refresh).json()["error"] == "TokenReused"
    assert refresh(api, fresh).status_code == 401
    assert refresh(api, apart.refresh).status_code == 200
    assert refresh(api, other.refresh).status_code == 200


def test_a_token_is_exchanged_under_a_lock_on_its_user(api: ApiClient, as_owner: Engine) -> None:
    person = api.person()
    with Session(as_owner) as session, as_owner.connect() as other:
        assert refresh_token.lock_user(session, UUID(person.id)) is not None
        other.execute(text("SET lock_timeout = '50ms'"))
        with pytest.raises(Exception, match="lock timeout"):
            other.execute(text("UPDATE users SET disabled = true WHERE id = :id"), {"id": person.id})
        other.rollback()
