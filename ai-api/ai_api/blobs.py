"""Pictures that callers sent, kept once by the hash of their bytes, with one reference for each person who sent them.

    bytes/<ab>/<digest>              the bytes; <ab> are the digest's first two digits
    owners/<owner>/<task>/<digest>   an empty file: this person's rows of this task refer to those bytes. Its time is
                                     that of the last such row. Volant 0.1 knew no task: those are of all tasks.

The reference is written before the bytes and goes after them: a process that dies midway leaves a reference to
nothing, which harms nobody, and never a picture that no reference leads to, which nobody could erase. Any process may
call at any time, and every call blocks.
"""

from __future__ import annotations

import hashlib
import logging
import re
import uuid
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from itertools import chain

from fsspec.core import url_to_fs

from .errors import AIError, BlobsUnavailable, ConfigurationError
from .images import ImageRef

log = logging.getLogger(__name__)

DIGEST = re.compile(r"[0-9a-f]{64}")
NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")
AT_ONCE = 500
"""Pictures that are erased between two looks at who refers to them."""


class Blobs:
    """The store at `url`: a folder, or what fsspec has a driver for (`s3://bucket/folder`).

    BlobsUnavailable when it does not answer or is full.
    """

    def __init__(self, url: str) -> None:
        local = {"auto_mkdir": True} if "://" not in url else {}
        try:
            self._fs, self._root = url_to_fs(url, use_listings_cache=False, **local)
        except (ImportError, ValueError) as error:
            raise ConfigurationError(f"AI_BLOBS_URL names a store that cannot be opened here: {error}") from error

    def put(self, picture: ImageRef, owner: str, task: str) -> None:
        """Keeps the picture for this person's rows of a task. Returns when it is there."""
        reference, kept = f"{self._of(owner)}/{_safe(task, 'a task')}/{picture.digest}", self._bytes(picture.digest)
        with _storing():
            while True:
                self._fs.pipe_file(reference, b"")
                if not self._fs.exists(kept):
                    self._write(kept, picture.read())
                if self._fs.exists(reference):  # else it was erased meanwhile, and the bytes perhaps too
                    return

    def get(self, digest: str) -> ImageRef | None:
        """The picture, whose bytes are read when somebody looks at it; None when it is gone."""
        if not DIGEST.fullmatch(digest):
            return None
        with _storing():
            return ImageRef(digest, partial(self._read, digest)) if self._fs.exists(self._bytes(digest)) else None

    def is_of(self, digest: str, owner: str) -> bool:
        """Whether this person sent the picture, and may still see it."""
        if not DIGEST.fullmatch(digest):
            return False
        folder = self._of(owner)
        with _storing():
            tasks = (name for name in self._names(folder) if not DIGEST.fullmatch(name))
            places = chain([folder], (f"{folder}/{task}" for task in tasks))
            return any(self._fs.exists(f"{place}/{digest}") for place in places)

    def forget(self, owner: str) -> int:
        """Erases a person's references, and the pictures that nobody else refers to; how many pictures went.

        Reads the references of all persons, so it takes its time. What dies midway is finished by the next call.
        """
        folder = self._of(owner)
        with _storing():
            return self._drop(set(self._references(folder)), lambda _: True)

    def expire(self, task: str, before: datetime) -> int:
        """Erases a task's references that are older, and the pictures that nothing else refers to; how many went."""

        def is_old(reference: str) -> bool:
            return bool(self._fs.exists(reference) and self._fs.modified(reference) < before)

        name = _safe(task, "a task")
        with _storing():
            folders = [f"{self._root}/owners/{owner}/{name}" for owner in self._owners()]
            return self._drop({path for folder in folders for path in self._references(folder) if is_old(path)}, is_old)

    def _drop(self, references: Set[str], goes: Callable[[str], bool]) -> int:
        """Erases the bytes that only these references lead to, then the references; how many pictures went. Where one
        does not go any more, as the same picture was sent in this very moment, it stays with its bytes.
        """
        digests = sorted({_digest(path) for path in references} - self._held(references)) if references else []
        erased = 0
        for start in range(0, len(digests), AT_ONCE):
            some = set(digests[start : start + AT_ONCE])
            aside = {digest: path for digest in some if (path := self._set_aside(digest))}
            held = self._held({path for path in references if _digest(path) not in some or goes(path)})
            for digest, path in aside.items():
                if digest in held and not self._fs.exists(self._bytes(digest)):
                    self._fs.mv(path, self._bytes(digest))
                else:
                    self._remove(path)
                erased += digest not in held
        for path in references:
            if goes(path):
                self._remove(path)
        return erased

    def _set_aside(self, digest: str) -> str | None:
        """Where the bytes lie now; None when there were none. What a process that died left beside them goes."""
        kept = self._bytes(digest)
        for path in self._fs.glob(f"{kept}.*"):
            self._remove(path)
        if not self._fs.exists(kept):
            return None
        beside = f"{kept}.{uuid.uuid4().hex}"
        self._fs.mv(kept, beside)
        return beside

    def _held(self, but: Set[str]) -> set[str]:
        """The digests that any other reference leads to."""
        owners = (self._references(f"{self._root}/owners/{owner}") for owner in self._owners())
        return {_digest(path) for references in owners for path in references if path not in but}

    def _write(self, path: str, content: bytes) -> None:
        """Whole or not at all: readers see no half-written file."""
        beside = f"{path}.{uuid.uuid4().hex}"
        self._fs.pipe_file(beside, content)
        self._fs.mv(beside, path)

    def _read(self, digest: str) -> bytes:
        with _storing():
            content: bytes = self._fs.cat_file(self._bytes(digest))
        if hashlib.sha256(content).hexdigest() != digest:
            raise BlobsUnavailable("The store of pictures holds a damaged one.")
        return content

    def _remove(self, path: str) -> None:
        if self._fs.exists(path):
            self._fs.rm_file(path)

    def _owners(self) -> Iterator[str]:
        return self._names(f"{self._root}/owners")

    def _references(self, folder: str) -> Iterator[str]:
        for name in self._names(folder):
            if DIGEST.fullmatch(name):
                yield f"{folder}/{name}"
            elif NAME.fullmatch(name):
                yield from (f"{folder}/{name}/{found}" for found in self._names(f"{folder}/{name}"))

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


def _digest(reference: str) -> str:
    return reference.rpartition("/")[2]


@contextmanager
def _storing() -> Iterator[None]:
    try:
        yield
    except AIError:
        raise
    except Exception as error:  # each driver of fsspec has its own kinds of errors
        log.error("the store of pictures failed: %s", type(error).__name__)
        raise BlobsUnavailable from error
