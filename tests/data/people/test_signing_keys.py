"""Signing keys: encrypted in the database, rotated without ending valid tokens."""

from __future__ import annotations

import argparse
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Engine, text

from data_api import commands
from data_api.errors import DatabaseUnavailable
from data_api.http.context import Context
from data_api.keyring import KeyPair, Keyring, KeySeal
from data_api.main import create_app
from data_api.settings import Settings
from data_api.setup.cluster import APP
from tests.data.api import ApiClient, SignedInUser
from tests.data.conftest import engine_as, prepare

LATER = timedelta(minutes=6)


@pytest.fixture(scope="module")
def keyed(prepared: Settings) -> Settings:
    """A database of this module, in which tests replace signing keys."""
    settings = prepared.model_copy(update={"postgres_database": f"keys_{secrets.token_hex(4)}"})
    prepare(settings)
    return settings


@pytest.fixture
def rows(keyed: Settings) -> Iterator[Engine]:
    """The database of this module, without keys at first."""
    engine = engine_as(keyed, APP, keyed.secret("postgres_app_password"), keyed.postgres_database)
    owner = engine_as(keyed, "volant_owner", keyed.secret("postgres_owner_password"), keyed.postgres_database)
    with owner.begin() as connection:
        connection.execute(text("DELETE FROM signing_keys"))
    yield engine
    engine.dispose()
    owner.dispose()


class Process:
    """One running data-api."""

    def __init__(self, settings: Settings) -> None:
        self.app = create_app(settings)
        self.client = TestClient(self.app, raise_server_exceptions=False)
        self.api = ApiClient(self.client, settings.secret)

    @property
    def keyring(self) -> Keyring:
        context: Context = self.app.state.context
        return context.tokens._keyring

    def expire_cache(self) -> None:
        """Makes the keys in memory old, so that they are read again."""
        self.keyring._read_at = 0

    def sign_in(self) -> SignedInUser:
        self.expire_cache()
        return self.api.sign_in("admin@volant.local", self.api.secret("admin_password"))

    def status(self, user: SignedInUser) -> int:
        return self.client.get("/users/me", headers=user.headers).status_code

    def shown(self) -> list[str]:
        self.expire_cache()
        return [key["kid"] for key in self.client.get("/.well-known/jwks.json").json()["keys"]]


@pytest.fixture
def process(keyed: Settings, rows: Engine) -> Iterator[Callable[..., Process]]:
    """Starts data-api processes on the database of this module."""
    started: list[FastAPI] = []

    def start(settings: Settings = keyed) -> Process:
        made = Process(settings)
        started.append(made.app)
        return made

    yield start
    for app in started:
        app.state.context.database.close()


def command(settings: Settings, *arguments: str) -> list[str]:
    """The lines that `data-api …` prints."""
    parser = argparse.ArgumentParser()
    commands.add_commands(parser.add_subparsers())
    printed: list[str] = []
    parsed = parser.parse_args(arguments)
    parsed.run(settings, parsed, printed.append)
    return printed


def pass_time(rows: Engine, by: timedelta) -> None:
    with rows.begin() as connection:
        connection.execute(
            text("UPDATE signing_keys SET signs_from = signs_from - :by, retires_at = retires_at - :by"), {"by": by}
        )


def kid(user: SignedInUser) -> str:
    return str(jwt.get_unverified_header(user.token)["kid"])


def test_the_first_signing_key_is_made_from_the_secret(process: Callable[..., Process], keyed: Settings) -> None:
    first = KeyPair(KeySeal(keyed.secret("signing_key")).first, datetime.now(UTC))
    one = process()
    assert one.shown() == [first.kid]
    assert kid(one.sign_in()) == first.kid


@pytest.mark.filterwarnings("ignore::pydantic.warnings.UnsupportedFieldAttributeWarning")
def test_one_of_many_concurrent_first_starts_makes_the_key(process: Callable[..., Process], rows: Engine) -> None:
    """FastAPI keeps pydantic's warnings from showing by a switch that all threads share: while several apps are
    made at once, some show.
    """
    with ThreadPoolExecutor(4) as threads:
        shown = list(threads.map(lambda _: process().shown(), range(4)))
    assert len(shown[0]) == 1
    assert shown == [shown[0]] * 4


def test_a_rotation_keeps_all_tokens_valid(process: Callable[..., Process], keyed: Settings, rows: Engine) -> None:
    one, other = process(), process()
    before = one.sign_in()
    command(keyed, "keys", "rotate")
    old, new = one.shown()
    assert kid(one.sign_in()) == kid(before) == old  # announced, so that every process has it before it signs
    pass_time(rows, LATER)
    after = one.sign_in()
    other.expire_cache()
    assert kid(after) == new
    assert [one.status(user) for user in (before, after)] == [200, 200]
    assert [other.status(user) for user in (before, after)] == [200, 200]
    assert other.shown() == [old, new]
    pass_time(rows, timedelta(seconds=keyed.access_token_seconds) + LATER)
    assert one.shown() == other.shown() == [new]
    assert [one.status(user) for user in (before, after)] == [401, 200]


def test_successive_rotations_keep_the_retirement_time_of_every_key(
    process: Callable[..., Process], keyed: Settings, rows: Engine
) -> None:
    one = process()
    tokens = [one.sign_in()]
    for _ in range(3):
        command(keyed, "keys", "rotate")
        pass_time(rows, LATER)
        tokens.append(one.sign_in())
    assert len({kid(token) for token in tokens}) == 4
    assert [one.status(token) for token in tokens] == [200] * 4


def test_a_leaked_key_is_retired_at_once(process: Callable[..., Process], keyed: Settings) -> None:
    one, other = process(), process()
    before = one.sign_in()
    assert other.status(before) == 200
    printed = command(keyed, "keys", "rotate", "--at-once")
    assert [line.rpartition("  ")[2] for line in printed] == ["retired", "signs"]
    after = one.sign_in()
    assert (kid(after) in printed[1], one.status(before), one.status(after)) == (True, 401, 200)
    other.expire_cache()
    assert (other.status(before), other.status(after)) == (401, 200)
    assert one.client.post("/auth/refresh", json={"refresh_token": before.refresh}).status_code == 200


def test_a_key_added_by_another_process_is_read_at_once(
    process: Callable[..., Process], keyed: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = process(), process()
    other.sign_in()
    command(keyed, "keys", "rotate", "--at-once")
    after = one.sign_in()
    monkeypatch.setattr("data_api.keyring.UNKNOWN_SECONDS", 0)
    assert other.status(after) == 200


def test_the_database_alone_cannot_sign_tokens(process: Callable[..., Process], keyed: Settings, rows: Engine) -> None:
    """A key inserted into the database by others does not verify tokens."""
    one = process()
    user = one.sign_in()
    command(keyed, "keys", "rotate")
    mine = KeyPair(Ed25519PrivateKey.generate(), datetime.now(UTC))
    with rows.begin() as connection:
        sealed = connection.scalars(text("SELECT sealed_seed FROM signing_keys")).all()
        assert not [one for one in sealed if bytes.fromhex(keyed.secret("signing_key")) in bytes(one)]
        connection.execute(
            text("INSERT INTO signing_keys (kid, public_key, sealed_seed, signs_from) VALUES (:kid, :x, :seed, now())"),
            [
                {"kid": mine.kid, "x": mine.x, "seed": mine.private.private_bytes_raw()},
                {"kid": "sealed for another kid", "x": mine.x, "seed": bytes(sealed[0])},
                {"kid": "sealed by another", "x": mine.x, "seed": KeySeal(secrets.token_hex(32)).seal(mine)},
                {"kid": "short", "x": mine.x, "seed": b""},
            ],
        )
    assert len(one.shown()) == 2
    claims = jwt.decode(user.token, options={"verify_signature": False})
    forged = jwt.encode(claims, mine.private, "EdDSA", headers={"kid": mine.kid})
    assert one.client.get("/users/me", headers={"Authorization": f"Bearer {forged}"}).status_code == 401
    listed = command(keyed, "keys", "list")
    assert [line.rpartition("  ")[2] for line in listed].count("sealed by another secret") == 4


def test_a_new_secret_makes_a_new_first_key(process: Callable[..., Process], keyed: Settings, tmp_path: Path) -> None:
    for secret in keyed.secrets_dir.iterdir():
        (tmp_path / secret.name).write_text(secret.read_text())
    (tmp_path / "signing_key").write_text(secrets.token_hex(32))
    one = process()
    before = one.sign_in()
    changed = process(keyed.model_copy(update={"secrets_dir": tmp_path}))
    after = changed.sign_in()
    assert kid(after) != kid(before)
    assert (changed.status(before), changed.status(after)) == (401, 200)
    assert changed.client.post("/auth/refresh", json={"refresh_token": before.refresh}).status_code == 200
    back = process()
    again = back.sign_in()
    assert (kid(again), back.status(again)) == (kid(before), 200)


def test_the_list_of_keys_shows_their_times_and_no_secret(
    process: Callable[..., Process], keyed: Settings, rows: Engine
) -> None:
    process().sign_in()
    command(keyed, "keys", "rotate")
    assert [line.rpartition("  ")[2] for line in command(keyed, "keys", "list")] == ["signs", "announced"]
    pass_time(rows, LATER)
    listed = command(keyed, "keys", "list")
    assert [line.rpartition("  ")[2] for line in listed] == ["verifies", "signs"]
    assert keyed.secret("signing_key") not in "".join(listed)


def now_and_then(load: Callable[[], Any]) -> Keyring:
    ring = Keyring(load)
    ring.signing()
    ring._read_at = 0
    return ring


def test_the_last_keys_stay_in_use_while_the_database_is_unavailable() -> None:
    key = KeyPair(Ed25519PrivateKey.generate(), datetime.now(UTC))
    responses = [[key]]

    def load() -> list[KeyPair]:
        if not responses:
            raise DatabaseUnavailable
        return responses.pop()

    with pytest.raises(DatabaseUnavailable):
        Keyring(lambda: (_ for _ in ()).throw(DatabaseUnavailable())).signing()
    ring = now_and_then(load)
    assert ring.verifying(key.kid) is key
    assert ring.signing() is key


def test_keys_are_read_by_one_thread_while_others_use_the_old_ones() -> None:
    key, reads = KeyPair(Ed25519PrivateKey.generate(), datetime.now(UTC)), []

    def load() -> list[KeyPair]:
        reads.append(1)
        if len(reads) == 2:
            with ThreadPoolExecutor(1) as thread:
                assert thread.submit(ring.signing).result(10) is key
        return [key]

    ring = now_and_then(load)
    ring.signing()
    assert len(reads) == 2


def test_many_unknown_key_ids_cause_one_query_per_second() -> None:
    reads: list[float] = []

    def load() -> list[KeyPair]:
        reads.append(time.monotonic())
        return [KeyPair(Ed25519PrivateKey.generate(), datetime.now(UTC))]

    ring = Keyring(load)
    start = time.monotonic()
    for number in range(1_000):
        assert ring.verifying(f"unknown {number}") is None
    assert len(reads) <= 2 + time.monotonic() - start
