"""The page of an invitation in a real browser."""

from __future__ import annotations

import pytest
from fastapi import FastAPI
from playwright.sync_api import Browser, expect

from data_api.ids import new_id
from tests.data.admin.test_browser import CHROMIUM, address, chromium  # noqa: F401  (fixtures)
from tests.data.api import PASSWORD, ApiClient

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Debian's package chromium"),
]


def test_an_invited_person_opens_the_link_and_makes_an_account(
    app: FastAPI,
    api: ApiClient,
    address: str,  # noqa: F811
    chromium: Browser,  # noqa: F811
) -> None:
    body = {"email": f"ada-{new_id()}@example.org"}
    made = api.client.post("/invitations", json=body, headers=api.admin.headers).json()
    page = chromium.new_page()
    page.set_default_timeout(15_000)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if "Security" in message.text else None)
    page.goto(address + made["link"].removeprefix("http://127.0.0.1:8001"))
    expect(page.get_by_role("status")).to_contain_text(f"invited as {body['email']}")
    page.get_by_label("Your name").fill("Ada Lovelace")
    page.get_by_label("A password").fill(PASSWORD)
    page.get_by_label("The password again").fill("something else")
    page.get_by_role("button").click()
    expect(page.get_by_role("status")).to_have_text("The two passwords differ.")
    page.get_by_label("The password again").fill(PASSWORD)
    page.get_by_role("button").click()
    expect(page.get_by_role("status")).to_contain_text("You can sign in")
    expect(page.get_by_role("button")).to_be_hidden()
    user = api.sign_in(body["email"], PASSWORD)
    assert api.client.get("/users/me", headers=user.headers).json()["name"] == "Ada Lovelace"
    page.reload()
    expect(page.get_by_role("status")).to_contain_text("There is no such invitation")
    page.close()
    assert complaints == []
