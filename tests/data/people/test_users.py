"""Users: managed by admins, of whom one always remains."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from secrets import token_hex

import pytest
from fastapi.testclient import TestClient

from data_api.ids import new_id
from data_api.main import create_app
from data_api.settings import Settings
from tests.data.api import PASSWORD, ApiClient, SignedInUser
from tests.data.conftest import prepare


def test_a_user_is_created_read_changed_and_deleted(api: ApiClient) -> None:
    body = {"email": f"Ada-{new_id()}@Example.org", "password": PASSWORD, "role": "trainer"}
    made = api.client.post("/users", json=body, headers=api.admin.headers)
    assert made.status_code == 201
    user = made.json()
    assert set(user) == {"id", "email", "name", "role", "disabled", "created_at"}
    assert (user["email"], user["role"], user["disabled"]) == (body["email"].lower(), "trainer", False)
    path = f"/users/{user['id']}"
    assert api.client.get(path, headers=api.admin.headers).json() == user
    changed = api.client.patch(path, json={"role": "user", "disabled": True}, headers=api.admin.headers)
    assert changed.json() == {**user, "role": "user", "disabled": True}
    assert api.client.delete(path, headers=api.admin.headers).status_code == 204
    for call in (api.client.get, api.client.delete):
        assert call(path, headers=api.admin.headers).json()["error"] == "UnknownUser"
    assert api.client.patch(path, json={}, headers=api.admin.headers).status_code == 404


def test_an_e_mail_is_unique_also_for_two_concurrent_requests(api: ApiClient) -> None:
    body = {"email": f"{new_id()}@example.org", "password": PASSWORD}
    with ThreadPoolExecutor(3) as threads:
        responses = list(
            threads.map(lambda _: api.client.post("/users", json=body, headers=api.admin.headers), range(3))
        )
    assert sorted(response.status_code for response in responses) == [201, 409, 409]
    body["email"] = body["email"].upper()
    assert api.client.post("/users", json=body, headers=api.admin.headers).json()["error"] == "EmailTaken"


def test_users_are_listed_page_by_page(api: ApiClient) -> None:
    ids = [api.person().id for _ in range(3)]
    first = api.client.get("/users", params={"limit": 2}, headers=api.admin.headers).json()
    query = {"limit": 2, "cursor": first["next"]}
    second = api.client.get("/users", params=query, headers=api.admin.headers).json()
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
def test_a_malformed_user_is_refused(api: ApiClient, body: dict[str, object]) -> None:
    whole = {"email": f"{new_id()}@example.org", "password": PASSWORD, **body}
    response = api.client.post("/users", json=whole, headers=api.admin.headers)
    assert (response.status_code, response.json()["error"]) == (422, "InvalidRequest")


@pytest.mark.parametrize("body", [{"role": "admin"}, {"disabled": False}, {"id": "x"}, {"email": "a@b.org"}], ids=str)
def test_people_can_change_only_their_own_name_and_password(api: ApiClient, body: dict[str, object]) -> None:
    person = api.person()
    whole = {"current_password": PASSWORD, "password": "another horse battery", **body}
    assert api.client.patch("/users/me", json=whole, headers=person.headers).status_code == 422
    assert api.client.get("/users/me", headers=person.headers).json()["role"] == "user"


def test_a_new_password_needs_the_current_one(api: ApiClient) -> None:
    person = api.person()
    body = {"current_password": "wrong", "password": "another horse battery"}
    response = api.client.patch("/users/me", json=body, headers=person.headers)
    assert (response.status_code, response.json()["error"]) == (403, "WrongPassword")
    assert api.sign_in(person.email, PASSWORD).id == person.id


def test_people_change_their_name_and_stay_signed_in(api: ApiClient) -> None:
    person = api.person()
    response = api.client.patch("/users/me", json={"name": "Ada Lovelace"}, headers=person.headers)
    assert (response.status_code, response.json()["name"]) == (200, "Ada Lovelace")
    assert api.client.patch("/users/me", json={}, headers=person.headers).json()["name"] == "Ada Lovelace"


@pytest.mark.parametrize("body", [{"password": PASSWORD}, {"current_password": PASSWORD}], ids=" ".join)
def test_a_new_password_without_the_current_one_is_refused(api: ApiClient, body: dict[str, str]) -> None:
    person = api.person()
    assert api.client.patch("/users/me", json=body, headers=person.headers).status_code == 422


def test_one_of_two_concurrent_password_changes_succeeds_without_deadlock(api: ApiClient) -> None:
    person = api.person()
    passwords = ["another horse battery", "yet another horse battery"]

    def change(password: str) -> int:
        body = {"current_password": PASSWORD, "password": password}
        return api.client.patch("/users/me", json=body, headers=person.headers).status_code

    with ThreadPoolExecutor(2) as threads:
        statuses = dict(zip(passwords, threads.map(change, passwords), strict=True))
    assert set(statuses.values()) <= {200, 401, 403}
    assert 200 in statuses.values()
    works = [
        api.client.post("/auth/token", data={"username": person.email, "password": password}).status_code
        for password in passwords
    ]
    assert sorted(works) == [200, 401]


def test_users_are_searched_and_filtered(api: ApiClient) -> None:
    mark = str(new_id())
    ids = {}
    for name, role in (("Ada", "admin"), ("Bob", "user"), ("Cleo", "user")):
        body = {"email": f"{name}-{mark}@example.org", "name": f"{name} of {mark}", "role": role}
        ids[name] = api.client.post("/users", json=body, headers=api.admin.headers).json()["id"]
    off = {"disabled": True}
    assert api.client.patch(f"/users/{ids['Cleo']}", json=off, headers=api.admin.headers).status_code == 200

    def found(**query: str | bool | int) -> list[str]:
        response = api.client.get("/users", params=query, headers=api.admin.headers)
        assert response.status_code == 200, response.text
        return [user["name"].split()[0] for user in response.json()["items"]]

    assert found(search=mark) == ["Cleo", "Bob", "Ada"]
    assert found(search=f"BOB of {mark[:30]}") == ["Bob"]
    assert found(search=f"ada-{mark}@EXAMPLE") == ["Ada"]
    assert found(search=mark, role="user") == ["Cleo", "Bob"]
    assert found(search=mark, role="user", disabled=False) == ["Bob"]
    assert found(search=mark, disabled=True) == ["Cleo"]
    first = api.client.get("/users", params={"search": mark, "limit": 2}, headers=api.admin.headers).json()
    assert found(search=mark, limit=2, cursor=first["next"]) == ["Ada"]
    for query in ({"search": ""}, {"search": "nul\0"}, {"role": "service"}, {"disabled": "perhaps"}):
        assert api.client.get("/users", params=query, headers=api.admin.headers).status_code == 422


def test_an_admin_changes_an_e_mail_unless_it_is_another_users(api: ApiClient) -> None:
    person, other = api.person(), api.person()
    path, fresh = f"/users/{person.id}", f"New-{new_id()}@Example.org"
    changed = api.client.patch(path, json={"email": fresh, "name": "Ada"}, headers=api.admin.headers).json()
    assert (changed["email"], changed["name"]) == (fresh.lower(), "Ada")
    taken = api.client.patch(path, json={"email": other.email, "name": "Eve"}, headers=api.admin.headers)
    assert (taken.status_code, taken.json()["error"]) == (409, "EmailTaken")
    assert api.client.get(path, headers=api.admin.headers).json() == changed
    assert api.sign_in(fresh, PASSWORD).id == person.id


def test_signing_out_everywhere_ends_tokens_and_not_keys(api: ApiClient) -> None:
    person = api.person()
    elsewhere = api.sign_in(person.email, PASSWORD)
    _, key = api.key(person)
    for path, caller in (
        ("/auth/logout-everywhere", person),
        (f"/users/{person.id}/logout-everywhere", api.admin),
    ):
        assert api.client.post(path, headers=caller.headers).status_code == 204
        for one in (person, elsewhere):
            assert api.client.get("/users/me", headers=one.headers).status_code == 401
            refresh = api.client.post("/auth/refresh", json={"refresh_token": one.refresh})
            assert (refresh.status_code, refresh.json()["error"]) == (401, "NotSignedIn")
        assert api.client.get("/users/me", headers={"X-API-Key": key}).status_code == 200
        person = elsewhere = api.sign_in(person.email, PASSWORD)
        assert api.client.get("/users/me", headers=person.headers).status_code == 200
    assert api.client.post(f"/users/{new_id()}/logout-everywhere", headers=api.admin.headers).status_code == 404


@pytest.fixture
def one_admin(prepared: Settings) -> Iterator[ApiClient]:
    """A data-api whose database has one admin."""
    settings = prepared.model_copy(update={"postgres_database": f"one_admin_{token_hex(4)}"})
    prepare(settings)
    with TestClient(create_app(settings)) as client:
        yield ApiClient(client, settings.secret)


def test_the_last_admin_stays(one_admin: ApiClient) -> None:
    path, headers = f"/users/{one_admin.admin.id}", one_admin.admin.headers
    responses = [
        one_admin.client.patch(path, json=change, headers=headers) for change in ({"role": "user"}, {"disabled": True})
    ]
    responses.append(one_admin.client.delete(path, headers=headers))
    assert [(response.status_code, response.json()["error"]) for response in responses] == [(409, "LastAdmin")] * 3
    assert one_admin.client.get("/users/me", headers=headers).status_code == 200


def test_two_admins_who_demote_each_other_concurrently_leave_one(one_admin: ApiClient) -> None:
    passwords = {one_admin.admin.email: one_admin.secret("admin_password"), one_admin.person("admin").email: PASSWORD}
    for _ in range(3):
        pair = [one_admin.sign_in(email, password) for email, password in passwords.items()]

        def demote(index: int, pair: list[SignedInUser] = pair) -> int:
            path, headers = f"/users/{pair[1 - index].id}", pair[index].headers
            return one_admin.client.patch(path, json={"role": "user"}, headers=headers).status_code

        with ThreadPoolExecutor(2) as threads:
            statuses = sorted(threads.map(demote, range(2)))
        assert statuses in ([200, 401], [200, 403], [200, 409])
        again = [one_admin.sign_in(email, password) for email, password in passwords.items()]
        roles = [one_admin.client.get("/users/me", headers=one.headers).json()["role"] for one in again]
        assert sorted(roles) == ["admin", "user"]
        left, other = sorted(again, key=lambda one: roles[again.index(one)])
        path = f"/users/{other.id}"
        assert one_admin.client.patch(path, json={"role": "admin"}, headers=left.headers).status_code == 200
