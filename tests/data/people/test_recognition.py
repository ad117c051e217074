"""ai-api's recognition of callers with the snapshot of the real data-api, and its reports of key uses."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from starlette.datastructures import Headers

from ai_api.auth import Callers
from ai_api.data_client import DataClient
from ai_api.errors import DataUnavailable, NotSignedIn
from ai_api.settings import Settings as AISettings
from tests.data.api import ApiClient, SignedInUser
from tests.waiting import eventually

WITHIN_SECONDS = 30


@pytest.fixture
def callers(app: FastAPI, api: ApiClient, tmp_path: Path) -> Callers:
    """ai-api's own code, against the real data-api."""
    client = DataClient("http://data-api", api.secret("service_key"))
    client._opened = httpx.AsyncClient(
        base_url="http://data-api", transport=httpx.ASGITransport(app), headers=client._headers
    )
    return Callers(client, tmp_path / "callers.json", refresh_seconds=0.05, stale_seconds=60)


def knows(callers: Callers, headers: dict[str, str]) -> bool:
    try:
        callers.identify(Headers(headers))
    except NotSignedIn:
        return False
    return True


def revoke_key(api: ApiClient, person: SignedInUser, key_id: str) -> None:
    assert api.client.delete(f"/api-keys/{key_id}", headers=person.headers).status_code == 204


def disable(api: ApiClient, person: SignedInUser, _: str) -> None:
    response = api.client.patch(f"/users/{person.id}", json={"disabled": True}, headers=api.admin.headers)
    assert response.status_code == 200


def delete(api: ApiClient, person: SignedInUser, _: str) -> None:
    assert api.client.delete(f"/users/{person.id}", headers=api.admin.headers).status_code == 204


def sign_out_everywhere(api: ApiClient, person: SignedInUser, _: str) -> None:
    assert api.client.post("/auth/logout-everywhere", headers=person.headers).status_code == 204


def be_signed_out(api: ApiClient, person: SignedInUser, _: str) -> None:
    path = f"/users/{person.id}/logout-everywhere"
    assert api.client.post(path, headers=api.admin.headers).status_code == 204


@pytest.mark.parametrize(
    ("end", "keys_too", "tokens_too"),
    [
        (revoke_key, True, False),
        (disable, True, True),
        (delete, True, True),
        (sign_out_everywhere, False, True),
        (be_signed_out, False, True),
    ],
)
def test_ended_tokens_and_keys_are_refused_by_ai_api_after_its_next_snapshot(
    api: ApiClient,
    callers: Callers,
    end: Callable[[ApiClient, SignedInUser, str], None],
    keys_too: bool,
    tokens_too: bool,
) -> None:
    person = api.person()
    key_id, key = api.key(person, "predict")
    by_key = {"X-API-Key": key}

    async def watch() -> float:
        looking = asyncio.create_task(callers.run())
        try:
            await eventually(lambda: callers.are_known and knows(callers, by_key) and knows(callers, person.headers))
            await asyncio.to_thread(end, api, person, key_id)
            start = time.monotonic()
            await eventually(
                lambda: knows(callers, by_key) != keys_too and knows(callers, person.headers) != tokens_too
            )
            return time.monotonic() - start
        finally:
            looking.cancel()

    assert asyncio.run(watch()) < WITHIN_SECONDS / 2


def test_ai_api_polls_the_snapshot_often_enough() -> None:
    """One poll that just missed a revocation, the wait for the next one, and as long again for a slow response."""
    seconds: float = AISettings.model_fields["auth_refresh_seconds"].default
    assert 2 * seconds + 2 < WITHIN_SECONDS


def test_an_expired_key_is_refused_by_ai_api_without_a_new_snapshot(
    api: ApiClient, callers: Callers, monkeypatch: pytest.MonkeyPatch
) -> None:
    soon = time.time() + 3_600
    expires_at = datetime.fromtimestamp(soon).astimezone().isoformat()
    _, key = api.key(api.person(), "predict", expires_at=expires_at)
    asyncio.run(callers.refresh())
    assert knows(callers, {"X-API-Key": key})
    monkeypatch.setattr("ai_api.auth.time.time", lambda: soon + 1)
    monkeypatch.setattr(callers, "_stale_seconds", 1e9)
    assert not knows(callers, {"X-API-Key": key})


def test_a_use_at_ai_api_is_reported_to_data_api(api: ApiClient, callers: Callers) -> None:
    person = api.person()
    key_id, key = api.key(person, "predict")

    def last_used() -> str | None:
        (found,) = api.client.get("/api-keys", headers=person.headers).json()["items"]
        assert found["id"] == key_id
        used: str | None = found["last_used_at"]
        return used

    async def look() -> None:
        await callers.refresh()
        await callers.report()

    asyncio.run(look())
    assert last_used() is None
    assert knows(callers, {"X-API-Key": key})
    asyncio.run(look())
    used = last_used()
    assert used is not None
    assert abs(datetime.fromisoformat(used).timestamp() - time.time()) < 10
    assert knows(callers, {"X-API-Key": key})
    asyncio.run(look())
    assert last_used() == used  # reported once a minute
    assert set(callers._used) == {key_id}
    callers._report_at = 0
    asyncio.run(look())
    assert last_used() != used
    assert not callers._used


def test_a_use_that_could_not_be_reported_is_reported_later(api: ApiClient, callers: Callers) -> None:
    person = api.person()
    key_id, key = api.key(person, "predict")
    asyncio.run(callers.refresh())
    assert knows(callers, {"X-API-Key": key})
    opened = callers._client._opened
    callers._client._opened = httpx.AsyncClient(
        base_url="http://data-api", transport=httpx.MockTransport(lambda _: httpx.Response(503))
    )
    with pytest.raises(DataUnavailable):
        asyncio.run(callers.report())
    assert set(callers._used) == {key_id}
    callers._client._opened = opened
    asyncio.run(callers.report())
    (found,) = api.client.get("/api-keys", headers=person.headers).json()["items"]
    assert found["last_used_at"] is not None
