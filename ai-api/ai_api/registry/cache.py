"""Versions kept on disk, so that serving starts again without MLflow. Shared by threads and processes."""

from __future__ import annotations

import fcntl
import json
import logging
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from .files import digest_of
from .versions import Version

log = logging.getLogger(__name__)


class VersionCache:
    """One folder a version, `root/task/number`, with `version.json` and the version's files in the folder `files`."""

    def __init__(self, root: Path, files: str) -> None:
        self._root = root
        self._files = files

    @contextmanager
    def locked(self, task: str, name: int | str) -> Iterator[Path]:
        """The folder of one version, locked against all other threads and processes that share the cache."""
        folder = self._root / task / str(name)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with folder.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder

    def find(self, folder: Path) -> Version | None:
        """The version in a folder; None when it is missing, incomplete or damaged."""
        try:
            cached = json.loads((folder / "version.json").read_text())
        except (OSError, ValueError):
            return None
        cached["created_at"] = datetime.fromisoformat(cached["created_at"])
        labels = None if cached["labels"] is None else tuple(cached["labels"])
        version = Version(**{**cached, "aliases": (), "labels": labels})
        if digest_of(folder / self._files) != version.digest:
            log.warning("the cached files of %s %s are damaged; they are fetched again", version.task, version.number)
            return None
        return version

    def keep(self, folder: Path, version: Version, fresh: Path) -> None:
        """Replaces the folder's content by that of `fresh`."""
        content = {**asdict(version), "created_at": version.created_at.isoformat(), "aliases": []}
        (fresh / "version.json").write_text(json.dumps(content))
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(fresh, folder)

    def evict(self, task: str, keep: Collection[int]) -> None:
        """Deletes every folder of the task but those in `keep`, incomplete ones of interrupted loads included."""
        for folder in (self._root / task).iterdir():
            if folder.is_dir() and not (folder.name.isdecimal() and int(folder.name) in keep):
                with self.locked(task, folder.name):
                    shutil.rmtree(folder, ignore_errors=True)
