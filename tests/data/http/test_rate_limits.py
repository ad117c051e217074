"""Rate limits: requests over the limit are refused with a Retry-After."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from data_api.errors import ConfigurationError
from data_api.main import create_app
from data_api.settings import Settings
from scripts.dev.postgres import Postgres
from tests.data.api import PASSWORD, ApiClient
from tests.data.conftest import settings_for

STORES = ("memory", "postgres")


@pytest.fixture
def limited(secrets_dir: Path, postgres_server: Postgres, prepared: Settings) -> Iterator[list[ApiClient]]:
    """Two data-api processes that share their counts through one Postgres."""
    with (
        separate_app(secrets_dir, postgres_server, rate_limit_store="postgres") as first,
        separate_app(secrets_dir, postgres_server, rate_limit_store="postgres") as second,
    ):
        yield [first, second]


@contextmanager
def separate_app(secrets_dir: Path, postgres: Postgres, **others: object) -> Iterator[ApiClient]:
    few = {"rate_limit_per_caller": "20/hour", "rate_limit_per_address": "100000/hour", **others}
    settings = settings_for(secrets_dir, postgres.port, **few)
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield ApiClient(client, settings.secret)


def statuses(api: ApiClient, headers: dict[str, str], count: int) -> list[int]:
    return [api.client.get("/users/me", headers=headers).status_code for _ in range(count)]


@pytest.mark.parametrize("store", STORES)
def test_a_caller_over_the_limit_is_refused_until_the_window_ends(
    store: str, secrets_dir: Path, postgres_server: Postgres, api: ApiClient
) -> None:
    user, other = api.person(), api.person()
    with separate_app(secrets_dir, postgres_server, rate_limit_store=store) as limited:
        assert statuses(limited, user.headers, 21) == [200] * 20 + [429]
        refused = limited.client.get("/users/me", headers=user.headers)
        assert refused.json()["error"] == "TooManyRequests"
        assert 1 <= int(refused.headers["retry-after"]) <= 3_600
        assert statuses(limited, other.headers, 1) == [200]
        assert statuses(limited, limited.service, 30) == [403] * 30


def test_several_processes_share_their_counts_through_postgres(limited: list[ApiClient], api: ApiClient) -> None:
    user = api.person()
    first, second = limited
    assert statuses(first, user.headers, 12) == [200] * 12
    assert statuses(second, user.headers, 12) == [200] * 8 + [429] * 4


@pytest.mark.parametrize("store", STORES)
def test_an_address_is_limited_with_or_without_authentication(
    store: str, secrets_dir: Path, postgres_server: Postgres, prepared: Settings
) -> None:
    few = {"rate_limit_per_caller": "1000/hour", "rate_limit_per_address": "30/hour", "rate_limit_store": store}
    settings = settings_for(secrets_dir, postgres_server.port, **few)
    with TestClient(create_app(settings), client=(f"192.0.2.{len(store)}", 1)) as client:
        found = [client.get("/users/me", headers={"X-API-Key": f"vk_{guess}"}).status_code for guess in range(31)]
        assert found == [401] * 30 + [429]
        assert client.get("/health/live").status_code == 200
        assert client.get("/auth/snapshot", headers={"X-API-Key": settings.secret("service_key")}).status_code == 200


def test_requests_to_the_admin_page_count_too(secrets_dir: Path, postgres_server: Postgres, api: ApiClient) -> None:
    admin = api.person("admin")
    few = {"rate_limit_per_caller": "5/hour", "rate_limit_per_address": "8/hour"}
    app, same_origin = (
        create_app(settings_for(secrets_dir, postgres_server.port, **few)),
        {"Sec-Fetch-Site": "same-origin"},
    )

    def sign_in(browser: TestClient) -> int:
        return browser.post(
            "/admin/login", data={"username": admin.email, "password": PASSWORD}, headers=same_origin
        ).status_code

    def pages(browser: TestClient, count: int) -> list[int]:
        return [browser.get("/admin/user/list").status_code for _ in range(count)]

    with TestClient(app, client=("192.0.2.77", 1), follow_redirects=False) as browser:
        assert sign_in(browser) == 303
        assert pages(browser, 6) == [200] * 5 + [429], "the limit of the caller"
        assert [sign_in(browser), sign_in(browser)] == [303, 429], "the limit of the address"
        refused = browser.get("/admin/user/list")
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) > 1


def test_a_malformed_rate_limit_stops_the_start(prepared: Settings) -> None:
    with pytest.raises(ConfigurationError, match="100/minute"):
        create_app(prepared.model_copy(update={"rate_limit_per_caller": "often"}))
