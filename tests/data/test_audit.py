"""The history: every change of people and keys leaves a line, and nobody can take one back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from sqlalchemy import Engine, Table, UpdateBase, delete, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import Session

from data_api.crud.people import user
from data_api.ids import new_id
from data_api.models.audit import Actor, Audit
from data_api.models.audit_listener import Unaudited
from data_api.models.people.api_key import APIKey
from data_api.models.people.user import Role, User
from tests.data.world import PASSWORD, World


def history(world: World, **query: str) -> list[dict[str, Any]]:
    answer = world.client.get("/audit", params=query, headers=world.admin.headers)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


@pytest.fixture
def session(as_app: Engine) -> Iterator[Session]:
    """A transaction that leaves nothing behind."""
    with Session(as_app) as session:
        yield session
        session.rollback()


def test_making_a_user_leaves_a_line_with_who_and_what(world: World) -> None:
    email = f"{new_id()}@example.org"
    body = {"email": email, "password": PASSWORD, "role": "trainer"}
    headers = {**world.admin.headers, "X-Request-ID": str(new_id())}
    made = world.client.post("/users", json=body, headers=headers).json()
    [line] = history(world, entity="users", entity_id=made["id"])
    assert line["action"] == "create"
    assert (line["actor_kind"], line["actor_id"]) == ("user", world.admin.id)
    assert line["request_id"] == headers["X-Request-ID"]
    assert {"email", "password_hash", "role"} <= set(line["fields"])
    assert line["before"] is None
    assert (line["after"]["email"], line["after"]["role"]) == (email, "trainer")


def test_a_change_names_its_fields_and_keeps_both_values(world: World) -> None:
    somebody = world.person()
    world.client.patch(f"/users/{somebody.id}", json={"role": "trainer"}, headers=world.admin.headers)
    line = history(world, entity="users", entity_id=somebody.id)[0]
    assert (line["action"], line["fields"]) == ("change", ["role", "tokens_valid_after"])
    assert (line["before"]["role"], line["after"]["role"]) == ("user", "trainer")


def test_a_change_to_what_it_was_leaves_no_line(world: World) -> None:
    somebody = world.person()
    before = history(world, entity="users", entity_id=somebody.id)
    world.client.patch(f"/users/{somebody.id}", json={"role": "user"}, headers=world.admin.headers)
    assert history(world, entity="users", entity_id=somebody.id) == before


def test_a_person_is_named_for_what_they_do_themselves(world: World) -> None:
    somebody = world.person()
    body = {"current_password": PASSWORD, "password": PASSWORD + "!"}
    assert world.client.patch("/users/me", json=body, headers=somebody.headers).status_code == 200
    line = history(world, entity="users", entity_id=somebody.id)[0]
    assert (line["actor_kind"], line["actor_id"]) == ("user", somebody.id)
    assert line["fields"] == ["password_hash", "tokens_valid_after"]


def test_no_secret_stands_in_the_history(world: World, as_owner: Engine) -> None:
    somebody = world.person()
    world.key(somebody)
    world.client.patch(f"/users/{somebody.id}", json={"password": PASSWORD + "?"}, headers=world.admin.headers)
    with as_owner.connect() as connection:
        details = connection.execute(text("SELECT audit_details::text FROM audit_details")).scalars().all()
        secrets = connection.execute(text("SELECT hash FROM api_keys")).scalars().all()
    assert details
    assert not [detail for detail in details if "argon2" in detail or PASSWORD in detail]
    assert not [detail for detail in details for secret in secrets if secret in detail]


def test_a_key_leaves_lines_when_it_is_made_and_revoked(world: World) -> None:
    somebody = world.person()
    key_id, _ = world.key(somebody, "read")
    world.client.delete(f"/api-keys/{key_id}", headers=somebody.headers)
    revoked, made = history(world, entity="api_keys", entity_id=key_id)
    assert (made["action"], made["after"]["scopes"]) == ("create", ["read"])
    assert (revoked["action"], revoked["fields"]) == ("change", ["revoked_at"])
    assert {made["actor_id"], revoked["actor_id"]} == {somebody.id}


def test_deleting_a_user_leaves_what_they_were(world: World) -> None:
    somebody = world.person()
    world.client.delete(f"/users/{somebody.id}", headers=world.admin.headers)
    line = history(world, entity="users", entity_id=somebody.id)[0]
    assert (line["action"], line["before"]["email"], line["after"]) == ("delete", somebody.email, None)


def test_a_request_that_fails_leaves_no_line(world: World) -> None:
    request_id = str(new_id())
    headers = {**world.admin.headers, "X-Request-ID": request_id}
    body = {"email": world.admin.email, "role": "user"}
    assert world.client.post("/users", json=body, headers=headers).status_code == 409
    assert history(world, request_id=request_id) == []


def test_what_setup_made_is_the_command_s(world: World, as_app: Engine) -> None:
    with Session(as_app) as session:
        admin = session.scalars(select(User).where(User.email == "admin@volant.local")).one()
    line = history(world, entity="users", entity_id=str(admin.id))[-1]
    assert (line["actor_kind"], line["actor_id"], line["request_id"]) == ("command", None, None)


def test_whoever_accepts_an_invitation_is_nobody_yet(world: World) -> None:
    body = {"email": f"{new_id()}@example.org", "role": "user"}
    invited = world.client.post("/invitations", json=body, headers=world.admin.headers).json()
    token = invited["link"].rpartition("/")[2]
    made = world.client.post(f"/invitations/{token}", json={"password": PASSWORD}).json()
    [line] = history(world, entity="users", entity_id=made["id"])
    assert (line["actor_kind"], line["actor_id"], line["after"]["email"]) == ("anonymous", None, body["email"])


def test_filters_narrow_the_history_together(world: World) -> None:
    somebody = world.person()
    start = datetime.now(UTC)
    for role in ("trainer", "user"):
        world.client.patch(f"/users/{somebody.id}", json={"role": role}, headers=world.admin.headers)
    mine = {"entity": "users", "entity_id": somebody.id}
    assert len(history(world, **mine)) == 3
    assert [line["action"] for line in history(world, **mine, action="create")] == ["create"]
    assert len(history(world, **mine, field="role", action="change")) == 2
    assert len(history(world, **mine, actor_id=world.admin.id)) == 3
    assert history(world, **mine, actor_id=somebody.id) == []
    assert len(history(world, **mine, after=start.isoformat())) == 2
    assert len(history(world, **mine, before=start.isoformat())) == 1
    assert history(world, **mine, after=(start + timedelta(hours=1)).isoformat()) == []


def test_pages_of_the_history_join_without_gap_or_overlap(world: World) -> None:
    somebody = world.person()
    for role in ("trainer", "user", "trainer", "user"):
        world.client.patch(f"/users/{somebody.id}", json={"role": role}, headers=world.admin.headers)
    mine = {"entity": "users", "entity_id": somebody.id}
    pages, cursor = [], None
    while True:
        query = {**mine, "limit": "2", **({"cursor": cursor} if cursor else {})}
        page = world.client.get("/audit", params=query, headers=world.admin.headers).json()
        pages += page["items"]
        cursor = page["next"]
        if not cursor:
            break
    assert pages == history(world, **mine)
    assert len(pages) == 5


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET actor_id = NULL",
        "DELETE FROM audit",
        "TRUNCATE audit CASCADE",
        "UPDATE audit_details SET before = NULL",
        "DELETE FROM audit_details",
        "DROP TABLE audit_details",
    ],
)
def test_the_service_cannot_rewrite_the_history(as_app: Engine, statement: str) -> None:
    with as_app.connect() as connection, pytest.raises(ProgrammingError, match=r"permission denied|must be owner"):
        connection.execute(text(statement))


@pytest.mark.parametrize(
    "statement",
    [
        update(User).values(role="admin"),
        delete(User),
        insert(User).values(role="admin"),
        upsert(cast("Table", User.__table__)),
    ],
    ids=["update", "delete", "insert", "upsert"],
)
def test_a_bulk_statement_on_an_audited_table_is_refused(session: Session, statement: UpdateBase) -> None:
    with pytest.raises(Unaudited, match="users is audited"):
        session.execute(statement)


def test_several_changes_in_one_flush_leave_a_line_each(session: Session) -> None:
    session.info.update(actor=Actor("service"), request_id="r-9")
    people = [user.create(session, f"{new_id()}@example.org", Role.USER, None) for _ in range(3)]
    for one in people:
        one.disabled = True
    session.flush()
    lines = session.scalars(select(Audit).where(Audit.entity_id.in_([str(one.id) for one in people]))).all()
    assert sorted(line.action for line in lines) == ["change"] * 3 + ["create"] * 3
    assert {(line.actor_kind, line.request_id) for line in lines} == {("service", "r-9")}


def test_the_time_of_the_last_use_of_a_key_leaves_no_line() -> None:
    assert "last_used_at" in APIKey.__quiet__
