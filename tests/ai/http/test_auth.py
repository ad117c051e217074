"""Callers are identified by the snapshot alone: keys by hash, tokens by signature."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from starlette.datastructures import Headers

from ai_api.auth import Callers
from ai_api.errors import AIError, DataUnavailable, IdentityUnavailable, NotAllowed, NotSignedIn
from tests.ai.support.data_api import client_of

pytestmark = pytest.mark.anyio

KEY = "vk_a-good-key"
SIGNING = Ed25519PrivateKey.generate()


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def snapshot(**changes: object) -> dict[str, object]:
    public = encoded(SIGNING.public_key().public_bytes_raw())
    return {
        "generated_at": "2026-11-01T00:00:00Z",
        "keys": [
            key_entry(KEY),
            key_entry("expired", expires_at="2020-01-01T00:00:00Z"),
            key_entry("reader", scopes=["read"]),
            key_entry("user-with-train", role="user"),
        ],
        "disabled_users": ["disabled"],
        "tokens_valid_after": {"signed-out": time.time() + 60},
        "jwks": {"keys": [{"kty": "OKP", "crv": "Ed25519", "x": public, "kid": "k1", "alg": "EdDSA", "use": "sig"}]},
        **changes,
    }


def key_entry(key: str, **changes: object) -> dict[str, object]:
    return {
        "hash": hashlib.sha256(key.encode()).hexdigest(),
        "key_id": "1",
        "user_id": "ann",
        "role": "trainer",
        "scopes": ["predict", "feedback", "read", "train"],
        "expires_at": None,
        **changes,
    }


def token(signing: Ed25519PrivateKey = SIGNING, kid: str = "k1", **changes: object) -> str:
    now = int(time.time())
    claims = {
        "iss": "volant",
        "aud": "volant",
        "sub": "ann",
        "role": "user",
        "iat": now,
        "nbf": now,
        "exp": now + 3_600,
    }
    claims = {name: value for name, value in {**claims, **changes}.items() if value is not None}
    return jwt.encode(claims, signing, algorithm="EdDSA", headers={"kid": kid})


def unsigned() -> str:
    header, payload = (
        {"alg": "none", "typ": "JWT", "kid": "k1"},
        jwt.decode(token(), options={"verify_signature": False}),
    )
    return ".".join([encoded(json.dumps(header).encode()), encoded(json.dumps(payload).encode()), ""])


def signed_with_the_public_key() -> str:
    """An algorithm confusion attack: the public key is used as an HMAC secret."""
    header, payload = (
        {"alg": "HS256", "typ": "JWT", "kid": "k1"},
        jwt.decode(token(), options={"verify_signature": False}),
    )
    signed = f"{encoded(json.dumps(header).encode())}.{encoded(json.dumps(payload).encode())}"
    digest = hashlib.sha256(SIGNING.public_key().public_bytes_raw() + signed.encode()).digest()
    return f"{signed}.{encoded(digest)}"


async def callers_with(tmp_path: Path, respond: Callable[[], httpx.Response], stale_seconds: float = 60) -> Callers:
    client = client_of(lambda request: respond())
    return Callers(client, tmp_path / "callers.json", refresh_seconds=1, stale_seconds=stale_seconds)


@pytest.fixture
async def callers(tmp_path: Path) -> Callers:
    made = await callers_with(tmp_path, lambda: httpx.Response(200, json=snapshot()))
    await made.refresh()
    return made


async def test_a_key_is_identified_by_its_hash(callers: Callers) -> None:
    caller = callers.identify(Headers({"x-api-key": KEY}))
    assert (caller.user_id, caller.role, caller.is_trainer) == ("ann", "trainer", True)
    caller.require("train")


async def test_a_token_signed_by_data_api_is_accepted(callers: Callers) -> None:
    assert callers.identify(Headers({"authorization": f"Bearer {token()}"})).require("predict").user_id == "ann"
    assert callers.identify(Headers({"authorization": f"bearer {token(role='trainer')}"})).require("train").is_trainer


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Basic YTpi"},
        {"x-api-key": ""},
        {"x-api-key": "unknown"},
        {"x-api-key": "expired"},
        {"x-api-key": "\xff"},
        {"authorization": "Bearer "},
        {"authorization": "Bearer not.a.token"},
        {"authorization": f"Bearer {token(kid='k2')}"},
        {"authorization": f"Bearer {token(Ed25519PrivateKey.generate())}"},
        {"authorization": f"Bearer {token(aud='somebody else')}"},
        {"authorization": f"Bearer {token(iss='somebody else')}"},
        {"authorization": f"Bearer {token(exp=int(time.time()) - 1)}"},
        {"authorization": f"Bearer {token(nbf=int(time.time()) + 600)}"},
        {"authorization": f"Bearer {token(exp=None)}"},
        {"authorization": f"Bearer {token(sub='disabled')}"},
        {"authorization": f"Bearer {token(sub='signed-out')}"},
        {"authorization": f"Bearer {unsigned()}"},
        {"authorization": f"Bearer {signed_with_the_public_key()}"},
    ],
)
async def test_other_headers_are_not_accepted(callers: Callers, headers: dict[str, str]) -> None:
    with pytest.raises(NotSignedIn):
        callers.identify(Headers(headers))


@pytest.mark.parametrize(
    ("headers", "scope"),
    [
        ({"x-api-key": "reader"}, "predict"),
        ({"x-api-key": "user-with-train"}, "train"),
        ({"authorization": f"Bearer {token()}"}, "train"),
    ],
)
async def test_scopes_and_role_bound_what_a_caller_may_do(
    callers: Callers, headers: dict[str, str], scope: str
) -> None:
    with pytest.raises(NotAllowed):
        callers.identify(Headers(headers)).require(scope)


async def test_a_key_has_only_those_of_its_scopes_that_its_owners_role_has(callers: Callers) -> None:
    assert callers.identify(Headers({"x-api-key": "user-with-train"})).scopes == {"predict", "feedback", "read"}


async def test_a_token_with_an_unknown_role_is_refused(callers: Callers) -> None:
    with pytest.raises(NotAllowed):
        callers.identify(Headers({"authorization": f"Bearer {token(role='root')}"}))


async def test_the_snapshot_is_used_after_a_restart_while_data_api_is_away(callers: Callers, tmp_path: Path) -> None:
    again = await callers_with(tmp_path, lambda: httpx.Response(503))
    again.restore()
    with pytest.raises(DataUnavailable):
        await again.refresh()
    assert again.identify(Headers({"x-api-key": KEY})).user_id == "ann"
    assert (tmp_path / "callers.json").stat().st_mode & 0o077 == 0
    assert KEY not in (tmp_path / "callers.json").read_text()


async def test_a_snapshot_that_is_too_old_identifies_no_caller(callers: Callers, tmp_path: Path) -> None:
    long_ago = time.time() - 120
    os.utime(tmp_path / "callers.json", (long_ago, long_ago))
    again = await callers_with(tmp_path, lambda: httpx.Response(503), stale_seconds=60)
    again.restore()
    with pytest.raises(IdentityUnavailable):
        again.identify(Headers({"x-api-key": KEY}))


async def test_an_erased_person_is_refused_although_the_same_snapshot_holds_the_key(tmp_path: Path) -> None:
    """data-api reads the erasures after the keys; this instance reports the erasure as soon as it knows of it."""
    erased = snapshot(erasures=[{"id": "e1", "user_id": "ann"}])
    callers = await callers_with(tmp_path, lambda: httpx.Response(200, json=erased))
    await callers.refresh()
    for headers in ({"x-api-key": KEY}, {"authorization": f"Bearer {token()}"}):
        with pytest.raises(NotSignedIn):
            callers.identify(Headers(headers))


async def test_a_revoked_key_is_refused_from_the_next_snapshot_on(tmp_path: Path) -> None:
    snapshots = [snapshot(), snapshot(keys=[])]
    callers = await callers_with(tmp_path, lambda: httpx.Response(200, json=snapshots.pop(0)))
    await callers.refresh()
    callers.identify(Headers({"x-api-key": KEY}))
    await callers.refresh()
    with pytest.raises(NotSignedIn):
        callers.identify(Headers({"x-api-key": KEY}))


async def test_a_damaged_or_foreign_snapshot_changes_nothing(callers: Callers, tmp_path: Path) -> None:
    (tmp_path / "callers.json").write_text("{")
    again = await callers_with(tmp_path, lambda: httpx.Response(200, json={"keys": 1}))
    again.restore()
    with pytest.raises(DataUnavailable):
        await again.refresh()
    with pytest.raises(AIError):
        again.identify(Headers({"x-api-key": KEY}))
