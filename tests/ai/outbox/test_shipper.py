"""Events reach data-api at least once, and a refused event never blocks the rest."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path

import httpx
import pytest

from ai_api.data_client import DataClient
from ai_api.errors import DataUnavailable
from ai_api.outbox.outbox import Outbox
from ai_api.outbox.shipper import Shipper
from tests.ai.outbox.receiver import Receiver
from tests.waiting import eventually

pytestmark = pytest.mark.anyio


async def test_events_leave_the_outbox_only_when_data_api_has_them(
    outbox: Outbox, client: DataClient, receiver: Receiver
) -> None:
    await outbox.put("prediction", [{"id": "a"}, {"id": "b"}])
    shipper = Shipper(outbox, client, rows=1)
    receiver.failures = math.inf
    with pytest.raises(DataUnavailable):
        await shipper.ship_once()
    assert len(outbox) == 2
    receiver.failures = 0
    assert await shipper.ship_once() == 1
    assert (list(receiver.rows), len(outbox)) == (["a"], 1)


async def test_refused_events_and_events_that_invalidate_a_call_do_not_block_the_others(
    outbox: Outbox, client: DataClient, receiver: Receiver
) -> None:
    names = ["a", "bad1", "b", "poison", "c", "d"]
    await outbox.put("prediction", [{"id": name} for name in names])
    await outbox.put("feedback", [{"id": "f"}])
    await Shipper(outbox, client, rows=100).ship_once()
    assert sorted(receiver.rows) == ["a", "b", "c", "d", "f"]
    assert (len(outbox), outbox.dead_letters) == (0, 2)


async def test_sending_twice_changes_nothing(outbox: Outbox, client: DataClient, receiver: Receiver) -> None:
    receiver.rows["a"] = {"id": "a"}
    await outbox.put("prediction", [{"id": "a"}])
    await Shipper(outbox, client, rows=100).ship_once()
    assert (len(outbox), outbox.dead_letters) == (0, 0)


async def test_with_a_wrong_service_key_events_wait_and_the_error_names_the_key(outbox: Outbox, tmp_path: Path) -> None:
    client = DataClient("http://data", "key")
    refuse = httpx.MockTransport(lambda request: httpx.Response(401, json={}))
    client._opened = httpx.AsyncClient(base_url="http://data", transport=refuse)
    await outbox.put("prediction", [{"id": "a"}])
    with pytest.raises(DataUnavailable, match="service_key"):
        await Shipper(outbox, client, rows=100).ship_once()
    assert (len(outbox), outbox.dead_letters) == (1, 0)
    await client.close()


async def test_the_outbox_drains_when_data_api_responds_again(
    outbox: Outbox, client: DataClient, receiver: Receiver
) -> None:
    receiver.failures = math.inf
    shipper = Shipper(outbox, client, rows=100)
    running = asyncio.create_task(shipper.run())
    await outbox.put("prediction", [{"id": str(number)} for number in range(250)])
    await eventually(lambda: shipper.last_error is not None)
    receiver.failures = 0
    await eventually(lambda: len(outbox) == 0)
    assert len(receiver.rows) == 250
    await eventually(lambda: shipper.last_error is None)
    running.cancel()
