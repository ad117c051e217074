"""Versions kept on disk by digest, so that serving starts again without MLflow. Shared by threads and processes."""

from __future__ import annotations

import fcntl
import json
import re
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from ai_api.errors import ModelRefused

from .signatures import Signature
from .versions import Version

DIGEST = re.compile(r"[0-9a-f]{64}")


class VersionCache:
    """One folder a version, `root/task/digest`, with `version.json` and the version's files in the folder `files`."""

    def __init__(self, root: Path, files: str) -> None:
        self._root = root
        self._files = files

    @contextmanager
    def locked(self, task: str, digest: str) -> Iterator[Path]:
        """The folder of one version, locked against all other threads and processes that share the cache."""
        folder = self._folder(task, digest)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with folder.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder

    def find(self, task: str, digest: str) -> Version | None:
        """The version of this digest; None when it is missing or incomplete. Its files are not checked here."""
        return self._read(self._folder(task, digest))

    def numbered(self, task: str, number: int) -> Version | None:
        """The version that had this number when it was last fetched."""
        folders = (self._root / task).glob("*/version.json")
        found = [version for path in folders if (version := self._read(path.parent)) and version.number == number]
        return max(found, key=lambda version: (version.registered_at, version.created_at), default=None)

    def keep(self, folder: Path, version: Version, fresh: Path) -> None:
        """Replaces the folder's content by that of `fresh`."""
        times = {name: getattr(version, name).isoformat() for name in ("created_at", "registered_at")}
        (fresh / "version.json").write_text(json.dumps({**asdict(version), **times, "aliases": []}))
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(fresh, folder)

    def evict(self, task: str, keep: Collection[str]) -> None:
        """Deletes every folder of the task but those in `keep`, incomplete ones of interrupted loads included."""
        for folder in (self._root / task).iterdir():
            if folder.is_dir() and folder.name not in keep:
                with folder.with_suffix(".lock").open("w") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX)
                    shutil.rmtree(folder, ignore_errors=True)

    def _folder(self, task: str, digest: str) -> Path:
        if not DIGEST.fullmatch(digest):
            raise ModelRefused("Its digest is no sha256 in hexadecimal digits.")
        return self._root / task / digest

    def _read(self, folder: Path) -> Version | None:
        try:
            cached = json.loads((folder / "version.json").read_text())
            for name in ("created_at", "registered_at"):
                cached[name] = datetime.fromisoformat(cached[name])
            cached["labels"] = None if cached["labels"] is None else tuple(cached["labels"])
            cached["signature"] = Signature.parse(json.dumps(cached["signature"]))
            return Version(**{**cached, "aliases": ()})
        except (OSError, ValueError, KeyError, TypeError):
            return None
