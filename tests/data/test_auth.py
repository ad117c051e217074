"""Signing in: passwords, tokens, refresh, and the snapshot that ai-api works from."""

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
from data_api.keyring import Key
from data_api.security import Passwords, Tokens
from tests.data.world import PASSWORD, Somebody, World


@pytest.fixture(scope="module")
def somebody(world: World) -> Somebody:
    return world.person("trainer")


@pytest.fixture(scope="module")
def signing(app: FastAPI) -> Key:
    """What the service signs with."""
    tokens: Tokens = app.state.context.tokens
    return tokens._keyring.signing()


def status(world: World, headers: dict[str, str]) -> int:
    return world.client.get("/users/me", headers=headers).status_code


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def forge(signing: Key, somebody: Somebody, key: object = None, algorithm: str = "EdDSA", **changes: Any) -> str:
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


def test_a_token_says_who_and_verifies_with_the_published_key(world: World, somebody: Somebody) -> None:
    (jwk,) = world.client.get("/.well-known/jwks.json").json()["keys"]
    assert jwt.get_unverified_header(somebody.token) == {"alg": "EdDSA", "typ": "JWT", "kid": jwk["kid"]}
    public = OKPAlgorithm.from_jwk(jwk)
    claims = jwt.decode(somebody.token, public, algorithms=["EdDSA"], audience="volant", issuer="volant")  # type: ignore[arg-type]
    assert (claims["sub"], claims["role"]) == (somebody.id, "trainer")
    assert claims["exp"] - int(claims["iat"]) == 900
    assert "d" not in jwk


def test_a_forgery_made_like_a_real_token_passes_so_that_the_others_fail_for_their_reason(
    world: World, signing: Key, somebody: Somebody
) -> None:
    assert status(world, bearer(forge(signing, somebody))) == 200


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
    world: World, signing: Key, somebody: Somebody, changes: dict[str, Any]
) -> None:
    assert status(world, bearer(forge(signing, somebody, **changes))) == 401


def test_a_token_signed_otherwise_is_refused(world: World, signing: Key, somebody: Somebody) -> None:
    public = signing.x
    head, body, signature = somebody.token.split(".")
    admin = forge(signing, somebody, sub=world.admin.id).split(".")[1]
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
        assert status(world, bearer(token)) == 401
    assert status(world, {"Authorization": f"Basic {somebody.token}"}) == 401
    assert status(world, {}) == 401


def test_headers_that_are_no_text_are_refused(world: World) -> None:
    for name in (b"authorization", b"x-api-key"):
        answer = world.client.get("/users/me", headers=[(name, b"Bearer \xff\xfe")])
        assert answer.status_code == 401


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
def test_whoever_is_unknown_or_without_a_password_hears_the_same(world: World, email: str, password: str) -> None:
    wrong = world.client.post("/auth/token", data={"username": world.admin.email, "password": "wrong"})
    answer = world.client.post("/auth/token", data={"username": email, "password": password})
    assert (answer.status_code, wrong.status_code) == (401, 401)
    assert answer.json()["error"] == wrong.json()["error"] == "WrongCredentials"
    assert answer.json()["detail"] == wrong.json()["detail"]


def test_an_unknown_user_costs_as_many_hashes_as_a_known_one(monkeypatch: pytest.MonkeyPatch) -> None:
    passwords = Passwords(at_once=1)
    kept = passwords.hash(PASSWORD)
    calls: list[str] = []
    real = passwords._hash.verify

    def verify(given: str, against: str) -> bool:
        calls.append(against)
        return real(given, against)

    monkeypatch.setattr(passwords._hash, "verify", verify)
    assert passwords.verify(PASSWORD, kept)
    assert not passwords.verify(PASSWORD, None)
    assert not passwords.verify("wrong", kept)
    cost = {call.rpartition("$")[0].rpartition("$")[0] for call in calls}
    assert len(calls) == 3
    assert cost == {"$argon2id$v=19$m=19456,t=2,p=1"}


def test_sign_ins_beyond_what_memory_allows_are_refused() -> None:
    passwords = Passwords(at_once=1, wait_seconds=0.01)
    with passwords._places, pytest.raises(Overloaded):
        passwords.hash(PASSWORD)
    assert passwords.verify(PASSWORD, passwords.hash(PASSWORD))


def test_a_sign_in_holds_no_connection_while_it_waits_to_hash(
    world: World, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = world.person()
    context, held = app.state.context, []
    real = context.passwords.verify

    def verify(password: str, kept: str | None) -> bool:
        held.append(context.database.engine.pool.checkedout())
        return bool(real(password, kept))

    monkeypatch.setattr(context.passwords, "verify", verify)
    world.sign_in(person.email, PASSWORD)
    answer = world.client.post("/auth/token", data={"username": "nobody@example.org", "password": PASSWORD})
    assert answer.status_code == 401
    assert held == [0, 0]


@pytest.mark.parametrize("change", ["deleted", "disabled", "another password"])
def test_whoever_changes_while_the_password_is_hashed_is_refused(
    world: World, app: FastAPI, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    person = world.person()
    passwords = app.state.context.passwords
    real = passwords.verify

    def verify(password: str, kept: str | None) -> bool:
        right = bool(real(password, kept))
        path, admin = f"/users/{person.id}", world.admin.headers
        if change == "deleted":
            assert world.client.delete(path, headers=admin).status_code == 204
        else:
            body = {"disabled": True} if change == "disabled" else {"password": "another horse battery"}
            assert world.client.patch(path, json=body, headers=admin).status_code == 200
        return right

    monkeypatch.setattr(passwords, "verify", verify)
    answer = world.client.post("/auth/token", data={"username": person.email, "password": PASSWORD})
    assert (answer.status_code, answer.json()["error"]) == (401, "WrongCredentials")


@pytest.mark.parametrize("call", ["sign in", "refresh"])
def test_whoever_is_deleted_between_one_look_and_the_next_is_refused(
    world: World, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """The moment before the row is locked: it was there, and it is not there any more."""
    person = world.person()
    place = sign_in if call == "sign in" else refresh_token
    real = place.hold

    def hold(session: Session, user_id: UUID, *subjects: str) -> Any:
        monkeypatch.setattr(place, "hold", real)
        assert world.client.delete(f"/users/{person.id}", headers=world.admin.headers).status_code == 204
        return real(session, user_id, *subjects)

    monkeypatch.setattr(place, "hold", hold)
    if call == "sign in":
        answer = world.client.post("/auth/token", data={"username": person.email, "password": PASSWORD})
        assert (answer.status_code, answer.json()["error"]) == (401, "WrongCredentials")
    else:
        answer = refresh(world, person.refresh)
        assert (answer.status_code, answer.json()["error"]) == (401, "NotSignedIn")


def test_a_sign_in_takes_three_statements_and_holds_the_user_by_the_second(world: World, app: FastAPI) -> None:
    """Each one more is felt by everybody who waits for a place to hash in."""
    person = world.person()
    statements: list[str] = []

    def note(_: object, __: object, statement: str, *___: object) -> None:
        statements.append(statement)

    engine = app.state.context.database.engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        answer = world.client.post("/auth/token", data={"username": person.email, "password": PASSWORD})
    finally:
        event.remove(engine, "before_cursor_execute", note)
    assert answer.status_code == 200
    assert [statement.split()[0] for statement in statements] == ["SELECT", "SELECT", "INSERT"]
    assert statements[1].endswith("FOR SHARE OF users")


def test_e_mails_are_one_whatever_their_case(world: World) -> None:
    person = world.person()
    assert world.sign_in(person.email.upper(), PASSWORD).id == person.id


def refresh(world: World, token: str) -> Any:
    return world.client.post("/auth/refresh", json={"refresh_token": token})


def test_a_refresh_token_gives_the_next_and_a_replay_ends_the_family(world: World) -> None:
    person = world.person()
    apart = world.sign_in(person.email, PASSWORD)
    second = refresh(world, person.refresh).json()
    assert status(world, bearer(second["access_token"])) == 200
    third = refresh(world, second["refresh_token"]).json()["refresh_token"]
    replay = refresh(world, person.refresh)
    assert (replay.status_code, replay.json()["error"]) == (401, "TokenReused")
    assert refresh(world, third).json()["error"] == "NotSignedIn"
    assert refresh(world, apart.refresh).status_code == 200


def test_of_two_refreshes_at_once_one_succeeds(world: World) -> None:
    person = world.person()
    with ThreadPoolExecutor(4) as threads:
        statuses = [answer.status_code for answer in threads.map(lambda _: refresh(world, person.refresh), range(4))]
    assert sorted(statuses) == [200, 401, 401, 401]


def test_signing_out_ends_the_refresh_token(world: World) -> None:
    person = world.person()
    fresh = refresh(world, person.refresh).json()["refresh_token"]
    for _ in range(2):
        answer = world.client.post("/auth/logout", json={"refresh_token": fresh})
        assert (answer.status_code, answer.content) == (204, b"")
    assert refresh(world, fresh).status_code == 401
    assert world.client.post("/auth/logout", json={"refresh_token": "unknown"}).status_code == 204


def test_an_expired_refresh_token_is_refused(world: World, as_app: Engine) -> None:
    person = world.person()
    with as_app.begin() as connection:
        connection.execute(
            text("UPDATE refresh_tokens SET expires_at = now() - interval '1 second' WHERE user_id = :id"),
            {"id": person.id},
        )
    assert refresh(world, person.refresh).status_code == 401


def test_no_token_and_no_key_stands_in_the_database(world: World, as_app: Engine) -> None:
    person = world.person()
    _, key = world.key(person)
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
def test_a_change_to_a_person_ends_their_tokens_at_once(world: World, change: dict[str, object] | None) -> None:
    person = world.person()
    _, key = world.key(person)
    path = f"/users/{person.id}"
    before = snapshot(world)
    assert person.id not in before["disabled_users"]
    assert person.id not in before["tokens_valid_after"]
    if change is None:
        assert world.client.delete(path, headers=world.admin.headers).status_code == 204
    else:
        assert world.client.patch(path, json=change, headers=world.admin.headers).status_code == 200
    after = snapshot(world)
    gone = change is None or "disabled" in change
    assert status(world, person.headers) == 401
    assert status(world, {"X-API-Key": key}) == (401 if gone else 200)
    assert refresh(world, person.refresh).status_code == (200 if change == {"role": "trainer"} else 401)
    assert (person.id in after["disabled_users"]) == gone
    if change is not None:
        issued_at = jwt.decode(person.token, options={"verify_signature": False})["iat"]
        assert issued_at < after["tokens_valid_after"][person.id] <= time.time()
    assert (key_hash(key) in {entry["hash"] for entry in after["keys"]}) == (not gone)


def test_a_token_made_right_after_a_change_is_good_for_ai_api_too(world: World) -> None:
    person = world.person()
    body = {"current_password": PASSWORD, "password": "another horse battery"}
    assert world.client.patch("/users/me", json=body, headers=person.headers).status_code == 200
    again = world.sign_in(person.email, "another horse battery")
    issued_at = jwt.decode(again.token, options={"verify_signature": False})["iat"]
    assert issued_at >= snapshot(world)["tokens_valid_after"][person.id]
    assert status(world, again.headers) == 200


def test_a_disabled_person_who_is_enabled_again_signs_in_again(world: World) -> None:
    person = world.person()
    for disabled in (True, False):
        world.client.patch(f"/users/{person.id}", json={"disabled": disabled}, headers=world.admin.headers)
    assert status(world, person.headers) == 401
    assert refresh(world, person.refresh).status_code == 401
    assert status(world, world.sign_in(person.email, PASSWORD).headers) == 200


def snapshot(world: World) -> dict[str, Any]:
    answer = world.client.get("/auth/snapshot", headers=world.service)
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def key_hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def test_the_snapshot_holds_live_keys_and_nothing_of_dead_ones(world: World) -> None:
    person = world.person("trainer")
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    key_id, live = world.key(person, "predict", "train", expires_at=soon)
    revoked_id, revoked = world.key(person)
    world.client.delete(f"/api-keys/{revoked_id}", headers=person.headers)
    entries = {entry["hash"]: entry for entry in snapshot(world)["keys"]}
    assert key_hash(revoked) not in entries
    entry = entries[key_hash(live)]
    assert datetime.fromisoformat(entry.pop("expires_at")) == datetime.fromisoformat(soon)
    assert sorted(entry.pop("scopes")) == ["predict", "train"]
    assert entry == {"hash": key_hash(live), "key_id": key_id, "user_id": person.id, "role": "trainer"}
    assert key_hash(world.demo["X-API-Key"]) in entries
    assert snapshot(world)["jwks"] == world.client.get("/.well-known/jwks.json").json()
    assert abs(datetime.fromisoformat(snapshot(world)["generated_at"]).timestamp() - time.time()) < 5


def test_an_expired_key_is_dead(world: World, as_app: Engine) -> None:
    person = world.person()
    key_id, key = world.key(person)
    assert status(world, {"X-API-Key": key}) == 200
    with as_app.begin() as connection:
        connection.execute(
            text("UPDATE api_keys SET expires_at = now() - interval '1 second' WHERE id = :id"), {"id": UUID(key_id)}
        )
    assert status(world, {"X-API-Key": key}) == 401
    assert key_hash(key) not in {entry["hash"] for entry in snapshot(world)["keys"]}


def test_a_change_waits_for_a_sign_in_under_way_and_ends_its_token(world: World, as_app: Engine, app: FastAPI) -> None:
    """A sign-in that has read the old role and not yet committed: the change must come wholly after it."""
    person = world.person()
    with as_app.connect() as sign_in, ThreadPoolExecutor(1) as threads:
        sign_in.execute(text("SELECT 1 FROM users WHERE id = :id FOR SHARE"), {"id": person.id})
        path, body = f"/users/{person.id}", {"role": "trainer"}
        change = threads.submit(world.client.patch, path, json=body, headers=world.admin.headers)
        token = app.state.context.tokens.issue(UUID(person.id), "user")
        sign_in.rollback()
        assert change.result().status_code == 200
    assert status(world, bearer(token)) == 401
