"""The connection pool is measured, and lists are read from the replica if there is one."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from fastapi.testclient import TestClient
from prometheus_client import REGISTRY
from sqlalchemy import text

from data_api.database import Database, address, replica_address
from data_api.errors import ConfigurationError, DatabaseUnavailable
from data_api.http.context import Context
from data_api.main import create_app
from data_api.settings import Settings
from data_api.setup.cluster import APP
from tests.data.api import ApiClient, feedback, prediction
from tests.data.conftest import settings_for
from tests.waiting import until


@pytest.fixture
def narrow(prepared: Settings) -> Iterator[Database]:
    """A pool of one connection, with its own name."""
    password = prepared.secret("postgres_app_password")
    where = address(prepared.postgres_host, prepared.postgres_port, prepared.postgres_database, APP, password)
    database = Database(where, pool_size=1, pool_wait_seconds=0.2, statement_seconds=5, name="narrow")
    yield database
    database.close()


def metric(name: str) -> float:
    value = REGISTRY.get_sample_value(f"volant_data_pool_{name}", {"pool": "narrow"})
    assert value is not None
    return value


def test_waiting_for_a_connection_is_measured_and_times_out(narrow: Database) -> None:
    enough = Event()

    def ask() -> None:
        with narrow.session() as session:
            session.execute(text("SELECT 1"))

    def hold() -> None:
        with narrow.session() as session:
            session.execute(text("SELECT 1"))
            enough.wait(20)

    ask()
    assert (metric("size"), metric("connections"), metric("waiting")) == (1, 0, 0)
    waited = metric("wait_seconds_count")
    with ThreadPoolExecutor(2) as threads:
        holding = threads.submit(hold)
        until(lambda: metric("connections") == 1, "a connection to be taken")
        waiting = threads.submit(ask)
        until(lambda: metric("waiting") == 1, "a caller to wait")
        with pytest.raises(DatabaseUnavailable):
            waiting.result(20)
        enough.set()
        holding.result(20)
    assert (metric("waiting"), metric("connections")) == (0, 0)
    assert metric("wait_seconds_count") == waited + 2
    assert metric("wait_seconds_sum") >= 0.2


def test_lists_are_read_from_the_replica_and_everything_else_is_not(
    prepared: Settings, api: ApiClient, task: str
) -> None:
    """The replica here is the same Postgres behind another pool, which counts its statements."""
    url = f"postgresql://127.0.0.1:{prepared.postgres_port}/{prepared.postgres_database}"
    app = create_app(settings_for(prepared.secrets_dir, prepared.postgres_port, replica_url=url))
    context: Context = app.state.context
    assert context.replica
    user = api.person()
    row = prediction(task, user.id)
    api.send("/predictions", row)
    api.send("/feedback", feedback(row, user.id))

    def statements_on_replica() -> float:
        return REGISTRY.get_sample_value("volant_data_pool_wait_seconds_count", {"pool": "replica"}) or 0

    def uses(path: str, **query: str) -> bool:
        before = statements_on_replica()
        response = client.get(path, params=query, headers=api.service)
        assert response.status_code == 200, response.text
        return statements_on_replica() > before

    with TestClient(app) as client:
        assert uses("/predictions", task=task)
        assert uses("/feedback", task=task)
        assert uses("/accuracy", task=task)
        assert not uses(f"/predictions/{row['id']}")
        assert not uses(f"/tasks/{task}/corrections")


@pytest.mark.parametrize(
    "url",
    ["nonsense", "postgresql://host", "mysql://host/volant", "postgresql://me:secret@host/volant", "postgresql:///x"],
)
def test_a_malformed_replica_url_stops_the_start(prepared: Settings, url: str) -> None:
    with pytest.raises(ConfigurationError, match="DATA_REPLICA_URL") as error:
        create_app(settings_for(prepared.secrets_dir, prepared.postgres_port, replica_url=url))
    assert "secret@" not in str(error.value)


def test_a_replica_may_leave_out_its_port() -> None:
    assert replica_address("postgresql://copy/volant", "me", "pw") == address("copy", 5432, "volant", "me", "pw")
