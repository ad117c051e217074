"""Browsers at the admin page, without a sign-in or signed in as an admin."""

from __future__ import annotations

from secrets import token_hex
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from tests.data.api import PASSWORD, ApiClient, SignedInUser

HERE = {"Sec-Fetch-Site": "same-origin"}


def open_browser(app: FastAPI) -> TestClient:
    """A client with its own cookies and address, which does not follow redirects."""
    address = (f"2001:db8:{token_hex(2)}:{token_hex(2)}::1", 50_000)
    return TestClient(app, raise_server_exceptions=False, follow_redirects=False, client=address)


@pytest.fixture
def browser(app: FastAPI, client: TestClient) -> TestClient:
    """A browser without a sign-in."""
    return open_browser(app)


@pytest.fixture
def admin(api: ApiClient, browser: TestClient) -> SignedInUser:
    """An admin who is signed in with `browser`, for tests that end the sign-in."""
    user = api.person("admin")
    assert sign_in(browser, user.email).status_code == 303
    return user


@pytest.fixture(scope="module")
def shared_admin(api: ApiClient) -> SignedInUser:
    """An admin whom no test changes."""
    return api.person("admin")


@pytest.fixture(scope="module")
def admin_browser(app: FastAPI, client: TestClient, shared_admin: SignedInUser) -> TestClient:
    """A browser in which `shared_admin` is signed in."""
    browser = open_browser(app)
    assert sign_in(browser, shared_admin.email).status_code == 303
    return browser


@pytest.fixture(scope="module")
def other(api: ApiClient) -> SignedInUser:
    """A user whom no test changes."""
    return api.person()


def sign_in(browser: TestClient, email: str, password: str = PASSWORD, **headers: str) -> Any:
    return browser.post("/admin/login", data={"username": email, "password": password}, headers=headers or HERE)


def is_in(browser: TestClient) -> bool:
    return browser.get("/admin/user/list").status_code == 200


def history(api: ApiClient, thing: str) -> list[dict[str, Any]]:
    response = api.client.get("/audit", params={"entity_id": thing}, headers=api.admin.headers)
    items: list[dict[str, Any]] = response.json()["items"]
    return items
