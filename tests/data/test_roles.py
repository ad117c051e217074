"""Who may call what: every route, every kind of caller, on what is their own and on what is somebody else's."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import pytest
from fastapi import FastAPI

from data_api.http.context import Context
from data_api.ids import new_id
from tests.data.cast import THINGS, Cast
from tests.data.world import World

CALLERS = ("nobody", "user", "trainer", "admin", "service", "user key read", "admin key predict feedback read train")
"""A role with `key` calls with an API key of these scopes."""
Row = tuple[int, int, int, int, int, int, int]


class By(NamedTuple):
    """A route whose path names a thing that belongs to a person. Nobody and the service own nothing."""

    own: Row
    other: Row


OPEN = {
    ("POST", "/auth/token"),
    ("POST", "/auth/refresh"),
    ("POST", "/auth/logout"),
    ("GET", "/invitations/{invitation}"),  # whoever has the link
    ("POST", "/invitations/{invitation}"),
    ("GET", "/.well-known/jwks.json"),
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
}
# Status by caller, in the order of CALLERS.
TABLE: dict[tuple[str, str], Row | By] = {
    ("POST", "/auth/logout-everywhere"): (401, 204, 204, 204, 403, 403, 403),
    ("GET", "/auth/snapshot"): (401, 403, 403, 403, 200, 403, 403),
    ("POST", "/users"): (401, 403, 403, 201, 403, 403, 403),
    ("GET", "/users"): (401, 403, 403, 200, 403, 403, 403),
    ("GET", "/users/me"): (401, 200, 200, 200, 403, 200, 200),
    ("PATCH", "/users/me"): (401, 200, 200, 200, 403, 403, 403),
    ("GET", "/users/me/data"): (401, 200, 200, 200, 403, 200, 200),
    ("GET", "/users/{user_id}"): By((401, 403, 403, 200, 403, 403, 403), (401, 403, 403, 200, 403, 403, 403)),
    ("PATCH", "/users/{user_id}"): By((401, 403, 403, 200, 403, 403, 403), (401, 403, 403, 200, 403, 403, 403)),
    ("DELETE", "/users/{user_id}"): By((401, 403, 403, 204, 403, 403, 403), (401, 403, 403, 204, 403, 403, 403)),
    ("POST", "/users/{user_id}/logout-everywhere"): By(
        (401, 403, 403, 204, 403, 403, 403), (401, 403, 403, 204, 403, 403, 403)
    ),
    ("DELETE", "/users/{user_id}/data"): By((401, 202, 202, 202, 403, 403, 403), (401, 403, 403, 202, 403, 403, 403)),
    ("GET", "/erasures"): (401, 403, 403, 200, 403, 403, 403),
    ("GET", "/erasures/{erasure_id}"): (401, 403, 403, 200, 403, 403, 403),
    ("POST", "/erasures/{erasure_id}/parts"): (401, 403, 403, 403, 204, 403, 403),
    ("DELETE", "/replicas/{replica_name}"): (401, 403, 403, 403, 204, 403, 403),
    ("POST", "/invitations"): (401, 403, 403, 201, 403, 403, 403),
    ("GET", "/invitations"): (401, 403, 403, 200, 403, 403, 403),
    ("DELETE", "/invitations/{invitation}"): (401, 403, 403, 204, 403, 403, 403),
    ("POST", "/api-keys"): (401, 201, 201, 201, 403, 403, 403),
    ("GET", "/api-keys"): (401, 200, 200, 200, 403, 403, 403),
    ("POST", "/api-keys/uses"): (401, 403, 403, 403, 204, 403, 403),
    ("DELETE", "/api-keys/{key_id}"): By((401, 204, 204, 204, 403, 403, 403), (401, 404, 404, 204, 403, 403, 403)),
    ("POST", "/predictions"): (401, 403, 403, 403, 200, 403, 403),
    ("GET", "/predictions"): (401, 200, 200, 200, 200, 200, 200),
    ("GET", "/predictions/uncertain"): (401, 403, 200, 200, 403, 403, 200),
    ("GET", "/predictions/{prediction_id}"): By(
        (401, 200, 200, 200, 200, 200, 200), (401, 404, 200, 200, 200, 404, 200)
    ),
    ("POST", "/feedback"): (401, 403, 403, 403, 200, 403, 403),
    ("GET", "/feedback"): (401, 200, 200, 200, 200, 200, 200),
    ("GET", "/tasks/{task}/corrections"): (401, 403, 200, 200, 200, 403, 200),
    ("GET", "/accuracy"): (401, 403, 200, 200, 200, 403, 200),
    ("GET", "/retention"): (401, 403, 403, 200, 403, 403, 403),
    ("GET", "/retention/{task}"): (401, 403, 403, 404, 403, 403, 403),
    ("PUT", "/retention/{task}"): (401, 403, 403, 200, 403, 403, 403),
    ("DELETE", "/retention/{task}"): (401, 403, 403, 404, 403, 403, 403),
    ("POST", "/promotions"): (401, 403, 403, 403, 200, 403, 403),
    ("GET", "/promotions"): (401, 200, 200, 200, 200, 200, 200),
    ("GET", "/audit"): (401, 403, 403, 200, 403, 403, 403),
}
BODIES: dict[tuple[str, str], Any] = {
    ("POST", "/users"): lambda: {"email": f"{new_id()}@example.org"},
    ("PATCH", "/users/me"): lambda: {"name": "Ada"},
    ("PATCH", "/users/{user_id}"): lambda: {"role": "admin"},
    ("POST", "/invitations"): lambda: {"email": f"{new_id()}@example.org"},
    ("POST", "/api-keys"): lambda: {"name": "x", "scopes": ["read"]},
    ("POST", "/erasures/{erasure_id}/parts"): lambda: {"replica": "r", "removed": {}},
    ("POST", "/api-keys/uses"): lambda: {"uses": {}},
    ("POST", "/predictions"): lambda: {"rows": []},
    ("POST", "/feedback"): lambda: {"rows": []},
    ("PUT", "/retention/{task}"): lambda: {"predictions_days": 90, "examples_days": None},
    ("POST", "/promotions"): lambda: {"rows": []},
}
QUERIES = {("GET", "/predictions/uncertain"): {"task": "x"}, ("GET", "/accuracy"): {"task": "x"}}
CASES = [
    (route, whose, caller)
    for route, row in sorted(TABLE.items())
    for whose in (("own", "other") if isinstance(row, By) else ("other",))
    for caller in CALLERS
]


@pytest.fixture(scope="module")
def cast(app: FastAPI, world: World) -> Cast:
    return Cast(app, world)


def test_the_table_knows_every_route(app: FastAPI) -> None:
    paths = app.openapi()["paths"]
    routes = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    assert routes == OPEN | set(TABLE)
    assert set(BODIES) | set(QUERIES) <= set(TABLE)
    assert {name for _, path in routes for name in re.findall(r"{(\w+)}", path)} == set(THINGS)


@pytest.mark.parametrize(
    ("route", "whose", "caller"), CASES, ids=[" ".join((*route, whose, caller)) for route, whose, caller in CASES]
)
def test_a_caller_gets_what_the_table_says(
    world: World, cast: Cast, route: tuple[str, str], whose: str, caller: str
) -> None:
    method, path = route
    member = cast.member(caller)
    owner = member.id if whose == "own" and member.id else cast.person()
    for name in re.findall(r"{(\w+)}", path):
        path = path.replace(f"{{{name}}}", cast.thing(name, owner))
    body = BODIES[route]() if route in BODIES else None
    answer = world.client.request(method, path, params=QUERIES.get(route), json=body, headers=member.headers)
    row = TABLE[route]
    expected = getattr(row, whose) if isinstance(row, By) else row
    assert answer.status_code == expected[CALLERS.index(caller)], answer.text


@pytest.mark.parametrize("role", ["user", "trainer", "admin"])
@pytest.mark.parametrize("what", ["disabled", "deleted", "demoted"])
def test_whoever_lost_their_rights_a_moment_ago_gets_in_nowhere(world: World, cast: Cast, role: str, what: str) -> None:
    """By the same token that got in everywhere before."""
    member = cast.member(role)
    path = f"/users/{member.id}"
    if what == "deleted":
        assert world.client.delete(path, headers=world.admin.headers).status_code == 204
    else:
        change = {"disabled": True} if what == "disabled" else {"role": "user" if role != "user" else "trainer"}
        assert world.client.patch(path, json=change, headers=world.admin.headers).status_code == 200
    for method, route in TABLE:
        nobody = re.sub(r"{\w+}", str(new_id()), route)
        assert world.client.request(method, nobody, headers=member.headers).status_code == 401, (method, route)


def test_the_role_in_a_token_is_a_hint_and_the_users_table_has_the_last_word(
    world: World, cast: Cast, app: FastAPI
) -> None:
    context: Context = app.state.context
    member = cast.member("user")
    assert member.id
    token = {"Authorization": f"Bearer {context.tokens.issue(member.id, 'admin')}"}
    assert world.client.get("/users", headers=token).status_code == 403


@pytest.mark.parametrize(("row", "expected"), [("own", 1), ("somebody else's", 0)])
def test_lists_hold_what_is_ones_own_and_for_trainers_everything(
    world: World, cast: Cast, row: str, expected: int
) -> None:
    user, trainer = cast.member("user"), cast.member("trainer")
    owner = user.id if row == "own" else cast.person()
    assert owner
    key = cast.prediction(owner)
    task = world.client.get(f"/predictions/{key}", headers=trainer.headers).json()["task"]
    found = {
        who: world.client.get("/predictions", params={"task": task}, headers=member.headers).json()["items"]
        for who, member in (("user", user), ("trainer", trainer))
    }
    assert (len(found["user"]), len(found["trainer"])) == (expected, 1)


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/docs", "/openapi.json", "/.well-known/jwks.json"])
def test_what_is_open_asks_nobody(world: World, path: str) -> None:
    assert world.client.get(path).status_code == 200


def test_metrics_are_not_on_the_public_port(world: World) -> None:
    assert world.client.get("/metrics").status_code == 404
