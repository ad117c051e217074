"""Permissions: every route, every kind of caller, on their own resources and on those of others."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import pytest
from fastapi import FastAPI

from data_api.http.context import Context
from data_api.ids import new_id
from tests.data.accounts import RESOURCES, Accounts
from tests.data.api import PASSWORD, ApiClient

CALLERS = ("anonymous", "user", "trainer", "admin", "service", "user key read", "admin key predict feedback read train")
"""A role with `key` calls with an API key of these scopes."""
Row = tuple[int, int, int, int, int, int, int]


class ByOwner(NamedTuple):
    """Statuses of a route whose path names a resource of a user: the caller's own, and another user's. Callers without
    authentication and the service own none.
    """

    own: Row
    other: Row


OPEN = {
    ("POST", "/auth/token"),
    ("POST", "/auth/refresh"),
    ("POST", "/auth/logout"),
    ("GET", "/invitations/{invitation}"),  # for anyone with the link
    ("POST", "/invitations/{invitation}"),
    ("GET", "/.well-known/jwks.json"),
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
}
# Status by caller, in the order of CALLERS.
TABLE: dict[tuple[str, str], Row | ByOwner] = {
    ("POST", "/auth/logout-everywhere"): (401, 204, 204, 204, 403, 403, 403),
    ("GET", "/auth/snapshot"): (401, 403, 403, 403, 200, 403, 403),
    ("POST", "/users"): (401, 403, 403, 201, 403, 403, 403),
    ("GET", "/users"): (401, 403, 403, 200, 403, 403, 403),
    ("GET", "/users/me"): (401, 200, 200, 200, 403, 200, 200),
    ("PATCH", "/users/me"): (401, 200, 200, 200, 403, 403, 403),
    ("GET", "/users/me/data"): (401, 200, 200, 200, 403, 200, 200),
    ("GET", "/users/{user_id}"): ByOwner((401, 403, 403, 200, 403, 403, 403), (401, 403, 403, 200, 403, 403, 403)),
    ("PATCH", "/users/{user_id}"): ByOwner((401, 403, 403, 200, 403, 403, 403), (401, 403, 403, 200, 403, 403, 403)),
    ("DELETE", "/users/{user_id}"): ByOwner((401, 403, 403, 204, 403, 403, 403), (401, 403, 403, 204, 403, 403, 403)),
    ("POST", "/users/{user_id}/logout-everywhere"): ByOwner(
        (401, 403, 403, 204, 403, 403, 403), (401, 403, 403, 204, 403, 403, 403)
    ),
    ("DELETE", "/users/{user_id}/data"): ByOwner(
        (401, 202, 202, 202, 403, 403, 403), (401, 403, 403, 202, 403, 403, 403)
    ),
    ("GET", "/erasures"): (401, 403, 403, 200, 403, 403, 403),
    ("GET", "/erasures/{erasure_id}"): (401, 403, 403, 200, 403, 403, 403),
    ("POST", "/erasures/{erasure_id}/parts"): (401, 403, 403, 403, 204, 403, 403),
    ("DELETE", "/replicas/{replica_name}"): (401, 403, 403, 204, 204, 403, 403),
    ("POST", "/invitations"): (401, 403, 403, 201, 403, 403, 403),
    ("GET", "/invitations"): (401, 403, 403, 200, 403, 403, 403),
    ("DELETE", "/invitations/{invitation}"): (401, 403, 403, 204, 403, 403, 403),
    ("POST", "/api-keys"): (401, 201, 201, 201, 403, 403, 403),
    ("GET", "/api-keys"): (401, 200, 200, 200, 403, 403, 403),
    ("POST", "/api-keys/uses"): (401, 403, 403, 403, 204, 403, 403),
    ("DELETE", "/api-keys/{key_id}"): ByOwner((401, 204, 204, 204, 403, 403, 403), (401, 404, 404, 204, 403, 403, 403)),
    ("POST", "/predictions"): (401, 403, 403, 403, 200, 403, 403),
    ("GET", "/predictions"): (401, 200, 200, 200, 200, 200, 200),
    ("GET", "/predictions/uncertain"): (401, 403, 200, 200, 403, 403, 200),
    ("GET", "/predictions/{prediction_id}"): ByOwner(
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
    ("DELETE", "/users/{user_id}/data"): lambda: {"password": PASSWORD},
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
    (route, owned_by, caller)
    for route, row in sorted(TABLE.items())
    for owned_by in (("own", "other") if isinstance(row, ByOwner) else ("other",))
    for caller in CALLERS
]


@pytest.fixture(scope="module")
def accounts(app: FastAPI, api: ApiClient) -> Accounts:
    return Accounts(app, api)


def test_the_table_of_rights_lists_every_route(app: FastAPI) -> None:
    paths = app.openapi()["paths"]
    routes = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    assert routes == OPEN | set(TABLE)
    assert set(BODIES) | set(QUERIES) <= set(TABLE)
    assert {name for _, path in routes for name in re.findall(r"{(\w+)}", path)} == set(RESOURCES)


@pytest.mark.parametrize(
    ("route", "owned_by", "caller"),
    CASES,
    ids=[" ".join((*route, owned_by, caller)) for route, owned_by, caller in CASES],
)
def test_every_caller_gets_the_status_in_the_table(
    api: ApiClient, accounts: Accounts, route: tuple[str, str], owned_by: str, caller: str
) -> None:
    method, path = route
    member = accounts.caller(caller)
    owner = member.id if owned_by == "own" and member.id else accounts.person()
    for name in re.findall(r"{(\w+)}", path):
        path = path.replace(f"{{{name}}}", accounts.resource(name, owner))
    body = BODIES[route]() if route in BODIES else None
    response = api.client.request(method, path, params=QUERIES.get(route), json=body, headers=member.headers)
    row = TABLE[route]
    expected = getattr(row, owned_by) if isinstance(row, ByOwner) else row
    assert response.status_code == expected[CALLERS.index(caller)], response.text


@pytest.mark.parametrize("role", ["user", "trainer", "admin"])
@pytest.mark.parametrize("what", ["disabled", "deleted", "demoted"])
def test_a_caller_who_has_just_lost_their_rights_is_refused_everywhere(
    api: ApiClient, accounts: Accounts, role: str, what: str
) -> None:
    """With the same token that was accepted everywhere before."""
    member = accounts.caller(role)
    path = f"/users/{member.id}"
    if what == "deleted":
        assert api.client.delete(path, headers=api.admin.headers).status_code == 204
    else:
        change = {"disabled": True} if what == "disabled" else {"role": "user" if role != "user" else "trainer"}
        assert api.client.patch(path, json=change, headers=api.admin.headers).status_code == 200
    for method, route in TABLE:
        unknown_path = re.sub(r"{\w+}", str(new_id()), route)
        assert api.client.request(method, unknown_path, headers=member.headers).status_code == 401, (method, route)


def test_the_role_in_the_users_table_counts_and_not_the_one_in_the_token(
    api: ApiClient, accounts: Accounts, app: FastAPI
) -> None:
    context: Context = app.state.context
    member = accounts.caller("user")
    assert member.id
    token = {"Authorization": f"Bearer {context.tokens.issue(member.id, 'admin')}"}
    assert api.client.get("/users", headers=token).status_code == 403


@pytest.mark.parametrize(("row", "expected"), [("own", 1), ("another user's", 0)])
def test_lists_hold_the_callers_own_rows_and_for_trainers_all_rows(
    api: ApiClient, accounts: Accounts, row: str, expected: int
) -> None:
    user, trainer = accounts.caller("user"), accounts.caller("trainer")
    owner = user.id if row == "own" else accounts.person()
    assert owner
    key = accounts.prediction(owner)
    task = api.client.get(f"/predictions/{key}", headers=trainer.headers).json()["task"]
    found = {
        role: api.client.get("/predictions", params={"task": task}, headers=member.headers).json()["items"]
        for role, member in (("user", user), ("trainer", trainer))
    }
    assert (len(found["user"]), len(found["trainer"])) == (expected, 1)


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/docs", "/openapi.json", "/.well-known/jwks.json"])
def test_open_routes_need_no_authentication(api: ApiClient, path: str) -> None:
    assert api.client.get(path).status_code == 200


def test_metrics_are_not_on_the_public_port(api: ApiClient) -> None:
    assert api.client.get("/metrics").status_code == 404
