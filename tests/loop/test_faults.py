"""When any service is killed or stopped, every prediction is stored exactly once and predictions go on."""

from __future__ import annotations

import os
import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import httpx
import pytest

from ai_api.outbox.file import OutboxFile
from ai_api.outbox.outbox import append_once
from scripts.dev.stack import responds
from scripts.private import UMASK
from tests.loop.people import Person, erase, sign_up
from tests.loop.volant import Volant
from tests.traffic import Traffic, stored
from tests.waiting import until

TWEET: dict[str, object] = {"text": "late again, thanks"}
HOUSE: dict[str, object] = {
    "MedInc": 8.3, "HouseAge": 41.0, "AveRooms": 6.98, "AveBedrms": 1.02,
    "Population": 322.0, "AveOccup": 2.55, "Latitude": 37.88, "Longitude": -122.23,
}  # fmt: skip
KILLED_SERVICES = ("ai-api", "data-api", "postgres", "trainer")


def kill_rounds(volant: Volant, rounds: int, seed: int) -> None:
    """Each round kills each service once, in random order, at random times under load, while a training runs."""
    chance = random.Random(seed)
    trainer = Person(volant, api_key=volant.key)
    kills: Counter[str] = Counter()
    attempts: Counter[int] = Counter()
    with Traffic(volant.url, volant.key, "tweets", [TWEET], retries=True) as traffic:
        for number in range(1, rounds + 1):
            job = until(lambda: started_job(trainer), "a job to be taken", 60)
            for name in chance.sample(KILLED_SERVICES, len(KILLED_SERVICES)):
                threading.Event().wait(chance.uniform(0.1, 1.5))
                kill(volant, name)
                kills[name] += 1
            ended = finished(trainer, job)
            assert ended["status"] == "succeeded", ended
            attempts[ended["attempts"]] += 1
            rows = len(traffic.ledger.predicted)
            print(f"round {number}: {rows} predictions, job {job} took {ended['attempts']} attempts")
    until(lambda: responds(f"{volant.data_url}/health/ready"), "data-api")
    volant.drained(120)
    in_postgres = stored(volant.conninfo, traffic.ledger)
    print(
        f"{rounds} rounds, kills {dict(kills)}: {traffic.ledger.requests} requests, "
        f"{len(traffic.ledger.predicted)} rows predicted, {in_postgres.found} in Postgres, {in_postgres.twice} twice, "
        f"{in_postgres.other_version} of another version; attempts by job {dict(attempts)}"
    )
    assert traffic.ledger.failures == []
    assert (in_postgres.found, in_postgres.twice, in_postgres.other_version) == (len(traffic.ledger.predicted), 0, 0)
    assert len(traffic.ledger.predicted) > 20 * rounds


def kill(volant: Volant, name: str) -> None:
    """`kill -9`, then waits until the service was started again and ai-api predicts."""
    before = volant.service(name).restarts
    volant.service(name).kill()
    until(lambda: volant.service(name).restarts > before, f"{name} to start again")
    until(lambda: volant.predicts("tweets", TWEET), f"predictions after {name} was killed")


def started_job(trainer: Person) -> int | None:
    try:
        response = trainer.http.post("/retrain", json={"task": "housing"})
    except httpx.TransportError:
        return None
    return response.json()["id"] if response.status_code == 202 else None


def finished(trainer: Person, job: int) -> dict[str, Any]:
    ended: dict[str, Any] = until(
        lambda: ended_job(trainer, job), f"job {job} to finish after its trainer was killed", 120
    )
    return ended


def ended_job(trainer: Person, job: int) -> dict[str, object] | None:
    try:
        response = trainer.http.get(f"/jobs/{job}")
    except httpx.TransportError:
        return None
    if response.status_code != 200:
        return None
    job_view: dict[str, object] = response.json()
    return job_view if job_view["status"] in ("succeeded", "failed", "cancelled") else None


@contextmanager
def uninterrupted(volant: Volant, meanwhile: str) -> Iterator[None]:
    """Calls ai-api until the block has ended: no call fails, and every prediction is stored exactly once."""
    with Traffic(volant.url, volant.key, "housing", [HOUSE]) as traffic:
        predict_more(traffic)
        yield
        predict_more(traffic)
    volant.drained()
    in_postgres = stored(volant.conninfo, traffic.ledger)
    print(
        f"{meanwhile}: {traffic.ledger.requests} requests, {len(traffic.ledger.failures)} failed, "
        f"{len(traffic.ledger.predicted)} rows predicted, {in_postgres.found} in Postgres, {in_postgres.twice} twice"
    )
    assert traffic.ledger.failures == []
    assert (in_postgres.found, in_postgres.twice) == (len(traffic.ledger.predicted), 0)


def predict_more(traffic: Traffic) -> None:
    before = len(traffic.ledger.predicted)
    until(lambda: len(traffic.ledger.predicted) > before + 20, "traffic")


def predict_without(volant: Volant, name: str, seconds: float) -> None:
    """Stops `name` for a while under load."""
    with uninterrupted(volant, f"{name} stopped for {seconds:.0f} s"):
        volant.service(name).stop()
        threading.Event().wait(seconds)
        refused_before = volant.metric("volant_outbox_dead_letters")
        append_once(volant.state_dir / "outbox", "prediction", {"id": "this is no uuid", "task": "tweets"})
        volant.service(name).start()
        until(lambda: volant.service(name).spec.is_ready(), f"{name} to be ready again")
    until(
        lambda: volant.metric("volant_outbox_dead_letters") > refused_before, "the refused row among the dead letters"
    )


def test_a_round_of_kills_loses_no_prediction(small: Volant) -> None:
    kill_rounds(small, rounds=1, seed=1)


@pytest.mark.parametrize("name", ["data-api", "postgres"])
def test_predictions_go_on_while_a_service_is_away(small: Volant, name: str) -> None:
    predict_without(small, name, seconds=2)


def test_predictions_go_on_while_mlflow_is_away_also_of_an_ai_api_that_starts_meanwhile(small: Volant) -> None:
    try:
        with uninterrupted(small, "mlflow stopped"):
            small.service("mlflow").stop()
        before = small.service("ai-api").restarts
        small.service("ai-api").kill()
        until(lambda: small.service("ai-api").restarts > before, "ai-api to start again")
        until(
            lambda: small.predicts("tweets", TWEET) and small.predicts("housing", HOUSE),
            "predictions from the cache",
            300,
        )
        health = f"{small.url}/health/ready"
        until(lambda: httpx.get(health, trust_env=False).status_code == 200, "every champion to serve from the cache")
        until(lambda: "MLflow does not respond" in httpx.get(health, trust_env=False).text, "the note")
    finally:
        with uninterrupted(small, "mlflow started"):
            small.service("mlflow").start()
            until(lambda: small.service("mlflow").spec.is_ready(), "mlflow to be ready again")


def test_an_erasure_does_not_wait_for_the_old_name_of_a_restarted_instance(small: Volant) -> None:
    ann = sign_up(small, f"{uuid4().hex}@example.org")
    assert ann.http.post("/predict", json={"task": "tweets", "inputs": TWEET}).status_code == 200
    ann_id = httpx.get(f"{small.data_url}/users/me", headers=ann.headers, trust_env=False).json()["id"]
    small.service("ai-api").stop()
    umask = os.umask(UMASK)
    first = OutboxFile(small.state_dir / "outbox" / "0.db", "FULL")  # ai-api adopts the first file, and its name
    first.close()
    os.umask(umask)
    small.service("ai-api").start()
    until(lambda: small.predicts("tweets", TWEET), "ai-api to serve again")
    erase(small, ann_id)


@pytest.mark.campaign(part="faults")
def test_twenty_rounds_of_kills_lose_no_prediction(small: Volant) -> None:
    kill_rounds(small, rounds=20, seed=2)


@pytest.mark.campaign(part="faults")
@pytest.mark.parametrize("name", ["data-api", "mlflow", "postgres"])
def test_predictions_go_on_while_a_service_is_away_for_a_minute(small: Volant, name: str) -> None:
    predict_without(small, name, seconds=60)


@pytest.mark.campaign(part="load")
def test_a_minute_of_load_from_many_clients_is_predicted_and_stored(small: Volant) -> None:
    with Traffic(small.url, small.key, "housing", [HOUSE], threads=32, rows_at_once=8, pause_seconds=0) as traffic:
        threading.Event().wait(60)
    small.drained(120)
    in_postgres = stored(small.conninfo, traffic.ledger)
    rows, failed = len(traffic.ledger.predicted), len(traffic.ledger.failures)
    print(
        f"60 s, 32 clients: {traffic.ledger.requests / 60:.0f} requests/s, {rows / 60:.0f} rows/s, {failed} failed, "
        f"{in_postgres.found} of {rows} in Postgres, {in_postgres.twice} twice"
    )
    assert [failure for failure in traffic.ledger.failures if not failure.startswith("429")] == []
    assert (in_postgres.found, in_postgres.twice) == (len(traffic.ledger.predicted), 0)
