"""Stored responses to requests with an Idempotency-Key: committed with their rows, for a day, within bounds."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ai_api.errors import OutboxFull
from ai_api.outbox import responses
from ai_api.outbox.outbox import Outbox
from ai_api.outbox.responses import StoredResponse

pytestmark = pytest.mark.anyio


def response(id_: str, user_id: str = "ann", body: bytes = b"{}") -> StoredResponse:
    return StoredResponse(id_, user_id, "digest", body)


async def stored(outbox: Outbox, *ids: str) -> list[bool]:
    return [await outbox.response(id_) is not None for id_ in ids]


async def test_a_response_outlives_its_rows_and_a_restart(tmp_path: Path) -> None:
    first = Outbox(tmp_path, max_rows=10)
    await first.put("prediction", [{"id": "p"}], response("r", body=b"answer"))
    await first.settle(await first.oldest(10), [])
    first.close()
    again = Outbox(tmp_path, max_rows=10)
    assert (len(again), await again.response("r")) == (0, response("r", body=b"answer"))
    again.close()


async def test_a_response_is_taken_over_with_the_file_of_an_ended_process(tmp_path: Path) -> None:
    first, second = Outbox(tmp_path, max_rows=10), Outbox(tmp_path, max_rows=10)
    for number in range(250):
        await first.put("prediction", [], response(f"r{number}"))
    await first.put("prediction", [{"id": "p"}])
    first.close()
    assert await second.take_over() == 1
    assert await stored(second, "r0", "r249") == [True, True]
    assert len(list(tmp_path.glob("*.db"))) == 1
    second.close()


async def test_without_room_for_the_rows_there_is_no_response(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, max_rows=1)
    with pytest.raises(OutboxFull):
        await outbox.put("prediction", [{"id": "a"}, {"id": "b"}], response("r"))
    assert await stored(outbox, "r") == [False]
    outbox.close()


async def test_rows_that_cannot_be_committed_leave_no_response(outbox: Outbox) -> None:
    unstorable = StoredResponse("r", "ann", "digest", {})  # type: ignore[arg-type]
    with pytest.raises(OutboxFull):
        await outbox.put("prediction", [{"id": "p"}], unstorable)
    assert (await outbox.oldest(10), len(outbox)) == ([], 0)
    assert await stored(outbox, "r") == [False]


async def test_a_response_expires_after_a_day(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    await outbox.put("prediction", [], response("r"))
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 86_000)
    assert await stored(outbox, "r") == [True]
    monkeypatch.setattr(time, "time", lambda: now + 86_401)
    assert await stored(outbox, "r") == [False]
    await outbox.expire_responses()
    monkeypatch.setattr(time, "time", lambda: now)
    assert await stored(outbox, "r") == [False]


async def test_a_caller_has_the_newest_responses_and_leaves_alone_those_of_others(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(responses, "MAX_RESPONSES", 3)
    await outbox.put("prediction", [], response("bob", "bob"))
    for number in range(5):
        await outbox.put("prediction", [], response(f"r{number}"))
    assert await stored(outbox, "r0", "r1", "r2", "r3", "r4", "bob") == [False, False, True, True, True, True]
    monkeypatch.setattr(responses, "MAX_BYTES", 100)
    await outbox.put("prediction", [], response("r5", body=bytes(97)))
    assert await stored(outbox, "r3", "r4", "r5") == [False, True, True]
    await outbox.put("prediction", [], response("r6", body=bytes(200)))
    assert await stored(outbox, "r4", "r5", "r6", "bob") == [False, False, True, True]
