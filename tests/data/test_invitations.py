"""Invitations: a link that makes one account, once."""

from __future__ import annotations

import hashlib
import logging
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI
from sqlalchemy import Engine, text

from data_api.http.context import Context
from data_api.ids import new_id
from data_api.security import digest
from tests.data.world import PASSWORD, Somebody, World


def invite(world: World, by: Somebody | None = None, **others: object) -> dict[str, Any]:
    """An invitation and its link, by the admin if nobody is named."""
    body = {"email": f"{new_id()}@example.org", **others}
    answer = world.client.post("/invitations", json=body, headers=(by or world.admin).headers)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def path(made: dict[str, Any]) -> str:
    """Where the link leads."""
    found: str = made["link"].removeprefix("http://127.0.0.1:8001")
    assert found.startswith("/invitations/vi_")
    return found


def accept(world: World, made: dict[str, Any], **others: object) -> Any:
    return world.client.post(path(made), json={"password": PASSWORD, **others})


def outcome(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]


GONE = (404, "UnknownInvitation")


def test_somebody_invited_makes_their_account_and_signs_in(world: World) -> None:
    made = invite(world, email=f"Ada-{new_id()}@Example.org", role="trainer")
    assert (made["role"], made["invited_by"], made["accepted_at"]) == ("trainer", world.admin.id, None)
    told = world.client.get(path(made)).json()
    assert told == {"email": made["email"].lower(), "role": "trainer", "expires_at": made["expires_at"]}
    answer = accept(world, made, name="Ada")
    assert answer.status_code == 201
    user = answer.json()
    assert (user["email"], user["name"], user["role"]) == (made["email"], "Ada", "trainer")
    assert world.sign_in(made["email"], PASSWORD).id == user["id"]
    assert outcome(accept(world, made)) == outcome(world.client.get(path(made))) == GONE
    (listed,) = (one for one in listing(world) if one["id"] == made["id"])
    assert (listed["user_id"], bool(listed["accepted_at"])) == (user["id"], True)


def listing(world: World, **query: bool) -> list[dict[str, Any]]:
    answer = world.client.get("/invitations", params={"limit": 500, **query}, headers=world.admin.headers)
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


def test_the_link_is_shown_once_and_stands_nowhere(
    world: World, as_app: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        made = invite(world)
        world.client.get(path(made))
        accept(world, made)
    token = made["link"].rpartition("/")[2]
    assert set(made) - set(listing(world)[0]) == {"link"}
    with as_app.connect() as connection:
        rows = [connection.execute(text(f"SELECT * FROM {name}")).all() for name in ("invitations", "audit_details")]
    assert token not in str(rows)
    assert digest(token) not in str(rows[1])
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("data_api")]
    assert any("route=/invitations/{invitation} status=201" in line for line in ours)
    assert not [line for line in ours if token in line]


def test_an_invitation_ends_by_time_by_hand_and_by_a_later_one(world: World, as_app: Engine) -> None:
    expired, revoked, replaced, open_one = (invite(world) for _ in range(4))
    with as_app.begin() as connection:
        query = text("UPDATE invitations SET expires_at = now() - interval '1 second' WHERE id = :id")
        connection.execute(query, {"id": UUID(expired["id"])})
    for _ in range(2):
        answer = world.client.delete(f"/invitations/{revoked['id']}", headers=world.admin.headers)
        assert answer.status_code == 204
    later = invite(world, email=replaced["email"], role="admin")
    for made in (expired, revoked, replaced):
        assert outcome(world.client.get(path(made))) == GONE
        assert outcome(accept(world, made)) == GONE
    still = {one["id"] for one in listing(world, open=True)}
    assert still >= {later["id"], open_one["id"]}
    assert not still & {expired["id"], revoked["id"], replaced["id"]}
    assert accept(world, later).json()["role"] == "admin"
    for unknown in (later["id"], str(new_id())):
        assert outcome(world.client.delete(f"/invitations/{unknown}", headers=world.admin.headers)) == GONE


@pytest.mark.parametrize("change", [{"role": "trainer"}, {"disabled": True}, None], ids=str)
def test_an_admin_who_is_none_any_more_invites_nobody(world: World, change: dict[str, object] | None) -> None:
    admin = world.person("admin")
    made = invite(world, admin, role="admin")
    user = f"/users/{admin.id}"
    if change is None:
        assert world.client.delete(user, headers=world.admin.headers).status_code == 204
    else:
        assert world.client.patch(user, json=change, headers=world.admin.headers).status_code == 200
    assert outcome(accept(world, made)) == GONE


def test_whoever_has_an_account_is_not_invited_and_keeps_it(world: World) -> None:
    person = world.person()
    body = {"email": person.email.upper()}
    assert outcome(world.client.post("/invitations", json=body, headers=world.admin.headers)) == (409, "EmailTaken")
    made = invite(world)
    account = {"email": made["email"], "password": "another horse battery"}
    assert world.client.post("/users", json=account, headers=world.admin.headers).status_code == 201
    assert outcome(accept(world, made)) == (409, "EmailTaken")
    assert world.sign_in(made["email"], "another horse battery").email == made["email"]


def test_of_two_who_accept_at_once_one_does(world: World) -> None:
    made = invite(world)
    with ThreadPoolExecutor(3) as threads:
        statuses = [answer.status_code for answer in threads.map(lambda _: accept(world, made), range(3))]
    assert sorted(statuses) == [201, 404, 404]


def test_accepting_holds_no_connection_while_it_waits_to_hash(
    world: World, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    context: Context = app.state.context
    real, held = context.passwords.hash, []
    made = invite(world)

    def hash_(password: str) -> str:
        held.append(context.database.engine.pool.checkedout())  # type: ignore[attr-defined]
        return real(password)

    monkeypatch.setattr(context.passwords, "hash", hash_)
    assert accept(world, made).status_code == 201
    assert held == [0]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"password": "short"},
        {"password": PASSWORD, "role": "admin"},
        {"password": PASSWORD, "email": "me@example.org"},
        {"password": PASSWORD, "name": ""},
        {"password": PASSWORD, "id": "01890000-0000-7000-8000-000000000000"},
    ],
    ids=" ".join,
)
def test_who_accepts_chooses_password_and_name_and_nothing_else(world: World, body: dict[str, object]) -> None:
    made = invite(world)
    assert outcome(world.client.post(path(made), json=body)) == (422, "InvalidRequest")
    assert world.client.get(path(made)).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {"role": "service"},
        {"email": "nobody"},
        {"token": "vi_mine"},
        {"hash": "x"},
        {"expires_at": "2999-01-01T00:00:00Z"},
        {"invited_by": None},
    ],
    ids=" ".join,
)
def test_an_invitation_is_not_made_from_what_is_not_asked_for(world: World, body: dict[str, object]) -> None:
    whole = {"email": f"{new_id()}@example.org", **body}
    answer = world.client.post("/invitations", json=whole, headers=world.admin.headers)
    assert outcome(answer) == (422, "InvalidRequest")


def test_a_browser_gets_a_page_that_nothing_is_loaded_into_or_followed_from(world: World) -> None:
    made = invite(world)
    page = world.client.get(path(made), headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cache-control"] == "no-store"
    for tag in ("script", "style"):
        inline = page.text.partition(f"<{tag}>")[2].partition(f"</{tag}>")[0]
        hashed = b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{hashed}'" in policy
    assert made["email"] not in page.text
    assert world.client.get(path(made)).json()["email"] == made["email"]  # looking spent nothing


def test_a_deleted_persons_invitations_go_with_them(world: World, as_app: Engine) -> None:
    made = invite(world)
    user = accept(world, made).json()
    waiting = invite(world)
    body = {"email": waiting["email"], "password": PASSWORD}
    other = world.client.post("/users", json=body, headers=world.admin.headers).json()
    for one in (user, other):
        assert world.client.delete(f"/users/{one['id']}", headers=world.admin.headers).status_code == 204
    with as_app.connect() as connection:
        left = str(connection.execute(text("SELECT * FROM invitations")).all())
    assert made["email"] not in left
    assert waiting["email"] not in left
