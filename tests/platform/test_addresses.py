"""What `make dev` and `make up` print when Volant is ready."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

REPOSITORY = Path(__file__).resolve().parents[2]


def printed(way: str, **settings: str) -> str:
    command = ["sh", str(REPOSITORY / "scripts/addresses.sh"), way]
    return subprocess.run(command, env={**os.environ, **settings}, stdout=subprocess.PIPE, text=True, check=True).stdout


@pytest.mark.parametrize("tasks", ["", "housing, tweets"])
def test_the_first_call_predicts_a_tweet_where_tweets_are_served(tasks: str) -> None:
    text = printed("dev", AI_TASKS=tasks)
    assert '/predict -H "X-API-Key: $(cat ' in text
    assert '-d \'{"task": "tweets", "inputs": {"text": "late again, thanks"}}\'' in text


@pytest.mark.parametrize("tasks", ["housing", "housing,my-tweets"])
def test_the_first_call_lists_the_tasks_where_tweets_are_not_served(tasks: str) -> None:
    text = printed("dev", AI_TASKS=tasks)
    assert '/models -H "X-API-Key: $(cat ' in text
    assert "late again" not in text


def test_services_that_answer_anybody_are_named_on_the_loopback() -> None:
    lines = printed("up", VOLANT_BIND="10.1.2.3").splitlines()
    for name in ("Prometheus", "Uptime Kuma"):
        assert [line for line in lines if name in line and "http://127.0.0.1:" in line]
    assert [line for line in lines if "Grafana" in line and "http://10.1.2.3:" in line]
