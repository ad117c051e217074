"""The versions of one task that this process has loaded: the champion, and the last few requested by number."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ai_api.errors import AIError, ModelRefused, NoChampion, Overloaded, RegistryUnavailable, UnknownVersion
from ai_api.inference import ModelOutput
from ai_api.metrics import CHAMPION, LOAD_SECONDS, LOADS
from ai_api.registry.registry import Registry
from ai_api.registry.versions import LoadedModel
from ai_api.task import Row, Task

from .batcher import Batcher
from .model_check import check_model

log = logging.getLogger(__name__)

LARGEST_VERSION = 2**31 - 1
LONGEST_NUMBER = 11
"""Digits of a version that are converted to a number. No version has more."""
LONGEST_PAUSE_SECONDS = 60.0


@dataclass(frozen=True)
class BatchLimits:
    """Limits of each version's queue: padded cost and rows of one batch, and rows that may wait, of one caller too."""

    budget: int
    rows: int
    capacity: int
    share: int | None = None


@dataclass
class LiveVersion:
    """A loaded version: the model and its queue. A request holds it until its predictions are computed."""

    model: LoadedModel
    batcher: Batcher[Row, ModelOutput]
    since: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def number(self) -> int:
        return self.model.version.number


@dataclass(frozen=True)
class RefusedVersion:
    """A champion of the registry that does not serve here, and the reason. It is not tried again."""

    number: int
    reason: str


@dataclass(frozen=True)
class FailedLoad:
    """A version that could not be loaded for a temporary reason, and the monotonic time of the next attempt."""

    number: int
    pause: float
    retry_at: float


class TaskLoader:
    """Loads versions of one task. `keep` is how many versions stay loaded besides the champion."""

    def __init__(self, task: Task, registry: Registry, limits: BatchLimits, *, executor: Executor, keep: int) -> None:
        self.task = task
        self.champion: LiveVersion | None = None
        self.refused: RefusedVersion | None = None
        self.failed: FailedLoad | None = None
        self.was_looked_up = False
        """Whether the registry was asked at least once which version is champion."""
        self._registry = registry
        self._limits = limits
        self._executor = executor
        self._keep = keep
        self._pinned: OrderedDict[int, LiveVersion] = OrderedDict()
        self._loading: tuple[int, asyncio.Task[LiveVersion]] | None = None

    @property
    def pinned(self) -> set[int]:
        """Numbers of the loaded versions that are not champion."""
        return set(self._pinned)

    async def get(self, version: int | str | None = None) -> LiveVersion:
        """The champion, or the version with that number or alias, which is loaded now if it is not yet.

        NoChampion, UnknownVersion; Overloaded while another version of the task is being loaded.
        """
        if version is None or version == "champion":
            if self.champion is None:
                raise NoChampion
            return self.champion
        number = await self._number(version)
        if self.champion is not None and number == self.champion.number:
            return self.champion
        live = self._pinned.get(number) or await self._load_pinned(number)
        self._pinned[number] = live
        self._pinned.move_to_end(number)
        while len(self._pinned) > self._keep:
            self._pinned.popitem(last=False)
        return live

    async def _number(self, version: int | str) -> int:
        """The number that a caller's version stands for: a number, its digits, or an alias of the registry."""
        if isinstance(version, str) and version.isascii() and version.isdecimal():
            version = int(version) if len(version) <= LONGEST_NUMBER else 0
        if isinstance(version, str):
            version = (await asyncio.to_thread(self._registry.version, self.task.name, version)).number
        if not 1 <= version <= LARGEST_VERSION:
            raise UnknownVersion
        return version

    async def _load_pinned(self, number: int) -> LiveVersion:
        """Loads one requested version at a time; callers who ask for the same one share the load."""
        if self._loading is None or self._loading[1].done():
            self._loading = number, asyncio.create_task(self._load(number))
        elif self._loading[0] != number:
            raise Overloaded("Another version of this task is being loaded. Try again in a moment.")
        return await asyncio.shield(self._loading[1])

    def should_swap(self, number: int | None) -> bool:
        """Whether the registry's champion `number` has to be loaded now: it does not serve, was not refused, and its
        pause after a failed load is over.
        """
        if number is None or (self.champion is not None and self.champion.number == number):
            self.refused = None
            return False
        is_refused = self.refused is not None and self.refused.number == number
        is_early = self.failed is not None and self.failed.number == number and time.monotonic() < self.failed.retry_at
        return not is_refused and not is_early

    async def swap(self, number: int) -> set[int] | None:
        """Makes `number` the champion if its check succeeds; else the old one stays and the log names the reason.

        Returns the numbers of the versions whose files are still needed, None when nothing changed.
        """
        live = await self._try_load(number)
        if live is None:
            return None
        old, self.champion = self.champion, live
        self._pinned.pop(number, None)
        self.refused = self.failed = None
        CHAMPION.labels(self.task.name).set(number)
        log.info("%s: version %d serves%s", self.task.name, number, f", after version {old.number}" if old else "")
        return {number, *self.pinned, *([old.number] if old else [])}

    async def _try_load(self, number: int) -> LiveVersion | None:
        name = self.task.name
        try:
            return self._pinned.get(number) or await self._load(number)
        except RegistryUnavailable as error:
            log.warning("%s: version %d cannot be fetched yet: %s", name, number, error)
        except AIError as error:
            log.error("%s: version %d does not take over: %s", name, number, error)
            self.refused = RefusedVersion(number, str(error))
        except Exception as error:  # a full disk or memory, for instance: the version itself may be good
            pause = 1.0
            if self.failed is not None and self.failed.number == number:
                pause = min(self.failed.pause * 2, LONGEST_PAUSE_SECONDS)
            self.failed = FailedLoad(number, pause, time.monotonic() + pause)
            log.error("%s: version %d failed to load: %s; again in %.0f s", name, number, type(error).__name__, pause)
        return None

    async def _load(self, number: int) -> LiveVersion:
        name, started = self.task.name, time.perf_counter()
        try:
            model = await asyncio.to_thread(self._registry.load, name, number)
            await asyncio.to_thread(check_model, self.task, model)
        except Exception as error:
            LOADS.labels(name, "refused" if isinstance(error, ModelRefused) else "failed").inc()
            raise
        LOADS.labels(name, "loaded").inc()
        LOAD_SECONDS.labels(name).observe(time.perf_counter() - started)
        return LiveVersion(model, self._batcher(model))

    def _batcher(self, model: LoadedModel) -> Batcher[Row, ModelOutput]:
        limits = self._limits
        return Batcher(
            runner(model),
            task=self.task.name,
            cost=self.task.cost,
            budget=limits.budget,
            rows=limits.rows,
            capacity=limits.capacity,
            share=limits.share,
            executor=self._executor,
        )


def runner(model: LoadedModel) -> Callable[[Sequence[Row]], list[ModelOutput]]:
    """The model as a function of typed rows."""
    return lambda rows: model.predict([row.model_dump() for row in rows])
