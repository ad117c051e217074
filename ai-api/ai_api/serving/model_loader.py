"""Follow the registry: which version of each task is champion, and swap it in once it has been loaded and checked.

The old version serves until the new one has passed its check, and stays when it fails. Requests in flight end on the
version that took them. A version that was loaded once is served from the cache while MLflow does not respond.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from pathlib import Path

from ai_api.errors import QueueUnavailable, RegistryUnavailable, UnknownTask, UnknownVersion
from ai_api.metrics import REGISTRY_FAILURES
from ai_api.registry.champion_alias import ChampionAlias
from ai_api.registry.registry import Registry
from ai_api.registry.versions import Version
from ai_api.task import Task

from .task_loader import BatchLimits, LiveVersion, RefusedVersion, TaskLoader

log = logging.getLogger(__name__)


class ModelLoader:
    """One TaskLoader for each task. `state_file` lists the champions, so that a restart does not need MLflow.

    `keep` versions of a task stay loaded besides its champion. The registry is asked every `watch_seconds`.
    `record_move` is called, in a thread, with a task whose champion was moved or removed in MLflow.
    """

    def __init__(
        self,
        tasks: Mapping[str, Task],
        registry: Registry,
        state_file: Path,
        limits: BatchLimits,
        *,
        executor: Executor,
        watch_seconds: float,
        keep: int,
        record_move: Callable[[str], object],
    ) -> None:
        self.tasks = tasks
        self.registry_responds = False
        self._registry = registry
        self._state_file = state_file
        self._watch_seconds = watch_seconds
        self._record_move = record_move
        self._recorded: dict[str, ChampionAlias] = {}
        self._loaders = {
            name: TaskLoader(task, registry, limits, executor=executor, keep=keep) for name, task in tasks.items()
        }

    async def run(self) -> None:
        """Loads the champions of the last run, then follows the registry until cancelled, each task on its own."""
        await self._restore()
        await asyncio.gather(*(self._follow_forever(loader) for loader in self._loaders.values()))

    def task(self, name: str) -> Task:
        """The task with this name; UnknownTask lists those that there are."""
        if name not in self.tasks:
            raise UnknownTask(f"There is no such task. Tasks: {', '.join(sorted(self.tasks))}.")
        return self.tasks[name]

    def serving(self, name: str) -> LiveVersion | None:
        """The champion that is loaded, if there is one."""
        return self._loaders[name].champion

    def recipe(self, name: str) -> str:
        """The recipe of the champion, or the task's first recipe."""
        live = self.serving(name)
        return live.model.version.recipe if live is not None else self.task(name).recipes[0].name

    def is_loading(self, name: str) -> bool:
        """Whether the task may have a champion that is not loaded yet, since this process has just started."""
        return not self._loaders[name].was_looked_up and self.serving(name) is None

    def refused(self, name: str) -> RefusedVersion | None:
        """The registry's champion if its check failed, with the reason."""
        return self._loaders[name].refused

    async def get(self, name: str, version: int | str | None = None) -> LiveVersion:
        """The champion of a task, or the version with that number or alias; see TaskLoader.get. UnknownTask."""
        return await self._loaders[self.task(name).name].get(version)

    async def _restore(self) -> None:
        try:
            champions: dict[str, object] = json.loads(self._state_file.read_text())
        except (OSError, ValueError):
            return
        for name, digest in champions.items():
            if name in self.tasks and self.serving(name) is None and isinstance(digest, str):
                version = await asyncio.to_thread(self._registry.cached, name, digest)
                if version is not None:
                    await self._swap(self._loaders[name], version)

    async def _follow_forever(self, loader: TaskLoader) -> None:
        while True:
            await self._follow(loader)
            loader.was_looked_up = True
            await asyncio.sleep(self._watch_seconds)

    async def _follow(self, loader: TaskLoader) -> None:
        task = loader.task.name
        await loader.drop_unsigned()
        try:
            alias = await asyncio.to_thread(self._registry.alias, task)
            loader.notice(alias.registered_at)
            if loader.should_swap(alias) and alias.number is not None:
                await self._swap(loader, await asyncio.to_thread(self._registry.version, task, alias.number))
            if alias.was_moved_in_mlflow and self._recorded.get(task) != alias:
                await asyncio.to_thread(self._record_move, task)
                self._recorded[task] = alias
        except RegistryUnavailable:
            REGISTRY_FAILURES.inc()
            if self.registry_responds:
                log.warning("MLflow does not respond; loaded versions go on serving")
            self.registry_responds = False
            return
        except UnknownVersion:
            log.warning("%s: its champion was deleted in MLflow", task)
        except QueueUnavailable:
            log.warning("%s: its champion was moved in MLflow, which cannot be recorded yet", task)
        self.registry_responds = True

    async def _swap(self, loader: TaskLoader, version: Version) -> None:
        needed = await loader.swap(version)
        if needed is not None:
            await asyncio.to_thread(self._tidy, loader.task.name, needed)

    def _tidy(self, task: str, needed: set[str]) -> None:
        """Writes the champions down for the next start, and drops the task's cached files except of versions needed."""
        champions = {name: loader.champion.digest for name, loader in self._loaders.items() if loader.champion}
        try:
            self._state_file.parent.mkdir(parents=True, exist_ok=True)
            beside = self._state_file.with_suffix(".new")
            beside.write_text(json.dumps(champions))
            beside.replace(self._state_file)
            self._registry.evict(task, needed)
        except OSError as error:
            log.error("the champions could not be written down for the next start: %s", type(error).__name__)
