"""Partitions: every prediction is in that of its month, and queries read only the needed ones."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.orm import Session

from data_api.crud.predictions import prediction as crud
from data_api.crud.predictions.partition import Month, make
from data_api.ids import floor, new_id
from data_api.settings import Settings
from data_api.setup.cluster import APP, OWNER
from tests.data.api import ApiClient, prediction
from tests.data.conftest import engine_as, prepare

MAY = datetime(2026, 5, 1, tzinfo=UTC)


@contextmanager
def months(settings: Settings, name: str) -> Iterator[tuple[Engine, Engine]]:
    """A database of this module, set up for May 2026 and two months ahead: with the owner's and the service's role."""
    prepare(settings, name)
    owner = engine_as(settings, OWNER, settings.secret("postgres_owner_password"), name)
    app = engine_as(settings, APP, settings.secret("postgres_app_password"), name)
    with owner.begin() as connection:
        made = make(connection, MAY, 2)
    assert [month.table for month in made] == ["predictions_2026_05", "predictions_2026_06", "predictions_2026_07"]
    yield owner, app
    owner.dispose()
    app.dispose()


@pytest.fixture(scope="module")
def app_engine(settings: Settings) -> Iterator[Engine]:
    """The database with the service's role, for tests that add no month."""
    with months(settings, "months") as (_, app):
        yield app


@pytest.fixture(scope="module")
def changing(settings: Settings) -> Iterator[tuple[Engine, Engine]]:
    """The database with the owner's role, for tests that add months."""
    with months(settings, "changing_months") as engines:
        yield engines


def key_at(moment: datetime, last: bool = False) -> UUID:
    """The smallest or the largest id of a millisecond."""
    base = floor(moment).int | (7 << 76) | (2 << 62)
    return UUID(int=base | ((2**76 - 1) & ~(3 << 62)) if last else base)


def insert(connection: Connection, *keys: UUID) -> None:
    for key in keys:
        connection.execute(
            text(
                "INSERT INTO predictions (id, created_at, task, version, row, row_schema, answer, role)"
                " VALUES (:id, now(), 'months', 1, '{}', 1, '{\"value\": 1}', 'champion')"
            ),
            {"id": key},
        )


def home(connection: Connection, key: UUID) -> str:
    return str(connection.scalar(text("SELECT tableoid::regclass FROM predictions WHERE id = :id"), {"id": key}))


def test_rows_at_the_bounds_of_a_month_are_in_the_right_partition(app_engine: Engine) -> None:
    millisecond = timedelta(milliseconds=1)
    june, august = MAY.replace(month=6), MAY.replace(month=8)
    homes = {
        key_at(MAY - millisecond, last=True): "predictions_default",
        key_at(MAY): "predictions_2026_05",
        key_at(june - millisecond, last=True): "predictions_2026_05",
        key_at(june): "predictions_2026_06",
        key_at(august - millisecond, last=True): "predictions_2026_07",
        key_at(august): "predictions_default",
    }
    with app_engine.begin() as connection:
        insert(connection, *homes)
        assert {key: home(connection, key) for key in homes} == homes


@pytest.mark.parametrize(
    ("where", "tables"),
    [
        ("id = '{june}'", {"predictions_2026_06"}),
        ("id IN ('{may}', '{june}')", {"predictions_2026_05", "predictions_2026_06"}),
        ("id >= '{may}' AND id < '{june}'", {"predictions_2026_05"}),
    ],
)
def test_only_the_requested_months_are_scanned(app_engine: Engine, where: str, tables: set[str]) -> None:
    bounds = {"may": floor(MAY), "june": floor(MAY.replace(month=6))}
    with app_engine.connect() as connection:
        query = f"EXPLAIN (FORMAT JSON) SELECT * FROM predictions WHERE {where.format(**bounds)}"
        plan = str(connection.scalar(text(query)))
    everything = {"predictions_default", "predictions_2026_05", "predictions_2026_06", "predictions_2026_07"}
    assert {table for table in everything if f"'{table}'" in plan} == tables


def test_queries_of_the_service_prune_partitions(app_engine: Engine) -> None:
    """The statements of the routes, captured, compare the id in a form by which the planner prunes partitions."""
    caught: list[tuple[str, object]] = []
    event.listen(app_engine, "before_cursor_execute", lambda c, cur, sql, params, *_: caught.append((sql, params)))
    wanted = crud.PredictionFilter(after=MAY, before=MAY.replace(month=6))
    with Session(app_engine) as session:
        crud.get(session, key_at(MAY))
        crud.find(session, wanted, 10, None)
        statements = list(caught)
        for sql, params in statements:
            plan = str(session.connection().exec_driver_sql(f"EXPLAIN (FORMAT JSON) {sql}", params).scalar())  # type: ignore[arg-type]
            assert "predictions_2026_05" in plan
            assert not [other for other in ("2026_06", "2026_07", "default") if f"predictions_{other}" in plan]
    assert len(statements) == 2


def test_a_page_comes_from_an_index_without_a_sort(app_engine: Engine) -> None:
    with app_engine.connect() as connection:
        connection.execute(text("SET enable_seqscan = off"))
        query = "EXPLAIN SELECT * FROM predictions WHERE task = 'x' AND label = 'y' ORDER BY id DESC LIMIT 100"
        plan = "\n".join(connection.scalars(text(query)))
    assert "Sort" not in plan.replace("Sort Key", "")


def test_setup_makes_missing_partitions_and_moves_their_rows_out_of_the_default(
    changing: tuple[Engine, Engine],
) -> None:
    owner, app = changing
    august, march, far = MAY.replace(month=8), MAY.replace(month=3), MAY.replace(year=2031)
    keys = {key_at(august + timedelta(days=3)): "08", key_at(march): "03", key_at(far): ""}
    with app.begin() as connection:
        insert(connection, *keys)
        assert {home(connection, key) for key in keys} == {"predictions_default"}
    with owner.begin() as connection:
        made = {month.table for month in make(connection, MAY.replace(month=6), 2)}
        assert {"predictions_2026_03", "predictions_2026_08"} <= made
    with app.connect() as connection:
        for key, month in keys.items():
            assert home(connection, key) == (f"predictions_2026_{month}" if month else "predictions_default")
        total = connection.scalar(text("SELECT count(*) FROM predictions WHERE id IN :ids").bindparams(ids=tuple(keys)))
        assert total == 3
    with owner.begin() as connection:
        assert make(connection, MAY.replace(month=6), 2) == []


def test_no_row_is_lost_while_rows_move_to_a_new_partition(
    changing: tuple[Engine, Engine],
) -> None:
    owner, app = changing
    january = datetime(2027, 1, 1, tzinfo=UTC)
    keys = [key_at(january + timedelta(minutes=minute)) for minute in range(400)]

    def arrive(part: list[UUID]) -> None:
        for key in part:
            with app.begin() as connection:
                insert(connection, key)

    with ThreadPoolExecutor(2) as threads:
        arriving = [threads.submit(arrive, keys[:200]), threads.submit(arrive, keys[200:])]
        with owner.begin() as connection:
            make(connection, january, 1)
        for one in arriving:
            one.result()
    with app.connect() as connection:
        count = "SELECT count(*) FROM predictions_2027_01 WHERE id >= :low AND id < :high"
        with owner.connect() as reader:
            assert reader.scalar(text(count), {"low": keys[0], "high": floor(january + timedelta(days=1))}) == len(keys)
        assert {home(connection, key) for key in keys[::50]} == {"predictions_2027_01"}


def test_todays_rows_are_in_the_partition_of_this_month(api: ApiClient, as_app: Engine, task: str) -> None:
    row = prediction(task)
    api.send("/predictions", row)
    with as_app.connect() as connection:
        assert home(connection, UUID(row["id"])) == Month.of(datetime.now(UTC)).table


def test_a_month_has_the_next_month_and_its_bounds() -> None:
    assert Month(2026, 12).next == Month(2027, 1)
    assert Month.of(datetime(2026, 1, 1, tzinfo=UTC) - timedelta(seconds=1)) == Month(2025, 12)
    assert Month(2026, 5).start <= key_at(MAY) < Month(2026, 6).start
    assert new_id() < Month.of(datetime.now(UTC)).next.start
