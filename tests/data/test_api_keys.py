"""API keys: shown once, narrower than their owner, ended for good."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from data_api.ids import new_id
from tests.data.world import World, prediction


def test_a_key_is_shown_once(world: World) -> None:
    person = world.person()
    body = {"name": "laptop", "scopes": ["read", "predict"]}
    made = world.client.post("/api-keys", json=body, headers=person.headers).json()
    key = made.pop("key")
    assert key.startswith("vk_")
    (listed,) = world.client.get("/api-keys", headers=person.headers).json()["items"]
    assert listed == made
    assert sorted(made["scopes"]) == ["predict", "read"]
    assert (made["user_id"], made["name"], made["expires_at"], made["revoked_at"]) == (person.id, "laptop", None, None)


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
