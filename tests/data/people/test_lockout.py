"""Lockout after failed sign-ins, by account and by address."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Engine, event, text

from data_api import __main__ as command_line
from data_api.crud.people import sign_in_failure
from data_api.http.context import Context
from data_api.ids import new_id
from data_api.main import create_app
from data_api.security import pseudonym
from data_api.settings import Settings
from tests.data.api import PASSWORD, ApiClient

TRIES, TRIES_PER_ADDRESS, LONGEST = 3, 8, 600
Guess = Callable[..., Any]


@pytest.fixture(scope="module")
def strict(prepared: Settings) -> Iterator[FastAPI]:
    """A data-api that locks out after few failures."""
    limits = {"sign_in_tries": TRIES, "sign_in_tries_per_address": TRIES_PER_ADDRESS, "sign_in_wait_seconds": LONGEST}
    app = create_app(prepared.model_copy(update=limits))
    yield app
    app.state.context.database.close()


@pytest.fixture(autouse=True)
def long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lockout longer than a test takes on a busy machine."""
    monkeypatch.setattr(sign_in_failure, "SHORTEST_WAIT", timedelta(seconds=100))


@pytest.fixture
def address() -> str:
    """An address that no other test uses."""
    number = new_id().int
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


@pytest.fixture
def guess(strict: FastAPI, address: str) -> Guess:
    """Signs in from that address."""

    def ask(email: str, password: str = "wrong", origin: str = address) -> Any:
        client = TestClient(strict, client=(origin, 1), raise_server_exceptions=False)
        return client.post("/auth/token", data={"username": email, "password": password})

    return ask


@pytest.fixture
def after(strict: FastAPI, as_app: Engine) -> Callable[[str, float], None]:
    """Moves the failures of an account or address into the past."""

    def shift(subject: str, seconds: float) -> None:
        with as_app.begin() as connection:
            connection.execute(
                text(
                    "UPDATE sign_in_failures SET failed_at = failed_at - :by, blocked_until = blocked_until - :by"
                    " WHERE subject = :subject"
                ),
                {"by": timedelta(seconds=seconds), "subject": hashed(strict, subject)},
            )

    return shift


def hashed(app: FastAPI, subject: str) -> str:
    context: Context = app.state.context
    return pseudonym(context.pseudonym_key, subject)


def outcome(response: Any) -> tuple[int, str]:
    return response.status_code, response.json().get("error", "")


WRONG, LOCKED = (401, "WrongCredentials"), (429, "LockedOut")


def test_after_some_wrong_passwords_the_right_one_is_locked_out_too(
    api: ApiClient, guess: Guess, after: Callable[[str, float], None]
) -> None:
    person = api.person()
    assert [outcome(guess(person.email)) for _ in range(TRIES + 1)] == [WRONG] * TRIES + [LOCKED]
    locked = guess(person.email, PASSWORD)
    assert outcome(locked) == LOCKED
    assert 50 < int(locked.headers["retry-after"]) <= 100
    after(f"account {person.email}", 100)
    assert guess(person.email, PASSWORD).status_code == 200


def test_a_successful_sign_in_resets_the_count(api: ApiClient, guess: Guess) -> None:
    person = api.person()
    for _ in range(2):
        assert [outcome(guess(person.email)) for _ in range(TRIES - 1)] == [WRONG] * (TRIES - 1)
        assert guess(person.email, PASSWORD).status_code == 200


def test_each_further_failure_doubles_the_wait_up_to_the_longest(
    api: ApiClient, guess: Guess, after: Callable[[str, float], None], address: str, strict: FastAPI, as_app: Engine
) -> None:
    person = api.person()
    query = text(
        "SELECT extract(epoch FROM blocked_until - failed_at)::int FROM sign_in_failures WHERE subject = :subject"
    )
    waits = []
    for number in range(TRIES + 5):
        assert outcome(guess(person.email, origin=f"{address}{number}")) == WRONG
        with as_app.connect() as connection:
            waits.append(connection.scalar(query, {"subject": hashed(strict, f"account {person.email}")}))
        after(f"account {person.email}", LONGEST)
    assert waits == [None, None, 100, 200, 400, LONGEST, LONGEST, LONGEST]


def test_a_day_without_failures_resets_the_count(
    api: ApiClient, guess: Guess, after: Callable[[str, float], None]
) -> None:
    person = api.person()
    for _ in range(TRIES):
        guess(person.email)
    after(f"account {person.email}", 86_401)
    assert [outcome(guess(person.email)) for _ in range(TRIES)] == [WRONG] * TRIES


def test_an_unknown_account_behaves_like_an_existing_one(api: ApiClient, guess: Guess) -> None:
    known, unknown = api.person().email, f"{new_id()}@example.org"
    responses = {email: [guess(email) for _ in range(TRIES + 2)] for email in (known, unknown)}
    results = {email: [(outcome(one), one.json()["detail"]) for one in found] for email, found in responses.items()}
    assert results[known] == results[unknown]
    assert results[known][-1][0] == LOCKED


def test_an_unknown_account_takes_the_same_statements_and_hashes(
    api: ApiClient, guess: Guess, strict: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the response time does not reveal whether an account exists."""
    context: Context = strict.state.context
    seen: list[str] = []
    real = context.passwords.verify

    def verify(password: str, stored_hash: str | None) -> bool:
        seen.append("a hash")
        return real(password, stored_hash)

    def note(_: object, __: object, statement: str, *___: object) -> None:
        seen.append(statement)

    monkeypatch.setattr(context.passwords, "verify", verify)
    engine = context.database.engine
    event.listen(engine, "before_cursor_execute", note)
    costs, only_keys = [], f"{new_id()}@example.org"
    api.client.post("/users", json={"email": only_keys}, headers=api.admin.headers)
    for email in (api.person().email, f"{new_id()}@example.org", only_keys):
        seen.clear()
        guess(email)
        costs.append(list(seen))
    event.remove(engine, "before_cursor_execute", note)
    assert costs[0] == costs[1] == costs[2]
    assert costs[0].count("a hash") == 1


def test_a_sign_in_during_a_lockout_takes_no_hash_and_does_not_extend_it(
    api: ApiClient, guess: Guess, strict: FastAPI, as_app: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = api.person()
    for _ in range(TRIES):
        guess(person.email)
    hashes: list[str] = []
    monkeypatch.setattr(strict.state.context.passwords, "verify", lambda *_: hashes.append("one"))
    query = text("SELECT failures, blocked_until FROM sign_in_failures WHERE subject = :subject")
    subject = {"subject": hashed(strict, f"account {person.email}")}
    with as_app.connect() as connection:
        before = connection.execute(query, subject).one()
        assert [outcome(guess(person.email)) for _ in range(3)] == [LOCKED] * 3
        assert connection.execute(query, subject).one() == before
    assert hashes == []


def test_concurrent_guesses_are_limited_like_sequential_ones(
    api: ApiClient, guess: Guess, strict: FastAPI, as_app: Engine
) -> None:
    person = api.person()
    with as_app.begin() as connection:
        connection.execute(
            text("INSERT INTO sign_in_failures (subject, failures, failed_at) VALUES (:subject, 10, now())"),
            {"subject": hashed(strict, f"account {person.email}")},
        )
    with ThreadPoolExecutor(8) as threads:
        outcomes = [outcome(response) for response in threads.map(lambda _: guess(person.email), range(8))]
    assert sorted(outcomes) == [WRONG] + [LOCKED] * 7
    assert outcome(guess(person.email, PASSWORD)) == LOCKED


def test_a_right_password_checked_after_too_many_wrong_ones_is_locked_out(
    api: ApiClient, guess: Guess, strict: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = api.person()
    passwords = strict.state.context.passwords
    real = passwords.verify

    def verify(password: str, stored_hash: str | None) -> bool:
        monkeypatch.setattr(passwords, "verify", real)
        for _ in range(TRIES):
            guess(person.email)
        return bool(real(password, stored_hash))

    monkeypatch.setattr(passwords, "verify", verify)
    assert outcome(guess(person.email, PASSWORD)) == LOCKED


def test_an_address_that_tries_many_accounts_is_locked_out_and_others_are_not(api: ApiClient, guess: Guess) -> None:
    person = api.person()
    assert {outcome(guess(f"{new_id()}@example.org")) for _ in range(TRIES_PER_ADDRESS)} == {WRONG}
    assert outcome(guess(person.email, PASSWORD)) == LOCKED
    assert guess(person.email, PASSWORD, origin="192.0.2.1").status_code == 200


def test_an_own_account_does_not_reset_the_lockout_of_the_address(api: ApiClient, guess: Guess) -> None:
    person = api.person()
    for _ in range(TRIES_PER_ADDRESS - 1):
        guess(f"{new_id()}@example.org")
    assert guess(person.email, PASSWORD).status_code == 200
    assert outcome(guess(f"{new_id()}@example.org")) == WRONG
    assert outcome(guess(person.email, PASSWORD)) == LOCKED


def test_addresses_of_one_ipv6_network_count_as_one(guess: Guess) -> None:
    network = f"2001:db8:{new_id().int & 0xFFFF:x}:1"
    outcomes = [
        outcome(guess(f"{new_id()}@example.org", origin=f"{network}::{host:x}"))
        for host in range(TRIES_PER_ADDRESS + 1)
    ]
    assert outcomes[-1] == LOCKED
    assert outcome(guess(f"{new_id()}@example.org", origin=f"{network[:-1]}2::1")) == WRONG


def test_wrong_current_passwords_lock_the_account_out_like_failed_sign_ins(
    api: ApiClient, strict: FastAPI, guess: Guess, address: str
) -> None:
    person = api.person()
    client = TestClient(strict, client=(address, 1), raise_server_exceptions=False)
    body = {"current_password": "wrong", "password": "another horse battery"}
    responses = [client.patch("/users/me", json=body, headers=person.headers) for _ in range(TRIES + 1)]
    assert [outcome(response) for response in responses] == [(403, "WrongPassword")] * TRIES + [LOCKED]
    assert outcome(guess(person.email, PASSWORD)) == LOCKED


def test_failure_counts_hold_no_personal_data(api: ApiClient, guess: Guess, as_app: Engine, address: str) -> None:
    person = api.person()
    guess(person.email)
    with as_app.connect() as connection:
        rows = str(connection.execute(text("SELECT * FROM sign_in_failures")).all())
    assert person.email not in rows
    assert address not in rows


@pytest.mark.parametrize(("proxies", "believed"), [("", False), ("10.0.0.1", True)])
def test_trusted_proxies_are_a_setting(
    prepared: Settings, monkeypatch: pytest.MonkeyPatch, proxies: str, believed: bool
) -> None:
    """By default uvicorn trusts X-Forwarded-For from every process of this machine."""
    used: dict[str, Any] = {}
    monkeypatch.setattr("uvicorn.run", lambda _, **options: used.update(options))
    for name in ("start_http_server", "set_wait_timeout"):
        monkeypatch.setattr(command_line, name, lambda *_: None)
    command_line.serve(prepared.model_copy(update={"trusted_proxies": proxies}), argparse.Namespace())
    assert (used["proxy_headers"], used["forwarded_allow_ips"]) == (believed, proxies)
