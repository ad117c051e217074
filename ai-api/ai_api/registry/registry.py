"""The model registry: which versions there are, which one is the champion, and a version loaded for predictions.

A version is loaded only with a valid signature. Its identity is the digest of its files, never its number alone.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

from ai_api.errors import Conflict, ModelRefused, UnknownVersion

from .cache import VersionCache
from .champion_alias import ChampionAlias, ChampionAliases
from .connection import MissingResource, MlflowConnection
from .entities import signature_tags, version_of
from .files import FOLDER, VersionFiles
from .run_log import RunLog
from .signatures import PublicKeys, SigningKey, unsigned
from .versions import LoadedModel, Version


@dataclass(frozen=True)
class Move:
    """A champion that was changed in MLflow: the one there now, None when the alias is gone, and the one before."""

    version: Version | None
    before: int | None


class Registry:
    """The registry behind one MLflow server. Every call blocks; any thread may call. `runs` logs and finds runs."""

    def __init__(
        self,
        url: str,
        username: str,
        password: str,
        cache: Path,
        *,
        keys: PublicKeys,
        signer: SigningKey | None = None,
        timeout_seconds: float = 5,
        device: str = "auto",
    ) -> None:
        """`cache` keeps loaded versions across restarts. `keys` verify signatures; `signer`, a trainer's key or the one
        for an admin's promotions, makes them. `device` is where neural parts run (auto, cpu, cuda).
        """
        self._connection = MlflowConnection(url, username, password, timeout_seconds)
        self.runs = RunLog(self._connection, signer)
        self._aliases = ChampionAliases(self._connection)
        self._cache = VersionCache(cache, FOLDER)
        self._keys = keys
        self._signer = signer
        self._device = device
        self._changing = threading.Lock()

    def alias(self, task: str) -> ChampionAlias:
        """Where the champion alias is. RegistryUnavailable when MLflow does not respond in time."""
        return self._aliases.read(task)

    def champion(self, task: str) -> int | None:
        """The number of the champion, or None. RegistryUnavailable when MLflow does not respond in time."""
        return self.alias(task).number

    def previous(self, task: str) -> int | None:
        """The version that a rollback would bring back: the one that served before the champion."""
        return self._previous(task, self.alias(task))

    def replaced_by(self, task: str, number: int) -> int | None:
        """The champion that a version replaced when it was promoted; None when it replaced none."""
        return self._aliases.replaced_by(task, number)

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

    def is_signed(self, version: Version) -> bool:
        """Whether a key that is not revoked has signed it. Nothing is read from MLflow."""
        return self._keys.has_signed(version.signature, version.statement)

    def promote(self, task: str, number: int, expected: int | None) -> None:
        """Makes `number` the champion; Conflict unless `expected` is it now. Hold the promotion lock of the task.

        The alias moves last, in one call, so that a crash before it changes nothing.
        """
        with self._changing:
            if not self.is_signed(self.version(task, number)):
                raise unsigned(task, number)
            champion = self.champion(task)
            if champion != expected:
                raise Conflict(
                    f"Version {champion} of {task} is champion now, not {expected}. Look again, then decide."
                )
            if number != champion:
                self._aliases.set_replaced(task, number, champion)
                self._aliases.move(task, number)

    def rollback(self, task: str) -> tuple[int | None, int]:
        """Back to the version that served before: (from, to). Hold the promotion lock of the task.

        After the alias was moved or removed in MLflow, that is the champion of Volant's own record.
        """
        with self._changing:
            alias = self.alias(task)
            previous = self._previous(task, alias)
            if previous is None:
                raise Conflict(f"{task} has no earlier champion to go back to.")
            try:
                is_signed = self.is_signed(self.version(task, previous))
            except UnknownVersion:
                raise Conflict(
                    f"Version {previous} of {task}, which served before, is not in MLflow any more."
                ) from None
            if not is_signed:
                raise unsigned(task, previous)
            self._aliases.move(task, previous)
            return alias.number, previous

    def moved(self, task: str) -> Move | None:
        """How the champion was moved or removed in MLflow since Volant's last record. Hold the promotion lock.

        None when it was not, or was moved to a version without a signature, which does not serve.
        """
        alias = self.alias(task)
        if not alias.was_moved_in_mlflow:
            return None
        if alias.number is None:
            return Move(None, alias.recorded)
        version = self.version(task, alias.number)
        return Move(version, alias.recorded or alias.removed) if self.is_signed(version) else None

    def record_move(self, task: str, move: Move) -> None:
        """Makes a move in MLflow part of Volant's record, so that a rollback undoes it. Hold the promotion lock."""
        with self._changing:
            if move.version is not None:
                self._aliases.set_replaced(task, move.version.number, move.before)
                self._aliases.record(task, move.version.number)
            elif move.before is not None:
                self._aliases.record_removal(task, move.before)

    def sign(self, version: Version, by: str, check: Callable[[LoadedModel], None]) -> Version:
        """The version, signed after its files, its classes and `check` have passed; ModelRefused when one does not.

        Without a digest of its own, as a version has that no trainer of Volant made, it gets the digest of its files.
        """
        if self._signer is None:
            raise ModelRefused("This process has no key to sign versions with.")
        with tempfile.TemporaryDirectory() as fresh:
            files = self._download(version, Path(fresh))
            if version.digest and files.digest != version.digest:
                raise changed(version)
            check(files.load(version, self._device))
        version = replace(version, digest=files.digest)
        signature = self._signer.sign(version.statement, by)
        with self._connection.client() as client:
            for name, value in signature_tags(files.digest, signature).items():
                client.set_model_version_tag(version.task, str(version.number), name, value)
        return replace(version, signature=signature)

    def record_champion(self, task: str, number: int) -> None:
        """Takes the champion that the alias names now as one that Volant made, as releases without a record did."""
        self._aliases.record(task, number)

    def load(self, version: Version) -> LoadedModel:
        """The version from the cache if it is complete there (MLflow is not needed then), else from MLflow.

        ModelRefused when no valid signature covers it, or its files are not those that were signed.
        """
        if not self.is_signed(version):
            raise unsigned(version.task, version.number)
        with self._cache.locked(version.task, version.digest) as folder:
            files = self._cached_files(version, folder) or self._fetch(version, folder)
            # One at a time: numpy reads the head of an array by Python's compiler, which threads may not share.
            return files.load(version, self._device)

    def cached(self, task: str, digest_or_number: str | int) -> Version | None:
        """A version whose files are in the cache, by its digest or by the number that it had."""
        if isinstance(digest_or_number, int):
            return self._cache.numbered(task, digest_or_number)
        return self._cache.find(task, digest_or_number)

    def evict(self, task: str, keep: Collection[str]) -> None:
        """Removes from the cache every version whose digest is not in `keep`, and what an interrupted load left."""
        self._cache.evict(task, keep)

    def _previous(self, task: str, alias: ChampionAlias) -> int | None:
        if alias.number is None:
            return alias.recorded or alias.removed
        if alias.recorded is not None and alias.was_moved_in_mlflow:
            return alias.recorded
        return self._aliases.replaced_by(task, alias.number)

    def _cached_files(self, version: Version, folder: Path) -> VersionFiles | None:
        """The files of the cache; None when they are missing or not those of the digest."""
        if self._cache.find(version.task, version.digest) is None:
            return None
        try:
            files = VersionFiles.read(folder / FOLDER)
        except (OSError, ModelRefused):
            return None
        return files if files.digest == version.digest else None

    def _fetch(self, version: Version, folder: Path) -> VersionFiles:
        with tempfile.TemporaryDirectory() as fresh:
            files = self._download(version, Path(fresh))
            if files.digest != version.digest:
                raise changed(version)
            self._cache.keep(folder, version, Path(fresh))
        return files

    def _download(self, version: Version, folder: Path) -> VersionFiles:
        with self._connection.client() as client:
            client.download_artifacts(version.run_id, FOLDER, str(folder))
        return VersionFiles.read(folder / FOLDER)


def changed(version: Version) -> ModelRefused:
    """The error for files with another digest than the version's."""
    return ModelRefused(
        f"The files of version {version.number} of {version.task} are not those that were logged: their digest differs."
    )
