"""Long loops on the event loop let other coroutines run."""

from __future__ import annotations

import asyncio

import pytest

from ai_api import slices
from ai_api.slices import in_slices

pytestmark = pytest.mark.anyio


async def test_others_run_between_the_slices_and_no_item_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "SLICE_SECONDS", 0)
    seen: list[int] = []
    places: list[int] = []

    async def look() -> None:
        while len(seen) < 5:
            places.append(len(seen))
            await asyncio.sleep(0)

    looking = asyncio.create_task(look())
    async for item in in_slices(range(5)):
        seen += [item]
    await looking
    assert seen == [0, 1, 2, 3, 4]
    assert len(set(places)) > 2
