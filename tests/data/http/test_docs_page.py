"""The API documentation of both services: its own files only, under a strict Content-Security-Policy."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient
from playwright.sync_api import expect, sync_playwright

from tests.ai.support.app import running
from tests.ai.support.memory_registry import MemoryRegistry
from tests.data.admin.test_browser import CHROMIUM, PATIENCE
from tests.waiting import until


@pytest.fixture(scope="module", params=["ai-api", "data-api"])
def documented(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    """The app of one of the services."""
    if request.param == "data-api":
        request.getfixturevalue("client")  # runs its lifespan
        yield request.getfixturevalue("app")
    else:
        with running(tmp_path_factory.mktemp("docs"), MemoryRegistry()) as service:
            yield service.app


@contextmanager
def serving(app: FastAPI, port: int) -> Iterator[str]:
    """The app on a real port. Its lifespan runs already."""
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, access_log=False, lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    until(lambda: server.started, "the server to start")
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


def test_the_page_runs_its_own_files_only(documented: FastAPI) -> None:
    client = TestClient(documented, base_url="http://localhost")
    page = client.get("/docs")
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    assert "http" not in policy
    assert "<script>" not in page.text
    assert "style=" not in page.text
    files = re.findall(r'(?:src|href)="([^"]*)"', page.text)
    assert files[1:] == ["/docs/swagger-ui.css", "/docs/swagger-ui-bundle.js", "/docs/start.js"]
    for path in files[1:]:
        file = client.get(path)
        assert (file.status_code, file.headers["cache-control"]) == (200, "max-age=3600")
        assert file.headers["content-type"].startswith("text/css" if path.endswith("css") else "text/javascript")
        assert file.headers["x-content-type-options"] == "nosniff"
    assert client.get("/redoc").status_code == 404


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Debian's package chromium")
def test_a_browser_shows_every_call_and_asks_no_other_host(documented: FastAPI, free_port: Callable[[], int]) -> None:
    complaints: list[str] = []
    with serving(documented, free_port()) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"], timeout=PATIENCE
        )
        page = browser.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on(
            "request", lambda sent: complaints.append(sent.url) if not sent.url.startswith((url, "data:")) else None
        )
        page.goto(f"{url}/docs")
        call = page.locator(".opblock-summary").filter(has_text="/health/live")
        expect(call).to_be_visible(timeout=PATIENCE)
        call.click()
        page.get_by_role("button", name="Try it out").click()
        page.get_by_role("button", name="Execute").click()
        expect(page.get_by_text(re.compile('"status"')).first).to_be_visible(timeout=PATIENCE)
        page.get_by_role("button", name="Authorize").first.click()
        expect(page.get_by_text("Available authorizations")).to_be_visible(timeout=PATIENCE)
        browser.close()
    assert complaints == []
