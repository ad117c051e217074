"""Whose refresh tokens a change revokes, and that none is traded for a person who may not sign in."""

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
from tests.data.world import PASSWORD, Somebody, World

HOUR = timedelta(hours=1)


def refresh(world: World, token: str) -> Any:
    return world.client.post("/auth/refresh", json={"refresh_token": token})


def live_tokens(engine: Engine, person: Somebody) -> int:
    """How many refresh tokens of this person are neither used nor revoked."""
    unused = RefreshToken.used_at.is_(None) & RefreshToken.revoked_at.is_(None)
    with Session(engine) as session:
        return len(session.scalars(select(RefreshToken).where(RefreshToken.user_id == UUID(person.id), unused)).all())


@pytest.mark.parametrize("change", [{"disabled": True}, {"password": "another horse battery"}], ids=str)
def test_a_change_ends_all_sign_ins_of_that_person_and_of_nobody_else(
    world: World, as_owner: Engine, change: dict[str, object]
) -> None:
    person, other = world.person(), world.person()
    again = world.sign_in(person.email, PASSWORD)
    assert (live_tokens(as_owner, person), live_tokens(as_owner, other)) == (2, 1)
    answer = world.client.patch(f"/users/{person.id}", json=change, headers=world.admin.headers)
    assert answer.status_code == 200, answer.text
    assert (live_tokens(as_owner, person), live_tokens(as_owner, other)) == (0, 1)
    assert [refresh(world, token).status_code for token in (person.refresh, again.refresh)] == [401, 401]
    assert refresh(world, other.refresh).status_code == 200


def test_the_token_of_a_disabled_person_is_not_traded_even_if_it_is_not_revoked(world: World, as_owner: Engine) -> None:
    person = world.person()
    with as_owner.begin() as connection:
        connection.execute(text("UPDATE users SET disabled = true WHERE id = :id"), {"id": person.id})
    answer = refresh(world, person.refresh)
    assert (answer.status_code, answer.json()["error"]) == (401, "NotSignedIn")


def test_the_person_is_read_anew_when_a_token_is_traded(world: World, as_owner: Engine) -> None:
    person, fresh = world.person(), digest(new_refresh_token())
    with Session(as_owner) as session:
        held = refresh_token.hold(session, UUID(person.id))
        assert held is not None
        with session.connection().begin_nested():
            session.execute(text("UPDATE users SET disabled = true WHERE id = :id"), {"id": person.id})
        assert not held.disabled, "the session does not know yet"
        with pytest.raises(NotSignedIn):
            refresh_token.rotate(session, digest(person.refresh), fresh, HOUR)
        session.rollback()


def test_signing_out_ends_the_family_of_that_token_only(world: World) -> None:
    person, other = world.person(), world.person()
    apart = world.sign_in(person.email, PASSWORD)
    assert world.client.post("/auth/logout", json={"refresh_token": person.refresh}).status_code == 204
    assert refresh(world, person.refresh).status_code == 401
    assert refresh(world, apart.refresh).status_code == 200
    assert refresh(world, other.refresh).status_code == 200


def test_a_replay_ends_the_family_of_that_token_only(world: World) -> None:
    person, other = world.person(), world.person()
    apart = world.sign_in(person.email, PASSWORD)
    fresh = refresh(world, person.refresh).json()["refresh_token"]
    assert refresh(world, person.refresh).json()["error"] == "TokenReused"
    assert refresh(world, fresh).status_code == 401
    assert refresh(world, apart.refresh).status_code == 200
    assert refresh(world, other.refresh).status_code == 200


def test_a_token_is_traded_under_a_lock_on_its_user(world: World, as_owner: Engine) -> None:
    person = world.person()
    with Session(as_owner) as session, as_owner.connect() as other:
        assert refresh_token.hold(session, UUID(person.id)) is not None
        other.execute(text("SET lock_timeout = '50ms'"))
        with pytest.raises(Exception, match="lock timeout"):
            other.execute(text("UPDATE users SET disabled = true WHERE id = :id"), {"id": person.id})
        other.rollback()
