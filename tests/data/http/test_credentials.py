"""Both services accept and refuse the same credentials."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.ai.support.app import RunningApp, running
from tests.ai.support.memory_registry import MemoryRegistry
from tests.data.api import ApiClient

Headers = list[tuple[str, str]]
KEY, TOKEN, NEVER = "<key>", "<token>", "not-a-credential"
"""Stand for a valid key and a valid token of each service, and for a wrong one."""
CASES: list[tuple[Headers, int]] = [
    ([("X-API-Key", KEY)], 200),
    ([("x-api-key", f" {KEY}  ")], 200),
    ([("Authorization", f"Bearer {TOKEN}")], 200),
    ([("authorization", f"bearer {TOKEN}")], 200),
    ([("Authorization", f"BEARER   {TOKEN} ")], 200),
    ([], 401),
    ([("X-API-Key", "")], 401),
    ([("X-API-Key", "  ")], 401),
    ([("X-API-Key", NEVER)], 401),
    ([("X-API-Key", TOKEN)], 401),
    ([("X-API-Key", f"{KEY},{KEY}")], 401),
    ([("X-API-Key", "\xff")], 401),
    ([("Authorization", "")], 401),
    ([("Authorization", "Bearer")], 401),
    ([("Authorization", "Bearer ")], 401),
    ([("Authorization", TOKEN)], 401),
    ([("Authorization", f"Basic {TOKEN}")], 401),
    ([("Authorization", f"Bearer{TOKEN}")], 401),
    ([("Authorization", f"Bearer\t{TOKEN}")], 401),
    ([("Authorization", f"Bearer Bearer {TOKEN}")], 401),
    ([("Authorization", f"Bearer {TOKEN}, Bearer {TOKEN}")], 401),
    ([("Authorization", f"Bearer {TOKEN} x")], 401),
    ([("Authorization", f"Bearer {KEY}")], 401),
    ([("Authorization", f"Bearer {NEVER}")], 401),
    ([("Authorization", f'Bearer "{TOKEN}"')], 401),
    ([("X-API-Key", KEY), ("Authorization", f"Bearer {TOKEN}")], 401),
    ([("Authorization", f"Bearer {TOKEN}"), ("X-API-Key", KEY)], 401),
    ([("X-API-Key", KEY), ("Authorization", f"Bearer {NEVER}")], 401),
    ([("X-API-Key", NEVER), ("Authorization", f"Bearer {TOKEN}")], 401),
    ([("X-API-Key", KEY), ("Authorization", "Basic YTpi")], 401),
    ([("X-API-Key", KEY), ("Authorization", "")], 401),
    ([("X-API-Key", ""), ("Authorization", f"Bearer {TOKEN}")], 401),
    ([("X-API-Key", KEY), ("X-API-Key", KEY)], 401),
    ([("X-API-Key", KEY), ("X-API-Key", NEVER)], 401),
    ([("Authorization", f"Bearer {TOKEN}"), ("Authorization", f"Bearer {TOKEN}")], 401),
]


@pytest.fixture(scope="module")
def ai_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApp]:
    """ai-api without any version."""
    with running(tmp_path_factory.mktemp("ai"), MemoryRegistry()) as started:
        yield started


@pytest.fixture(scope="module")
def ai_credentials(ai_api: RunningApp) -> dict[str, str]:
    user = ai_api.add_user()
    return {KEY: user.key, TOKEN: ai_api.data_api.token(user)}


@pytest.fixture(scope="module")
def data_credentials(api: ApiClient) -> dict[str, str]:
    person = api.person()
    return {KEY: api.key(person)[1], TOKEN: person.token}


def sent(headers: Headers, credentials: dict[str, str]) -> list[tuple[bytes, bytes]]:
    """The headers with the credentials of a service, as they travel."""
    filled = []
    for name, value in headers:
        for placeholder, credential in credentials.items():
            value = value.replace(placeholder, credential)
        filled.append((name.encode(), value.encode("latin-1")))
    return filled


@pytest.mark.parametrize(("headers", "status"), CASES)
def test_both_services_judge_a_credential_alike(
    ai_api: RunningApp,
    ai_credentials: dict[str, str],
    api: ApiClient,
    data_credentials: dict[str, str],
    headers: Headers,
    status: int,
) -> None:
    calls: list[tuple[Any, str, dict[str, str]]] = [
        (ai_api.client(), "/models", ai_credentials),
        (api.client, "/users/me", data_credentials),
    ]
    for client, path, credentials in calls:
        response = client.send(client.build_request("GET", path, headers=sent(headers, credentials)))
        assert response.status_code == status, (path, response.text)
        if status == 401:
            assert response.json()["error"] == "NotSignedIn"
            assert response.headers["www-authenticate"] == "Bearer"
            assert ("Send one credential" in response.json()["detail"]) == (len(headers) > 1)


def test_the_service_key_beside_a_token_is_refused(api: ApiClient) -> None:
    assert api.client.get("/auth/snapshot", headers=api.service).status_code == 200
    both = {**api.service, **api.person().headers}
    assert api.client.get("/auth/snapshot", headers=both).status_code == 401
