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
from tests.data.api import PASSWORD, ApiClient, SignedInUser


def invite(api: ApiClient, by: SignedInUser | None = None, **others: object) -> dict[str, Any]:
    """An invitation and its link, by default from the admin."""
    body = {"email": f"{new_id()}@example.org", **others}
    response = api.client.post("/invitations", json=body, headers=(by or api.admin).headers)
    assert response.status_code == 201, response.text
    made: dict[str, Any] = response.json()
    return made


def path(made: dict[str, Any]) -> str:
    """The path of the link."""
    found: str = made["link"].removeprefix("http://127.0.0.1:8001")
    assert found.startswith("/invitations/vi_")
    return found


def accept(api: ApiClient, made: dict[str, Any], **others: object) -> Any:
    return api.client.post(path(made), json={"password": PASSWORD, **others})


def outcome(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["error"]


GONE = (404, "UnknownInvitation")


def test_an_invited_person_makes_an_account_and_signs_in(api: ApiClient) -> None:
    made = invite(api, email=f"Ada-{new_id()}@Example.org", role="trainer")
    assert (made["role"], made["invited_by"], made["accepted_at"]) == ("trainer", api.admin.id, None)
    shown = api.client.get(path(made)).json()
    assert shown == {"email": made["email"].lower(), "role": "trainer", "expires_at": made["expires_at"]}
    response = accept(api, made, name="Ada")
    assert response.status_code == 201
    user = response.json()
    assert (user["email"], user["name"], user["role"]) == (made["email"], "Ada", "trainer")
    assert api.sign_in(made["email"], PASSWORD).id == user["id"]
    assert outcome(accept(api, made)) == outcome(api.client.get(path(made))) == GONE
    (listed,) = (one for one in listing(api) if one["id"] == made["id"])
    assert (listed["user_id"], bool(listed["accepted_at"])) == (user["id"], True)


def listing(api: ApiClient, **query: bool) -> list[dict[str, Any]]:
    response = api.client.get("/invitations", params={"limit": 500, **query}, headers=api.admin.headers)
    found: list[dict[str, Any]] = response.json()["items"]
    return found


def test_the_link_is_shown_once_and_not_stored(
    api: ApiClient, as_app: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        made = invite(api)
        api.client.get(path(made))
        accept(api, made)
    token = made["link"].rpartition("/")[2]
    assert set(made) - set(listing(api)[0]) == {"link"}
    with as_app.connect() as connection:
        rows = [connection.execute(text(f"SELECT * FROM {name}")).all() for name in ("invitations", "audit_details")]
    assert token not in str(rows)
    assert digest(token) not in str(rows[1])
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("data_api")]
    assert any("route=/invitations/{invitation} status=201" in line for line in ours)
    assert not [line for line in ours if token in line]


def test_an_invitation_ends_by_expiry_by_revocation_and_by_a_later_one(api: ApiClient, as_app: Engine) -> None:
    expired, revoked, replaced, open_one = (invite(api) for _ in range(4))
    with as_app.begin() as connection:
        query = text("UPDATE invitations SET expires_at = now() - interval '1 second' WHERE id = :id")
        connection.execute(query, {"id": UUID(expired["id"])})
    for _ in range(2):
        response = api.client.delete(f"/invitations/{revoked['id']}", headers=api.admin.headers)
        assert response.status_code == 204
    later = invite(api, email=replaced["email"], role="admin")
    for made in (expired, revoked, replaced):
        assert outcome(api.client.get(path(made))) == GONE
        assert outcome(accept(api, made)) == GONE
    still = {one["id"] for one in listing(api, open=True)}
    assert still >= {later["id"], open_one["id"]}
    assert not still & {expired["id"], revoked["id"], replaced["id"]}
    assert accept(api, later).json()["role"] == "admin"
    for unknown in (later["id"], str(new_id())):
        assert outcome(api.client.delete(f"/invitations/{unknown}", headers=api.admin.headers)) == GONE


@pytest.mark.parametrize("change", [{"role": "trainer"}, {"disabled": True}, None], ids=str)
def test_invitations_of_a_former_admin_are_refused(api: ApiClient, change: dict[str, object] | None) -> None:
    admin = api.person("admin")
    made = invite(api, admin, role="admin")
    user = f"/users/{admin.id}"
    if change is None:
        assert api.client.delete(user, headers=api.admin.headers).status_code == 204
    else:
        assert api.client.patch(user, json=change, headers=api.admin.headers).status_code == 200
    assert outcome(accept(api, made)) == GONE


def test_an_e_mail_with_an_account_is_not_invited(api: ApiClient) -> None:
    person = api.person()
    body = {"email": person.email.upper()}
    assert outcome(api.client.post("/invitations", json=body, headers=api.admin.headers)) == (409, "EmailTaken")
    made = invite(api)
    account = {"email": made["email"], "password": "another horse battery"}
    assert api.client.post("/users", json=account, headers=api.admin.headers).status_code == 201
    assert outcome(accept(api, made)) == (409, "EmailTaken")
    assert api.sign_in(made["email"], "another horse battery").email == made["email"]


def test_one_of_two_concurrent_acceptances_succeeds(api: ApiClient) -> None:
    made = invite(api)
    with ThreadPoolExecutor(3) as threads:
        statuses = [response.status_code for response in threads.map(lambda _: accept(api, made), range(3))]
    assert sorted(statuses) == [201, 404, 404]


def test_accepting_holds_no_connection_while_it_waits_to_hash(
    api: ApiClient, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    context: Context = app.state.context
    real, checked_out = context.passwords.hash, []
    made = invite(api)

    def hash_(password: str) -> str:
        checked_out.append(context.database.engine.pool.checkedout())  # type: ignore[attr-defined]
        return real(password)

    monkeypatch.setattr(context.passwords, "hash", hash_)
    assert accept(api, made).status_code == 201
    assert checked_out == [0]


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
def test_an_invited_person_chooses_only_password_and_name(api: ApiClient, body: dict[str, object]) -> None:
    made = invite(api)
    assert outcome(api.client.post(path(made), json=body)) == (422, "InvalidRequest")
    assert api.client.get(path(made)).status_code == 200


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
def test_a_malformed_invitation_is_refused(api: ApiClient, body: dict[str, object]) -> None:
    whole = {"email": f"{new_id()}@example.org", **body}
    response = api.client.post("/invitations", json=whole, headers=api.admin.headers)
    assert outcome(response) == (422, "InvalidRequest")


def test_the_invitation_page_loads_nothing_and_sends_no_referrer(api: ApiClient) -> None:
    made = invite(api)
    page = api.client.get(path(made), headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
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
    assert api.client.get(path(made)).json()["email"] == made["email"]  # reading does not use the link up


def test_deleting_a_user_deletes_their_invitations(api: ApiClient, as_app: Engine) -> None:
    made = invite(api)
    user = accept(api, made).json()
    waiting = invite(api)
    body = {"email": waiting["email"], "password": PASSWORD}
    other = api.client.post("/users", json=body, headers=api.admin.headers).json()
    for one in (user, other):
        assert api.client.delete(f"/users/{one['id']}", headers=api.admin.headers).status_code == 204
    with as_app.connect() as connection:
        left = str(connection.execute(text("SELECT * FROM invitations")).all())
    assert made["email"] not in left
    assert waiting["email"] not in left
