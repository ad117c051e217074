"""Files of public data sets: read from a mirror, or downloaded once from the publisher and checked by a checksum."""

from __future__ import annotations

import gzip
import hashlib
import logging
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from .datasets import Table
from .errors import DataUnavailable, InvalidData

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PublicFile:
    """A file of a public data set: its path in a mirror, its public address, and the checksum of the file.

    `git_blob` is the file's blob id in git, for a file without a published sha256. `login`: the address requires an
    account and consent to terms, so a person downloads the file and puts it into the mirror or under `raw`.
    """

    name: str
    url: str
    sha256: str | None = None
    git_blob: str | None = None
    login: bool = False


@dataclass(frozen=True)
class Source:
    """Reads public files from a mirror if they are there, else from their address; downloads are kept under `raw`."""

    raw: Path
    mirror: Path | None = None
    timeout_seconds: float = 5

    def read(self, file: PublicFile) -> bytes:
        """The file's content. DataUnavailable when it is neither here nor to be fetched in time; InvalidData when what
        is here cannot be read, or is not the published file where it was downloaded.
        """
        if self.mirror is not None:
            if (content := _stored(self.mirror, file.name)) is not None:
                return content
            log.warning("%s is not in the mirror %s", file.name, self.mirror)
        if (content := _stored(self.raw, file.name)) is not None:
            if not file.login:
                _check(content, file, f"what is in {self.raw} is not the published file; delete it")
            return content
        if file.login:
            raise DataUnavailable(f"{file.name} is to be fetched from {file.url}, which asks for a login")
        return self._download(file)

    def find(self, name: str) -> Path | None:
        """The path of a file or folder in the mirror or under `raw`, for files read in parts; None if in neither."""
        folders = [self.raw] if self.mirror is None else [self.mirror, self.raw]
        return next((folder / name for folder in folders if (folder / name).exists()), None)

    def stored(self, name: str) -> bytes | None:
        """The content of a file in the mirror or under `raw`, plain or gzipped; None if it is in neither."""
        folders = [self.raw] if self.mirror is None else [self.mirror, self.raw]
        found = (_stored(folder, name) for folder in folders)
        return next((content for content in found if content is not None), None)

    def _download(self, file: PublicFile) -> bytes:
        import pooch

        target = self.raw / file.name
        refused = f"what {file.url} sent is not the published file"
        try:
            pooch.retrieve(
                file.url,
                known_hash=file.sha256 and f"sha256:{file.sha256}",
                path=target.parent,
                fname=target.name,
                downloader=pooch.HTTPDownloader(timeout=self.timeout_seconds),
            )
            content = target.read_bytes()
        except OSError as error:
            raise DataUnavailable(f"{file.name} could not be fetched from {file.url}: {error}") from error
        except ValueError as error:  # the checksum
            raise InvalidData(f"{file.name}: {refused}: its checksum differs.") from error
        try:
            _check(content, file, refused)
        except InvalidData:
            target.unlink()
            raise
        return content


def _check(content: bytes, file: PublicFile, reason: str) -> None:
    """InvalidData when the checksum of the published file is known and this one differs."""
    blob = b"blob %d\0" % len(content)
    if (file.sha256 and hashlib.sha256(content).hexdigest() != file.sha256) or (
        file.git_blob and hashlib.sha1(blob + content, usedforsecurity=False).hexdigest() != file.git_blob
    ):
        raise InvalidData(f"{file.name}: {reason}: its checksum differs.")


def _stored(folder: Path, name: str) -> bytes | None:
    """The content of the file, plain or gzipped; None if it is not in the folder; InvalidData if it is not readable."""
    for path in (folder / name, folder / f"{name}.gz"):
        try:
            content = path.read_bytes()
            return gzip.decompress(content) if path.suffix == ".gz" else content
        except FileNotFoundError as error:
            if path.is_symlink():
                raise InvalidData(f"{path}: is a link to a file that does not exist.") from error
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise InvalidData(f"{path}: is no gzip file, or not a whole one.") from error
        except OSError as error:
            raise InvalidData(f"{path}: cannot be read: {error.strerror}.") from error
    return None


def real_or_generated(read: Callable[[], Table], generate: Callable[[], Table], task: str) -> Table:
    """The real rows; or, with a warning and marked as synthetic, the generated ones: their metrics mean nothing.

    Rows are generated only when there is no file. InvalidData, for a file that is there and wrong, is passed on.
    """
    try:
        return read()
    except DataUnavailable as error:
        log.warning(
            "No real data for %s (%s). GENERATED ROWS ARE USED: every figure of this training means nothing.",
            task,
            error,
        )
        return replace(generate(), synthetic=True)
