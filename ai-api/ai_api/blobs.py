"""Pictures that callers sent, kept once by the hash of their bytes, with one reference for each person who sent them.

    bytes/<ab>/<digest>       the bytes; <ab> are the digest's first two digits
    owners/<owner>/<digest>   an empty file: this person's rows refer to those bytes

The reference is written before the bytes and goes after them: a process that dies midway leaves a reference to
nothing, which harms nobody, and never a picture that no reference leads to, which nobody could erase. Any process may
call at any time, and every call blocks.
"""

from __future__ import annotations

import hashlib
import logging
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from fsspec.core import url_to_fs

from .errors import AIError, BlobsUnavailable, MisSet
from .images import Picture

log = logging.getLogger(__name__)

DIGEST = re.compile(r"[0-9a-f]{64}")
OWNER = re.compile(r"[A-Za-z0-9_-]{1,100}")


class Blobs:
    """The store at `url`: a folder, or what fsspec has a driver for (`s3://bucket/folder`).

    BlobsUnavailable when it does not answer or is full.
    """

    def __init__(self, url: str) -> None:
        local = {"auto_mkdir": True} if "://" not in url else {}
        try:
            self._fs, self._root = url_to_fs(url, use_listings_cache=False, **local)
        except (ImportError, ValueError) as error:
            raise MisSet(f"AI_BLOBS_URL names a store that cannot be opened here: {error}") from error

    def put(self, picture: Picture, owner: str) -> None:
        """Keeps the picture for this person. Returns when it is there."""
        reference, kept = self._reference(owner, picture.digest), self._bytes(picture.digest)
        with _storing():
            self._fs.pipe_file(reference, b"")
            if not self._fs.exists(kept):
                self._write(kept, picture.read())
            if not self._fs.exists(reference):  # another process erased this person meanwhile: it has to find the bytes
                self._fs.pipe_file(reference, b"")

    def get(self, digest: str) -> Picture | None:
        """The picture, whose bytes are read when somebody looks at it; None when it is gone."""
        if not DIGEST.fullmatch(digest):
            return None
        with _storing():
            return Picture(digest, partial(self._read, digest)) if self._fs.exists(self._bytes(digest)) else None

    def forget(self, owner: str) -> int:
        """Erases a person's references, and the pictures that nobody else refers to; how many pictures went.

        Reads the references of all persons, so it takes its time. What dies midway is finished by the next call.
        """
        erased, folder = 0, self._of(owner)
        with _storing():
            mine = set(self._digests(folder))
            if not mine:
                return 0
            others = {digest for other in self._owners() if other != owner for digest in self._digests(self._of(other))}
            for digest in sorted(mine - others):
                erased += self._erase(digest, owner)
            for digest in mine:
                self._remove(self._reference(owner, digest))
        return erased

    def _erase(self, digest: str, owner: str) -> bool:
        """Erases the bytes, and puts them back when somebody sent the same picture in this very moment."""
        kept = self._bytes(digest)
        content = self._fs.cat_file(kept) if self._fs.exists(kept) else b""
        for path in self._fs.glob(f"{kept}*"):  # with what a writer that died left beside it
            self._remove(path)
        if any(self._fs.exists(self._reference(other, digest)) for other in self._owners() if other != owner):
            self._write(kept, content)
            return False
        return True

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

    def _digests(self, folder: str) -> Iterator[str]:
        return (name for name in self._names(folder) if DIGEST.fullmatch(name))

    def _names(self, folder: str) -> Iterator[str]:
        if self._fs.isdir(folder):
            for path in self._fs.ls(folder, detail=False):
                yield str(path).rstrip("/").rpartition("/")[2]

    def _bytes(self, digest: str) -> str:
        return f"{self._root}/bytes/{digest[:2]}/{digest}"

    def _reference(self, owner: str, digest: str) -> str:
        return f"{self._of(owner)}/{digest}"

    def _of(self, owner: str) -> str:
        if not OWNER.fullmatch(owner):
            raise ValueError("an owner is made of letters, digits, - and _")
        return f"{self._root}/owners/{owner}"


@contextmanager
def _storing() -> Iterator[None]:
    try:
        yield
    except AIError:
        raise
    except Exception as error:  # each driver of fsspec has its own kinds of errors
        log.error("the store of pictures failed: %s", type(error).__name__)
        raise BlobsUnavailable from error
