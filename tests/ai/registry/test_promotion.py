"""A change of champion: one lock, one event, in this order."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import cast

import pytest

from ai_api.errors import Conflict
from ai_api.registry.promotion import Promotions
from ai_api.registry.registry import Registry
from ai_api.registry.versions import Version


def version(number: int) -> Version:
    return Version(
        task="tweets", number=number, run_id=f"run {number}", recipe="logreg", created_at=datetime.now(UTC), aliases=(),
        metrics={"macro_recall": 0.7}, labels=None, synthetic=False, row_version=1, data_hash="", digest="",
        registered_at=datetime.now(UTC),
    )  # fmt: skip


class MemoryRegistry:
    """The aliases of one task. Every change is a step."""

    def __init__(self, steps: list[str]) -> None:
        self.champions: list[int] = []
        self._steps = steps

    def promote(self, task: str, number: int, expected: int | None) -> None:
        if expected != (self.champions[-1] if self.champions else None):
            raise Conflict
        self._steps.append(f"{task} {number}")
        self.champions.append(number)

    def rollback(self, task: str) -> tuple[int, int]:
        before = self.champions.pop()
        self._steps.append(f"{task} {self.champions[-1]}")
        return before, self.champions[-1]


@pytest.fixture
def steps() -> list[str]:
    return []


@pytest.fixture
def events() -> list[Mapping[str, object]]:
    return []


@pytest.fixture
def promotions(steps: list[str], events: list[Mapping[str, object]]) -> Promotions:
    @contextlib.contextmanager
    def lock(task: str) -> Iterator[None]:
        steps.append(f"lock {task}")
        try:
            yield
        finally:
            steps.append(f"unlock {task}")

    def announce(event: Mapping[str, object]) -> None:
        steps.append("event")
        events.append(event)

    return Promotions(cast("Registry", MemoryRegistry(steps)), lock, announce)


def test_a_promotion_is_announced_before_the_lock_is_released(
    promotions: Promotions, steps: list[str], events: list[Mapping[str, object]]
) -> None:
    promotions.promote(version(1), None, reason="first version", actor="gate", event_id="the id")
    assert steps == ["lock tweets", "tweets 1", "event", "unlock tweets"]
    assert events == [
        {
            "id": "the id",
            "task": "tweets",
            "version": 1,
            "previous": None,
            "action": "promote",
            "reason": "first version",
            "metrics": {"macro_recall": 0.7},
            "actor": "gate",
            "run_id": "run 1",
        }
    ]


def test_a_promotion_that_is_refused_is_not_announced(promotions: Promotions, steps: list[str]) -> None:
    with pytest.raises(Conflict):
        promotions.promote(version(2), 1, reason="better", actor="ann")
    assert steps == ["lock tweets", "unlock tweets"]


def test_promoting_the_champion_again_is_not_announced(promotions: Promotions, steps: list[str]) -> None:
    promotions.promote(version(1), None, reason="first version", actor="gate")
    promotions.promote(version(1), 1, reason="again", actor="ann")
    assert steps.count("event") == 1


def test_a_rollback_is_announced_with_both_versions(
    promotions: Promotions, steps: list[str], events: list[Mapping[str, object]]
) -> None:
    promotions.promote(version(1), None, reason="first version", actor="gate")
    promotions.promote(version(2), 1, reason="better", actor="ann")
    assert promotions.rollback("tweets", reason="complaints", actor="ann") == (2, 1)
    assert steps[-4:] == ["lock tweets", "tweets 1", "event", "unlock tweets"]
    rolled_back = {name: value for name, value in events[-1].items() if name != "id"}
    assert rolled_back == {
        "task": "tweets",
        "version": 1,
        "previous": 2,
        "action": "rollback",
        "reason": "complaints",
        "metrics": {},
        "actor": "ann",
        "run_id": None,
    }
    assert len({event["id"] for event in events}) == 3
