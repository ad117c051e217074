"""Callers without valid credentials are refused on every route, and an API key passes where its scope is named."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI
from sqlalchemy import Engine, text

from data_api.http.context import Context
from data_api.ids import new_id
from tests.data.api import ApiClient, SignedInUser, bearer
from tests.data.http.test_permissions import QUERIES, TABLE

SCOPE_OF = {
    ("GET", "/users/me"): "read",
    ("GET", "/users/me/data"): "read",
    ("GET", "/predictions"): "read",
    ("GET", "/predictions/{prediction_id}"): "read",
    ("GET", "/feedback"): "read",
    ("GET", "/tasks/{task}/corrections"): "read",
    ("GET", "/accuracy"): "read",
    ("GET", "/promotions"): "read",
}
"""The scope with which an API key of a trainer passes. Every other route takes no API key, or one with two scopes."""


def parts(token: str) -> tuple[dict[str, object], dict[str, object]]:
    return jwt.get_unverified_header(token), jwt.decode(token, options={"verify_signature": False})


def encoded(value: object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def changed_header(token: str, **header: object) -> str:
    return ".".join([encoded(parts(token)[0] | header), token.split(".")[1], ""])


def changed_claims(token: str, **claims: object) -> str:
    return ".".join([token.split(".")[0], encoded(parts(token)[1] | claims), token.split(".")[2]])


def signed_by_public_key(api: ApiClient, token: str) -> str:
    signed = changed_header(token, alg="HS256")[:-1]
    key = api.client.get("/.well-known/jwks.json").json()["keys"][0]["x"]
    public = base64.urlsafe_b64decode(key + "=" * (-len(key) % 4))
    return f"{signed}.{encoded(hmac.new(public, signed.encode(), hashlib.sha256).digest())}"


def signed_by_another(token: str) -> str:
    header, claims = parts(token)
    return jwt.encode(claims, Ed25519PrivateKey.generate(), algorithm="EdDSA", headers=header)


FORGED: dict[str, Callable[[ApiClient, str], str]] = {
    "alg none": lambda _, token: changed_header(token, alg="none"),
    "alg None": lambda _, token: changed_header(token, alg="None"),
    "HS256 with the public key": signed_by_public_key,
    "another key under the same kid": lambda _, token: signed_by_another(token),
    "an unknown kid": lambda _, token: changed_header(token, kid="other") + token.split(".")[2],
    "another role": lambda _, token: changed_claims(token, role="admin"),
    "another person": lambda _, token: changed_claims(token, sub=str(new_id())),
    "a later end": lambda _, token: changed_claims(token, exp=4_000_000_000),
    "no signature": lambda _, token: token.rpartition(".")[0] + ".",
    "half a token": lambda _, token: token.rpartition(".")[0],
}


def statuses(api: ApiClient, headers: dict[str, str]) -> dict[tuple[str, str], int]:
    """The status of a call of every route, without a body, about things that do not exist."""
    return {
        (method, path): api.client.request(
            method, re.sub(r"{\w+}", str(new_id()), path), params=QUERIES.get((method, path)), headers=headers
        ).status_code
        for method, path in TABLE
    }


@pytest.mark.parametrize("forged", FORGED)
def test_a_forged_token_passes_nowhere(api: ApiClient, forged: str) -> None:
    found = statuses(api, bearer(FORGED[forged](api, api.admin.token)))
    assert set(found.values()) == {401}, found


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": 1_700_000_000},
        {"nbf": 4_000_000_000},
        {"iat": 4_000_000_000},
        {"aud": "other"},
        {"iss": "other"},
        {"sub": "admin"},
        {"sub": str(new_id())},
    ],
)
def test_a_signed_token_with_wrong_claims_passes_nowhere(
    api: ApiClient, app: FastAPI, claims: dict[str, object]
) -> None:
    context: Context = app.state.context
    key = context.tokens._keyring.signing()
    header, issued = parts(api.admin.token)
    token = jwt.encode(issued | claims, key.private, algorithm="EdDSA", headers=header)
    assert set(statuses(api, bearer(token)).values()) == {401}


def expire(engine: Engine, key_id: str) -> None:
    with engine.begin() as connection:
        statement = "UPDATE api_keys SET expires_at = now() - interval '1 second' WHERE id = :id"
        connection.execute(text(statement), {"id": key_id})


@pytest.mark.parametrize("what", ["expired", "revoked", "disabled", "changed"])
def test_a_key_that_is_not_valid_passes_nowhere(api: ApiClient, as_owner: Engine, what: str) -> None:
    person: SignedInUser = api.person("admin")
    key_id, key = api.key(person)
    if what == "expired":
        expire(as_owner, key_id)
    elif what == "revoked":
        assert api.client.delete(f"/api-keys/{key_id}", headers=person.headers).status_code == 204
    elif what == "disabled":
        path = f"/users/{person.id}"
        assert api.client.patch(path, json={"disabled": True}, headers=api.admin.headers).status_code == 200
    else:
        key = key[:-1] + ("0" if key[-1] != "0" else "1")
    assert set(statuses(api, {"X-API-Key": key}).values()) == {401}


@pytest.mark.parametrize("scope", ["predict", "feedback", "read", "train"])
def test_an_api_key_passes_only_where_its_scope_is_named(api: ApiClient, scope: str) -> None:
    _, key = api.key(api.person("trainer"), scope)
    found = statuses(api, {"X-API-Key": key})
    assert {route for route, status in found.items() if status != 403} == {
        route for route, needed in SCOPE_OF.items() if needed == scope
    }
    assert 401 not in found.values()
