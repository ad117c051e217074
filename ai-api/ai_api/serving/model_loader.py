"""Load a version, warm it, compare it with its recorded sample, then swap; and watch which one is champion.

The old version serves until the new one has proved itself, and stays when it has not. Requests in flight end on the
version that took them, because they hold it. What was loaded once is served from the cache while MLflow is away.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from ai_api.errors import (
    AIError,
    ModelRefused,
    NoChampion,
    Overloaded,
    RegistryUnavailable,
    UnknownTask,
    UnknownVersion,
)
from ai_api.inference import ModelOutput
from ai_api.metrics import CHAMPION, LOAD_SECONDS, LOADS, REGISTRY_FAILURES
from ai_api.registry.registry import Registry
from ai_api.registry.versions import LoadedModel
from ai_api.task import Row, Task

from .batcher import Batcher

log = logging.getLogger(__name__)

SCORE_TOLERANCE = 0.02
"""Largest difference of a score from the recorded one: processors round differently, a wrong model is further off."""
LARGEST_VERSION = 2**31 - 1
LONGEST_PAUSE_SECONDS = 60.0
VALUE_TOLERANCE = 0.001
"""Largest relative difference of a regression's value from the recorded one."""


@dataclass(frozen=True)
class BatchLimits:
    """How much may wait for a version and how much goes into one call of it."""

    budget: int
    rows: int
    capacity: int


@dataclass(frozen=True)
class FailedLoad:
    """A version that could not be loaded for a reason that may pass, and when it is tried again."""

    number: int
    pause: float
    again_at: float


@dataclass
class LiveVersion:
    """A version that answers: the model and its queue."""

    model: LoadedModel
    batcher: Batcher[Row, ModelOutput]
    since: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def number(self) -> int:
        return self.model.version.number


class ModelLoader:
    """The versions that answer now: the champion of each task, and the last few that somebody asked for by number."""

    def __init__(
        self,
        tasks: Mapping[str, Task],
        registry: Registry,
        memory: Path,
        limits: BatchLimits,
        *,
        executor: Executor,
        watch_seconds: float,
        keep: int,
    ) -> None:
        self.tasks = tasks
        self._registry = registry
        self._memory = memory
        self._limits = limits
        self._executor = executor
        self._watch_seconds = watch_seconds
        self._keep = keep
        self._champions: dict[str, LiveVersion] = {}
        self._others: dict[str, OrderedDict[int, LiveVersion]] = {name: OrderedDict() for name in tasks}
        self._loading: dict[str, tuple[int, asyncio.Task[LiveVersion]]] = {}
        self._refused: dict[str, tuple[int, str]] = {}
        self._failed: dict[str, FailedLoad] = {}
        self._looked: set[str] = set()
        self.registry_answers = False

    async def run(self) -> None:
        """Serves what served last, then follows the registry until cancelled, each task for itself."""
        await self._restore()
        await asyncio.gather(*(self._follow_forever(name) for name in self.tasks))

    def task(self, name: str) -> Task:
        if name not in self.tasks:
            raise UnknownTask(f"There is no such task. Tasks: {', '.join(sorted(self.tasks))}.")
        return self.tasks[name]

    def serving(self, name: str) -> LiveVersion | None:
        """What serves `name` now, if anything does."""
        return self._champions.get(name)

    def recipe(self, name: str) -> str:
        """The recipe of what serves `name`, or the task's first."""
        live = self.serving(name)
        return live.model.version.recipe if live is not None else self.task(name).recipes[0].name

    def is_loading(self, name: str) -> bool:
        """Whether `name` may have a champion that this process has not got to yet: it has just started."""
        return name not in self._looked and self.serving(name) is None

    def refused(self, name: str) -> tuple[int, str] | None:
        """The champion that the registry names but that was not let in, and why."""
        return self._refused.get(name)

    async def get(self, name: str, version: int | str | None = None) -> LiveVersion:
        """The live version: the champion, or the one with that number or alias, loaded now if need be."""
        if version is None or version == "champion":
            live = self.serving(self.task(name).name)
            if live is None:
                raise NoChampion
            return live
        task = self.task(name)
        if isinstance(version, str) and version.isascii() and version.isdecimal():
            version = int(version[:11])
        if isinstance(version, str):
            version = (await asyncio.to_thread(self._registry.version, name, version)).number
        if not 1 <= version <= LARGEST_VERSION:
            raise UnknownVersion
        champion = self.serving(name)
        if champion is not None and version == champion.number:
            return champion
        others = self._others[name]
        live = others.get(version) or await self._load_pinned(task, version)
        others[version] = live
        others.move_to_end(version)
        while len(others) > self._keep:
            others.popitem(last=False)
        return live

    async def _load_pinned(self, task: Task, version: int) -> LiveVersion:
        """Loads a version that somebody asked for: one at a time per task, shared by all who ask for the same."""
        number, loading = self._loading.get(task.name, (None, None))
        if loading is None or loading.done():
            loading = asyncio.create_task(self._load(task, version))
            self._loading[task.name] = (version, loading)
        elif number != version:
            raise Overloaded("Another version of this task is being loaded. Try again in a moment.")
        return await asyncio.shield(loading)

    async def _restore(self) -> None:
        try:
            known: dict[str, int] = json.loads(self._memory.read_text())
        except (OSError, ValueError):
            return
        for name, number in known.items():
            if name in self.tasks and self.serving(name) is None:
                await self._swap(self.tasks[name], number)

    async def _follow_forever(self, name: str) -> None:
        while True:
            await self._follow(name)
            self._looked.add(name)
            await asyncio.sleep(self._watch_seconds)

    async def _follow(self, name: str) -> None:
        try:
            number = await asyncio.to_thread(self._registry.champion, name)
        except RegistryUnavailable:
            REGISTRY_FAILURES.inc()
            if self.registry_answers:
                log.warning("MLflow does not answer; what is loaded goes on serving")
            self.registry_answers = False
            return
        self.registry_answers = True
        current = self._champions.get(name)
        if number is None or (current is not None and current.number == number):
            self._refused.pop(name, None)
            return
        failed = self._failed.get(name)
        is_early = failed is not None and failed.number == number and time.monotonic() < failed.again_at
        if self._refused.get(name, (None, ""))[0] != number and not is_early:
            await self._swap(self.tasks[name], number)

    async def _swap(self, task: Task, number: int) -> None:
        """Lets version `number` take over if it answers as recorded; else the old one stays, and the log says why."""
        try:
            live = self._others[task.name].get(number) or await self._load(task, number)
        except RegistryUnavailable as error:
            log.warning("%s: version %d cannot be fetched yet: %s", task.name, number, error)
            return
        except AIError as error:
            log.error("%s: version %d does not take over: %s", task.name, number, error)
            self._refused[task.name] = (number, str(error))
            return
        except Exception as error:  # the disk or the memory is full, say: no verdict on the version
            before = self._failed.get(task.name)
            pause = min(before.pause * 2, LONGEST_PAUSE_SECONDS) if before and before.number == number else 1.0
            self._failed[task.name] = FailedLoad(number, pause, time.monotonic() + pause)
            log.error(
                "%s: version %d failed to load: %s; again in %.0f s", task.name, number, type(error).__name__, pause
            )
            return
        old = self._champions.get(task.name)
        self._champions[task.name] = live
        self._others[task.name].pop(number, None)
        self._refused.pop(task.name, None)
        self._failed.pop(task.name, None)
        CHAMPION.labels(task.name).set(number)
        log.info("%s: version %d serves%s", task.name, number, f", after version {old.number}" if old else "")
        keep = {number, *self._others[task.name], *([old.number] if old else [])}
        await asyncio.to_thread(self._tidy, task.name, keep)

    async def _load(self, task: Task, number: int) -> LiveVersion:
        started = time.perf_counter()
        try:
            model = await asyncio.to_thread(self._registry.load, task.name, number)
            await asyncio.to_thread(check, task, model)
        except AIError as error:
            LOADS.labels(task.name, "refused" if isinstance(error, ModelRefused) else "failed").inc()
            raise
        except Exception:
            LOADS.labels(task.name, "failed").inc()
            raise
        LOADS.labels(task.name, "loaded").inc()
        LOAD_SECONDS.labels(task.name).observe(time.perf_counter() - started)
        limits = self._limits
        batcher = Batcher[Row, ModelOutput](
            runner(model),
            task=task.name,
            cost=task.cost,
            budget=limits.budget,
            rows=limits.rows,
            capacity=limits.capacity,
            executor=self._executor,
        )
        return LiveVersion(model, batcher)

    def _tidy(self, task: str, keep: set[int]) -> None:
        """Remembers what serves, for the next start, and drops the cached files of versions that nobody needs here."""
        try:
            self._memory.parent.mkdir(parents=True, exist_ok=True)
            beside = self._memory.with_suffix(".new")
            beside.write_text(json.dumps({name: live.number for name, live in self._champions.items()}))
            beside.replace(self._memory)
            self._registry.evict(task, keep)
        except OSError as error:
            log.error("what serves could not be noted for the next start: %s", type(error).__name__)


def runner(model: LoadedModel) -> Callable[[Sequence[Row]], list[ModelOutput]]:
    return lambda rows: model.predict([row.model_dump() for row in rows])


def check(task: Task, model: LoadedModel) -> None:
    """Warms the model, row by row and in a batch, and holds both against the answers recorded when it was trained.

    ModelRefused when its rows are not this task's rows any more, or an answer differs by more than the tolerances.
    """
    if model.version.row_version != task.row_version:
        schemas = f"{model.version.row_version}, this release's have {task.row_version}"
        raise ModelRefused(f"Its rows have schema {schemas}. Retrain the task.")
    rows = [row for row, _ in model.sample]
    if not rows:
        raise ModelRefused("It carries no sample to compare its answers with.")
    recorded = [answer for _, answer in model.sample]
    try:
        for row in rows:
            task.row.model_validate(row)
        alone = [model.predict([row])[0] for row in rows[:4]]
        together = model.predict(rows)
    except Exception as error:
        raise ModelRefused(f"It fails on its own sample: {type(error).__name__}.") from error
    for got, want in (*zip(together, recorded, strict=True), *zip(alone, recorded, strict=False)):
        if not agree(got, want):
            raise ModelRefused("It does not answer its own sample as recorded when it was trained.")


def agree(got: Mapping[str, object], want: Mapping[str, object]) -> bool:
    """Whether two answers are the same but for rounding; so a label can differ only where its score is a tie."""
    if "value" in want:
        return math.isclose(
            as_number(got["value"]), as_number(want["value"]), rel_tol=VALUE_TOLERANCE, abs_tol=VALUE_TOLERANCE
        )
    here, there = got["probabilities"], want["probabilities"]
    if not isinstance(here, Mapping) or not isinstance(there, Mapping) or here.keys() != there.keys():
        return False
    return all(abs(as_number(here[label]) - as_number(there[label])) <= SCORE_TOLERANCE for label in there)


def as_number(found: object) -> float:
    if not isinstance(found, int | float):
        raise ModelRefused("An answer of it is not a number.")
    return float(found)
