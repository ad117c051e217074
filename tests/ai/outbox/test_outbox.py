"""Every event that was put is kept until data-api has it, even when processes are killed."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from ai_api.errors import OutboxFull
from ai_api.outbox import outbox as outbox_module
from ai_api.outbox.file import EventKind
from ai_api.outbox.outbox import Outbox, append_once

pytestmark = pytest.mark.anyio

WRITER = """
import asyncio, sys
from pathlib import Path
from ai_api.outbox.outbox import Outbox

async def main():
    outbox = Outbox(Path(sys.argv[1]), max_rows=10**9)
    for number in range(10**9):
        await outbox.put("prediction", [{"id": str(number)}])
        print(number, flush=True)

asyncio.run(main())
"""


def bodies(*ids: str) -> list[dict[str, object]]:
    return [{"id": id_, "row": {"text": "ü"}} for id_ in ids]


def opened(folder: Path, max_rows: int = 1_000) -> Outbox:
    return Outbox(folder, max_rows=max_rows)


async def ids(outbox: Outbox) -> list[str]:
    return [event.id for event in await outbox.oldest(10_000)]


async def test_events_are_kept_in_order_over_a_restart(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    await outbox.put("prediction", bodies("a", "b"))
    await outbox.put("feedback", bodies("c"))
    outbox.close()
    again = opened(tmp_path)
    assert [(event.id, event.kind) for event in await again.oldest(10)] == [
        ("a", "prediction"),
        ("b", "prediction"),
        ("c", "feedback"),
    ]
    assert len(again) == 3
    again.close()
    assert len(list(tmp_path.glob("*.db"))) == 1, "a restart continues with the same file"


@pytest.mark.process
async def test_every_put_that_returned_survives_a_kill_of_the_process(tmp_path: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    acknowledged = [writer.stdout.readline().strip() for _ in range(200)]
    os.kill(writer.pid, signal.SIGKILL)
    acknowledged += writer.stdout.read().split()
    writer.wait()
    writer.stdout.close()
    outbox = opened(tmp_path)
    assert set(acknowledged) <= set(await ids(outbox))
    outbox.close()


async def test_concurrent_puts_share_commits_and_all_are_kept(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    await asyncio.gather(*(outbox.put("prediction", bodies(str(number))) for number in range(200)))
    assert sorted(await ids(outbox)) == sorted(map(str, range(200)))
    outbox.close()


async def test_it_refuses_at_its_bound_and_accepts_again_when_data_api_has_taken_some(tmp_path: Path) -> None:
    outbox = opened(tmp_path, max_rows=2)
    await outbox.put("prediction", bodies("a", "b"))
    with pytest.raises(OutboxFull):
        outbox.admit(1)
    with pytest.raises(OutboxFull):
        await outbox.put("prediction", bodies("c"))
    await outbox.settle(await outbox.oldest(1), [])
    await outbox.put("prediction", bodies("c"))
    assert await ids(outbox) == ["b", "c"]
    outbox.close()


async def test_a_full_disk_refuses_the_event(tmp_path: Path) -> None:
    outbox = opened(tmp_path)

    def fill(connection: sqlite3.Connection) -> None:
        connection.execute("pragma max_page_count = 1")

    await outbox._writer.run(fill)
    with pytest.raises(OutboxFull):
        await outbox.put("prediction", [{"id": "big", "row": "x" * 1_000_000}])
    assert len(outbox) == 0
    outbox.close()


async def test_settled_events_are_overwritten_on_the_disk(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    await outbox.put("prediction", [{"id": str(number), "row": "a private text"} for number in range(50)])
    await outbox.settle(await outbox.oldest(100), [])
    outbox.close()
    assert [path.name for path in tmp_path.iterdir() if b"a private text" in path.read_bytes()] == []


async def test_a_refused_event_becomes_a_dead_letter_with_its_reason(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    await outbox.put("prediction", bodies("a", "b", "c"))
    a, b, c = await outbox.oldest(3)
    await outbox.settle([a, c], [(b, "unknown user")])
    assert len(outbox) == 0
    assert outbox.dead_letters == 1
    outbox.close()
    again = opened(tmp_path)
    assert again.dead_letters == 1
    again.close()


async def test_a_waiting_prediction_is_found_by_its_id(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    await outbox.put("prediction", bodies("a"))
    await outbox.put("feedback", bodies("f"))
    found = await outbox.find("a")
    assert found is not None
    assert found["row"] == {"text": "ü"}
    assert await outbox.find("f") is None
    outbox.close()


async def test_dead_letters_of_one_persons_feedback_are_bounded_and_predictions_are_all_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "MOST_DEAD_FEEDBACK", 2)

    async def refuse(outbox: Outbox, kind: EventKind, user_id: str, count: int) -> None:
        await outbox.put(kind, [{"id": f"{kind} {number}", "user_id": user_id} for number in range(count)])
        await outbox.settle([], [(event, "why") for event in await outbox.oldest(100)])
        assert len(outbox) == 0

    outbox = opened(tmp_path)
    await refuse(outbox, "feedback", "ann", 5)
    await refuse(outbox, "feedback", "bob", 1)
    await refuse(outbox, "prediction", "ann", 5)
    assert outbox.dead_letters == 2 + 1 + 5
    outbox.close()
    again = opened(tmp_path)
    await refuse(again, "feedback", "ann", 1)
    assert again.dead_letters == 8, "counted over a restart"
    await again.erase("ann")
    await refuse(again, "feedback", "ann", 1)
    assert again.dead_letters == 2
    again.close()


async def test_the_file_of_a_process_that_ended_is_taken_over_with_its_dead_letters(tmp_path: Path) -> None:
    ended, outbox = opened(tmp_path), opened(tmp_path)
    await ended.put("prediction", bodies("a", "b"))
    await ended.settle([], [((await ended.oldest(1))[0], "bad")])
    assert await outbox.take_over() == 0, "a file in use is not taken over"
    ended.close()
    append_once(tmp_path, "promotion", {"id": "p"})
    assert await outbox.take_over() == 2
    assert sorted(await ids(outbox)) == ["b", "p"]
    assert (len(outbox), outbox.dead_letters) == (2, 1)
    assert len(list(tmp_path.glob("*.db"))) == 1
    outbox.close()


async def test_a_cancelled_put_does_not_stop_the_writer(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    leaving = asyncio.create_task(outbox.put("prediction", bodies("a")))
    await asyncio.sleep(0)
    leaving.cancel()
    await outbox.put("prediction", bodies("b"))
    assert await ids(outbox) == ["a", "b"]
    outbox.close()
