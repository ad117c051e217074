"""data-api on a real Postgres, set up once by the code of `data-api setup`. Each test has its own users and ids."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy import URL, Engine, create_engine

from data_api import security
from data_api.database import address
from data_api.main import create_app
from data_api.settings import Settings
from data_api.setup.cluster import APP, OWNER
from data_api.setup.provisioning import provision
from scripts.dev.postgres import Postgres
from tests.data.api import ApiClient


@pytest.fixture(scope="session", autouse=True)
def fast_hashes() -> Iterator[None]:
    """Password hashes of the same format that take no time: tests make hundreds of people."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(security, "Argon2Hasher", lambda **_: Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1))
        yield


@pytest.fixture(scope="session")
def settings(secrets_dir: Path, postgres_server: Postgres) -> Settings:
    """Settings for the test Postgres, independent of the environment."""
    return settings_for(secrets_dir, postgres_server.port)


def settings_for(secrets_dir: Path, port: int, **others: object) -> Settings:
    """Settings with high limits of sign-ins and requests: all tests call from one address, some with wrong
    passwords.
    """
    limits: dict[str, object] = {"sign_in_tries": 1_000, "sign_in_tries_per_address": 100_000}
    limits["sign_in_tries_per_account"] = 100_000
    limits |= {"rate_limit_per_caller": "1000000/minute", "rate_limit_per_address": "1000000/minute"}
    where = {"secrets_dir": secrets_dir, "postgres_host": "127.0.0.1", "postgres_port": port, "pool_size": 5}
    return Settings.model_validate({**where, **limits, "allowed_hosts": "testserver, data-api", **others})


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
    """The settings of a database that `data-api setup` has prepared."""
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
def api(client: TestClient, prepared: Settings) -> ApiClient:
    """The client that most tests use."""
    return ApiClient(client, prepared.secret)


def engine_as(settings: Settings, role: str, secret: str, database: str | None = None) -> Engine:
    where: URL = address(
        settings.postgres_host, settings.postgres_port, database or settings.postgres_database, role, secret
    )
    return create_engine(where)


@pytest.fixture(scope="session")
def as_app(prepared: Settings) -> Iterator[Engine]:
    """Postgres with the service's role."""
    engine = engine_as(prepared, APP, prepared.secret("postgres_app_password"))
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def as_owner(prepared: Settings) -> Iterator[Engine]:
    """Postgres with the role of the owner of the tables."""
    engine = engine_as(prepared, OWNER, prepared.secret("postgres_owner_password"))
    yield engine
    engine.dispose()


@pytest.fixture
def task() -> str:
    """The name of a task that no other test uses."""
    return f"task-{uuid4().hex}"
