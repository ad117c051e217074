"""Retention: set by admins, applied by maintenance, whole months at once if every task allows it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.orm import Session

from data_api.crud.predictions import partition
from data_api.crud.predictions.partition import Month
from data_api.crud.privacy import retention
from data_api.ids import floor, new_id
from data_api.maintenance import rounds as maintenance
from data_api.maintenance.steps import MaintenancePlan, expired_predictions
from data_api.models.audit import Audit
from data_api.settings import Settings
from data_api.setup.cluster import OWNER
from tests.data.api import ApiClient
from tests.data.conftest import engine_as, prepare

PLAN = MaintenancePlan(partitions_ahead=1, pending_days=30, token_lifetime=timedelta(minutes=15))
NOW = datetime.now(UTC)
LAST_YEAR = NOW.replace(year=NOW.year - 1, day=1, hour=0)
OLD, NEXT = Month.of(LAST_YEAR), Month.of(LAST_YEAR).next


@pytest.fixture
def owner(settings: Settings) -> Iterator[Engine]:
    """A database of this module, empty but for partitions of two months a year ago."""
    prepare(settings, "retention")
    engine = engine_as(settings, OWNER, settings.secret("postgres_owner_password"), "retention")
    with engine.begin() as connection:
        connection.execute(text("TRUNCATE predictions, examples, feedback, samples, retention"))
        partition.make(connection, LAST_YEAR, 1)
    yield engine
    engine.dispose()


def key_at(moment: datetime) -> UUID:
    return UUID(int=floor(moment).int | (new_id().int & (2**80 - 1)))


def predict(owner: Engine, task: str, moment: datetime, rows: int = 1) -> None:
    statement = (
        "INSERT INTO predictions (id, created_at, task, version, row, row_schema, answer, role)"
        " VALUES (:id, :moment, :task, 1, '{}', 1, '{\"value\": 1}', 'champion')"
    )
    values = [{"id": key_at(moment), "moment": moment, "task": task} for _ in range(rows)]
    with owner.begin() as connection:
        connection.execute(text(statement), values)


def keep(owner: Engine, task: str, predictions: int | None, examples: int | None = None) -> None:
    with Session(owner) as session, session.begin():
        retention.put(session, task, predictions, examples)


def left(owner: Engine, table: str = "predictions") -> dict[str, int]:
    with owner.connect() as connection:
        found = connection.execute(text(f"SELECT task, count(*) AS rows FROM {table} GROUP BY task"))
        return {row.task: row.rows for row in found}


def months(owner: Engine) -> set[Month]:
    with owner.connect() as connection:
        return set(partition.months(connection))


def test_a_month_past_every_tasks_retention_is_dropped_at_once(owner: Engine) -> None:
    predict(owner, "a", LAST_YEAR, 3)
    predict(owner, "b", LAST_YEAR, 3)
    predict(owner, "a", NOW)
    keep(owner, "a", 90)
    keep(owner, "b", 30)
    statements: list[str] = []
    event.listen(owner, "before_cursor_execute", lambda c, cur, sql, *_: statements.append(sql))
    assert maintenance.run(owner, PLAN) == []
    assert left(owner) == {"a": 1}
    assert f"DROP TABLE {OLD.table}" in statements
    assert OLD not in months(owner)
    assert Month.of(NOW) in months(owner)


def test_a_month_that_one_task_keeps_loses_only_the_rows_of_others(owner: Engine) -> None:
    predict(owner, "a", LAST_YEAR, 3)
    predict(owner, "forever", LAST_YEAR, 2)
    predict(owner, "a", NOW - timedelta(days=10), 4)
    keep(owner, "a", 20)
    assert maintenance.run(owner, PLAN) == []
    assert left(owner) == {"a": 4, "forever": 2}
    assert OLD in months(owner)


def test_rows_are_deleted_in_batches_until_none_is_left(owner: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    predict(owner, "a", NOW - timedelta(days=10), 5)
    predict(owner, "b", NOW - timedelta(days=10), 3)
    predict(owner, "a", NOW)
    keep(owner, "a", 5)
    keep(owner, "b", 5)
    assert expired_predictions(owner, PLAN) >= 8
    assert left(owner) == {"a": 1}


def test_a_row_that_arrives_in_an_expired_month_keeps_the_month(owner: Engine) -> None:
    predict(owner, "a", LAST_YEAR)
    before = {"a": floor(NOW)}
    with owner.connect() as connection:
        assert OLD in partition.expired(connection, before)
    predict(owner, "late", LAST_YEAR)
    with owner.begin() as connection:
        assert not partition.drop(connection, OLD, before)
    assert left(owner) == {"a": 1, "late": 1}


def test_a_month_that_is_being_read_is_dropped_in_the_next_round(owner: Engine) -> None:
    predict(owner, "a", LAST_YEAR)
    keep(owner, "a", 30)
    with owner.connect() as reader:
        reader.execute(text(f"SELECT * FROM {OLD.table}"))
        assert maintenance.run(owner, PLAN) == ["old predictions"]
        assert left(owner) == {"a": 1}
    assert maintenance.run(owner, PLAN) == []
    assert left(owner) == {}


def test_examples_and_their_feedback_have_their_own_retention(owner: Engine) -> None:
    old, new = NOW - timedelta(days=40), NOW - timedelta(days=20)
    with owner.begin() as connection:
        for moment in (old, new):
            values = {"id": key_at(moment), "about": key_at(moment), "moment": moment}
            for table, row in (
                ("feedback", {"status": "accepted"}),
                ("examples", {"row": "{}", "row_schema": 1, "user_role": "user"}),
            ):
                names = ["id", "created_at", "prediction_id", "task", "user_id", "label", *row]
                places = ":id, :moment, :about, 'a', gen_random_uuid(), 'l'" + "".join(f", :{name}" for name in row)
                statement = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({places})"
                connection.execute(text(statement), values | row)
            statement = "INSERT INTO samples (prediction_id, task, probability) VALUES (:about, 'a', 0.5)"
            connection.execute(text(statement), values)
    predict(owner, "a", old)
    keep(owner, "a", None, 30)
    assert maintenance.run(owner, PLAN) == []
    assert [left(owner, table) for table in ("feedback", "examples", "samples", "predictions")] == [{"a": 1}] * 4


def test_a_retention_beyond_the_calendar_deletes_nothing(owner: Engine) -> None:
    predict(owner, "a", LAST_YEAR)
    keep(owner, "a", 36_500)
    assert maintenance.run(owner, PLAN) == []
    assert left(owner) == {"a": 1}


def test_admins_set_the_retention_by_task_and_it_is_audited(api: ApiClient, as_app: Engine, task: str) -> None:
    path, headers = f"/retention/{task}", api.admin.headers

    def ask(method: str, body: Any = None) -> Any:
        return api.client.request(method, path, json=body, headers=headers)

    assert (ask("GET").status_code, ask("GET").json()["error"]) == (404, "UnknownRetention")
    made = ask("PUT", {"predictions_days": 90, "examples_days": None})
    assert (made.status_code, made.json()["task"], made.json()["predictions_days"]) == (200, task, 90)
    changed = ask("PUT", {"predictions_days": 30, "examples_days": 700}).json()
    assert changed["changed_at"] > made.json()["changed_at"]
    assert ask("GET").json() == changed
    assert changed in api.client.get("/retention", headers=headers).json()["items"]
    assert ask("DELETE").status_code == 204
    assert [ask(method).status_code for method in ("GET", "DELETE")] == [404, 404]
    with Session(as_app) as session:
        lines = session.query(Audit).filter_by(entity="retention", entity_id=task).order_by(Audit.id).all()
        assert [line.action for line in lines] == ["create", "change", "delete"]
        assert {line.actor_id for line in lines} == {UUID(api.admin.id)}
        assert lines[1].fields == ["examples_days", "predictions_days"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"predictions_days": 30},
        {"predictions_days": 0, "examples_days": 1},
        {"predictions_days": 40_000, "examples_days": None},
        {"predictions_days": "30", "examples_days": None},
        {"predictions_days": 30, "examples_days": None, "task": "other"},
    ],
    ids=["empty", "half", "no days", "centuries", "text", "another task"],
)
def test_malformed_days_are_refused(api: ApiClient, task: str, body: dict[str, Any]) -> None:
    response = api.client.put(f"/retention/{task}", json=body, headers=api.admin.headers)
    assert (response.status_code, response.json()["error"]) == (422, "InvalidRequest")


def test_the_snapshot_holds_how_long_images_may_be_referred_to(api: ApiClient) -> None:
    days = {"both": (30, 365), "rows": (30, None), "examples": (None, 365), "none": (None, None)}
    for task, (predictions, examples) in days.items():
        body = {"predictions_days": predictions, "examples_days": examples}
        assert api.client.put(f"/retention/in-snapshot-{task}", json=body, headers=api.admin.headers).status_code == 200
    kept_days = api.client.get("/auth/snapshot", headers=api.service).json()["kept_days"]
    assert {task: number for task, number in kept_days.items() if task.startswith("in-snapshot-")} == {
        "in-snapshot-both": 395
    }
