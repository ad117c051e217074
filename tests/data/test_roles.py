"""Who may call what: every route, every kind of caller."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI

from data_api.ids import new_id
from tests.data.world import PASSWORD, Somebody, World

CALLERS = ("nobody", "user", "trainer", "admin", "service", "key")
"""`key` is a user's key with the scope `read` alone."""
UNKNOWN = str(new_id())
OPEN = {
    ("POST", "/auth/token"),
    ("POST", "/auth/refresh"),
    ("POST", "/auth/logout"),
    ("GET", "/.well-known/jwks.json"),
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
}
# Status by caller, in the order of CALLERS.
TABLE: dict[tuple[str, str], tuple[int, ...]] = {
    ("GET", "/auth/snapshot"): (401, 403, 403, 403, 200, 403),
    ("POST", "/users"): (401, 403, 403, 201, 403, 403),
    ("GET", "/users"): (401, 403, 403, 200, 403, 403),
    ("GET", "/users/me"): (401, 200, 200, 200, 403, 200),
    ("PATCH", "/users/me"): (401, 403, 403, 403, 403, 403),  # the current password is wrong, or it is no person
    ("GET", "/users/{user_id}"): (401, 403, 403, 404, 403, 403),
    ("PATCH", "/users/{user_id}"): (401, 403, 403, 404, 403, 403),
    ("DELETE", "/users/{user_id}"): (401, 403, 403, 404, 403, 403),
    ("POST", "/api-keys"): (401, 201, 201, 201, 403, 403),
    ("GET", "/api-keys"): (401, 200, 200, 200, 403, 403),
    ("DELETE", "/api-keys/{key_id}"): (401, 404, 404, 404, 403, 403),
    ("POST", "/predictions"): (401, 403, 403, 403, 200, 403),
    ("GET", "/predictions"): (401, 200, 200, 200, 200, 200),
    ("GET", "/predictions/{prediction_id}"): (401, 404, 404, 404, 404, 404),
    ("POST", "/feedback"): (401, 403, 403, 403, 200, 403),
    ("GET", "/feedback"): (401, 200, 200, 200, 200, 200),
    ("GET", "/tasks/{task}/corrections"): (401, 403, 200, 200, 200, 403),
    ("POST", "/promotions"): (401, 403, 403, 403, 200, 403),
    ("GET", "/promotions"): (401, 200, 200, 200, 200, 200),
}
BODIES: dict[tuple[str, str], Any] = {
    ("POST", "/users"): lambda: {"email": f"{new_id()}@example.org", "password": PASSWORD},
    ("PATCH", "/users/me"): lambda: {"current_password": "wrong", "password": PASSWORD},
    ("PATCH", "/users/{user_id}"): lambda: {"role": "admin"},
    ("POST", "/api-keys"): lambda: {"name": "x", "scopes": ["read"]},
    ("POST", "/predictions"): lambda: {"rows": []},
    ("POST", "/feedback"): lambda: {"rows": []},
    ("POST", "/promotions"): lambda: {"rows": []},
}


@pytest.fixture(scope="module")
def headers(world: World) -> dict[str, dict[str, str]]:
    people: dict[str, Somebody] = {role: world.person(role) for role in ("user", "trainer", "admin")}
    _, key = world.key(people["user"], "read")
    return {
        "nobody": {},
        "service": world.service,
        "key": {"X-API-Key": key},
        **{role: person.headers for role, person in people.items()},
    }


def test_the_table_knows_every_route(app: FastAPI) -> None:
    paths = app.openapi()["paths"]
    routes = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    assert routes == OPEN | set(TABLE)


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("route", sorted(TABLE), ids=" ".join)
def test_a_caller_gets_what_the_table_says(
    world: World, headers: dict[str, dict[str, str]], route: tuple[str, str], caller: str
) -> None:
    method, path = route
    for name in ("user_id", "key_id", "prediction_id", "task"):
        path = path.replace(f"{{{name}}}", UNKNOWN)
    body = BODIES[route]() if route in BODIES else None
    answer = world.client.request(method, path, json=body, headers=headers[caller])
    assert answer.status_code == TABLE[route][CALLERS.index(caller)], answer.text


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/docs", "/openapi.json", "/.well-known/jwks.json"])
def test_what_is_open_asks_nobody(world: World, path: str) -> None:
    assert world.client.get(path).status_code == 200


def test_metrics_are_not_on_the_public_port(world: World) -> None:
    assert world.client.get("/metrics").status_code == 404
