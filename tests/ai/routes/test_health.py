"""The readiness probe: ready with at least one task, and the reason why another does not serve."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ai_api.errors import QueueUnavailable
from ai_api.http.context import Context
from ai_api.routes import health
from ai_api.serving.task_loader import RefusedVersion

pytestmark = pytest.mark.anyio


@dataclass
class Loader:
    """Three tasks, of which some serve."""

    live: set[str]
    loading: set[str] = field(default_factory=set)
    refusals: Mapping[str, RefusedVersion] = field(default_factory=dict)
    registry_responds: bool = True
    tasks = ("a", "b", "c")

    def serving(self, name: str) -> object:
        return name if name in self.live else None

    def is_loading(self, name: str) -> bool:
        return name in self.loading

    def refused(self, name: str) -> RefusedVersion | None:
        return self.refusals.get(name)


class Jobs:
    """A queue whose newest jobs are these, newest first."""

    def __init__(self, *jobs: tuple[int, str, str], error: type[Exception] | None = None) -> None:
        self._jobs = [SimpleNamespace(id=id_, task=task, status=status) for id_, task, status in jobs]
        self._error = error

    async def list(self, **_: object) -> list[SimpleNamespace]:
        if self._error is TimeoutError:
            await asyncio.sleep(60)
        if self._error:
            raise self._error
        return self._jobs


class Outbox:
    """Holds `waiting` rows of at most ten."""

    max_rows = 10
    dead_letters = 0

    def __init__(self, waiting: int = 0) -> None:
        self._waiting = waiting

    def __len__(self) -> int:
        return self._waiting


async def probe(loader: Loader, jobs: Jobs | None = None, waiting: int = 0, *, known: bool = True) -> dict[str, Any]:
    """The body of the probe's response, with its status as `status`."""
    pieces = {
        "loader": loader,
        "jobs": jobs or Jobs(),
        "outbox": Outbox(waiting),
        "callers": SimpleNamespace(are_known=known),
        "shipper": SimpleNamespace(last_error=None),
    }
    response = await health.ready(cast("Context", SimpleNamespace(**pieces)))
    return {**json.loads(bytes(response.body)), "status": response.status_code}


async def test_all_tasks_serve() -> None:
    body = await probe(Loader({"a", "b", "c"}))
    assert (body["status"], body["ready"], body["waiting"], body["notes"]) == (200, True, [], [])
    assert (body["serving"], body["missing"]) == (["a", "b", "c"], [])


async def test_one_serving_task_is_enough_and_the_others_are_listed_with_their_jobs() -> None:
    body = await probe(Loader({"a"}), Jobs((8, "c", "waiting"), (7, "b", "running"), (3, "b", "failed")))
    assert (body["status"], body["serving"], body["missing"]) == (200, ["a"], ["b", "c"])
    assert body["notes"] == [
        "b: no version serves yet; its newest job, 7: running",
        "c: no version serves yet; its newest job, 8: waiting",
    ]


async def test_without_any_version_the_service_is_not_ready() -> None:
    body = await probe(Loader(set()))
    assert (body["status"], body["waiting"]) == (503, ["no version of any task serves yet"])


async def test_the_service_is_not_ready_before_an_existing_champion_is_loaded() -> None:
    body = await probe(Loader({"a"}, loading={"b"}))
    assert (body["status"], body["waiting"]) == (503, ["b: its champion is not loaded yet"])


async def test_a_champion_that_was_refused_is_named_with_the_reason() -> None:
    body = await probe(Loader({"a", "b"}, refusals={"c": RefusedVersion(4, "It fails on its own sample.")}))
    assert (body["status"], body["notes"]) == (200, ["c: version 4 does not serve: It fails on its own sample."])


@pytest.mark.parametrize("error", [QueueUnavailable, TimeoutError])
async def test_a_queue_that_is_away_or_slow_does_not_delay_the_probe(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "QUEUE_SECONDS", 0.01)
    body = await probe(Loader({"a", "b"}), Jobs(error=error))
    assert (body["status"], body["notes"]) == (200, ["c: no version serves yet"])


@pytest.mark.parametrize(
    ("waiting", "known", "missing"), [(10, True, "outbox is full"), (0, False, "callers cannot be checked")]
)
async def test_not_ready_when_the_outbox_is_full_or_callers_cannot_be_checked(
    waiting: int, known: bool, missing: str
) -> None:
    body = await probe(Loader({"a", "b", "c"}), waiting=waiting, known=known)
    assert body["status"] == 503
    assert missing in body["waiting"][0]
