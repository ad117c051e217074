"""Images that callers sent, stored once by the hash of their bytes, with a reference for each person and task.

    bytes/<ab>/<digest>              the bytes; <ab> are the digest's first two digits
    owners/<owner>/<task>/<digest>   an empty file, the reference: rows of this person and task refer to those bytes.
                                     Its modification time is that of the last such row. Volant 0.1 had no folder
                                     for the task: references directly under <owner> count for all tasks.

The reference is written before the bytes and deleted after them. So a process that is killed midway may leave a
reference without bytes, which is harmless, but never bytes without a reference, which could not be erased. Any process
may call at any time, and every call blocks.
"""

from __future__ import annotations

import hashlib
import logging
import re
import uuid
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import partial
from itertools import chain

from fsspec.core import url_to_fs

from ai_api.errors import AIError, BlobsUnavailable, ConfigurationError

from .reference import ImageRef

log = logging.getLogger(__name__)

DIGEST = re.compile(r"[0-9a-f]{64}")
NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")
CHUNK = 500
"""Images erased between two readings of all references."""
ATTEMPTS = 100
"""How often an image is written anew while other processes erase it."""


class Blobs:
    """The store at `url`: a folder, or any URL that fsspec has a driver for (`s3://bucket/folder`).

    BlobsUnavailable when it does not respond or is full.
    """

    def __init__(self, url: str) -> None:
        local = {"auto_mkdir": True} if "://" not in url else {}
        try:
            self._fs, self._root = url_to_fs(url, use_listings_cache=False, **local)
        except (ImportError, ValueError) as error:
            raise ConfigurationError(f"AI_BLOBS_URL names a store that cannot be opened here: {error}") from error

    def put(self, image: ImageRef, owner: str, task: str) -> None:
        """Stores the image for this person's rows of a task; returns when it is there."""
        reference, stored = f"{self._of(owner)}/{_safe(task, 'a task')}/{image.digest}", self._bytes(image.digest)
        with _storing():
            for _ in range(ATTEMPTS):
                self._fs.pipe_file(reference, b"")
                if not self._fs.exists(stored) and not self._write(stored, image.read()):
                    continue
                if self._fs.exists(reference):  # else it was erased meanwhile, and perhaps the bytes too
                    return
            raise BlobsUnavailable

    def get(self, digest: str) -> ImageRef | None:
        """The image, whose bytes are read on demand; None when it is not stored (any more)."""
        if not DIGEST.fullmatch(digest):
            return None
        with _storing():
            return ImageRef(digest, partial(self._read, digest)) if self._fs.exists(self._bytes(digest)) else None

    def is_owned_by(self, digest: str, owner: str) -> bool:
        """Whether this person sent the image and it is not erased."""
        if not DIGEST.fullmatch(digest):
            return False
        folder = self._of(owner)
        with _storing():
            tasks = (name for name in self._names(folder) if not DIGEST.fullmatch(name))
            places = chain([folder], (f"{folder}/{task}" for task in tasks))
            return any(self._fs.exists(f"{place}/{digest}") for place in places)

    def erase(self, owner: str) -> int:
        """Erases a person's references, and the images without another reference; returns how many images.

        Reads the references of all people, so it is slow. The next call finishes what a killed process left.
        """
        folder = self._of(owner)
        with _storing():
            return self._drop(set(self._references(folder)), lambda _: True)

    def expire(self, task: str, before: datetime) -> int:
        """Erases a task's references older than `before`, and images without another one; returns how many images."""

        def is_old(reference: str) -> bool:
            return bool(self._fs.exists(reference) and self._fs.modified(reference) < before)

        name = _safe(task, "a task")
        with _storing():
            folders = [f"{self._root}/owners/{owner}/{name}" for owner in self._owners()]
            return self._drop({path for folder in folders for path in self._references(folder) if is_old(path)}, is_old)

    def _drop(self, references: Set[str], is_obsolete: Callable[[str], bool]) -> int:
        """Erases the bytes that only these references lead to, then the references; returns how many images.

        A reference stays, with its bytes, when `is_obsolete` is false by now: the same image was sent again meanwhile.
        """
        digests = sorted({_digest(path) for path in references} - self._referenced(references)) if references else []
        erased = 0
        for start in range(0, len(digests), CHUNK):
            part = set(digests[start : start + CHUNK])
            moved = {digest: path for digest in part if (path := self._set_aside(digest))}
            referenced = self._referenced(
                {path for path in references if _digest(path) not in part or is_obsolete(path)}
            )
            for digest, path in moved.items():
                if digest in referenced and not self._fs.exists(self._bytes(digest)):
                    self._move(path, self._bytes(digest))
                else:
                    self._remove(path)
                erased += digest not in referenced
        for path in references:
            if is_obsolete(path):
                self._remove(path)
        return erased

    def _set_aside(self, digest: str) -> str | None:
        """Renames the bytes; their new path, None when there are none.

        What another process has set aside or not yet renamed is taken from it, also when that process was killed: only
        one process has the bytes at a time, and it decides whether they stay. A part of a file is deleted.
        """
        path = self._bytes(digest)
        beside = f"{path}.{uuid.uuid4().hex}"
        found = self._move(path, beside)
        for left in self._fs.glob(f"{path}.*"):
            if left == beside:
                continue
            if not found and self._move(left, beside):
                found = self._is_whole(beside, digest)
            if not found:
                self._remove(beside)
            self._remove(left)
        return beside if found else None

    def _is_whole(self, path: str, digest: str) -> bool:
        try:
            return _sha256(self._fs.cat_file(path)) == digest
        except FileNotFoundError:
            return False

    def _referenced(self, excluded: Set[str]) -> set[str]:
        """The digests of all references but the excluded ones."""
        owners = (self._references(f"{self._root}/owners/{owner}") for owner in self._owners())
        return {_digest(path) for references in owners for path in references if path not in excluded}

    def _write(self, path: str, content: bytes) -> bool:
        """Atomic: readers see the whole file or none. False when an erasing process took it before it was in place."""
        beside = f"{path}.{uuid.uuid4().hex}"
        self._fs.pipe_file(beside, content)
        return self._move(beside, path)

    def _move(self, path: str, new_path: str) -> bool:
        """False when there is no such file (any more)."""
        try:
            self._fs.mv(path, new_path)
        except FileNotFoundError:
            return False
        return True

    def _read(self, digest: str) -> bytes:
        with _storing():
            content: bytes = self._fs.cat_file(self._bytes(digest))
        if _sha256(content) != digest:
            raise BlobsUnavailable("The image store holds a damaged image.")
        return content

    def _remove(self, path: str) -> None:
        with suppress(FileNotFoundError):
            self._fs.rm_file(path)

    def _owners(self) -> Iterator[str]:
        return self._names(f"{self._root}/owners")

    def _references(self, folder: str) -> Iterator[str]:
        for name in self._names(folder):
            if DIGEST.fullmatch(name):
                yield f"{folder}/{name}"
            elif NAME.fullmatch(name):
                yield from (f"{folder}/{name}/{digest}" for digest in self._names(f"{folder}/{name}"))

    def _names(self, folder: str) -> Iterator[str]:
        if self._fs.isdir(folder):
            for path in self._fs.ls(folder, detail=False):
                yield str(path).rstrip("/").rpartition("/")[2]

    def _bytes(self, digest: str) -> str:
        return f"{self._root}/bytes/{digest[:2]}/{digest}"

    def _of(self, owner: str) -> str:
        return f"{self._root}/owners/{_safe(owner, 'an owner')}"


def _safe(name: str, what: str) -> str:
    if not NAME.fullmatch(name):
        raise ValueError(f"{what} is named by letters, digits, - and _")
    return name


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _digest(reference: str) -> str:
    return reference.rpartition("/")[2]


@contextmanager
def _storing() -> Iterator[None]:
    try:
        yield
    except AIError:
        raise
    except Exception as error:  # each driver of fsspec has its own kinds of errors
        log.error("the image store failed: %s", type(error).__name__)
        raise BlobsUnavailable from error
