"""The model registry: which versions there are, which one is the champion, and a version loaded for predictions."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Collection
from pathlib import Path

from ai_api.errors import Conflict, ModelRefused, RegistryUnavailable, UnknownVersion

from .cache import VersionCache
from .connection import MissingResource, MlflowConnection
from .entities import version_of
from .files import FOLDER, digest_of, load
from .run_log import RunLog
from .versions import LoadedModel, Version

CHAMPION = "champion"
FOREIGN = "This version was not made by one of our trainers, so it does not serve."


class Registry:
    """The registry behind one MLflow server. Every call blocks; any thread may call. `runs` logs and finds runs."""

    def __init__(
        self, url: str, username: str, password: str, cache: Path, timeout_seconds: float = 5, device: str = "auto"
    ) -> None:
        """`cache` keeps loaded versions across restarts; `device` is where neural parts run (auto, cpu, cuda)."""
        self._connection = MlflowConnection(url, username, password, timeout_seconds)
        self.runs = RunLog(self._connection)
        self._cache = VersionCache(cache, FOLDER)
        self._device = device
        self._changing = threading.Lock()

    def champion(self, task: str) -> int | None:
        """The number of the champion, or None. RegistryUnavailable when MLflow does not respond in time."""
        model = self._connection.registered_model(task)
        return int(model.aliases[CHAMPION]) if model and CHAMPION in model.aliases else None

    def previous(self, task: str) -> int | None:
        """The version that a rollback would bring back: the one that the champion replaced."""
        champion = self.champion(task)
        if champion is None:
            return None
        with self._connection.client() as client:
            replaced = client.get_model_version(task, str(champion)).tags.get("volant.replaced")
        return int(replaced) if replaced else None

    def versions(self, task: str) -> list[Version]:
        """Newest first; empty for a task that was never trained."""
        model = self._connection.registered_model(task)
        if model is None:
            return []
        with self._connection.client() as client:
            entries = client.search_model_versions(
                f"name = '{task}'", order_by=["version_number DESC"], max_results=1_000
            )
        return [version_of(entry, model) for entry in entries]

    def version(self, task: str, number_or_alias: int | str) -> Version:
        """The version of this number or alias, or UnknownVersion."""
        model = self._connection.registered_model(task)
        number = model.aliases.get(number_or_alias) if model and isinstance(number_or_alias, str) else number_or_alias
        if model is None or number is None or not str(number).isdecimal():
            raise UnknownVersion
        try:
            with self._connection.client() as client:
                return version_of(client.get_model_version(task, str(number)), model)
        except MissingResource:
            raise UnknownVersion from None

    def promote(self, task: str, number: int, expected: int | None) -> None:
        """Makes `number` the champion; Conflict unless `expected` is it now. Hold the promotion lock of the task.

        The alias moves last, in one call, so that a crash before it changes nothing.
        """
        with self._changing:
            if not self.version(task, number).trained_here:
                raise ModelRefused(FOREIGN)
            champion = self.champion(task)
            if champion != expected:
                raise Conflict(
                    f"Version {champion} of {task} is champion now, not {expected}. Look again, then decide."
                )
            if number == champion:
                return
            replaced = "" if champion is None else str(champion)
            with self._connection.client() as client:
                client.set_model_version_tag(task, str(number), "volant.replaced", replaced)
                client.set_registered_model_alias(task, CHAMPION, str(number))

    def rollback(self, task: str) -> tuple[int, int]:
        """Back to the version that the champion replaced: (from, to). Hold the promotion lock of the task."""
        with self._changing:
            champion, previous = self.champion(task), self.previous(task)
            if champion is None or previous is None:
                raise Conflict(f"{task} has no earlier champion to go back to.")
            try:
                self.version(task, previous)
            except UnknownVersion:
                raise Conflict(
                    f"Version {previous} of {task}, which served before, is not in MLflow any more."
                ) from None
            with self._connection.client() as client:
                client.set_registered_model_alias(task, CHAMPION, str(previous))
            return champion, previous

    def load(self, task: str, number: int) -> LoadedModel:
        """The version from the cache if it is complete there (MLflow is not needed then), else from MLflow.

        ModelRefused when our trainers did not make it, its files are not those logged, or it needs untrusted types.
        """
        with self._cache.locked(task, number) as folder:
            version = self._confirmed(self._cache.find(folder)) or self._fetch(task, number, folder)
            return load(folder / FOLDER, version, self._device)

    def evict(self, task: str, keep: Collection[int]) -> None:
        """Removes from the cache every version that is not in `keep`, and what an interrupted load left behind."""
        self._cache.evict(task, keep)

    def _confirmed(self, cached: Version | None) -> Version | None:
        """The cached version; None when MLflow now has other files under its number."""
        if cached is None:
            return None
        try:
            return cached if self.version(cached.task, cached.number).digest == cached.digest else None
        except RegistryUnavailable:
            return cached

    def _fetch(self, task: str, number: int, folder: Path) -> Version:
        version = self.version(task, number)
        if not version.trained_here:
            raise ModelRefused(FOREIGN)
        with tempfile.TemporaryDirectory() as fresh:
            with self._connection.client() as client:
                client.download_artifacts(version.run_id, FOLDER, fresh)
            if digest_of(Path(fresh) / FOLDER) != version.digest:
                raise ModelRefused(
                    f"The files of version {number} of {task} are not those that were logged: their digest differs."
                )
            self._cache.keep(folder, version, Path(fresh))
        return version
