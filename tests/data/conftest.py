"""data-api over a real Postgres: set up once by the real command's code, people and ids of its own for each test."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import URL, Engine, create_engine

from data_api.database import address
from data_api.main import create_app
from data_api.settings import Settings
from data_api.setup.cluster import APP, OWNER
from data_api.setup.provisioning import provision
from scripts.dev.postgres import Postgres
from tests.data.world import World


@pytest.fixture(scope="session")
def settings(secrets_dir: Path, postgres_server: Postgres) -> Settings:
    """The settings of a data-api that finds the test Postgres, whatever the environment says."""
    return settings_for(secrets_dir, postgres_server.port)


def settings_for(secrets_dir: Path, port: int, **others: object) -> Settings:
    """All tests call from one address and guess at the admin's password, so nobody is locked out who is not to be."""
    patient: dict[str, object] = {"sign_in_tries": 1_000, "sign_in_tries_per_address": 100_000}
    patient |= {"rate_limit_per_caller": "1000000/minute", "rate_limit_per_address": "1000000/minute"}
    where = {"secrets_dir": secrets_dir, "postgres_host": "127.0.0.1", "postgres_port": port, "pool_size": 5}
    return Settings.model_validate({**where, **patient, **others})


def prepare(settings: Settings, database: str | None = None) -> None:
    """`data-api setup`, in this process."""
    provision(
        settings.postgres_host,
        settings.postgres_port,
        database or settings.postgres_database,
        settings.secret,
        wait_seconds=settings.setup_wait_seconds,
        partitions_ahead=settings.partitions_ahead,
    )


@pytest.fixture(scope="session")
def prepared(settings: Settings) -> Settings:
    """The settings, with everything in place that `data-api setup` makes."""
    prepare(settings)
    return settings


@pytest.fixture(scope="session")
def app(prepared: Settings) -> FastAPI:
    return create_app(prepared)


@pytest.fixture(scope="session")
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="session")
def world(client: TestClient, prepared: Settings) -> World:
    """People to call as."""
    return World(client, prepared.secret)


def engine_as(settings: Settings, role: str, secret: str, database: str | None = None) -> Engine:
    where: URL = address(
        settings.postgres_host, settings.postgres_port, database or settings.postgres_database, role, secret
    )
    return create_engine(where)


@pytest.fixture(scope="session")
def as_app(prepared: Settings) -> Iterator[Engine]:
    """Postgres as the service sees it."""
    engine = engine_as(prepared, APP, prepared.secret("postgres_app_password"))
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def as_owner(prepared: Settings) -> Iterator[Engine]:
    """Postgres as migrations and maintenance see it."""
    engine = engine_as(prepared, OWNER, prepared.secret("postgres_owner_password"))
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def eventually() -> Callable[[Callable[[], bool]], None]:
    """Asks until the answer is yes, at most 20 seconds."""

    def ask(question: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not question():
            assert time.monotonic() < deadline, "it never came true"
            time.sleep(0.02)

    return ask


@pytest.fixture
def task() -> str:
    """A task that no other test knows."""
    return f"task-{uuid4().hex}"
