"""Fixtures for every test: secrets, a real Postgres with both schemas, free ports."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from scripts.dev.ports import free_port as find_free_port
from scripts.dev.postgres import FAST, Postgres
from tests import selection, shared

REPOSITORY = Path(__file__).resolve().parents[1]

for variable in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL"):  # `make test` is not the parent of the makes that tests start
    os.environ.pop(variable, None)


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        selection.mark(item)
    items.sort(key=shared.turn)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Where several workers share the tests: `-n 2`."""
    return shared.Scheduling(config, log)


def pytest_runtest_setup(item: pytest.Item) -> None:
    shared.end_unused(item)


@pytest.fixture(scope="session")
def secrets_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every secret, made as the first start makes it."""
    folder = tmp_path_factory.mktemp("secrets")
    subprocess.run(["sh", str(REPOSITORY / "scripts/secrets.sh"), str(folder)], check=True)
    return folder


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """Each call returns another loopback port on which no process listens."""
    return find_free_port


@pytest.fixture(scope="session")
def open_folder() -> Iterator[Callable[[str], Path]]:
    """Makes temporary folders that other OS users may enter, because Postgres may run as another user."""
    made: list[Path] = []

    def make(name: str) -> Path:
        folder = Path(tempfile.mkdtemp(prefix=f"volant-{name}-"))
        folder.chmod(0o755)
        made.append(folder)
        return folder

    yield make
    for folder in made:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server(secrets_dir: Path, open_folder: Callable[[str], Path]) -> Iterator[Postgres]:
    """An empty real Postgres; the superuser is `postgres` with the secret `postgres_password`. One per test worker."""
    server = Postgres(open_folder("postgres") / "data", find_free_port(), secrets_dir / "postgres_password", FAST)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def service_environment(
    secrets_dir: Path, postgres_server: Postgres, open_folder: Callable[[str], Path]
) -> dict[str, str]:
    """The environment in which either service, started as a process, finds the test Postgres and the test secrets."""
    return {
        **os.environ,
        "DATA_SECRETS_DIR": str(secrets_dir),
        "DATA_POSTGRES_HOST": "127.0.0.1",
        "DATA_POSTGRES_PORT": str(postgres_server.port),
        "AI_SECRETS_DIR": str(secrets_dir),
        "AI_STATE_DIR": str(open_folder("state")),
        "AI_QUEUE_HOST": "127.0.0.1",
        "AI_QUEUE_PORT": str(postgres_server.port),
    }


@pytest.fixture(scope="session")
def databases(postgres_server: Postgres, service_environment: dict[str, str]) -> Postgres:
    """The test Postgres with roles, databases and tables, created by the commands that a real start runs."""
    for command in (("data_api", "setup"), ("ai_api", "migrate")):
        done = subprocess.run(
            [sys.executable, "-m", *command],
            env=service_environment,
            capture_output=True,
            text=True,
            cwd=REPOSITORY,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}"
    return postgres_server
