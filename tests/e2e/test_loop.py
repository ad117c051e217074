"""Predict, correct, retrain: through the composed stack, by HTTP from the host."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.e2e.composed import Composed
from tests.waiting import until

pytestmark = pytest.mark.composed

TWEET = {"text": "late again, thanks"}
HOUSE = {
    "MedInc": 8.3, "HouseAge": 41, "AveRooms": 7, "AveBedrms": 1, "Population": 322, "AveOccup": 2.5,
    "Latitude": 37.9, "Longitude": -122.2,
}  # fmt: skip


@pytest.mark.parametrize(("task", "row"), [("tweets", TWEET), ("housing", HOUSE)])
def test_a_prediction_is_returned_and_stored(composed: Composed, task: str, row: dict[str, object]) -> None:
    response = composed.ai.post("/predict", json={"task": task, "inputs": row})
    assert response.status_code == 200, response.text
    (prediction,) = response.json()["predictions"]
    row_in_postgres = stored(composed, prediction["prediction_id"])
    assert row_in_postgres["task"] == task
    assert row_in_postgres["row"].items() >= row.items()


def test_a_correction_is_stored_and_a_retraining_makes_a_new_version(composed: Composed) -> None:
    (prediction,) = composed.ai.post("/predict", json={"task": "tweets", "inputs": TWEET}).json()["predictions"]
    correction = {"prediction_id": prediction["prediction_id"], "label": "negative"}
    assert composed.ai.post("/feedback", json=correction).status_code == 202
    until(lambda: stored(composed, prediction["prediction_id"])["feedback"], "the correction to be stored")

    before = versions(composed)
    job = composed.ai.post("/retrain", json={"task": "tweets"})
    assert job.status_code == 202, job.text
    kinds = events(composed, job.json()["id"])
    assert kinds[-1] == "end"
    assert {"progress", "result"} <= set(kinds)
    ended = composed.ai.get(f"/jobs/{job.json()['id']}").json()
    assert ended["status"] == "succeeded", ended
    assert max(versions(composed)) > max(before)


def test_killing_ai_api_loses_no_prediction(composed: Composed) -> None:
    predicted = []
    for _ in range(20):
        response = composed.ai.post("/predict", json={"task": "tweets", "inputs": [TWEET] * 5}).json()
        predicted += [prediction["prediction_id"] for prediction in response["predictions"]]
    restarts = composed.inspect("ai-api")["RestartCount"]
    composed.crash("ai-api", "ai_api")
    until(lambda: composed.inspect("ai-api")["RestartCount"] > restarts, "ai-api to be started again")
    until(lambda: is_ready(composed), "ai-api to serve again", 120)
    for prediction_id in predicted:
        assert stored(composed, prediction_id)["id"] == prediction_id


def stored(composed: Composed, prediction_id: str) -> dict[str, Any]:
    """A prediction as data-api stores it; waits until it is stored."""

    def ask() -> httpx.Response | None:
        response = composed.data.get(f"/predictions/{prediction_id}")
        return response if response.status_code == 200 else None

    found: dict[str, Any] = until(ask, f"prediction {prediction_id} to be stored").json()
    return found


def versions(composed: Composed) -> list[int]:
    return [version["number"] for version in composed.ai.get("/models/tweets").json()["versions"]]


def events(composed: Composed, job: int) -> list[str]:
    """The kinds of a job's events, in order, until the stream ends; each carries valid JSON."""
    kinds = []
    with composed.ai.stream("GET", f"/jobs/{job}/events", timeout=300) as stream:
        for line in stream.iter_lines():
            name, _, value = line.partition(": ")
            if name == "event":
                kinds.append(value)
            elif name == "data":
                json.loads(value)
    return kinds


def is_ready(composed: Composed) -> bool:
    try:
        return composed.ai.get("/health/ready").status_code == 200
    except httpx.TransportError:
        return False
