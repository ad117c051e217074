"""Files of ended processes are taken over without loss, also when one of them cannot be read or a move is cut off."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from ai_api.data_client import DataClient
from ai_api.outbox import outbox as outbox_module
from ai_api.outbox.file import OutboxFile
from ai_api.outbox.outbox import Outbox, append_once
from ai_api.outbox.shipper import LONGEST_PAUSE_SECONDS, Shipper
from tests.ai.outbox.receiver import Receiver
from tests.waiting import eventually

pytestmark = pytest.mark.anyio


async def ids(outbox: Outbox) -> list[str]:
    return [event.id for event in await outbox.oldest(10_000)]


async def test_files_that_cannot_be_opened_do_not_keep_others_from_being_taken_over(
    outbox: Outbox, tmp_path: Path
) -> None:
    (tmp_path / "00.db").write_bytes(b"no database" * 1_000)
    (tmp_path / "01.lock").mkdir()
    (tmp_path / "01.db").touch()
    append_once(tmp_path, "promotion", {"id": "p"})
    assert await outbox.take_over() == 1
    assert await ids(outbox) == ["p"]
    assert sorted(path.name for path in tmp_path.glob("0?.db")) == ["00.db", "01.db"]


async def test_a_process_starts_with_a_file_of_its_own_beside_files_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "00.db").write_bytes(b"no database" * 1_000)
    outbox = Outbox(tmp_path, max_rows=10)
    await outbox.put("feedback", [{"id": "a"}])
    assert await ids(outbox) == ["a"]
    outbox.close()


async def test_a_move_that_is_cut_off_repeats_rows_and_loses_none(
    outbox: Outbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append_once(tmp_path, "promotion", {"id": "p"})

    def fail(file: OutboxFile, seq: int) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patched:
        patched.setattr(OutboxFile, "delete_up_to", fail)
        assert await outbox.take_over() == 0
    assert outbox.taken_over == []
    assert await outbox.take_over() == 1
    assert await ids(outbox) == ["p", "p"]
    assert len(outbox.taken_over) == 1


async def test_a_file_is_moved_in_chunks_and_in_its_order(
    outbox: Outbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "TAKE_OVER_CHUNK", 2)
    ended = Outbox(tmp_path, max_rows=10)
    await ended.put("prediction", [{"id": id_} for id_ in "abcde"])
    ended.close()
    assert await outbox.take_over() == 5
    assert await ids(outbox) == list("abcde")
    assert len(outbox) == 5


async def test_the_bound_holds_for_rows_that_concurrent_callers_put(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, max_rows=3)
    results = await asyncio.gather(
        *(outbox.put("prediction", [{"id": str(number)}]) for number in range(10)), return_exceptions=True
    )
    assert sum(result is None for result in results) == 3
    assert len(outbox) == len(await ids(outbox)) == 3
    outbox.close()


async def test_the_shipper_takes_over_and_sends_what_ended_processes_left(
    outbox: Outbox, client: DataClient, receiver: Receiver, tmp_path: Path
) -> None:
    append_once(tmp_path, "promotion", {"id": "p"})
    task = asyncio.create_task(Shipper(outbox, client, rows=10).run())
    await eventually(lambda: list(receiver.rows) == ["p"])
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def pauses_of(shipper: Shipper, count: int, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The first pauses that the shipper makes, in seconds. None of them lasts."""
    pauses, is_done, sleep = list[float](), asyncio.Event(), asyncio.sleep

    async def sleep_shortly(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == count:
            is_done.set()
            await asyncio.Event().wait()
        await sleep(0)

    with monkeypatch.context() as patched:
        patched.setattr(asyncio, "sleep", sleep_shortly)
        task = asyncio.create_task(shipper.run())
        await asyncio.wait_for(is_done.wait(), 10)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return pauses


async def test_pauses_double_up_to_the_longest_while_data_api_does_not_respond(
    outbox: Outbox, client: DataClient, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    await outbox.put("prediction", [{"id": "a"}])
    receiver.failures = 7
    pauses = await pauses_of(Shipper(outbox, client, rows=10), 8, monkeypatch)
    assert pauses[1:5] == [pause * 2 for pause in pauses[:4]]
    assert pauses[5:7] == [min(pauses[4] * 2, LONGEST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS]
    assert (list(receiver.rows), pauses[7]) == (["a"], pauses[0]), "after a success the pauses are short again"


async def test_full_batches_are_sent_without_a_pause_and_an_empty_outbox_is_polled_with_one(
    outbox: Outbox, client: DataClient, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    await outbox.put("prediction", [{"id": str(number)} for number in range(5)])
    pauses = await pauses_of(Shipper(outbox, client, rows=2), 2, monkeypatch)
    assert receiver.calls == [["0", "1"], ["2", "3"], ["4"]]
    assert all(0 < pause < 1 for pause in pauses)


@pytest.mark.parametrize("order", [["poison", "a"], ["a", "poison"], ["poison", "poison2"], ["a", "poison", "b"]])
async def test_an_event_that_spoils_its_call_is_found_by_halving_wherever_it_is(
    outbox: Outbox, client: DataClient, receiver: Receiver, order: list[str]
) -> None:
    await outbox.put("prediction", [{"id": id_} for id_ in order])
    await Shipper(outbox, client, rows=10).ship_once()
    healthy = [id_ for id_ in order if not id_.startswith("poison")]
    assert list(receiver.rows) == healthy
    assert (len(outbox), outbox.dead_letters) == (0, len(order) - len(healthy))
