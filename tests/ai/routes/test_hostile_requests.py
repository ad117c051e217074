"""Hand-made requests: no 5xx that nobody caused, no input in an error or a log line, and no call that hangs."""

from __future__ import annotations

import itertools
import logging

import pytest

from tests.ai.support.app import RunningApp
from tests.hostile_requests import HostileRequests, make_requests

STREAMS = frozenset({"/jobs/{job_id}/events"})
"""They end with the job; no trainer runs here."""


@pytest.mark.parametrize("count", [300, pytest.param(40_000, marks=pytest.mark.campaign(part="fuzz"))])
def test_no_hostile_request_is_answered_by_a_5xx_or_repeated(
    queued: RunningApp, caplog: pytest.LogCaptureFixture, count: int
) -> None:
    caplog.set_level(logging.INFO, logger="ai_api")
    client = queued.client()
    people = itertools.cycle([queued.trainer, queued.user, queued.add_user("admin"), None])

    def credentials() -> dict[str, str]:
        person = next(people)
        return {"X-API-Key": person.key} if person else {}

    requests = HostileRequests(client.get("/openapi.json").json(), seed=count, leave_out=STREAMS)
    outcome = make_requests(requests, count, client.request, credentials, caplog)
    print(outcome)
    assert outcome.faults == []
    assert outcome.statuses[200] > 0
