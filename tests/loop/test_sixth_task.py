"""A task from outside is one file: it trains, serves, is corrected and trained again without another change."""

from __future__ import annotations

from sklearn.datasets import load_wine

from tests.loop.people import Person
from tests.loop.volant import Volant
from tests.waiting import until


def test_a_task_from_outside_trains_serves_and_learns_from_corrections(small: Volant) -> None:
    person = Person(small, api_key=small.key)
    shown = person.http.get("/models/wine").json()
    assert (shown["serving"]["version"], shown["recipes"]) == (1, ["naive-bayes", "forest"])
    assert shown["serving"]["metrics"]["macro_recall"] > 0.9

    names = list(shown["row"]["properties"])
    wines = [dict(zip(names, line, strict=True)) for line in (load_wine().data[::3] * 1.01).tolist()]
    predictions = person.http.post("/predict", json={"task": "wine", "inputs": wines}).json()["predictions"]
    assert {prediction["label"] for prediction in predictions} == {"grower 1", "grower 2", "grower 3"}
    for prediction in predictions:
        truth = {"prediction_id": prediction["prediction_id"], "label": prediction["label"]}
        assert person.http.post("/feedback", json=truth).status_code == 202
    small.drained()

    small.idle()
    job = person.http.post("/retrain", json={"task": "wine", "recipe": "forest"}).json()["id"]
    until(lambda: person.http.get(f"/jobs/{job}").json()["status"] == "succeeded", "the retraining", 240)
    result = person.http.get(f"/jobs/{job}").json()["result"]
    assert (result["recipe"], result["version"]) == ("forest", 2)
    assert 0 < result["corrections_used"] < len(wines), "some are in the held-out part"
