"""One outbox file: its lock, its transactions, and what a take-over or an erasure leaves in it."""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from ai_api.outbox import outbox as outbox_module
from ai_api.outbox.file import (
    OutboxEvent,
    OutboxFile,
    erase_person,
    fresh_path,
    insert_dead_letters,
    insert_events,
    settle_events,
)
from ai_api.outbox.outbox import Outbox, append_once

ANN, BOB = "0199aa31-7e4c-7d11-9c43-00000000000a", "0199aa31-7e4c-7d11-9c43-00000000000b"


@pytest.fixture
def file(tmp_path: Path) -> Iterator[OutboxFile]:
    made = OutboxFile(fresh_path(tmp_path))
    yield made
    made.close()


def event(file: OutboxFile, number: int) -> OutboxEvent:
    """The event at this place, the oldest first."""
    seq, id_, kind, body = file.chunk(100)[number]
    return OutboxEvent(seq, id_, kind, json.loads(body))


def add(file: OutboxFile, *ids: str) -> None:
    with file.transaction() as connection:
        insert_events(connection, [(id_, "prediction", json.dumps({"id": id_})) for id_ in ids])


def add_and_fail(file: OutboxFile) -> None:
    with file.transaction() as connection:
        insert_events(connection, [("a", "prediction", "{}")])
        raise ZeroDivisionError


def test_a_transaction_that_fails_leaves_nothing_and_the_next_one_commits(file: OutboxFile) -> None:
    with pytest.raises(ZeroDivisionError):
        add_and_fail(file)
    assert not file.connection.in_transaction
    add(file, "b")
    assert [row[1] for row in file.chunk(10)] == ["b"]


def test_a_file_that_is_open_cannot_be_opened_again_until_it_is_closed(tmp_path: Path) -> None:
    path = fresh_path(tmp_path)
    file = OutboxFile(path)
    with pytest.raises(BlockingIOError):
        OutboxFile(path)
    file.close()
    OutboxFile(path).close()


def test_no_descriptor_stays_open_when_another_process_holds_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, closed, open_, close = list[int](), list[int](), os.open, os.close

    def recorded_open(path: Path, flags: int, mode: int) -> int:
        opened.append(open_(path, flags, mode))
        return opened[-1]

    def recorded_close(descriptor: int) -> None:
        closed.append(descriptor)
        close(descriptor)

    file = OutboxFile(fresh_path(tmp_path))
    monkeypatch.setattr(os, "open", recorded_open)
    monkeypatch.setattr(os, "close", recorded_close)
    for _ in range(2):
        with pytest.raises(BlockingIOError):
            OutboxFile(file.path)
    assert len(opened) == 2
    assert opened == closed
    file.close()


@pytest.mark.parametrize("is_made_anew", [False, True])
def test_a_lock_that_its_last_holder_removed_meanwhile_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_made_anew: bool
) -> None:
    path, flock = fresh_path(tmp_path), fcntl.flock
    lock = path.with_suffix(".lock")

    def lock_after_removal(descriptor: int, operation: int) -> None:
        flock(descriptor, operation)
        lock.unlink()
        if is_made_anew:
            lock.touch()

    monkeypatch.setattr(fcntl, "flock", lock_after_removal)
    with pytest.raises(BlockingIOError):
        OutboxFile(path)
    assert not path.exists()


def test_a_file_is_removed_with_its_lock_only_when_that_is_asked_for(tmp_path: Path) -> None:
    path = fresh_path(tmp_path)
    OutboxFile(path).close()
    assert path.exists()
    OutboxFile(path).close(remove=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("synchronous", "level"), [("NORMAL", 1), ("FULL", 2)])
def test_a_file_has_a_write_ahead_log_and_the_durability_that_is_set(
    tmp_path: Path, synchronous: str, level: int
) -> None:
    file = OutboxFile(fresh_path(tmp_path), synchronous)
    assert file.connection.execute("pragma journal_mode").fetchone() == ("wal",)
    assert file.connection.execute("pragma synchronous").fetchone() == (level,)
    file.close()


def test_an_event_of_a_trainer_is_synced_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    levels: list[int] = []

    class CheckedFile(OutboxFile):
        def close(self, *, remove: bool = False) -> None:
            levels.extend(self.connection.execute("pragma synchronous").fetchone())
            super().close(remove=remove)

    monkeypatch.setattr(outbox_module, "OutboxFile", CheckedFile)
    append_once(tmp_path / "new" / "folder", "promotion", {"id": "p"})
    assert levels == [2]


def test_only_settled_events_leave_and_refused_ones_keep_their_reason(file: OutboxFile) -> None:
    add(file, "a", "b", "c", "d")
    done, refused = event(file, 1), event(file, 2)
    with file.transaction() as connection:
        assert settle_events(connection, [done], [(refused, "unknown user")]) == (2, 1)
    assert [row[1] for row in file.chunk(10)] == ["a", "d"]
    assert file.dead_letters() == [("c", "prediction", '{"id": "c"}', "unknown user")]
    with file.transaction() as connection:
        assert settle_events(connection, [done], [(refused, "unknown user")]) == (0, 0), "they are gone already"
        assert settle_events(connection, [], []) == (0, 0)


def test_chunks_hold_the_oldest_events_and_only_events_up_to_one_are_deleted(file: OutboxFile) -> None:
    add(file, *"abcd")
    assert [row[1] for row in file.chunk(2)] == ["a", "b"]
    file.delete_up_to(file.chunk(2)[-1][0])
    assert [row[1] for row in file.chunk(10)] == ["c", "d"]
    assert file.counts() == (2, 0)


def test_only_rows_of_the_person_are_erased(file: OutboxFile) -> None:
    bodies = [{"user_id": ANN}, {"user_id": BOB, "comment": f"ask {ANN}"}, {"row": {"user_id": ANN}}, {"user_id": BOB}]
    with file.transaction() as connection:
        insert_events(connection, [(str(n), "feedback", json.dumps(body)) for n, body in enumerate(bodies)])
        insert_dead_letters(connection, [(str(n), "feedback", json.dumps(body), "") for n, body in enumerate(bodies)])
        assert erase_person(connection, ANN) == {"outbox": 1, "dead_letters": 1, "responses": 0}
    assert [row[1] for row in file.chunk(10)] == ["1", "2", "3"]
    assert [row[0] for row in file.dead_letters()] == ["1", "2", "3"]


@pytest.mark.anyio
async def test_dead_letters_of_a_file_that_is_taken_over_keep_their_reason(tmp_path: Path) -> None:
    ended, outbox = Outbox(tmp_path, max_rows=10), Outbox(tmp_path, max_rows=10)
    await ended.put("feedback", [{"id": "a"}])
    await ended.settle([], [((await ended.oldest(1))[0], "unknown user")])
    ended.close()
    await outbox.take_over()
    outbox.close()
    (path,) = tmp_path.glob("*.db")
    connection = sqlite3.connect(path)
    letters = connection.execute("select id, kind, body, reason from dead_letters").fetchall()
    connection.close()
    assert letters == [("a", "feedback", '{"id":"a"}', "unknown user")]
