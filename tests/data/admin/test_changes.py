"""Changes on the admin page: same-origin only, with the same effect as over HTTP, and audited."""

from __future__ import annotations

import re
from secrets import token_hex

import pytest
from starlette.testclient import TestClient

from data_api.ids import new_id
from data_api.main import create_app
from data_api.settings import Settings
from tests.data.admin.conftest import HERE, history, is_in, open_browser, sign_in
from tests.data.api import ApiClient, SignedInUser
from tests.data.conftest import prepare


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://testserver:3000"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://testserver:3000"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"X-Nothing": "at all"},
    ],
    ids=lambda headers: " ".join(headers.values()),
)
def test_a_cross_origin_change_is_refused(
    api: ApiClient, admin_browser: TestClient, shared_admin: SignedInUser, other: SignedInUser, headers: dict[str, str]
) -> None:
    form = {"role": "admin", "save": "Save"}
    response = admin_browser.post(f"/admin/user/edit/{other.id}", data=form, headers=headers)
    assert (response.status_code, response.json()["error"]) == (403, "NotAllowed")
    assert admin_browser.delete(f"/admin/user/delete?pks={other.id}", headers=headers).status_code == 403
    assert sign_in(admin_browser, shared_admin.email, **headers).status_code == 403
    assert api.client.get("/users/me", headers=other.headers).json()["role"] == "user"


def test_a_request_with_only_the_origin_header_is_accepted(
    api: ApiClient, admin_browser: TestClient, shared_admin: SignedInUser
) -> None:
    user = api.person()
    form = {"role": "trainer", "save": "Save"}
    headers = {"Origin": "http://testserver"}
    assert admin_browser.post(f"/admin/user/edit/{user.id}", data=form, headers=headers).status_code == 302


def test_changing_a_role_has_the_same_effect_as_over_http(
    api: ApiClient, admin_browser: TestClient, shared_admin: SignedInUser
) -> None:
    user = api.person()
    form = {"role": "trainer", "save": "Save"}
    response = admin_browser.post(f"/admin/user/edit/{user.id}", data=form, headers={**HERE, "X-Request-ID": "page-1"})
    assert response.status_code == 302, response.text
    line = history(api, user.id)[0]
    assert (line["actor_id"], line["request_id"], line["fields"]) == (
        shared_admin.id, "page-1", ["role", "tokens_valid_after"],
    )  # fmt: skip
    assert api.client.get("/users/me", headers=user.headers).status_code == 401, "their old token ended"


def test_an_unchanged_form_field_does_not_overwrite_a_concurrent_change(
    api: ApiClient, admin_browser: TestClient
) -> None:
    user = api.person()
    page = admin_browser.get(f"/admin/user/edit/{user.id}").text
    remembered = dict(re.findall(r'name="(was_\w+)" type="hidden" value="(\w+)"', page))
    assert remembered == {"was_role": "user", "was_disabled": "False"}
    api.client.patch(f"/users/{user.id}", json={"role": "trainer"}, headers=api.admin.headers)
    form = {**remembered, "role": "user", "disabled": "on", "save": "Save"}
    assert admin_browser.post(f"/admin/user/edit/{user.id}", data=form, headers=HERE).status_code == 302
    now = api.client.get(f"/users/{user.id}", headers=api.admin.headers).json()
    assert (now["role"], now["disabled"]) == ("trainer", True)


@pytest.mark.parametrize("role", ["service", "root", ""])
def test_only_roles_of_people_can_be_assigned(
    api: ApiClient, admin_browser: TestClient, other: SignedInUser, role: str
) -> None:
    response = admin_browser.post(f"/admin/user/edit/{other.id}", data={"role": role, "save": "Save"}, headers=HERE)
    assert response.status_code == 400
    assert len(history(api, other.id)) == 1


def test_fields_that_are_not_in_the_form_are_ignored(
    api: ApiClient, admin_browser: TestClient, other: SignedInUser
) -> None:
    form = {"role": "user", "save": "Save", "password_hash": "x", "id": str(new_id()), "email": "other@example.org"}
    assert admin_browser.post(f"/admin/user/edit/{other.id}", data=form, headers=HERE).status_code == 302
    assert api.client.get("/users/me", headers=other.headers).json()["email"] == other.email
    assert len(history(api, other.id)) == 1


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("application/x-www-form-urlencoded", b"role=trainer&name=%E4&save=Save"),
        ("application/x-www-form-urlencoded; charset=odd", b"role=trainer&save=Save"),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="role"\r\n\r\ntrainer\r\n'),
    ],
)
def test_a_form_that_is_cut_off_or_not_utf8_changes_nothing(
    api: ApiClient, admin_browser: TestClient, other: SignedInUser, kind: str, content: bytes
) -> None:
    headers = {**HERE, "Content-Type": kind}
    response = admin_browser.post(f"/admin/user/edit/{other.id}", content=content, headers=headers)
    assert (response.status_code, "body: " in response.text) == (422, True)
    assert api.client.get("/users/me", headers=other.headers).json()["role"] == "user"


def test_deleting_a_user_ends_their_keys_and_sign_ins(
    api: ApiClient, admin_browser: TestClient, shared_admin: SignedInUser
) -> None:
    user = api.person()
    assert admin_browser.delete(f"/admin/user/delete?pks={user.id}", headers=HERE).status_code == 200
    assert api.client.get(f"/users/{user.id}", headers=api.admin.headers).status_code == 404
    assert api.client.get("/users/me", headers=user.headers).status_code == 401
    assert history(api, user.id)[0]["action"] == "delete"


def test_deleting_a_key_revokes_it(api: ApiClient, admin_browser: TestClient, shared_admin: SignedInUser) -> None:
    user = api.person()
    key_id, key = api.key(user)
    assert admin_browser.delete(f"/admin/api-key/delete?pks={key_id}", headers=HERE).status_code == 200
    assert api.client.get("/users/me", headers={"X-API-Key": key}).status_code == 401
    assert history(api, key_id)[0]["fields"] == ["revoked_at"]


def test_the_last_admin_stays(prepared: Settings) -> None:
    settings = prepared.model_copy(update={"postgres_database": f"alone_{token_hex(4)}"})
    prepare(settings)
    app = create_app(settings)
    with TestClient(app) as client:
        alone, admin_browser = ApiClient(client, settings.secret).admin, open_browser(app)
        sign_in(admin_browser, alone.email, settings.secret("admin_password"))
        form = {"role": "user", "save": "Save"}
        response = admin_browser.post(f"/admin/user/edit/{alone.id}", data=form, headers=HERE)
        assert (response.status_code, "This is the last admin" in response.text) == (400, True)
        assert (
            "error=This+is+the+last+admin"
            in admin_browser.delete(f"/admin/user/delete?pks={alone.id}", headers=HERE).text
        )
        assert is_in(admin_browser)
