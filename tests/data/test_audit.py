"""The audit: every change of users and keys adds a line, and none can be changed."""

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
from tests.data.api import PASSWORD, ApiClient


def history(api: ApiClient, **query: str) -> list[dict[str, Any]]:
    response = api.client.get("/audit", params=query, headers=api.admin.headers)
    assert response.status_code == 200, response.text
    items: list[dict[str, Any]] = response.json()["items"]
    return items


@pytest.fixture
def session(as_app: Engine) -> Iterator[Session]:
    """A transaction that is rolled back."""
    with Session(as_app) as session:
        yield session
        session.rollback()


def test_creating_a_user_is_audited_with_actor_and_values(api: ApiClient) -> None:
    email = f"{new_id()}@example.org"
    body = {"email": email, "password": PASSWORD, "role": "trainer"}
    headers = {**api.admin.headers, "X-Request-ID": str(new_id())}
    made = api.client.post("/users", json=body, headers=headers).json()
    [line] = history(api, entity="users", entity_id=made["id"])
    assert line["action"] == "create"
    assert (line["actor_kind"], line["actor_id"]) == ("user", api.admin.id)
    assert line["request_id"] == headers["X-Request-ID"]
    assert {"email", "password_hash", "role"} <= set(line["fields"])
    assert line["before"] is None
    assert (line["after"]["email"], line["after"]["role"]) == (email, "trainer")


def test_a_change_is_audited_with_its_fields_and_both_values(api: ApiClient) -> None:
    user = api.person()
    api.client.patch(f"/users/{user.id}", json={"role": "trainer"}, headers=api.admin.headers)
    line = history(api, entity="users", entity_id=user.id)[0]
    assert (line["action"], line["fields"]) == ("change", ["role", "tokens_valid_after"])
    assert (line["before"]["role"], line["after"]["role"]) == ("user", "trainer")


def test_a_change_to_the_same_value_is_not_audited(api: ApiClient) -> None:
    user = api.person()
    before = history(api, entity="users", entity_id=user.id)
    api.client.patch(f"/users/{user.id}", json={"role": "user"}, headers=api.admin.headers)
    assert history(api, entity="users", entity_id=user.id) == before


def test_a_person_is_the_actor_of_their_own_changes(api: ApiClient) -> None:
    user = api.person()
    body = {"current_password": PASSWORD, "password": PASSWORD + "!"}
    assert api.client.patch("/users/me", json=body, headers=user.headers).status_code == 200
    line = history(api, entity="users", entity_id=user.id)[0]
    assert (line["actor_kind"], line["actor_id"]) == ("user", user.id)
    assert line["fields"] == ["password_hash", "tokens_valid_after"]


def test_no_secret_is_in_the_audit(api: ApiClient, as_owner: Engine) -> None:
    user = api.person()
    api.key(user)
    api.client.patch(f"/users/{user.id}", json={"password": PASSWORD + "?"}, headers=api.admin.headers)
    with as_owner.connect() as connection:
        details = connection.execute(text("SELECT audit_details::text FROM audit_details")).scalars().all()
        secrets = connection.execute(text("SELECT hash FROM api_keys")).scalars().all()
    assert details
    assert not [detail for detail in details if "argon2" in detail or PASSWORD in detail]
    assert not [detail for detail in details for secret in secrets if secret in detail]


def test_creating_and_revoking_a_key_is_audited(api: ApiClient) -> None:
    user = api.person()
    key_id, _ = api.key(user, "read")
    api.client.delete(f"/api-keys/{key_id}", headers=user.headers)
    revoked, made = history(api, entity="api_keys", entity_id=key_id)
    assert (made["action"], made["after"]["scopes"]) == ("create", ["read"])
    assert (revoked["action"], revoked["fields"]) == ("change", ["revoked_at"])
    assert {made["actor_id"], revoked["actor_id"]} == {user.id}


def test_deleting_a_user_is_audited_with_their_values(api: ApiClient) -> None:
    user = api.person()
    api.client.delete(f"/users/{user.id}", headers=api.admin.headers)
    line = history(api, entity="users", entity_id=user.id)[0]
    assert (line["action"], line["before"]["email"], line["after"]) == ("delete", user.email, None)


def test_a_failed_request_is_not_audited(api: ApiClient) -> None:
    request_id = str(new_id())
    headers = {**api.admin.headers, "X-Request-ID": request_id}
    body = {"email": api.admin.email, "role": "user"}
    assert api.client.post("/users", json=body, headers=headers).status_code == 409
    assert history(api, request_id=request_id) == []


def test_changes_by_setup_have_the_actor_command(api: ApiClient, as_app: Engine) -> None:
    with Session(as_app) as session:
        admin = session.scalars(select(User).where(User.email == "admin@volant.local")).one()
    line = history(api, entity="users", entity_id=str(admin.id))[-1]
    assert (line["actor_kind"], line["actor_id"], line["request_id"]) == ("command", None, None)


def test_accepting_an_invitation_has_the_actor_anonymous(api: ApiClient) -> None:
    body = {"email": f"{new_id()}@example.org", "role": "user"}
    invited = api.client.post("/invitations", json=body, headers=api.admin.headers).json()
    token = invited["link"].rpartition("/")[2]
    made = api.client.post(f"/invitations/{token}", json={"password": PASSWORD}).json()
    [line] = history(api, entity="users", entity_id=made["id"])
    assert (line["actor_kind"], line["actor_id"], line["after"]["email"]) == ("anonymous", None, body["email"])


def test_filters_of_the_audit_combine(api: ApiClient) -> None:
    user = api.person()
    start = datetime.now(UTC)
    for role in ("trainer", "user"):
        api.client.patch(f"/users/{user.id}", json={"role": role}, headers=api.admin.headers)
    mine = {"entity": "users", "entity_id": user.id}
    assert len(history(api, **mine)) == 3
    assert [line["action"] for line in history(api, **mine, action="create")] == ["create"]
    assert len(history(api, **mine, field="role", action="change")) == 2
    assert len(history(api, **mine, actor_id=api.admin.id)) == 3
    assert history(api, **mine, actor_id=user.id) == []
    assert len(history(api, **mine, after=start.isoformat())) == 2
    assert len(history(api, **mine, before=start.isoformat())) == 1
    assert history(api, **mine, after=(start + timedelta(hours=1)).isoformat()) == []


def test_pages_of_the_audit_have_no_gap_and_no_overlap(api: ApiClient) -> None:
    user = api.person()
    for role in ("trainer", "user", "trainer", "user"):
        api.client.patch(f"/users/{user.id}", json={"role": role}, headers=api.admin.headers)
    mine = {"entity": "users", "entity_id": user.id}
    pages, cursor = [], None
    while True:
        query = {**mine, "limit": "2", **({"cursor": cursor} if cursor else {})}
        page = api.client.get("/audit", params=query, headers=api.admin.headers).json()
        pages += page["items"]
        cursor = page["next"]
        if not cursor:
            break
    assert pages == history(api, **mine)
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
def test_the_service_role_cannot_change_the_audit(as_app: Engine, statement: str) -> None:
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


def test_several_changes_in_one_flush_are_audited_one_by_one(session: Session) -> None:
    session.info.update(actor=Actor("service"), request_id="r-9")
    people = [user.create(session, f"{new_id()}@example.org", Role.USER, None) for _ in range(3)]
    for one in people:
        one.disabled = True
    session.flush()
    lines = session.scalars(select(Audit).where(Audit.entity_id.in_([str(one.id) for one in people]))).all()
    assert sorted(line.action for line in lines) == ["change"] * 3 + ["create"] * 3
    assert {(line.actor_kind, line.request_id) for line in lines} == {("service", "r-9")}


def test_the_last_use_of_a_key_is_not_audited() -> None:
    assert "last_used_at" in APIKey.__quiet__
