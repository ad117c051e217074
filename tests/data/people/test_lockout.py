"""Waits after failed sign-ins, by account and address together; strangers do not delay those who are known."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Engine, event, text
from sqlalchemy.orm import Session

from data_api import __main__ as command_line
from data_api import commands
from data_api.crud.people import sign_in_failure
from data_api.crud.people.sign_in_failure import SlowDown
from data_api.errors import UnknownUser
from data_api.http.context import Context, LockoutPolicy
from data_api.http.sign_in import DEVICE_COOKIE
from data_api.ids import new_id
from data_api.main import create_app
from data_api.security import pseudonym
from data_api.settings import Settings
from tests.data.api import PASSWORD, ApiClient

TRIES, TRIES_PER_ACCOUNT, TRIES_PER_ADDRESS, LONGEST = 3, 5, 8, 600
Guess = Callable[..., Any]
LIMITS = ("sign_in_tries", "sign_in_wait_seconds", "sign_in_tries_per_account", "sign_in_tries_per_address")


@pytest.fixture(scope="module")
def strict(prepared: Settings) -> Iterator[FastAPI]:
    """A data-api that locks out after few failures, all subjects for long enough to be seen."""
    app = create_app(prepared)
    tries = {"source": TRIES, "account": TRIES_PER_ACCOUNT, "address": TRIES_PER_ADDRESS}
    rules = {name: SlowDown(number, timedelta(seconds=LONGEST)) for name, number in tries.items()}
    app.state.context = replace(app.state.context, lockout=LockoutPolicy(**rules))
    yield app
    app.state.context.database.close()


@pytest.fixture(autouse=True)
def long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lockout longer than a test takes on a busy machine."""
    monkeypatch.setattr(sign_in_failure, "SHORTEST_WAIT", timedelta(seconds=100))


def new_address() -> str:
    """An address that no other test uses."""
    number = new_id().int
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


@pytest.fixture
def address() -> str:
    return new_address()


@pytest.fixture
def guess(strict: FastAPI, address: str) -> Guess:
    """Signs in from that address."""

    def ask(email: str, password: str = "wrong", origin: str = address, cookies: Any = None) -> Any:
        client = TestClient(strict, client=(origin, 1), raise_server_exceptions=False, cookies=cookies)
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


def pair(email: str, address: str) -> str:
    """The name of the subject of an account at an address."""
    return f"account {email} address {address}"


def test_after_some_wrong_passwords_the_right_one_waits_too(
    api: ApiClient, guess: Guess, after: Callable[[str, float], None], address: str
) -> None:
    person = api.person()
    assert [outcome(guess(person.email)) for _ in range(TRIES + 1)] == [WRONG] * TRIES + [LOCKED]
    locked = guess(person.email, PASSWORD)
    assert outcome(locked) == LOCKED
    assert 50 < int(locked.headers["retry-after"]) <= 100
    after(pair(person.email, address), 100)
    assert guess(person.email, PASSWORD).status_code == 200


def test_wrong_passwords_from_elsewhere_do_not_delay_the_right_one(api: ApiClient, guess: Guess) -> None:
    person, stranger = api.person(), new_address()
    for _ in range(TRIES + 1):
        guess(person.email, origin=stranger)
    assert outcome(guess(person.email, origin=stranger)) == LOCKED
    assert guess(person.email, PASSWORD).status_code == 200, "from an address that is not known either"


def test_strangers_at_any_number_of_addresses_delay_neither_a_known_address_nor_a_known_device(
    api: ApiClient, guess: Guess, address: str
) -> None:
    person = api.person()
    cookies = guess(person.email, PASSWORD).cookies
    guesses = [outcome(guess(person.email, origin=new_address())) for _ in range(TRIES_PER_ACCOUNT + 2)]
    assert guesses == [WRONG] * TRIES_PER_ACCOUNT + [LOCKED] * 2
    assert outcome(guess(person.email, PASSWORD, origin=new_address())) == LOCKED
    assert guess(person.email, PASSWORD, origin=address).status_code == 200
    assert guess(person.email, PASSWORD, origin=new_address(), cookies=cookies).status_code == 200


def test_a_known_device_is_not_delayed_by_wrong_passwords_from_its_own_address(api: ApiClient, guess: Guess) -> None:
    person = api.person()
    cookies = guess(person.email, PASSWORD).cookies
    for _ in range(TRIES):
        guess(person.email)
    assert outcome(guess(person.email, PASSWORD)) == LOCKED
    assert guess(person.email, PASSWORD, cookies=cookies).status_code == 200


def test_the_cookie_of_a_device_gives_no_more_guesses_than_an_address(api: ApiClient, guess: Guess) -> None:
    person = api.person()
    cookies = guess(person.email, PASSWORD).cookies
    guesses = [outcome(guess(person.email, origin=new_address(), cookies=cookies)) for _ in range(TRIES + 1)]
    assert guesses == [WRONG] * TRIES + [LOCKED]


def test_the_cookie_of_a_device_counts_for_its_own_account_only(api: ApiClient, guess: Guess) -> None:
    one, other = api.person(), api.person()
    cookies = guess(one.email, PASSWORD).cookies
    forged = [{DEVICE_COOKIE: f"{'0' * 32}.{'0' * 64}"}, {DEVICE_COOKIE: "x"}, cookies]
    for cookie in forged:
        person = api.person() if cookie is not cookies else other
        for _ in range(TRIES_PER_ACCOUNT):
            guess(person.email, origin=new_address())
        assert outcome(guess(person.email, PASSWORD, origin=new_address(), cookies=cookie)) == LOCKED


def test_the_cookie_of_a_device_is_kept_from_scripts_and_other_sites(api: ApiClient, guess: Guess) -> None:
    header = guess(api.person().email, PASSWORD).headers["set-cookie"].lower()
    assert "; httponly" in header
    assert "; samesite=strict" in header


def test_a_known_device_gets_no_second_cookie(api: ApiClient, guess: Guess) -> None:
    person = api.person()
    cookies = guess(person.email, PASSWORD).cookies
    assert "set-cookie" not in guess(person.email, PASSWORD, cookies=cookies).headers


def test_an_address_is_forgotten_with_its_account(api: ApiClient, guess: Guess, as_app: Engine, address: str) -> None:
    person = api.person()
    guess(person.email, PASSWORD)
    query = text("SELECT subject FROM known_addresses WHERE user_id = :id")
    with as_app.connect() as connection:
        known = connection.scalars(query, {"id": person.id}).all()
        assert len(known) == 2, "of the test client and this one"
        assert address not in str(known)
    assert api.client.delete(f"/users/{person.id}", headers=api.admin.headers).status_code == 204
    with as_app.connect() as connection:
        assert connection.scalars(query, {"id": person.id}).all() == []


def test_a_successful_sign_in_resets_the_count_of_its_source(api: ApiClient, guess: Guess) -> None:
    person = api.person()
    for _ in range(2):
        assert [outcome(guess(person.email)) for _ in range(TRIES - 1)] == [WRONG] * (TRIES - 1)
        assert guess(person.email, PASSWORD).status_code == 200


def test_each_further_failure_doubles_the_wait_up_to_the_longest(
    api: ApiClient, guess: Guess, after: Callable[[str, float], None], address: str, strict: FastAPI, as_app: Engine
) -> None:
    person = api.person()
    guess(person.email, PASSWORD)  # a known address: only its own count grows
    subject = pair(person.email, address)
    query = text(
        "SELECT extract(epoch FROM blocked_until - failed_at)::int FROM sign_in_failures WHERE subject = :subject"
    )
    waits = []
    for _ in range(TRIES + 5):
        assert outcome(guess(person.email)) == WRONG
        with as_app.connect() as connection:
            waits.append(connection.scalar(query, {"subject": hashed(strict, subject)}))
        after(subject, waits[-1] or 0)
    assert waits == [None, None, 100, 200, 400, LONGEST, LONGEST, LONGEST]


def test_each_longest_wait_without_a_failure_takes_one_off_the_count(
    api: ApiClient, guess: Guess, after: Callable[[str, float], None], address: str
) -> None:
    person = api.person()
    for _ in range(TRIES):
        guess(person.email)
    after(pair(person.email, address), 2 * LONGEST)
    assert [outcome(guess(person.email)) for _ in range(3)] == [WRONG] * 2 + [LOCKED]


def test_the_stated_bounds_of_guesses_hold(
    prepared: Settings, as_app: Engine, after: Callable[[str, float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By an attacker who guesses whenever it is possible, for two hours, with the default settings."""
    monkeypatch.setattr(sign_in_failure, "SHORTEST_WAIT", timedelta(seconds=1))
    defaults = create_app(prepared.model_copy(update={n: Settings.model_fields[n].default for n in LIMITS}))
    policy: LockoutPolicy = defaults.state.context.lockout
    query = text("SELECT extract(epoch FROM blocked_until - now()) FROM sign_in_failures WHERE subject = :subject")
    for rule, first_hour, next_hour in ((policy.source, 75, 60), (policy.account, 165, 60)):
        subject, elapsed, hours = str(new_id()), 0.0, [0, 0]
        while elapsed < 7200:
            with Session(as_app) as session, session.begin():
                sign_in_failure.count(session, subject, rule)
                hours[int(elapsed // 3600)] += 1
                wait = session.scalar(query, {"subject": subject}) or 0
                shift = text(
                    "UPDATE sign_in_failures SET failed_at = failed_at - :by, blocked_until = blocked_until - :by"
                    " WHERE subject = :subject"
                )
                session.execute(shift, {"by": timedelta(seconds=float(wait)), "subject": subject})
            elapsed += float(wait)
        assert hours[0] <= first_hour
        assert hours[1] <= next_hour


def test_an_operator_ends_the_waits_of_an_account(api: ApiClient, guess: Guess, prepared: Settings) -> None:
    person, other = api.person(), api.person()
    for email in (person.email, other.email):
        for _ in range(TRIES_PER_ACCOUNT):
            guess(email, origin=new_address())
        for _ in range(TRIES):
            guess(email, origin="10.255.255.255")
    parser = argparse.ArgumentParser()
    commands.add_commands(parser.add_subparsers())
    unlock = parser.parse_args(["admin", "unlock", f" {person.email.upper()} "])
    printed: list[str] = []
    unlock.run(prepared, unlock, printed.append)
    assert person.email in printed[0]
    assert guess(person.email, PASSWORD, origin=new_address()).status_code == 200
    assert outcome(guess(other.email, PASSWORD, origin=new_address())) == LOCKED
    unknown = parser.parse_args(["admin", "unlock", f"{new_id()}@example.org"])
    with pytest.raises(UnknownUser):
        unknown.run(prepared, unknown)


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


def test_a_sign_in_during_a_wait_takes_no_hash_and_does_not_extend_it(
    api: ApiClient, guess: Guess, strict: FastAPI, as_app: Engine, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    person = api.person()
    for _ in range(TRIES):
        guess(person.email)
    hashes: list[str] = []
    monkeypatch.setattr(strict.state.context.passwords, "verify", lambda *_: hashes.append("one"))
    query = text("SELECT failures, blocked_until FROM sign_in_failures WHERE subject = :subject")
    subject = {"subject": hashed(strict, pair(person.email, address))}
    with as_app.connect() as connection:
        before = connection.execute(query, subject).one()
        assert [outcome(guess(person.email)) for _ in range(3)] == [LOCKED] * 3
        assert connection.execute(query, subject).one() == before
    assert hashes == []


def test_concurrent_guesses_are_limited_like_sequential_ones(
    api: ApiClient, guess: Guess, strict: FastAPI, as_app: Engine, address: str
) -> None:
    person = api.person()
    with as_app.begin() as connection:
        connection.execute(
            text("INSERT INTO sign_in_failures (subject, failures, failed_at) VALUES (:subject, 10, now())"),
            {"subject": hashed(strict, pair(person.email, address))},
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


def test_an_address_that_tries_many_accounts_delays_only_those_who_are_new_to_it(api: ApiClient, guess: Guess) -> None:
    """As behind a proxy: those who have signed in from there before, by address or device, do not wait."""
    new, known = api.person(), api.person()
    assert guess(known.email, PASSWORD).status_code == 200
    assert {outcome(guess(f"{new_id()}@example.org")) for _ in range(TRIES_PER_ADDRESS)} == {WRONG}
    assert outcome(guess(new.email, PASSWORD)) == LOCKED
    assert guess(known.email, PASSWORD).status_code == 200
    assert guess(new.email, PASSWORD, origin=new_address()).status_code == 200


def test_those_who_are_new_behind_a_proxy_wait_for_a_second_at_most(prepared: Settings) -> None:
    lockout: LockoutPolicy = create_app(prepared).state.context.lockout
    assert lockout.address.longest_wait == timedelta(seconds=1)


def test_nobody_waits_longer_than_a_minute_by_default() -> None:
    assert Settings.model_fields["sign_in_wait_seconds"].default == 60


def test_an_own_account_does_not_reset_the_count_of_the_address(api: ApiClient, guess: Guess) -> None:
    person = api.person()
    for _ in range(TRIES_PER_ADDRESS - 1):
        guess(f"{new_id()}@example.org")
    assert guess(person.email, PASSWORD).status_code == 200
    assert outcome(guess(f"{new_id()}@example.org")) == WRONG
    assert outcome(guess(f"{new_id()}@example.org")) == LOCKED


def test_addresses_of_one_ipv6_network_count_as_one(guess: Guess) -> None:
    network = f"2001:db8:{new_id().int & 0xFFFF:x}:1"
    outcomes = [
        outcome(guess(f"{new_id()}@example.org", origin=f"{network}::{host:x}"))
        for host in range(TRIES_PER_ADDRESS + 1)
    ]
    assert outcomes[-1] == LOCKED
    assert outcome(guess(f"{new_id()}@example.org", origin=f"{network[:-1]}2::1")) == WRONG


def test_wrong_current_passwords_are_counted_apart_from_sign_ins(api: ApiClient, strict: FastAPI, guess: Guess) -> None:
    person = api.person()
    body = {"current_password": "wrong", "password": "another horse battery"}

    def change(**others: str) -> tuple[int, str]:
        client = TestClient(strict, client=(new_address(), 1), raise_server_exceptions=False)
        return outcome(client.patch("/users/me", json=body | others, headers=person.headers))

    for _ in range(TRIES_PER_ACCOUNT):
        guess(person.email, origin=new_address())
    assert [change() for _ in range(TRIES + 1)] == [(403, "WrongPassword")] * TRIES + [LOCKED]
    assert change(current_password=PASSWORD) == LOCKED
    other = api.person()
    for _ in range(TRIES_PER_ACCOUNT):
        guess(other.email, origin=new_address())
    response = api.client.patch("/users/me", json=body | {"current_password": PASSWORD}, headers=other.headers)
    assert response.status_code == 200, "strangers do not delay the change of a password"


def test_failure_counts_hold_no_personal_data(api: ApiClient, guess: Guess, as_app: Engine, address: str) -> None:
    person = api.person()
    guess(person.email)
    guess(person.email, PASSWORD)
    tables = "SELECT subject, account FROM sign_in_failures UNION ALL SELECT subject, '' FROM known_addresses"
    with as_app.connect() as connection:
        rows = str(connection.execute(text(tables)).all())
    assert person.email not in rows
    assert address not in rows


@pytest.mark.parametrize(("proxies", "believed"), [("", False), ("10.0.0.1", True)])
def test_trusted_proxies_are_a_setting(prepared: Settings, proxies: str, believed: bool) -> None:
    """By default uvicorn trusts X-Forwarded-For from every process of this machine."""
    settings = prepared.model_copy(update={"trusted_proxies": proxies})
    config = command_line.http_server(FastAPI(), settings).config
    assert (config.proxy_headers, config.forwarded_allow_ips) == (believed, proxies)
