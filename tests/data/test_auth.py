"""Authentication: passwords, access and refresh tokens, and the snapshot for ai-api."""

from __future__ import annotations

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI
from jwt.algorithms import OKPAlgorithm
from sqlalchemy import Engine, event, text
from sqlalchemy.orm import Session

from data_api.crud.people import refresh_token, sign_in
from data_api.errors import Overloaded
from data_api.ids import new_id
from data_api.keyring import KeyPair
from data_api.security import Passwords, Tokens
from tests.data.api import PASSWORD, ApiClient, SignedInUser


@pytest.fixture(scope="module")
def somebody(api: ApiClient) -> SignedInUser:
    return api.person("trainer")


@pytest.fixture(scope="module")
def signing(app: FastAPI) -> KeyPair:
    """The signing key of the service."""
    tokens: Tokens = app.state.context.tokens
    return tokens._keyring.signing()


def status(api: ApiClient, headers: dict[str, str]) -> int:
    return api.client.get("/users/me", headers=headers).status_code


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def forge(
    signing: KeyPair, somebody: SignedInUser, key: object = None, algorithm: str = "EdDSA", **changes: Any
) -> str:
    """A token like a real one but for `changes`; a claim that is None is left out."""
    now = int(time.time())
    claims = {
        "iss": "volant",
        "aud": "volant",
        "sub": somebody.id,
        "role": "trainer",
        "iat": now,
        "nbf": now,
        "exp": now + 60,
        "jti": str(new_id()),
        **changes,
    }
    kept = {name: value for name, value in claims.items() if value is not None}
    headers = {"kid": kept.pop("kid", signing.kid)}
    return jwt.encode(kept, signing.private if key is None else key, algorithm, headers=headers)  # type: ignore[arg-type]


def test_a_token_names_its_user_and_verifies_with_the_published_key(api: ApiClient, somebody: SignedInUser) -> None:
    (jwk,) = api.client.get("/.well-known/jwks.json").json()["keys"]
    assert jwt.get_unverified_header(somebody.token) == {"alg": "EdDSA", "typ": "JWT", "kid": jwk["kid"]}
    public = OKPAlgorithm.from_jwk(jwk)
    claims = jwt.decode(somebody.token, public, algorithms=["EdDSA"], audience="volant", issuer="volant")  # type: ignore[arg-type]
    assert (claims["sub"], claims["role"]) == (somebody.id, "trainer")
    assert claims["exp"] - int(claims["iat"]) == 900
    assert "d" not in jwk


def test_a_token_made_by_the_test_passes_so_that_the_refused_ones_fail_for_their_claim(
    api: ApiClient, signing: KeyPair, somebody: SignedInUser
) -> None:
    assert status(api, bearer(forge(signing, somebody))) == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "somebody-else"},
        {"aud": ["volant", "somebody-else"]},
        {"iss": "somebody-else"},
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
    api: ApiClient, signing: KeyPair, somebody: SignedInUser, changes: dict[str, Any]
) -> None:
    assert status(api, bearer(forge(signing, somebody, **changes))) == 401


def test_a_token_signed_otherwise_is_refused(api: ApiClient, signing: KeyPair, somebody: SignedInUser) -> None:
    public = signing.x
    head, body, signature = somebody.token.split(".")
    admin = forge(signing, somebody, sub=api.admin.id).split(".")[1]
    for token in (
        forge(signing, somebody, key="", algorithm="none"),
        forge(signing, somebody, key=public, algorithm="HS256"),
        forge(signing, somebody, key=Ed25519PrivateKey.generate()),
        f"{head}.{admin}.{signature}",
        f"{head}.{body}.",
        f"{head}.{body}",
        f"{head}.{body}.{signature[:-4]}AAAA",
        "a.b.c",
        "....",
    ):
        assert status(api, bearer(token)) == 401
    assert status(api, {"Authorization": f"Basic {somebody.token}"}) == 401
    assert status(api, {}) == 401


def test_headers_that_are_not_text_are_refused(api: ApiClient) -> None:
    for name in (b"authorization", b"x-api-key"):
        response = api.client.get("/users/me", headers=[(name, b"Bearer \xff\xfe")])
        assert response.status_code == 401


@pytest.mark.parametrize(
    ("email", "password"),
    [
        ("nobody@example.org", PASSWORD),
        ("demo@volant.local", PASSWORD),
        ("demo@volant.local", " "),
        (" ", " "),
        ("' OR 1=1 --", "' OR 1=1 --"),
    ],
)
def test_an_unknown_user_and_one_without_a_password_get_the_same_error(
    api: ApiClient, email: str, password: str
) -> None:
    wrong = api.client.post("/auth/token", data={"username": api.admin.email, "password": "wrong"})
    response = api.client.post("/auth/token", data={"username": email, "password": password})
    assert (response.status_code, wrong.status_code) == (401, 401)
    assert response.json()["error"] == wrong.json()["error"] == "WrongCredentials"
    assert response.json()["detail"] == wrong.json()["detail"]


def test_an_unknown_user_costs_as_many_hashes_as_a_known_one(monkeypatch: pytest.MonkeyPatch) -> None:
    passwords = Passwords(at_once=1)
    kept = passwords.hash(PASSWORD)
    calls: list[str] = []
    real = passwords._hash.verify

    def verify(password: str, against: str) -> bool:
        calls.append(against)
        return real(password, against)

    monkeypatch.setattr(passwords._hash, "verify", verify)
    assert passwords.verify(PASSWORD, kept)
    assert not passwords.verify(PASSWORD, None)
    assert not passwords.verify("wrong", kept)
    cost = {call.rpartition("$")[0].rpartition("$")[0] for call in calls}
    assert len(calls) == 3
    assert cost == {"$argon2id$v=19$m=19456,t=2,p=1"}


def test_sign_ins_without_a_free_hashing_slot_are_refused() -> None:
    passwords = Passwords(at_once=1, wait_seconds=0.01)
    with passwords._slots, pytest.raises(Overloaded):
        passwords.hash(PASSWORD)
    assert passwords.verify(PASSWORD, passwords.hash(PASSWORD))


def test_a_sign_in_holds_no_connection_while_it_waits_to_hash(
    api: ApiClient, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = api.person()
    context, held = app.state.context, []
    real = context.passwords.verify

    def verify(password: str, kept: str | None) -> bool:
        held.append(context.database.engine.pool.checkedout())
        return bool(real(password, kept))

    monkeypatch.setattr(context.passwords, "verify", verify)
    api.sign_in(person.email, PASSWORD)
    response = api.client.post("/auth/token", data={"username": "nobody@example.org", "password": PASSWORD})
    assert response.status_code == 401
    assert held == [0, 0]


@pytest.mark.parametrize("change", ["deleted", "disabled", "another password"])
def test_a_user_who_changes_while_the_password_is_hashed_is_refused(
    api: ApiClient, app: FastAPI, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    person = api.person()
    passwords = app.state.context.passwords
    real = passwords.verify

    def verify(password: str, kept: str | None) -> bool:
        right = bool(real(password, kept))
        path, admin = f"/users/{person.id}", api.admin.headers
        if change == "deleted":
            assert api.client.delete(path, headers=admin).status_code == 204
        else:
            body = {"disabled": True} if change == "disabled" else {"password": "another horse battery"}
            assert api.client.patch(path, json=body, headers=admin).status_code == 200
        return right

    monkeypatch.setattr(passwords, "verify", verify)
    response = api.client.post("/auth/token", data={"username": person.email, "password": PASSWORD})
    assert (response.status_code, response.json()["error"]) == (401, "WrongCredentials")


@pytest.mark.parametrize("call", ["sign in", "refresh"])
def test_a_user_who_is_deleted_between_two_queries_is_refused(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """The user is deleted just before the row is locked."""
    person = api.person()
    place = sign_in if call == "sign in" else refresh_token
    real = place.lock_user

    def hold(session: Session, user_id: UUID, *subjects: str) -> Any:
        monkeypatch.setattr(place, "lock_user", real)
        assert api.client.delete(f"/users/{person.id}", headers=api.admin.headers).status_code == 204
        return real(session, user_id, *subjects)

    monkeypatch.setattr(place, "lock_user", hold)
    if call == "sign in":
        response = api.client.post("/auth/token", data={"username": person.email, "password": PASSWORD})
        assert (response.status_code, response.json()["error"]) == (401, "WrongCredentials")
    else:
        response = refresh(api, person.refresh)
        assert (response.status_code, response.json()["error"]) == (401, "NotSignedIn")


def test_a_sign_in_takes_three_statements_and_locks_the_user_in_the_second(api: ApiClient, app: FastAPI) -> None:
    """Every further statement would add to the time of each sign-in."""
    person = api.person()
    statements: list[str] = []

    def note(_: object, __: object, statement: str, *___: object) -> None:
        statements.append(statement)

    engine = app.state.context.database.engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        response = api.client.post("/auth/token", data={"username": person.email, "password": PASSWORD})
    finally:
        event.remove(engine, "before_cursor_execute", note)
    assert response.status_code == 200
    assert [statement.split()[0] for statement in statements] == ["SELECT", "SELECT", "INSERT"]
    assert statements[1].endswith("FOR SHARE OF users")


def test_e_mails_are_case_insensitive(api: ApiClient) -> None:
    person = api.person()
    assert api.sign_in(person.email.upper(), PASSWORD).id == person.id


def refresh(api: ApiClient, token: str) -> Any:
    return api.client.post("/auth/refresh", json={"refresh_token": token})


def test_a_refresh_token_is_exchanged_once_and_a_replay_revokes_the_family(api: ApiClient) -> None:
    person = api.person()
    apart = api.sign_in(person.email, PASSWORD)
    second = refresh(api, person.refresh).json()
    assert status(api, bearer(second["access_token"])) == 200
    third = refresh(api, second["refresh_token"]).json()["refresh_token"]
    replay = refresh(api, person.refresh)
    assert (replay.status_code, replay.json()["error"]) == (401, "TokenReused")
    assert refresh(api, third).json()["error"] == "NotSignedIn"
    assert refresh(api, apart.refresh).status_code == 200


def test_one_of_two_concurrent_refreshes_succeeds(api: ApiClient) -> None:
    person = api.person()
    with ThreadPoolExecutor(4) as threads:
        statuses = [response.status_code for response in threads.map(lambda _: refresh(api, person.refresh), range(4))]
    assert sorted(statuses) == [200, 401, 401, 401]


def test_signing_out_ends_the_refresh_token(api: ApiClient) -> None:
    person = api.person()
    fresh = refresh(api, person.refresh).json()["refresh_token"]
    for _ in range(2):
        response = api.client.post("/auth/logout", json={"refresh_token": fresh})
        assert (response.status_code, response.content) == (204, b"")
    assert refresh(api, fresh).status_code == 401
    assert api.client.post("/auth/logout", json={"refresh_token": "unknown"}).status_code == 204


def test_an_expired_refresh_token_is_refused(api: ApiClient, as_app: Engine) -> None:
    person = api.person()
    with as_app.begin() as connection:
        connection.execute(
            text("UPDATE refresh_tokens SET expires_at = now() - interval '1 second' WHERE user_id = :id"),
            {"id": person.id},
        )
    assert refresh(api, person.refresh).status_code == 401


def test_no_token_and_no_key_is_stored_in_clear(api: ApiClient, as_app: Engine) -> None:
    person = api.person()
    _, key = api.key(person)
    with as_app.connect() as connection:
        rows = [
            *connection.execute(text("SELECT * FROM refresh_tokens WHERE user_id = :id"), {"id": person.id}),
            *connection.execute(text("SELECT * FROM api_keys WHERE user_id = :id"), {"id": person.id}),
            *connection.execute(text("SELECT * FROM users WHERE id = :id"), {"id": person.id}),
        ]
    assert len(rows) == 3
    assert not [secret for secret in (key, person.refresh, person.token, PASSWORD) if secret in str(rows)]


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


def snapshot(api: ApiClient) -> dict[str, Any]:
    response = api.client.get("/auth/snapshot", headers=api.service)
    assert response.status_code == 200
    found: dict[str, Any] = response.json()
    return found


def key_hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def test_the_snapshot_holds_valid_keys_only(api: ApiClient) -> None:
    person = api.person("trainer")
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    key_id, live = api.key(person, "predict", "train", expires_at=soon)
    revoked_id, revoked = api.key(person)
    api.client.delete(f"/api-keys/{revoked_id}", headers=person.headers)
    entries = {entry["hash"]: entry for entry in snapshot(api)["keys"]}
    assert key_hash(revoked) not in entries
    entry = entries[key_hash(live)]
    assert datetime.fromisoformat(entry.pop("expires_at")) == datetime.fromisoformat(soon)
    assert sorted(entry.pop("scopes")) == ["predict", "train"]
    assert entry == {"hash": key_hash(live), "key_id": key_id, "user_id": person.id, "role": "trainer"}
    assert key_hash(api.demo["X-API-Key"]) in entries
    assert snapshot(api)["jwks"] == api.client.get("/.well-known/jwks.json").json()
    assert abs(datetime.fromisoformat(snapshot(api)["generated_at"]).timestamp() - time.time()) < 5


def test_an_expired_key_is_refused(api: ApiClient, as_app: Engine) -> None:
    person = api.person()
    key_id, key = api.key(person)
    assert status(api, {"X-API-Key": key}) == 200
    with as_app.begin() as connection:
        connection.execute(
            text("UPDATE api_keys SET expires_at = now() - interval '1 second' WHERE id = :id"), {"id": UUID(key_id)}
        )
    assert status(api, {"X-API-Key": key}) == 401
    assert key_hash(key) not in {entry["hash"] for entry in snapshot(api)["keys"]}


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
