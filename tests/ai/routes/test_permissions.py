"""Permissions: every route, every kind of caller, and whose data."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.ai.routes.test_predict import ROW
from tests.ai.support.app import RunningApp
from tests.ai.support.data_api import KEY_ID, User

SCOPES = ("predict", "feedback", "read", "train")
CALLERS = (*(f"{role} key {scope}" for role in ("user", "trainer") for scope in SCOPES), "user", "trainer", "admin")
"""A role with `key` calls with an API key of this one scope; a role alone with a token."""
OPEN = {("GET", "/health/live"), ("GET", "/health/ready")}
# Who passes: the scope that an API key needs, and the roles whose token passes. Everyone else gets 403.
ALL, TRAINERS = ("user", "trainer", "admin"), ("trainer", "admin")
TABLE: dict[tuple[str, str], tuple[str, tuple[str, ...]]] = {
    ("POST", "/predict"): ("predict", ALL),
    ("POST", "/predict/{task}"): ("predict", ALL),
    ("POST", "/feedback"): ("feedback", ALL),
    ("POST", "/retrain"): ("train", TRAINERS),
    ("GET", "/jobs"): ("read", ALL),
    ("GET", "/jobs/{job_id}"): ("read", ALL),
    ("GET", "/jobs/{job_id}/events"): ("read", ALL),
    ("DELETE", "/jobs/{job_id}"): ("train", TRAINERS),
    ("GET", "/models"): ("read", ALL),
    ("GET", "/models/{task}"): ("read", ALL),
    ("POST", "/models/{task}/promote"): ("train", TRAINERS),
    ("POST", "/models/{task}/rollback"): ("train", TRAINERS),
    ("GET", "/pictures/{name}"): ("read", ALL),
}
VALUES = {"task": "tweets", "job_id": "1", "name": "0" * 64}


def encoded(value: object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def with_header(token: str, **header: object) -> str:
    """The token under another header, unsigned."""
    return ".".join([encoded({"typ": "JWT", "kid": KEY_ID, **header}), token.split(".")[1], ""])


def signed_by_public_key(service: RunningApp, token: str) -> str:
    signed = with_header(token, alg="HS256")[:-1]
    public = service.data_api._signing.public_key().public_bytes_raw()
    return f"{signed}.{encoded(hmac.new(public, signed.encode(), hashlib.sha256).digest())}"


def without_claim(service: RunningApp, user: User, name: str) -> str:
    claims = jwt.decode(service.data_api.token(user), options={"verify_signature": False})
    del claims[name]
    return jwt.encode(claims, service.data_api._signing, algorithm="EdDSA", headers={"kid": KEY_ID})


def other_role(token: str) -> str:
    """The claims changed after signing."""
    header, claims, signature = token.split(".")
    changed = json.loads(base64.urlsafe_b64decode(claims + "==")) | {"role": "admin"}
    return ".".join([header, encoded(changed), signature])


FORGED: dict[str, Callable[[RunningApp, User], str]] = {
    "alg none": lambda service, user: with_header(service.data_api.token(user), alg="none"),
    "alg None": lambda service, user: with_header(service.data_api.token(user), alg="None"),
    "no alg": lambda service, user: with_header(service.data_api.token(user)),
    "HS256 with the public key": lambda service, user: signed_by_public_key(service, service.data_api.token(user)),
    "another key": lambda service, user: service.data_api.token(user, Ed25519PrivateKey.generate()),
    "another role after signing": lambda service, user: other_role(service.data_api.token(user)),
    "another audience": lambda service, user: service.data_api.token(user, aud="other"),
    "another issuer": lambda service, user: service.data_api.token(user, iss="other"),
    "expired": lambda service, user: service.data_api.token(user, exp=int(time.time()) - 1),
    "not yet valid": lambda service, user: service.data_api.token(user, nbf=int(time.time()) + 600),
    "issued in the future": lambda service, user: service.data_api.token(user, iat=int(time.time()) + 600),
    "an unknown kid": lambda service, user: jwt.encode(
        jwt.decode(service.data_api.token(user), options={"verify_signature": False}),
        service.data_api._signing,
        algorithm="EdDSA",
        headers={"kid": "other"},
    ),
    **{
        f"no {name}": lambda service, user, name=name: without_claim(service, user, name)  # type: ignore[misc]
        for name in ("exp", "iat", "nbf", "sub", "aud", "iss")
    },
    "no signature": lambda service, user: service.data_api.token(user).rpartition(".")[0] + ".",
    "no token": lambda *_: "",
}


def routes_of(service: RunningApp) -> set[tuple[str, str]]:
    """Every documented route; a task's own call counts as /predict/{task}."""
    paths: dict[str, dict[str, Any]] = service.app.openapi()["paths"]
    return {
        (method.upper(), re.sub(r"^/predict/\w+$", "/predict/{task}", path))
        for path, methods in paths.items()
        for method in methods
    }


def call(client: httpx.Client, route: tuple[str, str]) -> httpx.Response:
    """A call without a body: who is calling is decided before it is read."""
    method, path = route
    return client.request(method, re.sub(r"{(\w+)}", lambda found: VALUES[found[1]], path))


def test_the_table_of_rights_lists_every_route(service: RunningApp) -> None:
    assert routes_of(service) == OPEN | set(TABLE)


@pytest.mark.parametrize("caller", CALLERS)
def test_every_caller_passes_where_the_table_says_so_and_nowhere_else(service: RunningApp, caller: str) -> None:
    role, _, scope = caller.partition(" key ")
    user = service.add_user(role, *([scope] if scope else []))
    token = f"Bearer {service.data_api.token(user)}"
    client = service.client(user) if scope else service.client(Authorization=token)
    for route, (needed, roles) in TABLE.items():
        passes = role in roles and scope in ("", needed)
        status = call(client, route).status_code
        assert (status not in (401, 403)) if passes else status == 403, (route, status)


@pytest.mark.parametrize("forged", FORGED)
def test_a_forged_token_passes_nowhere(service: RunningApp, forged: str) -> None:
    admin = service.add_user("admin")
    client = service.client(Authorization=f"Bearer {FORGED[forged](service, admin)}")
    assert {call(client, route).status_code for route in TABLE} == {401}


@pytest.mark.parametrize("role", ["service", "root", "", "Admin", "user,admin"])
def test_a_role_that_does_not_exist_passes_nowhere(service: RunningApp, role: str) -> None:
    user = service.add_user("admin")
    client = service.client(Authorization=f"Bearer {service.data_api.token(user, role=role)}")
    assert {call(client, route).status_code for route in TABLE} == {403}


@pytest.mark.parametrize("kind", ["anonymous", "unknown key", "service key", "expired key", "revoked key", "basic"])
def test_a_caller_without_a_valid_key_passes_nowhere(service: RunningApp, kind: str) -> None:
    user = service.add_user("admin")
    entry = service.data_api._keys[-1]
    headers = {"X_API_Key": user.key}
    if kind == "expired key":
        entry["expires_at"] = "2026-01-01T00:00:00Z"
    elif kind == "revoked key":
        service.data_api._keys.remove(entry)
    elif kind == "service key":
        headers = {"X_API_Key": "service key"}
    elif kind == "unknown key":
        headers = {"X_API_Key": user.key + "0"}
    else:
        headers = {} if kind == "anonymous" else {"Authorization": f"Basic {user.key}"}
    service.refresh()
    assert {call(service.client(None, **headers), route).status_code for route in TABLE} == {401}


def test_a_disabled_or_signed_out_person_passes_nowhere(service: RunningApp, monkeypatch: pytest.MonkeyPatch) -> None:
    disabled, signed_out = service.add_user("admin"), service.add_user("admin")
    sent = service.data_api._snapshot
    changes = {"disabled_users": [disabled.id], "tokens_valid_after": {signed_out.id: time.time() + 60}}
    monkeypatch.setattr(service.data_api, "_snapshot", lambda: {**sent(), **changes})
    service.refresh()
    for user in (disabled, signed_out):
        client = service.client(Authorization=f"Bearer {service.data_api.token(user)}")
        assert {call(client, route).status_code for route in TABLE} == {401}


@pytest.mark.parametrize("is_shipped", [False, True], ids=["in the outbox", "in data-api"])
@pytest.mark.parametrize(("role", "status"), [("user", 403), ("trainer", 202), ("admin", 202)])
def test_only_trainers_correct_the_prediction_of_another_person(
    service: RunningApp, user: httpx.Client, role: str, status: int, is_shipped: bool
) -> None:
    body = {"task": "tweets", "inputs": ROW}
    key = user.post("/predict", json=body).json()["predictions"][0]["prediction_id"]
    if is_shipped:
        service.drain()
    other = service.client(service.add_user(role))
    assert other.post("/feedback", json={"prediction_id": key, "label": "positive"}).status_code == status
