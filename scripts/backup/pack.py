"""Folders as tar streams, for backups: python3 pack.py outbox|folder DIR >tar, or unpack DIR <tar

Needs nothing but Python, as it also runs inside containers, handed over as `python3 -c`.
"""

from __future__ import annotations

import shutil
import sqlite3
import sys
import tarfile
import tempfile
from contextlib import closing, suppress
from pathlib import Path
from typing import IO


def pack_folder(folder: Path, target: IO[bytes]) -> None:
    """Every file below. One that goes while we look is left out: nothing that matters refers to it."""
    with tarfile.open(fileobj=target, mode="w|") as tar:
        for path in sorted(folder.rglob("*")):
            with suppress(FileNotFoundError):
                if path.is_file():
                    tar.add(path, path.relative_to(folder).as_posix())


def pack_outbox(folder: Path, target: IO[bytes]) -> None:
    """One outbox file with the rows of all, also while rows are written.

    A row may move from the file of a dead process into another one while we copy, from behind us to before us: so we go
    through the files twice. What is in neither round has reached data-api.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".backup-", dir=folder.parent) as name:
        copies = Path(name, "copies")
        copies.mkdir()
        for number in (1, 2):
            for path in sorted(folder.glob("*.db")):
                with suppress(Vanished):
                    copy_database(path, copies / f"{number}-{path.name}")
        found = sorted(copies.iterdir())
        for other in found[:-1]:
            merge(other, found[-1])
            other.unlink()
        for last in found[-1:]:
            last.rename(copies / last.name.removeprefix("2-"))
        pack_folder(copies, target)


class Vanished(Exception):
    """The file went before it was copied."""


def merge(source: Path, target: Path) -> None:
    """Adds the rows of one outbox file that the other lacks."""
    with closing(sqlite3.connect(target)) as connection, connection:
        connection.execute("attach ? as source", (str(source),))
        for table, columns in (("events", "id, kind, body"), ("dead_letters", "id, kind, body, reason")):
            connection.execute(
                f"insert into main.{table} ({columns}) select {columns} from source.{table}"  # noqa: S608
                f" where id not in (select id from main.{table}) order by rowid"
            )


def copy_database(path: Path, copy: Path) -> None:
    """A SQLite file as it is at one moment, whoever writes to it; Vanished when it is gone."""
    address = f"file:{path}?mode=rw"  # one that is not there is not made
    try:
        with (
            closing(sqlite3.connect(address, uri=True, timeout=30)) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
    except sqlite3.OperationalError as error:
        copy.unlink(missing_ok=True)
        if not path.exists():
            raise Vanished from error
        raise


def unpack(folder: Path, source: IO[bytes]) -> None:
    """Plain files only, and none outside of the folder."""
    with tarfile.open(fileobj=source, mode="r|") as tar:
        for member in tar:
            path = (folder / member.name).resolve()
            content = tar.extractfile(member) if member.isfile() else None
            if content is None or not path.is_relative_to(folder.resolve()):
                raise SystemExit(f"This is no tar of ours: it holds {member.name}.")
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                shutil.copyfileobj(content, file)


if __name__ == "__main__":
    verb, place = sys.argv[1], Path(sys.argv[2])
    if verb == "unpack":
        unpack(place, sys.stdin.buffer)
    else:
        {"outbox": pack_outbox, "folder": pack_folder}[verb](place, sys.stdout.buffer)
