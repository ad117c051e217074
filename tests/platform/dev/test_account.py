"""Postgres as root: in folders that only their owner may enter, without `useradd`, or unable to change the user."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2
import pytest

from scripts.dev import account as accounts
from scripts.dev import programs
from scripts.dev.account import Account, PostgresError, account
from scripts.dev.ports import free_port
from scripts.dev.postgres import FAST, Postgres

REPOSITORY = Path(__file__).resolve().parents[3]

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root needs another account"),
]


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    """A folder that only its owner may enter, as /root is."""
    tmp_path.chmod(0o700)
    return tmp_path


@contextmanager
def running(server: Postgres) -> Iterator[psycopg2.extensions.connection]:
    server.start()
    try:
        connection = psycopg2.connect(host="127.0.0.1", port=server.port, user="postgres", password="secret")
        yield connection
        connection.close()
    finally:
        server.stop()


def server_in(folder: Path) -> Postgres:
    (folder / "password").write_text("secret")
    return Postgres(folder / "data", free_port(), folder / "password", FAST)


def namespace() -> Account:
    prefix = (sys.executable, "-S", str(accounts.NAMESPACE), "65534", "65534")
    return Account(os.geteuid(), os.getegid(), prefix=prefix)


def test_data_in_a_closed_folder_is_kept_there_between_starts(closed: Path) -> None:
    server = server_in(closed)
    with running(server) as connection, connection, connection.cursor() as cursor:
        cursor.execute("create table numbers as select 42 as number")
    assert (closed / "data" / "PG_VERSION").exists()
    with running(server) as connection, connection.cursor() as cursor:
        cursor.execute("select number from numbers")
        assert cursor.fetchone() == (42,)


def test_programs_in_a_closed_folder_are_copied_once_to_an_open_one(
    closed: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = closed / "packages"
    programs.copy(programs.installed(), packages)
    copies = Path(os.path.realpath("/var/tmp")) / f"volant-test-{os.getpid()}"
    monkeypatch.setattr(programs, "installed", lambda: packages)
    monkeypatch.setattr(programs, "COPY_PLACES", (closed / "no" / "such", copies))
    programs.copied.cache_clear()
    before = os.umask(0o077)  # as `make dev` has it
    try:
        server = server_in(closed)
        with running(server) as connection, connection.cursor() as cursor:
            cursor.execute("show server_version")
        assert server.command[0].startswith(str(copies))
        made = next(copies.iterdir())
        assert made.stat().st_mode & 0o777 == 0o755
        programs.copied.cache_clear()
        assert programs.copied(packages) == made
        assert list(copies.iterdir()) == [made]
    finally:
        os.umask(before)
        programs.copied.cache_clear()
        subprocess.run(["rm", "-rf", str(copies)], check=True)


def test_copies_are_not_taken_from_a_folder_that_others_can_write(
    closed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = closed / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    monkeypatch.setattr(programs, "COPY_PLACES", (shared,))
    programs.copied.cache_clear()
    with pytest.raises(PostgresError, match="move Volant to a folder that others may enter"):
        programs.copied(closed)


def test_root_that_may_not_change_its_user_runs_postgres_in_a_user_namespace(
    closed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = namespace()
    if not accounts.works(found):
        pytest.skip("this machine allows no user namespaces")
    monkeypatch.setattr(accounts, "works", lambda candidate: not candidate.is_switched)
    assert account().prefix[:3] == found.prefix[:3]
    server = server_in(closed)
    with running(server) as connection, connection, connection.cursor() as cursor:
        cursor.execute("create table numbers as select 42 as number")
    assert (closed / "data" / "PG_VERSION").stat().st_uid == os.geteuid()
    monkeypatch.undo()
    server = server_in(closed)  # the same data under another account
    with running(server) as connection, connection.cursor() as cursor:
        cursor.execute("select number from numbers")
        assert cursor.fetchone() == (42,)


def test_a_machine_without_useradd_takes_the_user_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "OS_USER", "volant-no-such-user")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert accounts.own_user(create=True).pw_name == "nobody"


def test_root_that_cannot_run_postgres_is_refused_before_anything_is_installed(tmp_path: Path) -> None:
    done = subprocess.run(
        ["setpriv", "--bounding-set=-setuid,-setgid,-setfcap", "--inh-caps=-all", sys.executable, "-m",
         "scripts.dev.account"],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("Postgres refuses to run as root, and this root may neither change its user")
    assert len(done.stderr.splitlines()) == 1
