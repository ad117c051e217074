"""Maintenance: each step, the independence of failed steps, and the long-running command."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from prometheus_client import REGISTRY
from sqlalchemy import Engine, create_engine, text

from data_api.__main__ import main
from data_api.errors import MaintenanceFailed
from data_api.ids import floor, new_id
from data_api.maintenance import rounds as maintenance
from data_api.maintenance.steps import STEPS, MaintenancePlan
from data_api.metrics import ERASURES_OLDEST, ERASURES_OPEN
from data_api.settings import Settings
from data_api.setup.cluster import OWNER
from tests.data.command import data_api
from tests.data.conftest import engine_as, prepare
from tests.data.setup.test_processes import environment
from tests.waiting import until

REPOSITORY = Path(__file__).resolve().parents[3]
PLAN = MaintenancePlan(partitions_ahead=2, pending_days=30, token_lifetime=timedelta(minutes=15))
LONG_AGO, JUST_NOW = datetime.now(UTC) - timedelta(days=40), datetime.now(UTC) - timedelta(minutes=1)


@pytest.fixture(scope="module")
def owner(settings: Settings) -> Iterator[Engine]:
    yield from owner_of(settings, "maintained")


@pytest.fixture
def untouched(settings: Settings) -> Iterator[Engine]:
    """A database without predictions of past months by other tests, as these would get partitions too."""
    yield from owner_of(settings, "untouched")


def owner_of(settings: Settings, database: str) -> Iterator[Engine]:
    prepare(settings, database)
    engine = engine_as(settings, OWNER, settings.secret("postgres_owner_password"), database)
    yield engine
    engine.dispose()


def count(owner: Engine, table: str, where: str = "true") -> int:
    with owner.connect() as connection:
        return connection.execute(text(f"SELECT FROM {table} WHERE {where}")).rowcount


def metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"volant_data_maintenance_{name}", labels) or 0.0


def test_expired_rows_are_deleted_and_others_kept(owner: Engine) -> None:
    person = uuid4()
    rows = {
        "deleted_users": "(id, deleted_at) VALUES (gen_random_uuid(), :moment)",
        "refresh_tokens": "(hash, family, user_id, expires_at) VALUES (:name, :person, :person, :moment)",
        "known_addresses": "(subject, user_id, used_at)"
        " VALUES (:name, :person, CAST(:moment AS timestamptz) - interval '170 days')",
        "assignments": "(prediction_id, user_id, expires_at) VALUES (gen_random_uuid(), :person, :moment)",
        "sign_in_failures": "(subject, failures, failed_at) VALUES (:name, 1, :moment)",
        "invitations": "(id, hash, email, role, expires_at)"
        " VALUES (gen_random_uuid(), :name, :name || '@example.org', 'user', :moment)",
        "feedback": "(id, created_at, prediction_id, user_id, label) VALUES (:key, :moment, :key, :person, 'l')",
    }
    with owner.begin() as connection:
        connection.execute(text("INSERT INTO users (id, email, role) VALUES (:id, 'a@b.c', 'user')"), {"id": person})
        for moment in (LONG_AGO, JUST_NOW):
            values = {"moment": moment, "name": uuid4().hex, "person": person, "key": floor(moment)}
            for table, row in rows.items():
                connection.execute(text(f"INSERT INTO {table} {row}"), values)
    assert maintenance.run(owner, PLAN) == []
    assert {table: count(owner, table) for table in rows} == dict.fromkeys(rows, 1)
    assert count(owner, "feedback", "created_at > now() - interval '1 day'") == 1
    assert count(owner, "audit", "entity = 'invitations' AND action = 'delete' AND actor_kind = 'command'") == 1


def test_predictions_are_filled_into_examples_that_lack_them(owner: Engine) -> None:
    key, gone = new_id(), new_id()
    with owner.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO predictions (id, created_at, task, version, row, row_schema, answer, label, score, role)"
                " VALUES (:key, now(), 'filled', 4, '{}', 1, '{}', 'yes', 0.9, 'champion')"
            ),
            {"key": key},
        )
        for about in (key, gone):
            connection.execute(
                text(
                    "INSERT INTO examples"
                    " (id, created_at, prediction_id, task, row, row_schema, label, user_id, user_role)"
                    " VALUES (:about, now(), :about, 'filled', '{}', 1, 'no', :about, 'user')"
                ),
                {"about": about},
            )
    assert maintenance.run(owner, PLAN) == []
    with owner.connect() as connection:
        query = "SELECT id, version, answer_label, answer_score, answer_value FROM examples WHERE task = 'filled'"
        found = {row[0]: tuple(row[1:]) for row in connection.execute(text(query))}
    assert found == {key: (4, "yes", 0.9, None), gone: (None, None, None, None)}


def test_a_failed_step_does_not_affect_the_others_and_is_named(
    owner: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(engine: Engine, _: MaintenancePlan) -> int:
        with engine.begin() as connection:
            connection.execute(text("SELECT 'xyzzy-secret-input'::int"))
        return 1

    done: list[Engine] = []

    def works(engine: Engine, _: MaintenancePlan) -> int:
        done.append(engine)
        return 1

    monkeypatch.setattr(maintenance, "STEPS", {"first": works, "broken": broken, "last": works})
    failures = metric("failures_total", step="broken")
    began = time.time()
    with pytest.raises(MaintenanceFailed, match="broken"):
        maintenance.run_once(owner, PLAN)
    assert len(done) == 2
    assert "step=broken error=InvalidTextRepresentation" in caplog.text
    assert "xyzzy" not in caplog.text
    assert metric("failures_total", step="broken") == failures + 1
    assert metric("done_timestamp_seconds", step="last") >= began
    assert metric("done_timestamp_seconds", step="broken") == 0


def test_open_erasures_are_counted_with_the_age_of_the_oldest(owner: Engine) -> None:
    maintenance.run(owner, PLAN)
    assert (ERASURES_OPEN._value.get(), ERASURES_OLDEST._value.get()) == (0, 0)
    with owner.begin() as connection:
        columns = "(id, user_id, requested_at, status, removed)"
        row = f"INSERT INTO erasures {columns} VALUES (:id, :id, :at, 'requested', '{{}}')"
        connection.execute(text(row), [{"id": new_id(), "at": moment} for moment in (LONG_AGO, JUST_NOW)])
    maintenance.run(owner, PLAN)
    assert ERASURES_OPEN._value.get() == 2, "no ai-api instance has reported"
    assert ERASURES_OLDEST._value.get() == pytest.approx(timedelta(days=40).total_seconds(), rel=0.01)


def test_signing_keys_are_deleted_long_after_they_retired(owner: Engine) -> None:
    columns = "(kid, public_key, sealed_seed, signs_from, retires_at)"
    row = f"INSERT INTO signing_keys {columns} VALUES (:kid, '', '', now(), :at)"
    times = {"old": datetime.now(UTC) - timedelta(days=91), "late": JUST_NOW, "used": None}
    with owner.begin() as connection:
        connection.execute(text(row), [{"kid": kid, "at": moment} for kid, moment in times.items()])
    assert maintenance.run(owner, PLAN) == []
    assert count(owner, "signing_keys", "kid = 'old'") == 0
    assert count(owner, "signing_keys", "kid IN ('late', 'used')") == 2
    assert count(owner, "audit", "entity = 'signing_keys' AND action = 'delete'") == 1


def test_one_round_runs_at_a_time(owner: Engine, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "data_api")
    with owner.begin() as other:
        other.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": maintenance.ROUND_LOCK})
        assert maintenance.run(owner, PLAN) == []
    assert "another maintenance is at work" in caplog.text


def test_an_unavailable_postgres_fails_every_step_and_raises_nothing(free_port: Callable[[], int]) -> None:
    engine = create_engine(f"postgresql+psycopg2://nobody@127.0.0.1:{free_port()}/nothing")
    assert maintenance.run(engine, PLAN) == list(STEPS)


def test_the_command_runs_one_round_or_repeats(
    settings: Settings,
    untouched: Engine,
    tmp_path: Path,
    free_port: Callable[[], int],
) -> None:
    env = environment(
        settings.secrets_dir,
        settings.postgres_port,
        postgres_database=untouched.url.database,
        partitions_ahead=5,
        tombstones_file=tmp_path / "erased.jsonl",
    )
    done = data_api(env, "maintain")
    assert done.returncode == 0, done.stderr
    assert "step=partitions rows=2" in done.stdout

    def marks() -> int:
        return count(untouched, "deleted_users", "deleted_at < '2020-01-01'")

    port = free_port()
    env["DATA_MAINTAIN_METRICS_PORT"] = str(port)
    command = [sys.executable, "-m", "data_api", "maintain", "--every", "1"]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, cwd=REPOSITORY) as process:
        try:
            for _ in range(2):
                with untouched.begin() as connection:
                    row = "INSERT INTO deleted_users (id, deleted_at) VALUES (gen_random_uuid(), '2019-01-01')"
                    connection.execute(text(row))
                until(lambda: marks() == 0, "the marks to be gone")
            page = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
            assert "\nvolant_data_erasures_open " in page
            assert 'volant_data_maintenance_done_timestamp_seconds{step="expired things"}' in page
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == -signal.SIGTERM
        finally:
            process.kill()


@pytest.mark.parametrize("every", ["0", "-1", "soon", "nan", "inf"])
def test_a_malformed_interval_is_refused(every: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["maintain", f"--every={every}"])
    assert ended.value.code == 2
    assert "--every" in capsys.readouterr().err
