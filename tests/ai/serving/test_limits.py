"""The limits of each caller: an amount at once, which comes back evenly."""

from __future__ import annotations

import time

import pytest

from ai_api.errors import LimitReached
from ai_api.serving.limits import TRAINER_FACTOR, CallerLimit


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The monotonic time in seconds, which a test moves on."""
    now = [1_000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def is_refused(limit: CallerLimit, amount: float, caller: str = "ann", *, is_trainer: bool = False) -> float:
    """The seconds that a refused request is to wait; 0 when it is not refused."""
    try:
        limit.charge(caller, amount, is_trainer=is_trainer)
    except LimitReached as error:
        return error.retry_seconds
    return 0


def test_the_amount_can_be_used_at_once_and_comes_back_evenly(clock: list[float]) -> None:
    limit = CallerLimit("cost", "100 a minute", 100, 60)
    assert [is_refused(limit, 50), is_refused(limit, 50)] == [0, 0]
    assert is_refused(limit, 1) == 1
    clock[0] += 6
    assert is_refused(limit, 10) == 0
    assert is_refused(limit, 1)
    clock[0] += 1_000
    assert [is_refused(limit, 100), bool(is_refused(limit, 1))] == [0, True]


def test_a_request_that_is_larger_than_what_is_left_is_served_and_the_next_ones_wait_for_longer(
    clock: list[float],
) -> None:
    limit = CallerLimit("cost", "100 a minute", 100, 60)
    assert is_refused(limit, 600) == 0
    assert is_refused(limit, 1) == pytest.approx(300.6)
    clock[0] += 299
    assert is_refused(limit, 1)
    clock[0] += 2
    assert not is_refused(limit, 1)


def test_each_caller_has_a_bucket_and_a_trainer_a_larger_one(clock: list[float]) -> None:
    limit = CallerLimit("cost", "100 a minute", 100, 60)
    limit.charge("ann", 100)
    assert is_refused(limit, 1)
    assert not is_refused(limit, 1, "bob")
    for _ in range(TRAINER_FACTOR):
        limit.charge("eve", 100, is_trainer=True)
    assert is_refused(limit, 1, "eve", is_trainer=True)


def test_the_refusal_names_the_limit(clock: list[float]) -> None:
    assert clock
    limit = CallerLimit("cost", "100 tokens a minute (AI_CALLER_COST)", 1, 60)
    limit.charge("ann", 1)
    with pytest.raises(LimitReached, match=r"100 tokens a minute \(AI_CALLER_COST\)"):
        limit.charge("ann", 1)
