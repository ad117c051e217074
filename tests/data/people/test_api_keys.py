"""API keys: shown once, limited by scopes, revoked permanently."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI
from sqlalchemy import Engine, text

from data_api.crud.people import api_key
from data_api.errors import UnknownUser
from data_api.http.context import Context
from data_api.ids import new_id
from data_api.models.people.api_key import Scope
from tests.data.api import ApiClient, SignedInUser, key_hash, prediction, snapshot


def test_a_key_is_shown_once(api: ApiClient) -> None:
    person = api.person()
    body = {"name": "laptop", "scopes": ["read", "predict"]}
    made = api.client.post("/api-keys", json=body, headers=person.headers).json()
    key = made.pop("key")
    assert key.startswith("vk_")
    (listed,) = api.client.get("/api-keys", headers=person.headers).json()["items"]
    assert listed == made
    assert sorted(made["scopes"]) == ["predict", "read"]
    assert (made["user_id"], made["name"]) == (person.id, "laptop")
    assert (made["expires_at"], made["revoked_at"], made["last_used_at"]) == (None, None, None)


def test_a_key_allows_its_scopes_and_not_its_owners_account(api: ApiClient, task: str) -> None:
    admin = api.person("admin")
    _, reading = api.key(admin, "read")
    _, predicting = api.key(admin, "predict")
    calls = ["/predictions", "/feedback", "/promotions", "/users/me", f"/tasks/{task}/corrections"]
    statuses = {
        name: [api.client.get(path, headers={"X-API-Key": key}).status_code for path in calls]
        for name, key in (("read", reading), ("predict", predicting))
    }
    assert statuses == {"read": [200] * 5, "predict": [403] * 5}
    body = {"name": "more", "scopes": ["train"]}
    assert api.client.post("/api-keys", json=body, headers={"X-API-Key": reading}).status_code == 403
    assert api.client.get("/users", headers={"X-API-Key": reading}).status_code == 403
    assert api.post("/predictions").status_code == 200
    rows = {"rows": [prediction(task)]}
    assert api.client.post("/predictions", json=rows, headers={"X-API-Key": reading}).status_code == 403


@pytest.mark.parametrize(("role", "status"), [("user", 403), ("trainer", 201), ("admin", 201)])
def test_a_key_cannot_get_a_scope_that_its_owners_role_lacks(api: ApiClient, role: str, status: int) -> None:
    body = {"name": "x", "scopes": ["read", "train"]}
    response = api.client.post("/api-keys", json=body, headers=api.person(role).headers)
    assert response.status_code == status
    assert ("trainer or admin" in response.text) == (status == 403)


def test_a_key_loses_a_scope_when_its_owner_loses_the_role(api: ApiClient) -> None:
    person = api.person("trainer")
    _, key = api.key(person, "read", "train")

    def scopes() -> list[str]:
        [entry] = [one for one in snapshot(api)["keys"] if one["hash"] == key_hash(key)]
        return list(entry["scopes"])

    assert scopes() == ["read", "train"]
    demotion = api.client.patch(f"/users/{person.id}", json={"role": "user"}, headers=api.admin.headers)
    assert demotion.status_code == 200
    assert scopes() == ["read"]


def test_a_revoked_key_is_refused_and_stays_in_the_list(api: ApiClient) -> None:
    person = api.person()
    key_id, key = api.key(person)
    for _ in range(2):
        assert api.client.delete(f"/api-keys/{key_id}", headers=person.headers).status_code == 204
    assert api.client.get("/users/me", headers={"X-API-Key": key}).status_code == 401
    (listed,) = api.client.get("/api-keys", headers=person.headers).json()["items"]
    assert listed["revoked_at"] is not None


def test_keys_are_visible_to_their_owner_and_to_admins(api: ApiClient) -> None:
    owner, other = api.person(), api.person("trainer")
    key_id, _ = api.key(owner)
    path = f"/api-keys/{key_id}"
    assert api.client.delete(path, headers=other.headers).json()["error"] == "UnknownKey"
    assert api.client.get("/api-keys", headers=other.headers).json()["items"] == []
    found = api.client.get("/api-keys", params={"limit": 500}, headers=api.admin.headers).json()["items"]
    assert key_id in {item["id"] for item in found}
    assert api.client.delete(path, headers=api.admin.headers).status_code == 204
    assert api.client.delete(f"/api-keys/{new_id()}", headers=api.admin.headers).status_code == 404


@pytest.mark.parametrize(
    "change",
    [
        {"scopes": []},
        {"scopes": ["root"]},
        {"name": ""},
        {"name": "nul\0"},
        {"user_id": "01890000-0000-7000-8000-000000000000"},
        {"key": "vk_mine"},
        {"hash": "x"},
        {"expires_at": "2020-01-01T00:00:00Z"},
        {"expires_at": (datetime.now(UTC) + timedelta(days=1)).replace(tzinfo=None).isoformat()},
    ],
    ids=" ".join,
)
def test_a_malformed_request_for_a_key_is_refused(api: ApiClient, change: dict[str, object]) -> None:
    body = {"name": "test", "scopes": ["read"], **change}
    response = api.client.post("/api-keys", json=body, headers=api.person().headers)
    assert (response.status_code, response.json()["error"]) == (422, "InvalidRequest")


def listed(api: ApiClient, person: SignedInUser, **query: str | bool) -> list[dict[str, Any]]:
    response = api.client.get("/api-keys", params={"limit": 500, **query}, headers=person.headers)
    assert response.status_code == 200
    found: list[dict[str, Any]] = response.json()["items"]
    return found


def test_the_list_can_leave_out_invalid_keys_and_an_admin_can_filter_by_user(api: ApiClient) -> None:
    person, other = api.person(), api.person()
    revoked, valid = api.key(person)[0], api.key(person)[0]
    theirs, _ = api.key(other)
    api.client.delete(f"/api-keys/{revoked}", headers=person.headers)
    assert [key["id"] for key in listed(api, person)] == [valid, revoked]
    assert [key["id"] for key in listed(api, person, live=True)] == [valid]
    assert [key["id"] for key in listed(api, api.admin, user_id=person.id, live=True)] == [valid]
    assert [key["id"] for key in listed(api, api.admin, user_id=other.id)] == [theirs]
    assert listed(api, person, user_id=other.id) == []


def test_a_use_is_stored_at_most_once_a_minute_also_when_the_call_fails(api: ApiClient, as_app: Engine) -> None:
    person = api.person()
    key_id, key = api.key(person, "predict")
    uses = []
    for _ in range(2):
        assert api.client.get("/users/me", headers={"X-API-Key": key}).status_code == 403
        uses.append(listed(api, person)[0]["last_used_at"])
    assert uses[0] == uses[1] is not None
    with as_app.begin() as connection:
        query = text("UPDATE api_keys SET last_used_at = last_used_at - interval '61 seconds' WHERE id = :id")
        connection.execute(query, {"id": UUID(key_id)})
    api.client.get("/users/me", headers={"X-API-Key": key})
    assert listed(api, person)[0]["last_used_at"] > uses[0]


def test_uses_at_ai_api_are_stored_unless_a_later_use_is_known(api: ApiClient) -> None:
    person = api.person()
    (first, key), (second, _), (third, _) = (api.key(person) for _ in range(3))
    api.client.get("/users/me", headers={"X-API-Key": key})
    now = datetime.now(UTC)
    uses = {
        first: (now - timedelta(hours=1)).isoformat(),
        second: (now - timedelta(minutes=5)).isoformat(),
        third: (now + timedelta(days=1)).isoformat(),
        str(new_id()): now.isoformat(),
    }
    for _ in range(2):
        response = api.client.post("/api-keys/uses", json={"uses": uses}, headers=api.service)
        assert response.status_code == 204
    found = {one["id"]: datetime.fromisoformat(one["last_used_at"]) for one in listed(api, person)}
    assert abs(found[first] - now) < timedelta(seconds=30)
    assert found[second] == now - timedelta(minutes=5)
    assert abs(found[third] - now) < timedelta(seconds=30)  # a clock that is ahead


def test_two_concurrent_reports_of_uses_do_not_deadlock(api: ApiClient) -> None:
    person = api.person()
    keys = [api.key(person)[0] for _ in range(10)]

    def report(number: int) -> int:
        order = keys if number % 2 else keys[::-1]
        moment = datetime.now(UTC).isoformat()
        body = {"uses": dict.fromkeys(order, moment)}
        return int(api.client.post("/api-keys/uses", json=body, headers=api.service).status_code)

    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(report, range(12))) == {204}


def test_creating_a_key_for_a_user_who_is_being_deleted_is_refused(
    api: ApiClient, as_app: Engine, app: FastAPI
) -> None:
    person = api.person()
    with as_app.begin() as connection:
        connection.execute(text("DELETE FROM users WHERE id = :id"), {"id": UUID(person.id)})
    context: Context = app.state.context
    with pytest.raises(UnknownUser), context.database.session() as session:
        api_key.create(session, UUID(person.id), "x", "hash", [Scope.READ], None)


@pytest.mark.parametrize("offset", ["+18:00", "-23:59"])
def test_a_utc_offset_that_postgres_refuses_is_converted(api: ApiClient, offset: str) -> None:
    body = {"name": "far east", "scopes": ["read"], "expires_at": f"2099-01-01T00:00:00{offset}"}
    made = api.client.post("/api-keys", json=body, headers=api.person().headers)
    assert made.status_code == 201, made.text
    moment = datetime.fromisoformat(body["expires_at"]).astimezone(UTC)  # type: ignore[arg-type]
    assert datetime.fromisoformat(made.json()["expires_at"]) == moment


def test_an_out_of_range_datetime_is_clamped(api: ApiClient) -> None:
    body = {"name": "x", "scopes": ["read"], "expires_at": "9999-12-31T23:59:59-01:00"}
    made = api.client.post("/api-keys", json=body, headers=api.person().headers)
    assert made.status_code == 201, made.text
    assert made.json()["expires_at"].startswith("9999-12-31T23:59:59.999999")
