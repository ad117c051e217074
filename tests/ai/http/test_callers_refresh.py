"""The snapshot of callers is refreshed in the background, and the last use of each key is reported."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

import httpx
import pytest
from starlette.datastructures import Headers

from ai_api import auth
from ai_api.auth import Callers
from ai_api.errors import DataUnavailable, NotSignedIn
from tests.ai.support.data_api import client_of
from tests.waiting import eventually

pytestmark = pytest.mark.anyio


class DataAPI:
    """Returns a snapshot with the keys in `keys`, and keeps the uses that it receives."""

    def __init__(self, *keys: str) -> None:
        self.keys = list(keys)
        self.is_away = False
        self.snapshots = 0
        self.revision, self.unchanged = "", 0
        self.uses: list[dict[str, str]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if self.is_away:
            raise httpx.ConnectError("away")
        if request.url.path == "/api-keys/uses":
            self.uses.append(json.loads(request.content)["uses"])
            return httpx.Response(204)
        if self.revision and request.headers.get("if-none-match") == self.revision:
            self.unchanged += 1
            return httpx.Response(304)
        self.snapshots += 1
        keys = [
            {
                "hash": hashlib.sha256(key.encode()).hexdigest(),
                "key_id": f"id of {key}",
                "user_id": "ann",
                "role": "user",
                "scopes": ["predict"],
            }
            for key in self.keys
        ]
        body = {"disabled_users": [], "tokens_valid_after": {}, "jwks": {"keys": []}, "keys": keys}
        etag = {"ETag": self.revision} if self.revision else None
        return httpx.Response(200, json={"generated_at": "2026-11-01T00:00:00Z", **body}, headers=etag)


@asynccontextmanager
async def made(data_api: DataAPI, folder: Path, refresh_seconds: float = 0.01) -> AsyncIterator[Callers]:
    client = client_of(data_api)
    yield Callers(client, folder / "callers.json", refresh_seconds=refresh_seconds, stale_seconds=60)
    await client.close()


@asynccontextmanager
async def running(data_api: DataAPI, folder: Path, refresh_seconds: float = 0.01) -> AsyncIterator[Callers]:
    async with made(data_api, folder, refresh_seconds) as callers:
        task = asyncio.create_task(callers.run())
        try:
            yield callers
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def is_known(callers: Callers, key: str) -> bool:
    try:
        callers.identify(Headers({"x-api-key": key}))
    except NotSignedIn:
        return False
    return True


async def test_new_keys_are_known_after_a_refresh_in_the_background(tmp_path: Path) -> None:
    data_api = DataAPI("first")
    async with running(data_api, tmp_path) as callers:
        await eventually(lambda: callers.are_known)
        assert not is_known(callers, "second")
        data_api.keys.append("second")
        await eventually(lambda: is_known(callers, "second"))


async def test_the_refresh_goes_on_after_data_api_was_away(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data_api = DataAPI("first")
    async with running(data_api, tmp_path) as callers:
        await eventually(lambda: callers.are_known)
        with caplog.at_level("INFO", logger="ai_api.auth"):
            data_api.is_away = True
            await eventually(lambda: len(caplog.messages) > 0)
            data_api.keys.append("second")
            data_api.is_away = False
            await eventually(lambda: is_known(callers, "second"))
            await eventually(lambda: len(caplog.messages) > 1)
    failed, refreshed = caplog.messages
    assert "could not be refreshed" in failed, "one message however many refreshes fail"
    assert "refreshed again" in refreshed


async def test_the_first_snapshot_is_requested_every_half_second_and_later_ones_as_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data_api, pauses, is_waiting, sleep = DataAPI("first"), list[float](), asyncio.Event(), asyncio.sleep

    async def sleep_shortly(seconds: float) -> None:
        pauses.append(seconds)
        data_api.is_away = False
        await sleep(0)
        if len(pauses) == 2:
            is_waiting.set()
            await asyncio.Event().wait()

    data_api.is_away = True
    async with made(data_api, tmp_path, refresh_seconds=3_600) as callers:
        monkeypatch.setattr(asyncio, "sleep", sleep_shortly)
        task = asyncio.create_task(callers.run())
        await asyncio.wait_for(is_waiting.wait(), 10)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert pauses == [0.5, 3_600]
        assert callers.are_known


async def test_the_last_use_of_a_key_is_reported_once(tmp_path: Path) -> None:
    data_api = DataAPI("first", "second")
    async with made(data_api, tmp_path) as callers:
        await callers.refresh()
        await callers.report()
        assert data_api.uses == [], "no key was used"
        before = time.time()
        callers.identify(Headers({"x-api-key": "first"}))
        await callers.report()
        await callers.report()
    ((key, used),) = ((key, used) for uses in data_api.uses for key, used in uses.items())
    assert key == "id of first"
    assert before - 1 <= datetime.fromisoformat(used).timestamp() <= time.time() + 1


async def test_uses_are_reported_at_most_once_a_minute(tmp_path: Path) -> None:
    data_api = DataAPI("first", "second")
    async with made(data_api, tmp_path) as callers:
        await callers.refresh()
        callers.identify(Headers({"x-api-key": "first"}))
        await callers.report()
        callers.identify(Headers({"x-api-key": "second"}))
        await callers.report()
        assert [list(uses) for uses in data_api.uses] == [["id of first"]]
        assert 0 < callers._report_at - time.monotonic() <= 60
        callers._report_at = time.monotonic()
        await callers.report()
    assert [list(uses) for uses in data_api.uses] == [["id of first"], ["id of second"]]


async def test_uses_that_could_not_be_reported_are_reported_later(tmp_path: Path) -> None:
    data_api = DataAPI("first", "second")
    async with made(data_api, tmp_path) as callers:
        await callers.refresh()
        callers.identify(Headers({"x-api-key": "first"}))
        data_api.is_away = True
        with pytest.raises(DataUnavailable):
            await callers.report()
        callers.identify(Headers({"x-api-key": "second"}))
        data_api.is_away = False
        await callers.report()
    assert [sorted(uses) for uses in data_api.uses] == [["id of first", "id of second"]]


async def test_a_change_is_noticed_within_seconds_and_an_unchanged_snapshot_is_not_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "CHANGE_SECONDS", 0.01)
    data_api = DataAPI("first", "second")
    data_api.revision = '"one"'
    async with running(data_api, tmp_path, refresh_seconds=3_600) as callers:
        await eventually(lambda: data_api.unchanged > 2)
        assert (data_api.snapshots, is_known(callers, "second")) == (1, True)
        data_api.keys.remove("second")
        data_api.revision = '"two"'
        await eventually(lambda: not is_known(callers, "second"))
        assert data_api.snapshots == 2
