"""Every store of `make dev` is saved and restored, and only its owner may read the folder of backups."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from ai_api.outbox.outbox import Outbox
from scripts.backup.__main__ import is_dev_running
from scripts.backup.sets import restore, save
from scripts.backup.stores import ProcessStores, StoreError, blob_folder
from scripts.dev.ports import free_port
from scripts.dev.postgres import FAST, Postgres
from scripts.dev.stack import Stack
from scripts.settings import REPOSITORY
from tests.data.command import data_api
from tests.platform.checkout import Checkout

pytestmark = pytest.mark.process


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
        assert data_api(one.settings, "setup").returncode == 0
        with psycopg.connect(conninfo(one, "queue", "volant_queue"), autocommit=True) as connection:
            connection.execute("create table waiting as select 42 as job")
        for name in ("mlflow.db", "mlflow-auth.db"):
            with sqlite3.connect(one.root / "data" / name) as records:
                records.execute("create table runs as select 'r1' as id")
            records.close()
        files = {
            "mlruns/1/model": b"weights",
            "data/state/blobs/bytes/ab/cd": b"picture",
            "data/version_keys/key.json": b"public",
        }
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
