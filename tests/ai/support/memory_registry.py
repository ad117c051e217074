"""A registry in memory, with the methods that serving and promotions call."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from ai_api.errors import Conflict, RegistryUnavailable, UnknownVersion
from ai_api.registry.champion_alias import ChampionAlias
from ai_api.registry.registry import Move
from ai_api.registry.signatures import Signature, unsigned
from ai_api.registry.versions import LoadedModel, Version


class MemoryRegistry:
    """Versions by number, of one or more tasks; each number belongs to one task. `aliases`: the champion of each task.

    `is_away`: MLflow does not respond, and only versions in `cached_numbers` can be loaded. `is_disk_full`: loading
    fails. `unsigned`: digests of versions without a valid signature. `recorded`: champions by Volant's record, where
    they are not those of `aliases`.
    """

    def __init__(self) -> None:
        self.models: dict[int, LoadedModel] = {}
        self.aliases: dict[str, int] = {}
        self.recorded: dict[str, int | None] = {}
        self.replaced: dict[int, int | None] = {}
        self.is_away = False
        self.is_disk_full = False
        self.cached_numbers: set[int] = set()
        self.unsigned: set[str] = set()
        self.loads: list[int] = []
        self.kept: set[str] = set()

    def add(self, model: LoadedModel, *, champion: bool = False) -> None:
        """Registers a version, as champion of its task if wanted."""
        self.models[model.version.number] = model
        if champion:
            self.aliases[model.version.task] = model.version.number

    def alias(self, task: str) -> ChampionAlias:
        self._respond()
        number = self.aliases.get(task)
        of_task = (model.version.registered_at for model in self.models.values() if model.version.task == task)
        return ChampionAlias(number, self.recorded.get(task, number), None, max(of_task, default=None))

    def champion(self, task: str) -> int | None:
        return self.alias(task).number

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

    def is_signed(self, version: Version) -> bool:
        return version.digest not in self.unsigned

    def sign(self, version: Version, by: str, check: Callable[[LoadedModel], None]) -> Version:
        model = self.models[version.number]
        check(model)
        signed = replace(version, signature=Signature("kid", "today", by, "value"))
        self.models[version.number] = replace(model, version=signed)
        self.unsigned.discard(version.digest)
        return signed

    def promote(self, task: str, number: int, expected: int | None) -> None:
        if not self.is_signed(self.version(task, number)):
            raise unsigned(task, number)
        if self.champion(task) != expected:
            raise Conflict
        if number != expected:
            self.replaced[number], self.aliases[task] = expected, number

    def rollback(self, task: str) -> tuple[int | None, int]:
        champion = self.champion(task)
        previous = None if champion is None else self.replaced.get(champion)
        if champion is None or previous is None:
            raise Conflict
        self.aliases[task] = previous
        return champion, previous

    def moved(self, task: str) -> Move | None:
        alias = self.alias(task)
        if not alias.was_moved_in_mlflow:
            return None
        if alias.number is None:
            return Move(None, alias.recorded)
        version = self.version(task, alias.number)
        return Move(version, alias.recorded) if self.is_signed(version) else None

    def record_move(self, task: str, move: Move) -> None:
        self.recorded[task] = move.version.number if move.version else None

    def load(self, version: Version) -> LoadedModel:
        if self.is_away and version.number not in self.cached_numbers:
            raise RegistryUnavailable
        if self.is_disk_full:
            raise OSError("no space left on device")
        self.loads.append(version.number)
        if not self.is_signed(version):
            raise unsigned(version.task, version.number)
        return self.models[version.number]

    def cached(self, task: str, digest_or_number: str | int) -> Version | None:
        known = [model.version for number, model in self.models.items() if number in self.cached_numbers]
        return next((v for v in known if v.task == task and digest_or_number in (v.digest, v.number)), None)

    def evict(self, task: str, keep: Collection[str]) -> None:
        self.kept = set(keep)

    def _respond(self) -> None:
        if self.is_away:
            raise RegistryUnavailable
