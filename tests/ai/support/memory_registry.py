"""A registry in memory, with the methods that serving and promotions call."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from ai_api.errors import Conflict, RegistryUnavailable, UnknownVersion
from ai_api.registry.versions import LoadedModel, Version


class MemoryRegistry:
    """Versions by number, of one or more tasks; each number belongs to one task. `aliases`: the champion of each task.

    `is_away`: MLflow does not respond, and only versions in `cached` can be loaded. `is_disk_full`: loading fails.
    """

    def __init__(self) -> None:
        self.models: dict[int, LoadedModel] = {}
        self.aliases: dict[str, int] = {}
        self.replaced: dict[int, int | None] = {}
        self.is_away = False
        self.is_disk_full = False
        self.cached: set[int] = set()
        self.loads: list[int] = []
        self.kept: set[int] = set()

    def add(self, model: LoadedModel, *, champion: bool = False) -> None:
        """Registers a version, as champion of its task if wanted."""
        self.models[model.version.number] = model
        if champion:
            self.aliases[model.version.task] = model.version.number

    def champion(self, task: str) -> int | None:
        self._respond()
        return self.aliases.get(task)

    def version(self, task: str, number_or_alias: int | str) -> Version:
        self._respond()
        number = self.champion(task) if number_or_alias == "champion" else number_or_alias
        model = self.models.get(number) if isinstance(number, int) else None
        if model is None or model.version.task != task:
            raise UnknownVersion
        aliases = ("champion",) if self.aliases.get(task) == number else ()
        return replace(model.version, aliases=aliases)

    def versions(self, task: str) -> list[Version]:
        self._respond()
        numbers = sorted(model.version.number for model in self.models.values() if model.version.task == task)
        return [self.version(task, number) for number in reversed(numbers)]

    def promote(self, task: str, number: int, expected: int | None) -> None:
        self.version(task, number)
        if self.champion(task) != expected:
            raise Conflict
        if number != expected:
            self.replaced[number], self.aliases[task] = expected, number

    def rollback(self, task: str) -> tuple[int, int]:
        champion = self.champion(task)
        previous = None if champion is None else self.replaced.get(champion)
        if champion is None or previous is None:
            raise Conflict
        self.aliases[task] = previous
        return champion, previous

    def load(self, task: str, number: int) -> LoadedModel:
        if self.is_away and number not in self.cached:
            raise RegistryUnavailable
        if self.is_disk_full:
            raise OSError("no space left on device")
        self.loads.append(number)
        if number not in self.models:
            raise UnknownVersion
        return self.models[number]

    def evict(self, task: str, keep: Collection[int]) -> None:
        self.kept = set(keep)

    def _respond(self) -> None:
        if self.is_away:
            raise RegistryUnavailable
