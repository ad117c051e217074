"""Lists of predictions over many rows: filters, the indexes they use, and cursors."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.orm import Session

from data_api.crud.predictions import prediction as crud
from data_api.crud.predictions.partition import Month, make
from data_api.crud.predictions.prediction import PredictionFilter
from data_api.ids import floor
from data_api.settings import Settings
from data_api.setup.cluster import APP, OWNER
from tests.data.api import ApiClient, feedback, prediction, promotion
from tests.data.conftest import engine_as, prepare

ROWS = 100_000
MAY = datetime(2026, 5, 1, tzinfo=UTC)
FULL = {Month(2026, 5).table, Month(2026, 6).table}
SOMEBODY = UUID("00000000-0000-4000-8000-000000000007")
FILL = """
    INSERT INTO predictions
        (id, created_at, task, version, row, row_schema, answer, label, score, user_id, role)
    SELECT (lpad(to_hex(milliseconds), 12, '0') || '7' || lpad(to_hex(n % 4096), 3, '0') || '8'
            || lpad(to_hex(n), 15, '0'))::uuid,
           to_timestamp(milliseconds / 1000.0), 'task-' || n % 4, 1 + n % 50, '{"text": "x"}', 1,
           '{"label": "a", "score": 0.5, "probabilities": {"a": 0.5, "b": 0.5}}',
           'label-' || n % 20, (n % 1000) / 1000.0,
           ('00000000-0000-4000-8000-' || lpad((n % 1000)::text, 12, '0'))::uuid, 'champion'
    FROM generate_series(1, :rows) AS n, LATERAL (SELECT :start + n * 50000::bigint AS milliseconds) AS moment
"""
"""One prediction every 50 seconds, through May and June."""


@pytest.fixture(scope="module")
def many(settings: Settings) -> Iterator[Engine]:
    """A database with many predictions, with the service's role."""
    prepare(settings, "many")
    owner = engine_as(settings, OWNER, settings.secret("postgres_owner_password"), "many")
    with owner.begin() as connection:
        make(connection, MAY, 1)
        start = floor(MAY).int >> 80
        connection.execute(text(FILL), {"rows": ROWS, "start": start})
    with owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM (ANALYZE) predictions"))
    owner.dispose()
    app = engine_as(settings, APP, settings.secret("postgres_app_password"), "many")
    yield app
    app.dispose()


def plan_of(engine: Engine, wanted: PredictionFilter, below: UUID | None) -> tuple[dict[str, Any], list[Any]]:
    """The plan of an executed query of a page, and the page."""
    caught: list[tuple[str, Any]] = []
    with Session(engine) as session:
        connection = session.connection()
        event.listen(connection, "before_cursor_execute", lambda c, cur, sql, params, *_: caught.append((sql, params)))
        rows, _ = crud.find(session, wanted, limit=100, below=below)
        sql, params = caught[0]
        explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}"
        found = connection.exec_driver_sql(explain, params).scalar()
    assert found is not None
    plan: dict[str, Any] = found[0]["Plan"]
    return plan, list(rows)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


WEEK: dict[str, Any] = {"after": MAY + timedelta(days=3), "before": MAY + timedelta(days=10)}


@pytest.mark.parametrize("depth", [0, 90_000], ids=["first page", "deep page"])
@pytest.mark.parametrize(
    "wanted",
    [
        PredictionFilter(),
        PredictionFilter(task="task-1"),
        PredictionFilter(task="task-1", version=2),
        PredictionFilter(task="task-1", label="label-5"),
        PredictionFilter(user_id=SOMEBODY),
        PredictionFilter(owner=SOMEBODY, task="task-3"),
        PredictionFilter(**WEEK),
        PredictionFilter(min_score=0.99, **WEEK),
        PredictionFilter(task="task-1", max_score=0.01, **WEEK),
        PredictionFilter(role="champion", **WEEK),
        PredictionFilter(version=7, **WEEK),
        PredictionFilter(label="label-5", **WEEK),
        PredictionFilter(corrected=True, **WEEK),
        PredictionFilter(corrected=False, **WEEK),
    ],
    ids=[
        "everything", "task", "task and version", "task and label", "user", "owner and task", "window", "score",
        "task and score", "role", "version in a window", "label in a window", "corrected", "not corrected",
    ],
)  # fmt: skip
def test_a_page_is_read_from_an_index_at_any_depth(many: Engine, wanted: PredictionFilter, depth: int) -> None:
    moment = MAY + timedelta(seconds=50 * (ROWS - depth))
    plan, rows = plan_of(many, wanted, floor(moment) if depth else None)
    reading = [node for node in nodes(plan) if "Relation Name" in node and "predictions" in node["Relation Name"]]
    big = [node for node in reading if node["Relation Name"] in FULL]
    assert {node["Node Type"] for node in big} <= {"Index Scan", "Bitmap Heap Scan", "Index Only Scan"}
    if wanted.after is None:  # no more rows are read than the page needs
        assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 1_000
    keys = [row.id for row in rows]
    assert keys == sorted(keys, reverse=True)
    if not depth and wanted.corrected is None:
        assert rows


def test_a_time_window_reads_only_its_months(many: Engine) -> None:
    plan, _ = plan_of(many, PredictionFilter(min_score=0.5, **WEEK), None)
    assert {node["Relation Name"] for node in nodes(plan) if "Relation Name" in node} == {Month(2026, 5).table}


WINDOW = {"after": "2026-05-01T00:00:00Z", "before": "2026-05-20T00:00:00Z"}


@pytest.mark.parametrize(
    "query",
    [
        {"role": "champion"},
        {"min_score": "0.5"},
        {"max_score": "0.5", "task": "x"},
        {"corrected": "true", "task": "x"},
        {"version": "3"},
        {"label": "a"},
        {"role": "champion", "before": "2026-05-20T00:00:00Z"},
        {"role": "champion", "after": "2020-01-01T00:00:00Z"},
        {"role": "champion", "after": "2026-03-01T00:00:00Z", "before": "2026-05-01T00:00:00Z"},
    ],
    ids=lambda query: " ".join(query),
)
def test_a_filter_without_an_index_needs_a_window(api: ApiClient, query: dict[str, str]) -> None:
    refused = api.client.get("/predictions", params=query, headers=api.service)
    assert (refused.status_code, refused.json()["error"]) == (422, "InvalidRequest")
    assert "`after`" in refused.json()["detail"]
    assert api.client.get("/predictions", params=query | WINDOW, headers=api.service).status_code == 200


@pytest.mark.parametrize("score", ["nan", "inf", "x"])
def test_a_score_that_is_not_finite_is_refused(api: ApiClient, score: str) -> None:
    response = api.client.get("/predictions", params={"min_score": score} | WINDOW, headers=api.service)
    assert response.status_code == 422


def test_score_role_and_corrected_filter_the_list(api: ApiClient, task: str) -> None:
    user = api.person()
    rows = [
        prediction(task, user.id, answer={"label": "a", "score": score, "probabilities": {"a": score, "b": 1 - score}})
        for score in (0.6, 0.7, 0.8)
    ]
    rows.append(prediction(task, user.id, role="canary"))
    api.send("/predictions", *rows)
    api.send("/feedback", feedback(rows[0], user.id, label="b"), feedback(rows[1], user.id, label="a"))
    after = (datetime.now(UTC) - timedelta(hours=1)).isoformat()

    def find(**query: str) -> list[int]:
        query |= {"task": task, "after": after}
        response = api.client.get("/predictions", params=query, headers=api.service)
        ids = [row["id"] for row in rows]
        return sorted(ids.index(item["id"]) for item in response.json()["items"])

    assert find(min_score="0.7") == [1, 2, 3]
    assert find(max_score="0.7") == [0, 1, 3]
    assert find(min_score="0.75", max_score="0.85") == [2]
    assert find(role="canary") == [3]
    assert find(corrected="true") == [0]
    assert find(corrected="false") == [1, 2, 3]


@pytest.mark.parametrize("path", ["/predictions", "/feedback"])
def test_a_cursor_is_valid_only_for_its_own_list(api: ApiClient, task: str, path: str) -> None:
    user = api.person()
    rows = [prediction(task, user.id) for _ in range(3)]
    api.send("/predictions", *rows)
    api.send("/feedback", *(feedback(row, user.id) for row in rows))

    def ask(**query: str) -> Any:
        return api.client.get(path, params=query, headers=user.headers)

    cursor = ask(task=task, limit="2").json()["next"]
    assert len(ask(task=task, limit="1", cursor=cursor).json()["items"]) == 1
    for others in ({}, {"task": f"{task}-other"}, {"task": task, "after": "2020-01-01T00:00:00Z"}):
        refused = ask(**others, cursor=cursor)
        assert (refused.status_code, refused.json()["error"]) == (422, "InvalidCursor")
        assert "another list" in refused.json()["detail"]


def test_a_prediction_names_the_promotion_and_the_run_of_its_version(api: ApiClient, task: str) -> None:
    row, other = prediction(task, version=4, run_id="run-of-4"), prediction(task, version=5)
    anew, before = prediction(task, version=4, run_id="run-of-another-4"), prediction(task, version=4, run_id=None)
    api.send("/predictions", row, other, anew, before)
    first = promotion(task, version=4, run_id="run-of-4", reason="first")
    api.send("/promotions", first, promotion(task, version=3), promotion(f"{task}-other", version=4))
    api.send("/promotions", promotion(task, version=4, action="remove", previous=None))

    def look(which: dict[str, Any]) -> Any:
        return api.client.get(f"/predictions/{which['id']}", headers=api.service).json()["promotion"]

    assert look(other) is None
    found = look(row)
    assert (found["id"], found["run_id"], found["reason"]) == (first["id"], "run-of-4", "first")
    assert found["metrics"] == first["metrics"]
    assert look(anew) is None, "the same number of a model made anew is another version"
    assert look(before) == found
