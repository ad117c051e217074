"""Accuracy: computed from the counting corrections, over all feedback and over the random share."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DataError

from data_api.accuracy import recent
from data_api.database import Database
from data_api.errors import DatabaseUnavailable
from data_api.http.context import Context
from data_api.ids import floor, new_id
from data_api.metrics import COLLECT_FAILURES, RecentAccuracy, VersionAccuracy
from data_api.tally import wilson
from tests.data.api import ApiClient, feedback, prediction, regression

NOON = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=3)


def binary(task: str, user: str, label: str, score: float = 0.7, at: datetime | None = None, **others: Any) -> Any:
    """A binary prediction, made at a given time."""
    key = UUID(int=floor(at).int | (new_id().int & (2**80 - 1))) if at else new_id()
    odds = {"good": 1 - score, "bad": 1 - score, label: score}
    return prediction(task, user, id=str(key), answer={"label": label, "score": score, "probabilities": odds}, **others)


@pytest.fixture
def database(app: FastAPI) -> Database:
    context: Context = app.state.context
    return context.database


def query(api: ApiClient, task: str, **query: str | int) -> dict[str, Any]:
    response = api.client.get("/accuracy", params={"task": task, **query}, headers=api.service)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def sample(engine: Engine, task: str, probability: float, *rows: Any) -> None:
    with engine.begin() as connection:
        for row in rows:
            statement = "INSERT INTO samples (prediction_id, task, probability) VALUES (:id, :task, :probability)"
            connection.execute(text(statement), {"id": row["id"], "task": task, "probability": probability})


def test_accuracy_is_counted_by_version_day_and_class(api: ApiClient, task: str) -> None:
    user = api.person()
    yesterday = NOON - timedelta(days=1)
    rows = [
        binary(task, user.id, "good", at=NOON, version=1),
        binary(task, user.id, "good", at=NOON, version=2),
        binary(task, user.id, "bad", at=NOON, version=2),
        binary(task, user.id, "good", at=yesterday, version=2),
    ]
    truths = ["good", "bad", "bad", "good"]
    api.send("/predictions", *rows, binary(task, user.id, "good", at=NOON))
    api.send("/feedback", *(feedback(row, user.id, label=truth) for row, truth in zip(rows, truths, strict=True)))
    found = query(api, task)
    assert (found["overall"]["all"]["rows"], found["overall"]["all"]["accuracy"]) == (4, 0.75)
    assert found["overall"]["random"] == dict.fromkeys(found["overall"]["random"]) | {"rows": 0}
    assert [(one["version"], one["all"]["accuracy"]) for one in found["versions"]] == [(1, 1.0), (2, 2 / 3)]
    days = [(one["day"], one["all"]["rows"], one["all"]["accuracy"]) for one in found["days"]]
    assert days == [(yesterday.date().isoformat(), 1, 1.0), (NOON.date().isoformat(), 3, 2 / 3)]
    classes = {
        one["label"]: (one["recall"]["all"]["accuracy"], one["precision"]["all"]["accuracy"])
        for one in found["classes"]
    }
    assert classes == {"bad": (0.5, 1.0), "good": (1.0, 2 / 3)}
    cells = {(cell["truth"], cell["label"]): cell["all"] for cell in found["confusion"]}
    assert cells == {("good", "good"): 2, ("bad", "good"): 1, ("bad", "bad"): 1}
    assert [one["version"] for one in query(api, task, version=2)["versions"]] == [2]
    assert query(api, task, label="bad")["overall"]["all"]["accuracy"] == 0.5
    window = {"after": NOON.isoformat(), "before": (NOON + timedelta(milliseconds=1)).isoformat()}
    assert query(api, task, **window)["overall"]["all"]["rows"] == 3


def test_versions_of_one_number_are_told_apart_by_their_runs(api: ApiClient, database: Database, task: str) -> None:
    """The registered model was deleted and made anew; ai-api did not send runs at first."""
    user = api.person()
    old = [binary(task, user.id, "good", at=NOON - timedelta(days=1), run_id=run) for run in (None, "old")]
    new = binary(task, user.id, "good", at=NOON, run_id="new")
    api.send("/predictions", *old)
    api.send("/feedback", *(feedback(row, user.id, label="bad") for row in old))
    assert [(one["run_id"], one["all"]["rows"]) for one in query(api, task)["versions"]] == [("old", 2)]
    api.send("/predictions", new)
    api.send("/feedback", feedback(new, user.id, label="good"))
    found = {one["run_id"]: one["all"]["accuracy"] for one in query(api, task)["versions"]}
    assert found == {None: 0.0, "old": 0.0, "new": 1.0}
    assert [one.share for one in recent(database) if (one.task, one.kind) == (task, "all")] == [1.0]


def test_a_prediction_counts_once_by_its_counting_correction(api: ApiClient, task: str) -> None:
    user, trainer = api.person(), api.person("trainer")
    row = binary(task, user.id, "good")
    api.send("/predictions", row)
    api.send("/feedback", feedback(row, trainer.id, label="good"), feedback(row, user.id, label="bad"))
    assert query(api, task)["overall"]["all"] | {"low": 0, "high": 0} == {
        "rows": 1, "accuracy": 1.0, "low": 0, "high": 0,
        "mean_error": None, "mean_absolute_error": None, "root_mean_squared_error": None, "reason": None,
    }  # fmt: skip


def test_the_random_share_is_weighted_by_the_inverse_sampling_probability(
    as_app: Engine, api: ApiClient, task: str
) -> None:
    """People corrected mostly errors; in the random share most predictions are right."""
    user = api.person()
    corrected = [binary(task, user.id, "good") for _ in range(6)]
    half_sampled, quarter_sampled = [binary(task, user.id, "good") for _ in range(4)], binary(task, user.id, "good")
    api.send("/predictions", *corrected, *half_sampled, quarter_sampled)
    api.send("/feedback", *(feedback(row, user.id, label="bad") for row in [*corrected, quarter_sampled]))
    api.send("/feedback", *(feedback(row, user.id, label="good") for row in half_sampled))
    sample(as_app, task, 0.5, *half_sampled)
    sample(as_app, task, 0.25, quarter_sampled)
    overall = query(api, task)["overall"]
    assert (overall["all"]["rows"], overall["random"]["rows"]) == (11, 5)
    assert overall["all"]["accuracy"] == pytest.approx(4 / 11)
    assert overall["random"]["accuracy"] == pytest.approx(8 / 12)  # four rows have weight 2, one has weight 4
    low, high = wilson(8 / 12, 12**2 / (4 * 2**2 + 4**2))
    assert [overall["random"]["low"], overall["random"]["high"]] == pytest.approx([low, high])


@pytest.mark.parametrize(
    ("right", "rows", "low", "high"),
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (8, 10, 0.4902, 0.9433), (81, 263, 0.2553, 0.3662)],
)
def test_intervals_are_wilson_score_intervals(right: int, rows: int, low: float, high: float) -> None:
    assert list(wilson(right / rows, rows)) == pytest.approx([low, high], abs=1e-4)


def test_calibration_compares_scores_with_accuracy(api: ApiClient, task: str) -> None:
    user = api.person()
    certain = [binary(task, user.id, "good", 1.0) for _ in range(4)]
    uncertain = [binary(task, user.id, "good", 0.55) for _ in range(2)]
    api.send("/predictions", *certain, *uncertain)
    truths = ["good", "good", "bad", "bad", "good", "good"]
    api.send(
        "/feedback",
        *(feedback(row, user.id, label=truth) for row, truth in zip([*certain, *uncertain], truths, strict=True)),
    )
    found = query(api, task)["calibration"]
    bins = [
        (one["low"], one["high"], one["mean_score"], one["measure"]["accuracy"], one["measure"]["rows"])
        for one in found["all"]["bins"]
    ]
    assert bins == [(0.5, 0.6, pytest.approx(0.55), 1.0, 2), (0.9, 1.0, 1.0, 0.5, 4)]
    assert found["all"]["error"] == pytest.approx((4 * 0.5 + 2 * 0.45) / 6)
    assert found["random"] == {"bins": [], "error": None}


def test_a_regression_task_has_errors_instead_of_accuracy(api: ApiClient, task: str) -> None:
    user = api.person()
    rows = [regression(task, user.id) for _ in range(2)]
    api.send("/predictions", *rows)
    api.send("/feedback", feedback(rows[0], user.id, value=1.1), feedback(rows[1], user.id, value=5.1))
    found = query(api, task)
    measure = found["overall"]["all"]
    assert (measure["rows"], measure["accuracy"], measure["low"]) == (2, None, None)
    assert measure["mean_error"] == pytest.approx(-1.0)
    assert measure["mean_absolute_error"] == pytest.approx(2.0)
    assert measure["root_mean_squared_error"] == pytest.approx(5**0.5)
    assert (found["classes"], found["confusion"], found["calibration"]["all"]["bins"]) == ([], [], [])


@pytest.mark.parametrize(
    ("answer", "truth", "error"),
    [
        (2.1, 1e308, None),
        (-1.7e308, 1.7e308, None),  # their difference is no double
        (1e308, 1e308, None),
        (0.0, 5e-324, 0.0),  # the square of the difference is no double
        (1e-200, 0.0, 0.0),
        (0.0, -0.0, 0.0),
        (1e99, 0.0, 1e99),
    ],
)
def test_a_number_without_a_finite_square_breaks_neither_the_accuracy_nor_the_metrics(
    database: Database, api: ApiClient, task: str, answer: float, truth: float, error: float | None
) -> None:
    user = api.person()
    rows = [prediction(task, user.id, answer={"value": answer}) for _ in range(2)]
    api.send("/predictions", *rows)
    api.send("/feedback", *(feedback(row, user.id, value=truth) for row in rows))
    measure = query(api, task)["overall"]["all"]
    errors = [measure["mean_absolute_error"], measure["root_mean_squared_error"]]
    assert errors == [None if error is None else pytest.approx(error)] * 2
    assert (measure["rows"], measure["reason"] is None) == (2, error is not None)
    [shown] = [one for one in recent(database) if one.task == task and one.kind == "all"]
    assert shown.mean_absolute_error == errors[0]


def test_scores_without_a_finite_sum_leave_the_rest_of_the_accuracy(api: ApiClient, task: str) -> None:
    user = api.person()
    rows = [binary(task, user.id, "good") for _ in range(2)]
    for row in rows:
        row["answer"]["score"] = 1.7e308
    api.send("/predictions", *rows)
    api.send("/feedback", *(feedback(row, user.id, label="good") for row in rows))
    found = query(api, task)
    assert (found["overall"]["all"]["accuracy"], found["calibration"]["all"]["error"]) == (1.0, None)


def test_a_task_without_feedback_has_no_accuracy(api: ApiClient, task: str) -> None:
    found = query(api, task)
    assert (found["overall"]["all"]["rows"], found["overall"]["all"]["accuracy"]) == (0, None)
    assert (found["versions"], found["days"]) == ([], [])


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"task": "x", "after": "2020-01-01T00:00:00Z"},
        {"task": "x", "before": "0001-01-01T00:00:00Z"},
        {"task": "x", "version": 0},
        {"task": "x\0"},
    ],
    ids=["no task", "long window", "before time", "version", "nul"],
)
def test_a_malformed_accuracy_query_is_refused(api: ApiClient, query: dict[str, str]) -> None:
    response = api.client.get("/accuracy", params=query, headers=api.service)
    assert (response.status_code, response.json()["error"]) == (422, "InvalidRequest")


def test_the_gauges_show_the_same_figures(database: Database, api: ApiClient, task: str) -> None:
    user = api.person()
    rows, number = [binary(task, user.id, "good", version=7) for _ in range(4)], regression(f"{task}-n", user.id)
    api.send("/predictions", *rows, number)
    api.send(
        "/feedback",
        *(feedback(row, user.id, label="good") for row in rows[:3]),
        feedback(rows[3], user.id, label="bad"),
    )
    api.send("/feedback", feedback(number, user.id, value=2.6))
    registry = CollectorRegistry()
    registry.register(RecentAccuracy(lambda: recent(database)))
    shown = generate_latest(registry).decode()
    assert f'volant_data_accuracy{{kind="all",task="{task}",version="7"}} 0.75' in shown
    assert f'volant_data_accuracy_rows{{kind="all",task="{task}",version="7"}} 4.0' in shown
    assert f'volant_data_accuracy_low{{kind="all",task="{task}",version="7"}} 0.30' in shown
    assert f'volant_data_mean_absolute_error{{kind="all",task="{task}-n",version="3"}} 0.5' in shown
    assert f'volant_data_accuracy{{kind="all",task="{task}-n"' not in shown


@pytest.mark.parametrize("failure", [DatabaseUnavailable(), DataError("select", {}, Exception()), ValueError()])
def test_figures_that_cannot_be_read_are_counted_and_leave_the_other_metrics(
    failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    def query() -> list[VersionAccuracy]:
        raise failure

    registry = CollectorRegistry()
    Gauge("other", "Another metric.", registry=registry).set(7)
    registry.register(RecentAccuracy(query))
    before = COLLECT_FAILURES.labels("accuracy")._value.get()
    assert "other 7.0" in generate_latest(registry).decode()
    assert COLLECT_FAILURES.labels("accuracy")._value.get() == before + 1
    assert type(failure).__name__ in caplog.text


def test_the_gauges_are_cached_and_absent_while_postgres_is_unavailable() -> None:
    calls: list[int] = []

    def query() -> list[VersionAccuracy]:
        calls.append(1)
        if len(calls) > 1:
            raise DatabaseUnavailable
        return [VersionAccuracy("t", 1, "all", 5, 0.5, 0.2, 0.8, None)]

    registry = CollectorRegistry()
    collector = RecentAccuracy(query, seconds=3_600)
    registry.register(collector)
    assert calls == []
    assert [b"0.5" in generate_latest(registry) for _ in range(3)] == [True] * 3
    assert len(calls) == 1
    collector._until = 0
    assert b'task="t"' not in generate_latest(registry)
