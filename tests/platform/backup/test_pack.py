"""Folders and outboxes are copied while they are in use, and unpacked nowhere else."""

from __future__ import annotations

import asyncio
import io
import sqlite3
import subprocess
import tarfile
import threading
from pathlib import Path

import pytest

from ai_api.outbox.outbox import Outbox
from scripts.backup import pack
from scripts.settings import REPOSITORY


def test_an_outbox_is_copied_while_it_is_written_and_taken_over(tmp_path: Path) -> None:
    """Every row that was in an outbox when the copy began is in the copy, or has reached data-api when it ends."""
    folder = tmp_path / "outbox"

    async def fill(outbox: Outbox, start: int, count: int) -> None:
        rows = [{"id": str(number)} for number in range(start, start + count)]
        await outbox.put("prediction", rows)

    async def make() -> list[Outbox]:
        made = [Outbox(folder, max_rows=100_000) for _ in range(3)]
        for number, outbox in enumerate(made):
            await fill(outbox, 10_000 * number, 5_000)
        return made

    first, second, third = asyncio.run(make())
    second.close()
    third.close()
    begun = threading.Event()

    async def take_over() -> None:
        begun.set()
        assert await first.take_over() == 10_000
        await fill(first, 50_000, 100)

    mover = threading.Thread(target=lambda: asyncio.run(take_over()))
    stream = io.BytesIO()
    mover.start()
    begun.wait(10)
    pack.pack_outbox(folder, stream)
    mover.join()
    first.close()

    copied = tmp_path / "copied"
    stream.seek(0)
    pack.unpack(copied, stream)
    found: set[int] = set()
    (path,) = copied.iterdir()
    with sqlite3.connect(path) as connection:
        found |= {int(row[0]) for row in connection.execute("select id from events")}
        assert connection.execute("select count(distinct id) = count(*) from events").fetchone() == (1,)
    connection.close()
    assert found >= {start + number for start in (0, 10_000, 20_000) for number in range(5_000)}
    assert not list(tmp_path.glob(".backup-*"))


def test_a_folder_is_packed_and_unpacked_unchanged(tmp_path: Path) -> None:
    (tmp_path / "here" / "deep").mkdir(parents=True)
    (tmp_path / "here" / "deep" / "file").write_bytes(b"\0\1")
    (tmp_path / "here" / "empty").touch()
    stream = io.BytesIO()
    pack.pack_folder(tmp_path / "here", stream)
    stream.seek(0)
    pack.unpack(tmp_path / "there", stream)
    assert (tmp_path / "there" / "deep" / "file").read_bytes() == b"\0\1"
    assert (tmp_path / "there" / "empty").read_bytes() == b""


@pytest.mark.parametrize("name", ["../outside", "/outside", "link"])
def test_nothing_is_unpacked_outside_of_its_folder(tmp_path: Path, name: str) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        member = tarfile.TarInfo(name)
        if name == "link":
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(member, io.BytesIO())
    stream.seek(0)
    with pytest.raises(SystemExit, match="not made by a backup"):
        pack.unpack(tmp_path / "there", stream)
    assert not (tmp_path / "outside").exists()


@pytest.mark.process
def test_pack_needs_only_the_standard_library_as_in_a_container(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    command = ["python3", "-I", "-c", (REPOSITORY / "scripts/backup/pack.py").read_text(), "folder", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, check=True)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
        assert tar.getnames() == ["file"]
