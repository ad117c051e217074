"""Sign-in by e-mail and password."""

from __future__ import annotations

import unicodedata
from typing import Any, Literal, cast
from uuid import UUID

import pytest
from fastapi import FastAPI
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy import Engine, event, text
from sqlalchemy.orm import Session

from data_api import security
from data_api.crud.people import refresh_token, sign_in
from data_api.errors import Overloaded
from data_api.ids import new_id
from data_api.security import Passwords
from tests.data.api import PASSWORD, ApiClient, refresh
from tests.waiting import until


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
    monkeypatch.setattr(security, "Argon2Hasher", Argon2Hasher)  # with the parameters of the service
    passwords = Passwords(at_once=1)
    stored_hash = passwords.hash(PASSWORD)
    calls: list[str] = []
    real = passwords._hash.verify

    def verify(password: str, against: str) -> bool:
        calls.append(against)
        return real(password, against)

    monkeypatch.setattr(passwords._hash, "verify", verify)
    assert passwords.verify(PASSWORD, stored_hash)
    assert not passwords.verify(PASSWORD, None)
    assert not passwords.verify("wrong", stored_hash)
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
    context, checked_out = app.state.context, []
    pool, real = context.database.engine.pool, context.passwords.verify
    until(lambda: pool.checkedout() == 0, "connections of earlier calls to be given back")

    def verify(password: str, stored_hash: str | None) -> bool:
        checked_out.append(pool.checkedout())
        return bool(real(password, stored_hash))

    monkeypatch.setattr(context.passwords, "verify", verify)
    api.sign_in(person.email, PASSWORD)
    until(lambda: pool.checkedout() == 0, "the connection of the first to be given back")
    response = api.client.post("/auth/token", data={"username": "nobody@example.org", "password": PASSWORD})
    assert response.status_code == 401
    assert checked_out == [0, 0]


@pytest.mark.parametrize("change", ["deleted", "disabled", "another password"])
def test_a_user_who_changes_while_the_password_is_hashed_is_refused(
    api: ApiClient, app: FastAPI, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    person = api.person()
    passwords = app.state.context.passwords
    real = passwords.verify

    def verify(password: str, stored_hash: str | None) -> bool:
        right = bool(real(password, stored_hash))
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

    def hold(session: Session, user_id: UUID, *subjects: Any, **others: Any) -> Any:
        monkeypatch.setattr(place, "lock_user", real)
        assert api.client.delete(f"/users/{person.id}", headers=api.admin.headers).status_code == 204
        return real(session, user_id, *subjects, **others)

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


def normalize(form: str, text: str) -> str:
    return unicodedata.normalize(cast("Literal['NFC', 'NFD']", form), text)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_password_works_however_the_system_composes_its_letters(api: ApiClient, form: str) -> None:
    """Macs type "é" as two characters (NFD), other systems as one (NFC)."""
    set_in, typed_in = form, "NFD" if form == "NFC" else "NFC"
    password, again = (f"Größe, déjà vu {new}" for new in ("one", "two"))
    email = f"{new_id()}@example.org"
    invitation = api.client.post("/invitations", json={"email": email}, headers=api.admin.headers).json()
    path = invitation["link"].removeprefix("http://127.0.0.1:8001")
    assert api.client.post(path, json={"password": normalize(set_in, password)}).status_code == 201
    person = api.sign_in(email, normalize(typed_in, password))
    change = {"current_password": normalize(typed_in, password), "password": normalize(set_in, again)}
    assert api.client.patch("/users/me", json=change, headers=person.headers).status_code == 200
    assert api.sign_in(email, normalize(typed_in, again)).id == person.id


def test_a_password_in_other_letters_is_wrong(api: ApiClient) -> None:
    passwords = Passwords(at_once=1)
    assert not passwords.verify("Grosse, deja vu one", passwords.hash("Größe, déjà vu one"))


@pytest.mark.parametrize(("stored_in", "typed_in"), [("NFD", "NFD"), ("NFD", "NFC"), ("NFC", "NFD")])
def test_a_hash_that_an_earlier_release_stored_works_and_is_replaced(
    api: ApiClient, app: FastAPI, as_app: Engine, stored_in: str, typed_in: str
) -> None:
    person, password = api.person(), "Größe, déjà vu one"
    old = app.state.context.passwords._hash.hash(normalize(stored_in, password))
    stored = text("SELECT password_hash FROM users WHERE id = :id")
    with as_app.begin() as connection:
        change = text("UPDATE users SET password_hash = :old WHERE id = :id")
        connection.execute(change, {"old": old, "id": person.id})
    assert api.sign_in(person.email, normalize(typed_in, password)).id == person.id
    with as_app.connect() as connection:
        kept = str(connection.scalar(stored, {"id": person.id}))
    assert (kept != old) == (stored_in == "NFD")
    assert app.state.context.passwords._hash.verify(normalize("NFC", password), kept)
    assert api.client.get("/users/me", headers=person.headers).status_code == 200, "no token ends"


def test_the_length_of_a_password_is_that_of_its_composed_letters(api: ApiClient) -> None:
    body = {"email": f"{new_id()}@example.org", "password": normalize("NFD", "é" * 11)}
    assert api.client.post("/users", json=body, headers=api.admin.headers).status_code == 422


def test_e_mails_are_trimmed(api: ApiClient) -> None:
    email = f"{new_id()}@example.org"
    body = {"email": f"  {email.upper()}\t", "password": PASSWORD}
    made = api.client.post("/users", json=body, headers=api.admin.headers)
    assert (made.status_code, made.json()["email"]) == (201, email)
    assert api.sign_in(f" {email} \n", PASSWORD).id == made.json()["id"]
