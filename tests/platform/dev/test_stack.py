"""The supervisor of `make dev`, with a real Postgres and small programs instead of the services."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psutil
import psycopg2
import pytest

from scripts.dev.service import Service, ServiceSpec
from scripts.dev.stack import Stack, StackError, StopRequested
from scripts.settings import PORTS
from tests.stack import own_ports, reachable
from tests.waiting import until

pytestmark = pytest.mark.process


class SmallStack(Stack):
    """Postgres, one program that ends and one that stays, wired like the real services."""

    once = "print('done')"
    stays = "import time; open('data/written', 'w').close(); print('up', flush=True); time.sleep(600)"

    def specs(self) -> list[ServiceSpec]:
        postgres = next(spec for spec in super().specs() if spec.name == "postgres")
        return [
            postgres,
            ServiceSpec(
                "once", (sys.executable, "-c", self.once), after=("postgres",), once=True, environment=os.environ
            ),
            ServiceSpec(
                "stays", (sys.executable, "-c", self.stays), self.is_up, after=("once",), environment=os.environ
            ),
        ]

    def is_up(self) -> bool:
        return "up" in self.service("stays").last_lines

    def connect(self) -> psycopg2.extensions.connection:
        return psycopg2.connect(
            host="127.0.0.1",
            port=self.settings["POSTGRES_PORT"],
            user="postgres",
            password=self.secret("postgres_password"),
        )


@pytest.fixture(scope="module")
def root(open_folder: Callable[[str], Path]) -> Path:
    """One folder for all tests, as making a cluster of Postgres takes longer than to start it."""
    return open_folder("small-stack")


@contextmanager
def started(stack: Stack) -> Iterator[None]:
    stack.start(timeout_seconds=60)
    try:
        yield
    finally:
        stack.stop()


def test_data_is_kept_between_starts(root: Path) -> None:
    stack = SmallStack(root, own_ports())
    with started(stack):
        connection = stack.connect()
        connection.cursor().execute("CREATE TABLE numbers (n int)")
        connection.commit()
        connection.close()
    with started(stack):
        connection = stack.connect()
        connection.cursor().execute("SELECT n FROM numbers")
        connection.close()


def test_other_users_reach_no_file_of_it_also_of_earlier_releases(root: Path) -> None:
    """Secrets are readable for all inside their closed folder, as containers run as other users."""
    kept = root / "data" / "state" / "outbox" / "kept.db"
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.touch()
    for folder in (root / "data", root / "data" / "state", root / "data" / "state" / "outbox"):
        folder.chmod(0o755)
    with started(SmallStack(root, own_ports())):
        assert reachable(root) == []
        assert not (root / "data" / "written").stat().st_mode & 0o077
    kept.unlink()


def test_a_folder_of_another_user_that_is_open_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> None:
        raise PermissionError

    (root / "data").chmod(0o755)
    monkeypatch.setattr(Path, "chmod", forbidden)
    with pytest.raises(StackError, match="is open to other users of this machine"):
        SmallStack(root, own_ports()).start()


def test_stopping_ends_every_process(root: Path) -> None:
    stack = SmallStack(root, own_ports())
    others = psutil.Process().children(recursive=True)
    with started(stack):
        running = [process for process in psutil.Process().children(recursive=True) if process not in others]
        assert len(running) > 2
    assert not [process for process in running if process.is_running()]


def test_a_killed_postgres_is_restarted_with_its_data(root: Path) -> None:
    stack = SmallStack(root, own_ports())
    with started(stack):
        server = stack.service("postgres")
        for restarts in (1, 2):
            server.kill()
            until(partial(is_restarted, server, restarts), "Postgres to be restarted")
        stack.connect().close()


def test_a_taken_port_is_one_line_that_names_its_setting(root: Path) -> None:
    ports = own_ports()
    for name in PORTS:
        with socket.create_server(("127.0.0.1", int(ports[name]))):
            with pytest.raises(StackError, match=rf"^Port {ports[name]} .* is taken\. .*{name}.*$") as caught:
                SmallStack(root, ports).start()
            assert "\n" not in str(caught.value)


def test_an_address_of_another_machine_is_one_line_that_names_its_setting(root: Path) -> None:
    elsewhere = {"VOLANT_BIND": "192.0.2.99"}  # an address of documentation, RFC 5737
    with pytest.raises(StackError, match=r"^192\.0\.2\.99:\d+ .* cannot be listened on.*VOLANT_BIND.*$"):
        SmallStack(root, own_ports() | elsewhere).start()


def test_a_setup_that_fails_ends_the_start_with_the_end_of_its_log(root: Path) -> None:
    stack = SmallStack(root, own_ports())
    stack.once = "raise SystemExit('The secret file x is missing.')"
    with pytest.raises(StackError, match=r"once does not start \(status 1\): The secret file x is missing\."):
        stack.start(timeout_seconds=60)
    assert not [service for service in stack.services.values() if service.process and service.status is None]


def test_a_service_that_keeps_exiting_ends_the_start_with_the_end_of_its_log(root: Path) -> None:
    stack = SmallStack(root, own_ports())
    stack.stays = "raise SystemExit('no room')"
    with pytest.raises(StackError, match=r"stays does not start .*no room"):
        stack.start(timeout_seconds=60)


def test_a_start_in_progress_can_be_stopped(root: Path) -> None:
    stack = SmallStack(root, own_ports())
    stack.stop_requested = True
    with pytest.raises(StopRequested):
        stack.start()


def test_processes_of_a_killed_supervisor_are_ended_by_the_next_start(root: Path) -> None:
    ports = own_ports()
    code = (
        "import sys, pathlib; from tests.platform.dev.test_stack import SmallStack;"
        f"SmallStack(pathlib.Path({str(root)!r}), {ports!r}).start();"
        "print('up', flush=True); import time; time.sleep(600)"
    )
    supervisor = psutil.Popen([sys.executable, "-c", code], stdout=-1, cwd=Path(__file__).parents[3])
    assert supervisor.stdout.readline() == b"up\n"
    orphans = [psutil.Process(pid) for pid, _ in json.loads((root / "data/processes.json").read_text())]
    supervisor.kill()
    supervisor.communicate()
    assert len(orphans) > 1
    lines: list[str] = []
    with started(SmallStack(root, ports, print_line=lambda name, line: lines.append(line))):
        assert not [process for process in orphans if process.is_running()]
    assert [line for line in lines if "an earlier start left behind" in line]


def test_a_stack_starts_in_a_folder_that_only_its_owner_may_enter(open_folder: Callable[[str], Path]) -> None:
    """As root, Postgres runs as another user, who may not enter such a folder (a clone under /root)."""
    closed = open_folder("closed")
    closed.chmod(0o700)
    (closed / "volant").mkdir()
    stack = SmallStack(closed / "volant", own_ports())
    with started(stack):
        stack.connect().close()
    assert (closed / "volant" / "data" / "postgres" / "PG_VERSION").exists()


def is_restarted(service: Service, restarts: int) -> bool:
    return service.restarts == restarts and service.is_ready()
