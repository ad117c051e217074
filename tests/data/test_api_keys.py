"""API keys: shown once, narrower than their owner, ended for good."""

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
from tests.data.world import Somebody, World, prediction


def test_a_key_is_shown_once(world: World) -> None:
    person = world.person()
    body = {"name": "laptop", "scopes": ["read", "predict"]}
    made = world.client.post("/api-keys", json=body, headers=person.headers).json()
    key = made.pop("key")
    assert key.startswith("vk_")
    (listed,) = world.client.get("/api-keys", headers=person.headers).json()["items"]
    assert listed == made
    assert sorted(made["scopes"]) == ["predict", "read"]
    assert (made["user_id"], made["name"]) == (person.id, "laptop")
    assert (made["expires_at"], made["revoked_at"], made["last_used_at"]) == (None, None, None)


def test_a_key_opens_what_its_scopes_say_and_nothing_of_its_owners_account(world: World, task: str) -> None:
    admin = world.person("admin")
    _, reading = world.key(admin, "read")
    _, predicting = world.key(admin, "predict")
    calls = ["/predictions", "/feedback", "/promotions", "/users/me", f"/tasks/{task}/corrections"]
    statuses = {
        name: [world.client.get(path, headers={"X-API-Key": key}).status_code for path in calls]
        for name, key in (("read", reading), ("predict", predicting))
    }
    assert statuses == {"read": [200] * 5, "predict": [403] * 5}
    body = {"name": "more", "scopes": ["train"]}
    assert world.client.post("/api-keys", json=body, headers={"X-API-Key": reading}).status_code == 403
    assert world.client.get("/users", headers={"X-API-Key": reading}).status_code == 403
    assert world.post("/predictions").status_code == 200
    rows = {"rows": [prediction(task)]}
    assert world.client.post("/predictions", json=rows, headers={"X-API-Key": reading}).status_code == 403


def test_a_revoked_key_is_dead_and_stays_in_the_list(world: World) -> None:
    person = world.person()
    key_id, key = world.key(person)
    for _ in range(2):
        assert world.client.delete(f"/api-keys/{key_id}", headers=person.headers).status_code == 204
    assert world.client.get("/users/me", headers={"X-API-Key": key}).status_code == 401
    (listed,) = world.client.get("/api-keys", headers=person.headers).json()["items"]
    assert listed["revoked_at"] is not None


def test_keys_are_their_owners_and_the_admins(world: World) -> None:
    owner, other = world.person(), world.person("trainer")
    key_id, _ = world.key(owner)
    path = f"/api-keys/{key_id}"
    assert world.client.delete(path, headers=other.headers).json()["error"] == "UnknownKey"
    assert world.client.get("/api-keys", headers=other.headers).json()["items"] == []
    found = world.client.get("/api-keys", params={"limit": 500}, headers=world.admin.headers).json()["items"]
    assert key_id in {item["id"] for item in found}
    assert world.client.delete(path, headers=world.admin.headers).status_code == 204
    assert world.client.delete(f"/api-keys/{new_id()}", headers=world.admin.headers).status_code == 404


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
def test_a_key_is_not_made_from_what_is_not_asked_for(world: World, change: dict[str, object]) -> None:
    body = {"name": "test", "scopes": ["read"], **change}
    answer = world.client.post("/api-keys", json=body, headers=world.person().headers)
    assert (answer.status_code, answer.json()["error"]) == (422, "InvalidRequest")


def listed(world: World, person: Somebody, **query: str | bool) -> list[dict[str, Any]]:
    answer = world.client.get("/api-keys", params={"limit": 500, **query}, headers=person.headers)
    assert answer.status_code == 200
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


def test_the_list_leaves_out_what_is_over_if_asked_and_an_admin_asks_for_one_person(world: World) -> None:
    person, other = world.person(), world.person()
    gone, kept = world.key(person)[0], world.key(person)[0]
    theirs, _ = world.key(other)
    world.client.delete(f"/api-keys/{gone}", headers=person.headers)
    assert [key["id"] for key in listed(world, person)] == [kept, gone]
    assert [key["id"] for key in listed(world, person, live=True)] == [kept]
    assert [key["id"] for key in listed(world, world.admin, user_id=person.id, live=True)] == [kept]
    assert [key["id"] for key in listed(world, world.admin, user_id=other.id)] == [theirs]
    assert listed(world, person, user_id=other.id) == []


def test_a_use_is_noted_at_most_once_a_minute_also_when_the_call_fails(world: World, as_app: Engine) -> None:
    person = world.person()
    key_id, key = world.key(person, "predict")
    uses = []
    for _ in range(2):
        assert world.client.get("/users/me", headers={"X-API-Key": key}).status_code == 403
        uses.append(listed(world, person)[0]["last_used_at"])
    assert uses[0] == uses[1] is not None
    with as_app.begin() as connection:
        query = text("UPDATE api_keys SET last_used_at = last_used_at - interval '61 seconds' WHERE id = :id")
        connection.execute(query, {"id": UUID(key_id)})
    world.client.get("/users/me", headers={"X-API-Key": key})
    assert listed(world, person)[0]["last_used_at"] > uses[0]


def test_uses_elsewhere_are_noted_unless_something_later_is_known(world: World) -> None:
    person = world.person()
    (first, key), (second, _), (third, _) = (world.key(person) for _ in range(3))
    world.client.get("/users/me", headers={"X-API-Key": key})
    now = datetime.now(UTC)
    uses = {
        first: (now - timedelta(hours=1)).isoformat(),
        second: (now - timedelta(minutes=5)).isoformat(),
        third: (now + timedelta(days=1)).isoformat(),
        str(new_id()): now.isoformat(),
    }
    for _ in range(2):
        answer = world.client.post("/api-keys/uses", json={"uses": uses}, headers=world.service)
        assert answer.status_code == 204
    found = {one["id"]: datetime.fromisoformat(one["last_used_at"]) for one in listed(world, person)}
    assert abs(found[first] - now) < timedelta(seconds=30)
    assert found[second] == now - timedelta(minutes=5)
    assert abs(found[third] - now) < timedelta(seconds=30)  # a clock that is ahead


def test_two_reports_of_uses_at_once_do_not_stop_each_other(world: World) -> None:
    person = world.person()
    keys = [world.key(person)[0] for _ in range(10)]

    def report(number: int) -> int:
        order = keys if number % 2 else keys[::-1]
        moment = datetime.now(UTC).isoformat()
        body = {"uses": dict.fromkeys(order, moment)}
        return int(world.client.post("/api-keys/uses", json=body, headers=world.service).status_code)

    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(report, range(12))) == {204}


def test_a_key_of_somebody_who_is_deleted_at_that_moment_is_refused(world: World, as_app: Engine, app: FastAPI) -> None:
    person = world.person()
    with as_app.begin() as connection:
        connection.execute(text("DELETE FROM users WHERE id = :id"), {"id": UUID(person.id)})
    context: Context = app.state.context
    with pytest.raises(UnknownUser), context.database.session() as session:
        api_key.create(session, UUID(person.id), "x", "hash", [Scope.READ], None)


@pytest.mark.parametrize("offset", ["+18:00", "-23:59"])
def test_an_offset_that_postgres_does_not_know_is_understood(world: World, offset: str) -> None:
    body = {"name": "far east", "scopes": ["read"], "expires_at": f"2099-01-01T00:00:00{offset}"}
    made = world.client.post("/api-keys", json=body, headers=world.person().headers)
    assert made.status_code == 201, made.text
    moment = datetime.fromisoformat(body["expires_at"]).astimezone(UTC)  # type: ignore[arg-type]
    assert datetime.fromisoformat(made.json()["expires_at"]) == moment


def test_a_moment_beyond_the_calendar_is_its_end(world: World) -> None:
    body = {"name": "x", "scopes": ["read"], "expires_at": "9999-12-31T23:59:59-01:00"}
    made = world.client.post("/api-keys", json=body, headers=world.person().headers)
    assert made.status_code == 201, made.text
    assert made.json()["expires_at"].startswith("9999-12-31T23:59:59.999999")
