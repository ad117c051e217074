"""POST /retrain and /jobs, over a real queue; small programs take the place of a training."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import httpx
import pytest

from ai_api.jobs import followers
from ai_api.jobs.worker import WorkerTiming, work
from tests.ai.routes.http_errors import MARK, assert_error
from tests.ai.support.app import RunningApp
from tests.waiting import until

TIMING = WorkerTiming(heartbeat_seconds=0.5, stalled_seconds=5, job_timeout_seconds=60)
GOOD = """
print('{"kind": "progress", "step": 1, "total": 2, "message": "fitting"}', flush=True)
print('{"kind": "result", "version": 7, "promoted": true, "reason": "first version"}', flush=True)
"""
WAITING = 'import sys; print(\'{"kind": "progress", "step": 0}\', flush=True); sys.stdin.read()'


@contextmanager
def training(service: RunningApp, conninfo: str, program: str) -> Iterator[None]:
    """A trainer that runs this Python program for each job."""
    with service.background(partial(work, conninfo, lambda _: [sys.executable, "-c", program], TIMING)):
        yield


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({"task": MARK}, 404, "UnknownTask"),
        ({"task": "tweets", "recipe": MARK}, 404, "UnknownRecipe"),
        ({"task": "tweets", "params": {MARK: 1}}, 422, "InvalidParams"),
        ({"task": "tweets", MARK: 1}, 422, "InvalidRequest"),
        ({"task": "tweets"}, 503, "QueueUnavailable"),
    ],
)
def test_a_retraining_that_cannot_start_is_refused_as_documented(
    trainer: httpx.Client, body: dict[str, object], status: int, error: str
) -> None:
    assert_error(trainer.post("/retrain", json=body), status, error)


@pytest.mark.parametrize(
    ("method", "path", "status", "error"),
    [
        ("GET", "/jobs/4711000", 404, "UnknownJob"),
        ("GET", "/jobs/4711000/events", 404, "UnknownJob"),
        ("DELETE", "/jobs/4711000", 404, "UnknownJob"),
        ("GET", f"/jobs/{MARK}", 422, "InvalidRequest"),
        ("GET", f"/jobs?task={MARK}", 404, "UnknownTask"),
        ("GET", "/jobs?limit=0", 422, "InvalidRequest"),
    ],
)
def test_bad_calls_about_jobs_are_refused_as_documented(
    queued: RunningApp, method: str, path: str, status: int, error: str
) -> None:
    assert_error(queued.client(queued.trainer).request(method, path), status, error)


def test_a_task_has_one_job_at_a_time_and_jobs_are_listed_newest_first(queued: RunningApp) -> None:
    client = queued.client(queued.trainer)
    first = client.post("/retrain", json={"task": "tweets", "params": {"seed": 3}})
    assert first.status_code == 202
    job = first.json()
    assert (job["task"], job["recipe"], job["params"], job["status"]) == (
        *("tweets", "tfidf+logreg", {"seed": 3}, "waiting"),
    )
    assert job["actor"] == queued.trainer.id
    assert client.get(f"/jobs/{job['id']}").json()["actor"] == queued.trainer.id
    user = queued.client(queued.user)
    shown = [user.get(f"/jobs/{job['id']}").json(), *user.get("/jobs").json()["items"]]
    assert [entry["actor"] for entry in shown] == [None, None], "users do not see who asked for a job"
    running = client.post("/retrain", json={"task": "tweets"})
    assert_error(running, 409, "JobRunning")
    assert f"Job {job['id']} " in running.json()["detail"]
    second = client.post("/retrain", json={"task": "housing"}).json()
    assert [entry["id"] for entry in client.get("/jobs").json()["items"]] == [second["id"], job["id"]]
    page = client.get("/jobs?limit=1").json()
    assert (page["items"][0]["id"], page["next"]) == (second["id"], second["id"])
    rest = client.get(f"/jobs?before={page['next']}").json()
    assert ([entry["id"] for entry in rest["items"]], rest["next"]) == ([job["id"]], None)
    assert client.get("/jobs?task=tweets&status=waiting").json()["items"] == [client.get(f"/jobs/{job['id']}").json()]


def test_a_job_that_waits_is_cancelled_and_its_events_end(queued: RunningApp) -> None:
    client = queued.client(queued.trainer)
    job = client.post("/retrain", json={"task": "tweets"}).json()["id"]
    assert client.delete(f"/jobs/{job}").json()["status"] == "cancelled"
    response = client.get(f"/jobs/{job}/events")
    assert "event: end" in response.text
    assert client.get(f"/jobs/{job}").json()["finished_at"] is not None


def test_a_job_sends_its_progress_as_server_sent_events_until_its_end(queued: RunningApp, queue_conninfo: str) -> None:
    client = queued.client(queued.trainer)
    response = client.post("/retrain", json={"task": "housing", "recipe": "boosting"})
    assert response.status_code == 202
    job = response.json()["id"]
    assert_error(client.post("/retrain", json={"task": "housing"}), 409, "JobRunning")
    with training(queued, queue_conninfo, GOOD), client.stream("GET", f"/jobs/{job}/events") as events:
        assert events.headers["content-type"].startswith("text/event-stream")
        lines = list(events.iter_lines())
    kinds = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
    assert kinds == ["progress", "result", "end"]
    ended = client.get(f"/jobs/{job}").json()
    assert (ended["status"], ended["result"]["version"]) == ("succeeded", 7)
    ids = [line.removeprefix("id: ") for line in lines if line.startswith("id: ")]
    for query, headers in ((f"?after={ids[0]}", {}), ("", {"Last-Event-ID": ids[0]})):
        rest = client.get(f"/jobs/{job}/events{query}", headers=headers).text
        assert [line for line in rest.splitlines() if line.startswith("id: ")] == [f"id: {id_}" for id_ in ids[1:]]


def test_a_running_job_can_be_cancelled_and_nothing_of_it_serves(queued: RunningApp, queue_conninfo: str) -> None:
    client = queued.client(queued.trainer)
    before = client.get("/models/tweets").json()["serving"]["version"]
    with training(queued, queue_conninfo, WAITING):
        job = client.post("/retrain", json={"task": "tweets"}).json()["id"]
        until(lambda: client.get(f"/jobs/{job}").json()["status"] == "running", "the job to run")
        assert client.delete(f"/jobs/{job}").status_code == 202
        until(lambda: client.get(f"/jobs/{job}").json()["status"] == "cancelled", "the job to be cancelled")
    assert client.get("/models/tweets").json()["serving"]["version"] == before


def test_a_caller_with_too_many_open_streams_is_told_to_wait(
    queued: RunningApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = queued.client(queued.trainer)
    job = client.post("/retrain", json={"task": "tweets"}).json()["id"]
    client.delete(f"/jobs/{job}")
    assert client.get(f"/jobs/{job}/events?after={2**63 - 1}").text == "", "the job has ended, whatever the last id is"
    monkeypatch.setattr(followers, "STREAMS_PER_CALLER", 0)
    refused = client.get(f"/jobs/{job}/events")
    assert_error(refused, 429, "LimitReached")
    assert refused.headers["Retry-After"] == "5"
