"""The admin page in a real browser."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI
from playwright.sync_api import Browser, Page, expect, sync_playwright

from data_api.admin.people import PEOPLE
from data_api.admin.records import RECORDS
from tests.data.api import PASSWORD, ApiClient
from tests.waiting import until

PATIENCE = 60_000
"""Milliseconds to wait for an element: the machine may be busy."""
CHROMIUM = Path("/usr/bin/chromium")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Debian's package chromium"),
]


@pytest.fixture(scope="module")
def address(app: FastAPI, api: ApiClient, free_port: Callable[[], int]) -> Iterator[str]:
    """The app on a real port. Its lifespan is that of the shared client."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, access_log=False, lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    until(lambda: server.started, "the server to start")
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"], timeout=PATIENCE
        )
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Browser, address: str) -> Iterator[Page]:
    """The sign-in page; every error on its console fails the test."""
    context = chromium.new_context(base_url=address)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.goto("/admin")
    yield page
    context.close()
    assert [
        complaint for complaint in complaints if "favicon" not in complaint and "status of 4" not in complaint
    ] == []


def sign_in(page: Page, email: str) -> None:
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


def test_an_admin_finds_a_user_changes_their_role_and_sees_the_line(api: ApiClient, page: Page) -> None:
    admin, user = api.person("admin"), api.person()
    sign_in(page, admin.email)
    page.get_by_role("link", name="Users").click()
    page.get_by_placeholder("Search").fill(user.email)
    page.get_by_role("button", name="Search").click()
    row = page.get_by_role("row").filter(has_text=user.email)
    expect(page.get_by_role("row")).to_have_count(2)  # the header and the one
    row.locator("a[href*='/edit/']").click()
    page.get_by_label("Role").select_option("trainer")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("row").filter(has_text=user.email)).to_contain_text("trainer")

    page.get_by_role("link", name="Changes").click()
    line = page.get_by_role("row").filter(has_text=user.id).filter(has_text="change")
    expect(line).to_contain_text("role, tokens_valid_after")
    expect(line).to_contain_text(admin.id)
    line.locator("a[href*='/details/']").first.click()
    expect(page.get_by_role("row", name=re.compile("^After"))).to_contain_text('"role": "trainer"')


def test_no_page_needs_what_the_content_security_policy_forbids(api: ApiClient, page: Page) -> None:
    """The console of the page, which the fixture checks, names what is refused."""
    sign_in(page, api.person("admin").email)
    page.get_by_role("link", name="Users").wait_for()
    for view in (*PEOPLE, *RECORDS):
        page.goto(f"/admin/{view.identity}/list")
        expect(page.get_by_role("table").first).to_be_visible()
        if view.can_create:
            page.goto(f"/admin/{view.identity}/create")
            expect(page.get_by_role("button", name="Save", exact=True)).to_be_visible()


def test_an_admin_deletes_a_user_after_a_confirmation(api: ApiClient, page: Page) -> None:
    admin, user = api.person("admin"), api.person()
    sign_in(page, admin.email)
    page.goto(f"/admin/user/details/{user.id}")
    page.get_by_role("link", name="Delete").click()
    expect(page.locator("#modal-delete-text")).to_contain_text("permanently delete")  # before, its button has no target
    page.locator("#modal-delete-button").click()
    page.wait_for_url("**/admin/user/list*")
    assert api.client.get(f"/users/{user.id}", headers=api.admin.headers).status_code == 404


def test_a_plain_user_is_refused(api: ApiClient, page: Page) -> None:
    sign_in(page, api.person().email)
    expect(page.get_by_text("Only admins may use this page.")).to_be_visible()
    page.goto("/admin/user/list")
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()


def test_another_origin_of_this_machine_cannot_change_anything(api: ApiClient, page: Page) -> None:
    """The other origin shares the cookie, as cookies do not depend on the port."""
    admin, user = api.person("admin"), api.person()
    sign_in(page, admin.email)
    page.get_by_role("link", name="Users").click()
    page.context.route("http://127.0.0.1:1/**", lambda route: route.fulfill(content_type="text/html", body="elsewhere"))
    target = f"{page.evaluate('location.origin')}/admin/user/edit/{user.id}"
    other = page.context.new_page()
    other.goto("http://127.0.0.1:1/")
    with other.expect_response(target) as response_info:
        other.evaluate(
            """(target) => {
                const form = document.createElement("form");
                form.method = "POST";
                form.action = target;
                form.innerHTML = '<input name="role" value="admin"><input name="save" value="Save">';
                document.body.append(form);
                form.submit();
            }""",
            target,
        )
    sent = response_info.value.request.all_headers()
    assert "volant_admin=" in sent["cookie"]
    assert response_info.value.status == 403
    assert api.client.get("/users/me", headers=user.headers).json()["role"] == "user"
