"""Hand-made requests: no 5xx that nobody caused, no input in an error or a log line, and no call that hangs."""

from __future__ import annotations

import itertools
import logging

import pytest
from fastapi import FastAPI

from tests.data.api import ApiClient
from tests.hostile_requests import HostileRequests, make_requests

PER_SIGN_IN = 50
"""Requests after which a new person signs in, as some end a sign-in or an account."""


@pytest.mark.parametrize("count", [300, pytest.param(40_000, marks=pytest.mark.campaign(part="fuzz"))])
def test_no_hostile_request_is_answered_by_a_5xx_or_repeated(
    app: FastAPI, api: ApiClient, caplog: pytest.LogCaptureFixture, count: int
) -> None:
    caplog.set_level(logging.INFO, logger="data_api")
    roles, turns = itertools.cycle(["admin", "user", "trainer", "service", ""]), itertools.count()
    held: dict[str, str] = {}

    def credentials() -> dict[str, str]:
        nonlocal held
        if next(turns) % PER_SIGN_IN == 0:
            role = next(roles)
            held = api.service if role == "service" else api.person(role).headers if role else {}
        return held

    requests = HostileRequests(app.openapi(), seed=count)
    outcome = make_requests(requests, count, api.client.request, credentials, caplog)
    print(outcome)
    assert outcome.faults == []
    assert outcome.statuses[200] > 0
