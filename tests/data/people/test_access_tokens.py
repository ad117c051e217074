"""Access tokens: which are accepted, and what ends them."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI
from jwt.algorithms import OKPAlgorithm
from sqlalchemy import Engine, text

from data_api.ids import new_id
from data_api.keyring import KeyPair
from data_api.security import Tokens
from tests.data.api import PASSWORD, ApiClient, SignedInUser, bearer, key_hash, refresh, snapshot, status


@pytest.fixture(scope="module")
def user(api: ApiClient) -> SignedInUser:
    return api.person("trainer")


@pytest.fixture(scope="module")
def signing(app: FastAPI) -> KeyPair:
    """The signing key of the service."""
    tokens: Tokens = app.state.context.tokens
    return tokens._keyring.signing()


def forge(signing: KeyPair, user: SignedInUser, key: object = None, algorithm: str = "EdDSA", **changes: Any) -> str:
    """A token like a real one but for `changes`; a claim that is None is left out."""
    now = int(time.time())
    claims = {
        "iss": "volant",
        "aud": "volant",
        "sub": user.id,
        "role": "trainer",
        "iat": now,
        "nbf": now,
        "exp": now + 60,
        "jti": str(new_id()),
        **changes,
    }
    present = {name: value for name, value in claims.items() if value is not None}
    headers = {"kid": present.pop("kid", signing.kid)}
    return jwt.encode(present, signing.private if key is None else key, algorithm, headers=headers)  # type: ignore[arg-type]


def test_a_token_names_its_user_and_verifies_with_the_published_key(api: ApiClient, user: SignedInUser) -> None:
    (jwk,) = api.client.get("/.well-known/jwks.json").json()["keys"]
    assert jwt.get_unverified_header(user.token) == {"alg": "EdDSA", "typ": "JWT", "kid": jwk["kid"]}
    public = OKPAlgorithm.from_jwk(jwk)
    claims = jwt.decode(user.token, public, algorithms=["EdDSA"], audience="volant", issuer="volant")  # type: ignore[arg-type]
    assert (claims["sub"], claims["role"]) == (user.id, "trainer")
    assert claims["exp"] - int(claims["iat"]) == 900
    assert "d" not in jwk


def test_a_token_made_by_the_test_passes_so_that_the_refused_ones_fail_for_their_claim(
    api: ApiClient, signing: KeyPair, user: SignedInUser
) -> None:
    assert status(api, bearer(forge(signing, user))) == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "another-service"},
        {"aud": ["volant", "another-service"]},
        {"iss": "another-service"},
        {"exp": int(time.time()) - 1},
        {"nbf": int(time.time()) + 3_600},
        {"iat": int(time.time()) + 3_600},
        {"iat": "yesterday"},
        {"sub": "admin"},
        {"sub": str(new_id())},
        {"kid": "another"},
        {"kid": ""},
        *({name: None} for name in ("iss", "aud", "sub", "role", "iat", "nbf", "exp", "jti")),
    ],
    ids=" ".join,
)
def test_a_token_with_a_wrong_claim_is_refused(
    api: ApiClient, signing: KeyPair, user: SignedInUser, changes: dict[str, Any]
) -> None:
    assert status(api, bearer(forge(signing, user, **changes))) == 401


def test_a_token_signed_otherwise_is_refused(api: ApiClient, signing: KeyPair, user: SignedInUser) -> None:
    public = signing.x
    head, body, signature = user.token.split(".")
    admin = forge(signing, user, sub=api.admin.id).split(".")[1]
    for token in (
        forge(signing, user, key="", algorithm="none"),
        forge(signing, user, key=public, algorithm="HS256"),
        forge(signing, user, key=Ed25519PrivateKey.generate()),
        f"{head}.{admin}.{signature}",
        f"{head}.{body}.",
        f"{head}.{body}",
        f"{head}.{body}.{signature[:-4]}AAAA",
        "a.b.c",
        "....",
    ):
        assert status(api, bearer(token)) == 401
    assert status(api, {"Authorization": f"Basic {user.token}"}) == 401
    assert status(api, {}) == 401


def test_headers_that_are_not_text_are_refused(api: ApiClient) -> None:
    for name in (b"authorization", b"x-api-key"):
        response = api.client.get("/users/me", headers=[(name, b"Bearer \xff\xfe")])
        assert response.status_code == 401


@pytest.mark.parametrize(
    "change", [{"disabled": True}, {"role": "trainer"}, {"password": "another horse battery"}, None], ids=str
)
def test_a_change_to_a_person_ends_their_tokens_at_once(api: ApiClient, change: dict[str, object] | None) -> None:
    person = api.person()
    _, key = api.key(person)
    path = f"/users/{person.id}"
    before = snapshot(api)
    assert person.id not in before["disabled_users"]
    assert person.id not in before["tokens_valid_after"]
    if change is None:
        assert api.client.delete(path, headers=api.admin.headers).status_code == 204
    else:
        assert api.client.patch(path, json=change, headers=api.admin.headers).status_code == 200
    after = snapshot(api)
    gone = change is None or "disabled" in change
    assert status(api, person.headers) == 401
    assert status(api, {"X-API-Key": key}) == (401 if gone else 200)
    assert refresh(api, person.refresh).status_code == (200 if change == {"role": "trainer"} else 401)
    assert (person.id in after["disabled_users"]) == gone
    if change is not None:
        issued_at = jwt.decode(person.token, options={"verify_signature": False})["iat"]
        assert issued_at < after["tokens_valid_after"][person.id] <= time.time()
    assert (key_hash(key) in {entry["hash"] for entry in after["keys"]}) == (not gone)


def test_a_token_issued_right_after_a_change_is_valid_for_ai_api_too(api: ApiClient) -> None:
    person = api.person()
    body = {"current_password": PASSWORD, "password": "another horse battery"}
    assert api.client.patch("/users/me", json=body, headers=person.headers).status_code == 200
    again = api.sign_in(person.email, "another horse battery")
    issued_at = jwt.decode(again.token, options={"verify_signature": False})["iat"]
    assert issued_at >= snapshot(api)["tokens_valid_after"][person.id]
    assert status(api, again.headers) == 200


def test_a_disabled_user_who_is_enabled_again_has_to_sign_in(api: ApiClient) -> None:
    person = api.person()
    for disabled in (True, False):
        api.client.patch(f"/users/{person.id}", json={"disabled": disabled}, headers=api.admin.headers)
    assert status(api, person.headers) == 401
    assert refresh(api, person.refresh).status_code == 401
    assert status(api, api.sign_in(person.email, PASSWORD).headers) == 200


def test_a_change_waits_for_a_running_sign_in_and_ends_its_token(api: ApiClient, as_app: Engine, app: FastAPI) -> None:
    """The sign-in has read the old role and has not committed: the change must wait for it."""
    person = api.person()
    with as_app.connect() as sign_in, ThreadPoolExecutor(1) as threads:
        sign_in.execute(text("SELECT 1 FROM users WHERE id = :id FOR SHARE"), {"id": person.id})
        path, body = f"/users/{person.id}", {"role": "trainer"}
        change = threads.submit(api.client.patch, path, json=body, headers=api.admin.headers)
        token = app.state.context.tokens.issue(UUID(person.id), "user")
        sign_in.rollback()
        assert change.result().status_code == 200
    assert status(api, bearer(token)) == 401
