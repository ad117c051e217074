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
    """One folder a version, `root/task/number`: `version.json`, and its files in the folder called `files`."""

    def __init__(self, root: Path, files: str) -> None:
        self._root = root
        self._files = files

    @contextmanager
    def holding(self, task: str, name: int | str) -> Iterator[Path]:
        """Alone with the folder of one version, among all threads and processes that share the cache."""
        folder = self._root / task / str(name)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with folder.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder

    def find(self, folder: Path) -> Version | None:
        """What is known of the version in a folder; None when it is not there or not whole."""
        try:
            kept = json.loads((folder / "version.json").read_text())
        except (OSError, ValueError):
            return None
        kept["created_at"] = datetime.fromisoformat(kept["created_at"])
        labels = None if kept["labels"] is None else tuple(kept["labels"])
        version = Version(**{**kept, "aliases": (), "labels": labels})
        if digest_of(folder / self._files) != version.digest:
            log.warning("the cached files of %s %s are damaged; they are fetched again", version.task, version.number)
            return None
        return version

    def keep(self, folder: Path, version: Version, fresh: Path) -> None:
        """Puts what lies in `fresh` in the place of what the folder had."""
        kept = {**asdict(version), "created_at": version.created_at.isoformat(), "aliases": []}
        (fresh / "version.json").write_text(json.dumps(kept))
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(fresh, folder)

    def forget(self, task: str, keep: Collection[int]) -> None:
        """Drops what is not in `keep`, and what a process that died left half done."""
        for folder in (self._root / task).iterdir():
            if folder.is_dir() and not (folder.name.isdecimal() and int(folder.name) in keep):
                with self.holding(task, folder.name):
                    shutil.rmtree(folder, ignore_errors=True)
