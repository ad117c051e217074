"""People: managed by admins, who cannot lock everybody out."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from secrets import token_hex

import pytest
from fastapi.testclient import TestClient

from data_api.ids import new_id
from data_api.main import create_app
from data_api.settings import Settings
from tests.data.conftest import prepare
from tests.data.world import PASSWORD, Somebody, World


def test_a_user_is_made_found_changed_and_deleted(world: World) -> None:
    body = {"email": f"Ada-{new_id()}@Example.org", "password": PASSWORD, "role": "trainer"}
    made = world.client.post("/users", json=body, headers=world.admin.headers)
    assert made.status_code == 201
    user = made.json()
    assert set(user) == {"id", "email", "name", "role", "disabled", "created_at"}
    assert (user["email"], user["role"], user["disabled"]) == (body["email"].lower(), "trainer", False)
    path = f"/users/{user['id']}"
    assert world.client.get(path, headers=world.admin.headers).json() == user
    changed = world.client.patch(path, json={"role": "user", "disabled": True}, headers=world.admin.headers)
    assert changed.json() == {**user, "role": "user", "disabled": True}
    assert world.client.delete(path, headers=world.admin.headers).status_code == 204
    for call in (world.client.get, world.client.delete):
        assert call(path, headers=world.admin.headers).json()["error"] == "UnknownUser"
    assert world.client.patch(path, json={}, headers=world.admin.headers).status_code == 404


def test_an_e_mail_is_taken_once_also_by_two_at_once(world: World) -> None:
    body = {"email": f"{new_id()}@example.org", "password": PASSWORD}
    with ThreadPoolExecutor(3) as threads:
        answers = list(
            threads.map(lambda _: world.client.post("/users", json=body, headers=world.admin.headers), range(3))
        )
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409]
    body["email"] = body["email"].upper()
    assert world.client.post("/users", json=body, headers=world.admin.headers).json()["error"] == "EmailTaken"


def test_users_are_listed_page_by_page(world: World) -> None:
    ids = [world.person().id for _ in range(3)]
    first = world.client.get("/users", params={"limit": 2}, headers=world.admin.headers).json()
    query = {"limit": 2, "cursor": first["next"]}
    second = world.client.get("/users", params=query, headers=world.admin.headers).json()
    assert [item["id"] for item in first["items"] + second["items"]][:3] == ids[::-1]


@pytest.mark.parametrize(
    "body",
    [
        {"id": "01890000-0000-7000-8000-000000000000"},
        {"disabled": True},
        {"password_hash": "x"},
        {"created_at": "2020-01-01T00:00:00Z"},
        {"role": "service"},
        {"role": "root"},
        {"password": "short"},
        {"password": "long enough but\0"},
        {"email": "no-at-sign"},
        {"email": "two@at@example.org"},
        {"email": "nul\0@example.org"},
        {"email": "line\n@example.org"},
    ],
    ids=str,
)
def test_a_user_is_not_made_from_what_is_not_asked_for(world: World, body: dict[str, object]) -> None:
    whole = {"email": f"{new_id()}@example.org", "password": PASSWORD, **body}
    answer = world.client.post("/users", json=whole, headers=world.admin.headers)
    assert (answer.status_code, answer.json()["error"]) == (422, "InvalidRequest")


@pytest.mark.parametrize("body", [{"role": "admin"}, {"disabled": False}, {"id": "x"}, {"email": "a@b.org"}], ids=str)
def test_people_change_nothing_about_themselves_but_name_and_password(world: World, body: dict[str, object]) -> None:
    person = world.person()
    whole = {"current_password": PASSWORD, "password": "another horse battery", **body}
    assert world.client.patch("/users/me", json=whole, headers=person.headers).status_code == 422
    assert world.client.get("/users/me", headers=person.headers).json()["role"] == "user"


def test_a_new_password_takes_the_current_one(world: World) -> None:
    person = world.person()
    body = {"current_password": "wrong", "password": "another horse battery"}
    answer = world.client.patch("/users/me", json=body, headers=person.headers)
    assert (answer.status_code, answer.json()["error"]) == (403, "WrongPassword")
    assert world.sign_in(person.email, PASSWORD).id == person.id


def test_people_give_themselves_a_name_and_stay_signed_in(world: World) -> None:
    person = world.person()
    answer = world.client.patch("/users/me", json={"name": "Ada Lovelace"}, headers=person.headers)
    assert (answer.status_code, answer.json()["name"]) == (200, "Ada Lovelace")
    assert world.client.patch("/users/me", json={}, headers=person.headers).json()["name"] == "Ada Lovelace"


@pytest.mark.parametrize("body", [{"password": PASSWORD}, {"current_password": PASSWORD}], ids=" ".join)
def test_a_new_password_without_the_current_one_is_refused(world: World, body: dict[str, str]) -> None:
    person = world.person()
    assert world.client.patch("/users/me", json=body, headers=person.headers).status_code == 422


def test_of_two_new_passwords_at_once_one_counts_and_nobody_waits_for_ever(world: World) -> None:
    person = world.person()
    passwords = ["another horse battery", "yet another horse battery"]

    def change(password: str) -> int:
        body = {"current_password": PASSWORD, "password": password}
        return world.client.patch("/users/me", json=body, headers=person.headers).status_code

    with ThreadPoolExecutor(2) as threads:
        statuses = dict(zip(passwords, threads.map(change, passwords), strict=True))
    assert set(statuses.values()) <= {200, 401, 403}
    assert 200 in statuses.values()
    works = [
        world.client.post("/auth/token", data={"username": person.email, "password": password}).status_code
        for password in passwords
    ]
    assert sorted(works) == [200, 401]


def test_users_are_searched_and_sorted_out(world: World) -> None:
    mark = str(new_id())
    ids = {}
    for who, role in (("Ada", "admin"), ("Bob", "user"), ("Cleo", "user")):
        body = {"email": f"{who}-{mark}@example.org", "name": f"{who} of {mark}", "role": role}
        ids[who] = world.client.post("/users", json=body, headers=world.admin.headers).json()["id"]
    off = {"disabled": True}
    assert world.client.patch(f"/users/{ids['Cleo']}", json=off, headers=world.admin.headers).status_code == 200

    def found(**query: str | bool | int) -> list[str]:
        answer = world.client.get("/users", params=query, headers=world.admin.headers)
        assert answer.status_code == 200, answer.text
        return [user["name"].split()[0] for user in answer.json()["items"]]

    assert found(search=mark) == ["Cleo", "Bob", "Ada"]
    assert found(search=f"BOB of {mark[:30]}") == ["Bob"]
    assert found(search=f"ada-{mark}@EXAMPLE") == ["Ada"]
    assert found(search=mark, role="user") == ["Cleo", "Bob"]
    assert found(search=mark, role="user", disabled=False) == ["Bob"]
    assert found(search=mark, disabled=True) == ["Cleo"]
    first = world.client.get("/users", params={"search": mark, "limit": 2}, headers=world.admin.headers).json()
    assert found(search=mark, limit=2, cursor=first["next"]) == ["Ada"]
    for query in ({"search": ""}, {"search": "nul\0"}, {"role": "service"}, {"disabled": "perhaps"}):
        assert world.client.get("/users", params=query, headers=world.admin.headers).status_code == 422


def test_an_admin_corrects_an_e_mail_unless_it_is_somebody_elses(world: World) -> None:
    person, other = world.person(), world.person()
    path, fresh = f"/users/{person.id}", f"New-{new_id()}@Example.org"
    changed = world.client.patch(path, json={"email": fresh, "name": "Ada"}, headers=world.admin.headers).json()
    assert (changed["email"], changed["name"]) == (fresh.lower(), "Ada")
    taken = world.client.patch(path, json={"email": other.email, "name": "Eve"}, headers=world.admin.headers)
    assert (taken.status_code, taken.json()["error"]) == (409, "EmailTaken")
    assert world.client.get(path, headers=world.admin.headers).json() == changed
    assert world.sign_in(fresh, PASSWORD).id == person.id


def test_signing_out_everywhere_ends_every_token_and_no_key(world: World) -> None:
    person = world.person()
    elsewhere = world.sign_in(person.email, PASSWORD)
    _, key = world.key(person)
    for path, caller in (
        ("/auth/logout-everywhere", person),
        (f"/users/{person.id}/logout-everywhere", world.admin),
    ):
        assert world.client.post(path, headers=caller.headers).status_code == 204
        for one in (person, elsewhere):
            assert world.client.get("/users/me", headers=one.headers).status_code == 401
            refresh = world.client.post("/auth/refresh", json={"refresh_token": one.refresh})
            assert (refresh.status_code, refresh.json()["error"]) == (401, "NotSignedIn")
        assert world.client.get("/users/me", headers={"X-API-Key": key}).status_code == 200
        person = elsewhere = world.sign_in(person.email, PASSWORD)
        assert world.client.get("/users/me", headers=person.headers).status_code == 200
    assert world.client.post(f"/users/{new_id()}/logout-everywhere", headers=world.admin.headers).status_code == 404


@pytest.fixture
def lonely(prepared: Settings) -> Iterator[World]:
    """A data-api whose database has one admin."""
    settings = prepared.model_copy(update={"postgres_database": f"lonely_{token_hex(4)}"})
    prepare(settings)
    with TestClient(create_app(settings)) as client:
        yield World(client, settings.secret)


def test_the_last_admin_stays(lonely: World) -> None:
    path, headers = f"/users/{lonely.admin.id}", lonely.admin.headers
    answers = [
        lonely.client.patch(path, json=change, headers=headers) for change in ({"role": "user"}, {"disabled": True})
    ]
    answers.append(lonely.client.delete(path, headers=headers))
    assert [(answer.status_code, answer.json()["error"]) for answer in answers] == [(409, "LastAdmin")] * 3
    assert lonely.client.get("/users/me", headers=headers).status_code == 200


def test_two_admins_who_demote_each_other_at_once_leave_one(lonely: World) -> None:
    passwords = {lonely.admin.email: lonely.secret("admin_password"), lonely.person("admin").email: PASSWORD}
    for _ in range(3):
        pair = [lonely.sign_in(email, password) for email, password in passwords.items()]

        def demote(who: int, pair: list[Somebody] = pair) -> int:
            path, headers = f"/users/{pair[1 - who].id}", pair[who].headers
            return lonely.client.patch(path, json={"role": "user"}, headers=headers).status_code

        with ThreadPoolExecutor(2) as threads:
            statuses = sorted(threads.map(demote, range(2)))
        assert statuses in ([200, 401], [200, 403], [200, 409])
        again = [lonely.sign_in(email, password) for email, password in passwords.items()]
        roles = [lonely.client.get("/users/me", headers=one.headers).json()["role"] for one in again]
        assert sorted(roles) == ["admin", "user"]
        left, other = sorted(again, key=lambda one: roles[again.index(one)])
        path = f"/users/{other.id}"
        assert lonely.client.patch(path, json={"role": "admin"}, headers=left.headers).status_code == 200
