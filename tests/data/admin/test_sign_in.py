"""Sign-in to the admin page."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, text
from starlette.testclient import TestClient

from data_api.admin.session import COOKIE
from data_api.main import create_app
from data_api.security import new_refresh_token
from data_api.settings import Settings
from tests.data.admin.conftest import HERE, is_in, open_browser, sign_in
from tests.data.api import PASSWORD, ApiClient, SignedInUser


def test_the_admin_url_without_a_slash_redirects_to_the_page(browser: TestClient) -> None:
    assert browser.get("/admin").headers["location"] == "/admin/login"
    assert browser.get("/admin/").headers["location"] == "/admin/login"


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", ["user/list", "user/details/x", "user/edit/x", "user/export/csv", "audit/list"])
def test_every_admin_page_requires_a_sign_in(browser: TestClient, path: str, method: str) -> None:
    response = browser.request(method, f"/admin/{path}", headers=HERE)
    assert response.status_code in (302, 405)
    assert method == "POST" or response.headers["location"].endswith("/admin/login")


def test_an_admin_signs_in_and_out(browser: TestClient, admin: SignedInUser) -> None:
    assert is_in(browser)
    old_cookie = browser.cookies[COOKIE]
    assert browser.get("/admin/logout").headers["location"].endswith("/admin/login")
    assert COOKIE not in browser.cookies
    browser.cookies.set(COOKIE, old_cookie)
    assert not is_in(browser), "a copied cookie is still valid after signing out"


def test_the_cookie_is_http_only_and_same_site(api: ApiClient, browser: TestClient) -> None:
    user = api.person("admin")
    cookie = sign_in(browser, user.email).headers["set-cookie"].lower()
    assert {"httponly", "samesite=strict", "path=/admin"} <= {part.strip() for part in cookie.split(";")}
    assert "secure" not in cookie
    browser.base_url = "https://testserver"
    assert "; secure" in sign_in(browser, user.email).headers["set-cookie"].lower()


@pytest.mark.parametrize("role", ["user", "trainer"])
def test_a_user_without_the_admin_role_is_refused_with_the_right_password(
    api: ApiClient, browser: TestClient, role: str
) -> None:
    response = sign_in(browser, api.person(role).email)
    assert response.status_code == 403
    assert "Only admins may use this page." in response.text
    assert "set-cookie" not in response.headers
    assert not is_in(browser)


@pytest.mark.parametrize(
    "form", [{"username": "nobody@example.org", "password": "x"}, {"username": "\0", "password": "\0"}, {}]
)
def test_a_wrong_sign_in_reveals_no_reason(browser: TestClient, form: dict[str, str]) -> None:
    response = browser.post("/admin/login", data=form, headers=HERE)
    assert response.status_code == 400
    assert "The e-mail or the password is wrong." in response.text


def test_failed_sign_ins_at_the_page_lock_the_account_out(api: ApiClient, prepared: Settings) -> None:
    browser = open_browser(create_app(prepared.model_copy(update={"sign_in_tries": 3})))
    user = api.person("admin")
    for _ in range(40):
        response = sign_in(browser, user.email, "wrong")
        if response.status_code == 429:
            break
        assert response.status_code == 400
    assert (response.status_code, response.headers["retry-after"].isdecimal()) == (429, True)


@pytest.mark.parametrize("change", [{"role": "trainer"}, {"disabled": True}, {"password": PASSWORD + "!"}])
def test_a_sign_in_ends_when_its_user_loses_the_admin_role(
    api: ApiClient, browser: TestClient, admin: SignedInUser, change: dict[str, object]
) -> None:
    assert is_in(browser)
    changed = api.client.patch(f"/users/{admin.id}", json=change, headers=api.admin.headers)
    assert changed.status_code == 200
    assert not is_in(browser)


def test_a_sign_in_ends_when_its_admin_is_deleted(api: ApiClient, browser: TestClient, admin: SignedInUser) -> None:
    assert api.client.delete(f"/users/{admin.id}", headers=api.admin.headers).status_code == 204
    assert not is_in(browser)


def test_signing_out_everywhere_ends_admin_sessions_too(
    api: ApiClient, browser: TestClient, admin: SignedInUser
) -> None:
    assert api.client.post("/auth/logout-everywhere", headers=admin.headers).status_code == 204
    assert not is_in(browser)


def test_an_admin_session_expires(api: ApiClient, browser: TestClient, admin: SignedInUser, as_app: Engine) -> None:
    with as_app.begin() as connection:
        gone = "UPDATE refresh_tokens SET expires_at = now() - interval '1 second' WHERE user_id = :user"
        connection.execute(text(gone), {"user": admin.id})
    assert not is_in(browser)


def test_cookies_and_refresh_tokens_are_not_interchangeable(
    api: ApiClient, browser: TestClient, admin: SignedInUser
) -> None:
    body = {"refresh_token": browser.cookies[COOKIE]}
    assert api.client.post("/auth/refresh", json=body).status_code == 401
    browser.cookies.set(COOKIE, admin.refresh)
    assert not is_in(browser)
    browser.cookies.set(COOKIE, new_refresh_token())
    assert not is_in(browser)
