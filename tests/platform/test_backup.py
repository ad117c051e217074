"""Sets of backups are complete or absent, checked before a restore, and hold outboxes that were copied while in use."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from ai_api.outbox.outbox import Outbox
from scripts.backup import pack
from scripts.backup.__main__ import is_dev_running
from scripts.backup.sets import MANIFEST, NAME, BackupError, old_sets, restore, retention_days, save, save_and_prune
from scripts.backup.stores import ProcessStores, StoreError, blob_folder
from scripts.dev.ports import free_port
from scripts.dev.postgres import FAST, Postgres
from scripts.dev.stack import Stack
from scripts.settings import REPOSITORY
from tests.platform.checkout import Checkout

pytestmark = pytest.mark.process


class Notes:
    """A store with two parts, each a text."""

    way = "dev"

    def __init__(self, folder: Path) -> None:
        self.secrets = folder / "secrets"
        self.secrets.mkdir(parents=True)
        for name in ("mlflow_admin_password", "signing_key"):
            (self.secrets / name).write_text(f"{name} of all")
        self.parts: Sequence[str] = ["a", "b"]
        self.texts = {"a": "first", "b": "second"}
        self.breaks = ""
        self.events: list[str] = []

    def save(self, part: str, file: Path) -> None:
        if part == self.breaks:
            raise OSError("the disk is full")
        file.write_text(self.texts[part])

    @contextmanager
    def restoring(self) -> Iterator[None]:
        self.events.append("begun")
        yield
        self.events.append("ended")

    def load(self, part: str, file: Path) -> None:
        self.events.append(part)
        self.texts[part] = file.read_text()


def test_a_set_is_restored_into_an_empty_volant(tmp_path: Path) -> None:
    backup = save(Notes(tmp_path / "one"), tmp_path / "backups")
    assert backup.stat().st_mode & 0o077 == 0
    other = Notes(tmp_path / "other")
    other.texts = {}
    restore(other, backup)
    assert other.texts == {"a": "first", "b": "second"}
    assert other.events == ["begun", "a", "b", "ended"]


def test_a_backup_that_fails_leaves_no_set_behind(tmp_path: Path) -> None:
    notes = Notes(tmp_path / "one")
    notes.breaks = "b"
    with pytest.raises(OSError, match="full"):
        save(notes, tmp_path / "backups")
    assert list((tmp_path / "backups").iterdir()) == []


def planted(folder: Path, days: float, *, whole: bool = True) -> Path:
    """A set that was begun `days` ago."""
    path = folder / (("" if whole else ".") + (datetime.now(UTC) - timedelta(days=days)).strftime(NAME))
    path.mkdir(parents=True)
    (path / (MANIFEST if whole else "a")).touch()
    return path


def test_old_sets_are_deleted_after_a_new_one_is_saved(tmp_path: Path) -> None:
    folder, printed = tmp_path / "backups", list[str]()
    old, young = planted(folder, 8), planted(folder, 6)
    notes = Notes(tmp_path / "one")
    notes.breaks = "b"
    with pytest.raises(OSError, match="full"):
        save_and_prune(notes, folder, 7, printed.append)
    assert set(folder.iterdir()) == {old, young}
    notes.breaks = ""
    save_and_prune(notes, folder, None, printed.append)
    assert old.exists()
    save_and_prune(notes, folder, 7, printed.append)
    assert not old.exists()
    assert young.exists()
    assert len(list(folder.iterdir())) == 3
    assert printed[-1] == f"Deleted {old}, as it is older than 7 days (VOLANT_BACKUPS_DAYS)."


def test_the_newest_complete_set_and_other_files_are_never_deleted(tmp_path: Path) -> None:
    oldest, old = planted(tmp_path, 100), planted(tmp_path, 8)
    unfinished, under_way = planted(tmp_path, 9, whole=False), planted(tmp_path, 0, whole=False)
    for name in ("tombstones", "2026", "before-the-upgrade"):
        (tmp_path / name).mkdir()
    (tmp_path / "before-the-upgrade" / MANIFEST).touch()
    (tmp_path / (datetime.now(UTC) - timedelta(days=50)).strftime(NAME)).symlink_to(tmp_path / "2026")
    assert old_sets(tmp_path, 7) == sorted([unfinished, oldest])
    assert old_sets(tmp_path, 200) == []
    assert under_way.exists()
    assert old.exists()


def test_other_old_sets_are_deleted_when_one_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, printed = tmp_path / "backups", list[str]()
    first, second = planted(folder, 9), planted(folder, 8)

    def rmtree(path: Path) -> None:
        if path.name.endswith(first.name):
            raise PermissionError(13, "Permission denied")
        real(path)

    real = shutil.rmtree
    monkeypatch.setattr(shutil, "rmtree", rmtree)
    with pytest.raises(BackupError, match=r"cannot be deleted: Permission denied\.$"):
        save_and_prune(Notes(tmp_path / "one"), folder, 7, printed.append)
    assert printed[-1].startswith(f"Deleted {second}")


@pytest.mark.parametrize(("setting", "days"), [("", None), ("1", 1), ("36500", 36_500)])
def test_the_retention_of_sets_is_a_setting(setting: str, days: int | None) -> None:
    assert retention_days(setting) == days


@pytest.mark.parametrize("setting", ["0", "-1", "1.5", "a week", "36501", "²"])
def test_a_setting_that_is_no_number_of_days_is_refused(setting: str) -> None:
    with pytest.raises(BackupError, match="whole number of days"):
        retention_days(setting)


def test_a_set_that_does_not_fit_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    notes = Notes(tmp_path / "one")
    backup = save(notes, tmp_path / "backups")
    other = Notes(tmp_path / "other")

    (other.secrets / "signing_key").write_text("another one")
    with pytest.raises(BackupError, match="signing_key is not the secret of this set"):
        restore(other, backup)
    other = Notes(tmp_path / "third")
    other.way = "up"
    with pytest.raises(BackupError, match="make dev"):
        restore(other, backup)
    (backup / "a").write_text("changed")
    with pytest.raises(BackupError, match="damaged: a"):
        restore(notes, backup)
    for path, text in ((backup / MANIFEST, "{"), (backup / MANIFEST, "{}")):
        path.write_text(text)
        with pytest.raises(BackupError, match="no complete set"):
            restore(notes, backup)
    assert (other.events, notes.events) == ([], [])


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


def test_pack_needs_only_the_standard_library_as_in_a_container(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    command = ["python3", "-I", "-c", (REPOSITORY / "scripts/backup/pack.py").read_text(), "folder", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, check=True)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
        assert tar.getnames() == ["file"]


def test_only_the_owner_may_enter_the_folder_of_backups_and_containers_may_write_tombstones(tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    for _ in range(2):
        subprocess.run(["sh", str(REPOSITORY / "scripts/backup/folder.sh"), str(folder)], check=True)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "tombstones").stat().st_mode & 0o777 == 0o777


def test_images_in_an_object_store_are_not_part_of_a_backup(tmp_path: Path) -> None:
    assert blob_folder({"AI_BLOBS_URL": "s3://bucket/pictures"}, tmp_path) is None
    assert blob_folder({"AI_BLOBS_URL": ""}, tmp_path) == tmp_path / "blobs"
    assert blob_folder({"AI_BLOBS_URL": "/srv/pictures"}, tmp_path) == Path("/srv/pictures")


def test_make_dev_is_not_running_in_a_new_folder(tmp_path: Path) -> None:
    assert not is_dev_running(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dev.lock").write_text("1")
    assert not is_dev_running(tmp_path)


def test_a_backup_while_nothing_runs_prints_what_to_do(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "scripts.backup", "save", "--root", str(tmp_path)]
    environment = {**os.environ, "VOLANT_BACKUPS_DIR": str(tmp_path / "backups")}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "Start Volant first: make dev, or make up.\n")
    assert json.dumps(done.stdout) == '""'


@pytest.fixture
def volant(open_folder: Callable[[str], Path]) -> Callable[[str], Stack]:
    """Makes folders of Volants with the same secrets; nothing runs in them."""
    secrets = open_folder("secrets")

    def make(name: str) -> Stack:
        root = open_folder(name)
        overrides = {"POSTGRES_PORT": str(free_port()), "AI_SECRETS_DIR": str(secrets), "AI_BLOBS_URL": ""}
        return Stack(root, {**overrides, "VOLANT_BACKUPS_DIR": str(root / "backups")})

    return make


def test_every_store_of_make_dev_is_restored(volant: Callable[[str], Stack]) -> None:
    one, other = volant("one"), volant("other")
    subprocess.run(["sh", str(REPOSITORY / "scripts/secrets.sh"), str(one.secrets)], check=True)
    (one.root / "data").mkdir()
    server = Postgres(one.root / "data" / "postgres", int(one.settings["POSTGRES_PORT"]), password_of(one), FAST)
    server.start()
    try:
        command = [sys.executable, "-m", "data_api", "setup"]
        subprocess.run(command, env=one.settings, check=True, capture_output=True, cwd=one.root)
        with psycopg.connect(conninfo(one, "queue", "volant_queue"), autocommit=True) as connection:
            connection.execute("create table waiting as select 42 as job")
        for name in ("mlflow.db", "mlflow-auth.db"):
            with sqlite3.connect(one.root / "data" / name) as records:
                records.execute("create table runs as select 'r1' as id")
            records.close()
        files = {"mlruns/1/model": b"weights", "data/state/blobs/bytes/ab/cd": b"picture"}
        for name, content in files.items():
            (one.root / name).parent.mkdir(parents=True)
            (one.root / name).write_bytes(content)
        asyncio.run(put(Path(one.settings["AI_STATE_DIR"]) / "outbox"))
        with psycopg.connect(conninfo(one, "volant")) as connection:
            people = connection.execute("select id, email from users order by id").fetchall()
        backup = save(ProcessStores(one), one.root / "backups")
    finally:
        server.stop()

    own = {name: other.settings[name] for name in ("POSTGRES_PORT", "AI_SECRETS_DIR", "AI_BLOBS_URL")}
    done = Checkout(other.root).make("restore", f"FROM={backup}", environment=own)
    assert (done.returncode, done.stdout, done.stderr) == (0, "Restored. Start it with `make dev`.\n", "")
    for name, content in files.items():
        assert (other.root / name).read_bytes() == content
    (outbox,) = (Path(other.settings["AI_STATE_DIR"]) / "outbox").glob("*.db")
    for path, query, found in (
        (outbox, "select id from events", "waits"),
        (other.root / "data" / "mlflow.db", "select id from runs", "r1"),
    ):
        with sqlite3.connect(path) as records:
            assert records.execute(query).fetchall() == [(found,)]
        records.close()
    server = Postgres(other.root / "data" / "postgres", int(other.settings["POSTGRES_PORT"]), password_of(other), FAST)
    server.start()
    try:
        with psycopg.connect(conninfo(other, "volant")) as connection:
            assert connection.execute("select id, email from users order by id").fetchall() == people
        with psycopg.connect(conninfo(other, "queue", "volant_queue")) as connection:
            assert connection.execute("select job from waiting").fetchall() == [(42,)]
    finally:
        server.stop()
    with pytest.raises(StoreError, match="has data already"):
        restore(ProcessStores(other), backup)


def password_of(stack: Stack) -> Path:
    return stack.secrets / "postgres_password"


def conninfo(stack: Stack, database: str, user: str = "postgres") -> str:
    secret = "postgres_password" if user == "postgres" else f"postgres_{user.removeprefix('volant_')}_password"
    where = f"host=127.0.0.1 port={stack.settings['POSTGRES_PORT']} dbname={database}"
    return f"{where} user={user} password={stack.secret(secret)}"


async def put(folder: Path) -> None:
    outbox = Outbox(folder, max_rows=10)
    await outbox.put("prediction", [{"id": "waits"}])
    outbox.close()
