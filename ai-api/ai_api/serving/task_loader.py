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
from ai_api.process import freeze_objects
from ai_api.registry.champion_alias import ChampionAlias
from ai_api.registry.registry import Registry
from ai_api.registry.versions import LoadedModel, Version
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
    def version(self) -> Version:
        return self.model.version

    @property
    def number(self) -> int:
        return self.version.number

    @property
    def digest(self) -> str:
        return self.version.digest


@dataclass(frozen=True)
class RefusedVersion:
    """A champion of the registry that does not serve here, and the reason. It is tried again if that may change."""

    number: int
    reason: str
    registered_at: datetime | None = None
    may_change: bool = False


@dataclass(frozen=True)
class FailedLoad:
    """A version that could not be loaded for a temporary reason, and the monotonic time of the next attempt."""

    digest: str
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
        self._pinned: OrderedDict[str, LiveVersion] = OrderedDict()
        self._loading: tuple[str, asyncio.Task[LiveVersion]] | None = None
        self._registered_at: datetime | None = None

    @property
    def pinned(self) -> set[str]:
        """Digests of the loaded versions that are not champion."""
        return set(self._pinned)

    async def get(self, version: int | str | None = None) -> LiveVersion:
        """The champion, or the version with that number or alias, which is loaded now if it is not yet.

        NoChampion, UnknownVersion; ModelRefused for a version without a valid signature; Overloaded while another
        version of the task is being loaded.
        """
        if version is None or version == "champion":
            if self.champion is None:
                raise NoChampion
            return self.champion
        wanted = number_of(version)
        live = self._loaded(wanted) if isinstance(wanted, int) else None
        if live is None:
            found = await asyncio.to_thread(self._look_up, wanted)
            live = self._with_digest(found.digest) or await self._load_pinned(found)
        if live is not self.champion:
            self._pinned[live.digest] = live
            self._pinned.move_to_end(live.digest)
        while len(self._pinned) > self._keep:
            self._pinned.popitem(last=False)
        return live

    def _loaded(self, number: int) -> LiveVersion | None:
        """The loaded version of this number in the registered model that there is now."""
        for live in filter(None, (self.champion, *self._pinned.values())):
            if live.number == number and self._registered_at in (None, live.version.registered_at):
                return live
        return None

    def _with_digest(self, digest: str) -> LiveVersion | None:
        if self.champion is not None and self.champion.digest == digest:
            return self.champion
        return self._pinned.get(digest)

    def _look_up(self, number_or_alias: int | str) -> Version:
        """The version in the registry, or while MLflow does not respond the one of this number in the cache."""
        try:
            return self._registry.version(self.task.name, number_or_alias)
        except RegistryUnavailable:
            cached = isinstance(number_or_alias, int) and self._registry.cached(self.task.name, number_or_alias)
            if not cached:
                raise
            return cached

    async def _load_pinned(self, version: Version) -> LiveVersion:
        """Loads one requested version at a time; callers who ask for the same one share the load."""
        if self._loading is None or self._loading[1].done():
            self._loading = version.digest, asyncio.create_task(self._load(version))
        elif self._loading[0] != version.digest:
            raise Overloaded("Another version of this task is being loaded. Try again in a moment.")
        return await asyncio.shield(self._loading[1])

    def notice(self, registered_at: datetime | None) -> None:
        """Takes note of which registered model there is: numbers of one that was deleted mean nothing in another."""
        self._registered_at = registered_at

    async def drop_unsigned(self) -> None:
        """Stops serving each loaded version whose signature is not valid any more, since its key was revoked."""
        live = [*filter(None, (self.champion, *self._pinned.values()))]
        signed = await asyncio.to_thread(lambda: [self._registry.is_signed(each.version) for each in live])
        for each in (each for each, is_signed in zip(live, signed, strict=True) if not is_signed):
            log.error("%s: version %d stops serving: its signature is not valid any more", self.task.name, each.number)
            self._pinned.pop(each.digest, None)
            if each is self.champion:
                self.champion = None

    def should_swap(self, alias: ChampionAlias) -> bool:
        """Whether the registry's champion has to be loaded now: it does not serve and was not refused for good."""
        live = self.champion
        if alias.number is None or (
            live is not None and (live.number, live.version.registered_at) == (alias.number, alias.registered_at)
        ):
            self.refused = None
            return False
        refused = self.refused
        return (
            refused is None
            or refused.may_change
            or (refused.number, refused.registered_at) != (alias.number, alias.registered_at)
        )

    async def swap(self, version: Version) -> set[str] | None:
        """Makes the version the champion if its check succeeds; else the old one stays and the log names the reason.

        Returns the digests of the versions whose files are still needed, None when nothing changed.
        """
        live = await self._try_load(version)
        if live is None:
            return None
        old, self.champion = self.champion, live
        self._pinned.pop(live.digest, None)
        self.refused = self.failed = None
        CHAMPION.labels(self.task.name).set(live.number)
        after = f", after version {old.number}" if old else ""
        log.info("%s: version %d serves%s", self.task.name, live.number, after)
        return {live.digest, *self.pinned, *([old.digest] if old else [])}

    async def _try_load(self, version: Version) -> LiveVersion | None:
        name, number = self.task.name, version.number
        failed = self.failed if self.failed is not None and self.failed.digest == version.digest else None
        if failed is not None and time.monotonic() < failed.retry_at:
            return None
        try:
            return self._pinned.get(version.digest) or await self._load(version)
        except RegistryUnavailable as error:
            log.warning("%s: version %d cannot be fetched yet: %s", name, number, error)
        except AIError as error:
            self._refuse(version, str(error))
        except Exception as error:  # a full disk or memory, for instance: the version itself may be good
            pause = min(failed.pause * 2, LONGEST_PAUSE_SECONDS) if failed is not None else 1.0
            self.failed = FailedLoad(version.digest, pause, time.monotonic() + pause)
            log.error("%s: version %d failed to load: %s; again in %.0f s", name, number, type(error).__name__, pause)
        return None

    def _refuse(self, version: Version, reason: str) -> None:
        """The version is not tried again, unless it has no signature: it may get one."""
        may_change = not self._registry.is_signed(version)
        refused = RefusedVersion(version.number, reason, version.registered_at, may_change)
        if refused != self.refused:
            log.error("%s: version %d does not take over: %s", self.task.name, version.number, reason)
        self.refused = refused

    async def _load(self, version: Version) -> LiveVersion:
        name, started = self.task.name, time.perf_counter()
        try:
            model = await asyncio.to_thread(self._registry.load, version)
            await asyncio.to_thread(check_model, self.task, model)
            freeze_objects()
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


def number_of(version: int | str) -> int | str:
    """The number that a caller's version stands for, or the alias that it is; UnknownVersion for no possible number."""
    if isinstance(version, str) and version.isascii() and version.isdecimal():
        version = int(version) if len(version) <= LONGEST_NUMBER else 0
    if isinstance(version, int) and not 1 <= version <= LARGEST_VERSION:
        raise UnknownVersion
    return version


def runner(model: LoadedModel) -> Callable[[Sequence[Row]], list[ModelOutput]]:
    """The model as a function of typed rows."""
    return lambda rows: model.predict([row.model_dump() for row in rows])
