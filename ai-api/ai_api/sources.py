"""Files of public data sets: read from a mirror, or downloaded once from the publisher and checked by a checksum."""

from __future__ import annotations

import gzip
import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from .datasets import Table
from .errors import DataUnavailable

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
        """The file's content; DataUnavailable if it is not in the mirror and its download fails or takes too long."""
        if self.mirror is not None:
            if (content := _stored(self.mirror, file)) is not None:
                return content
            log.warning("%s is not in the mirror %s", file.name, self.mirror)
        if not file.login:
            return self._download(file)
        if (content := _stored(self.raw, file)) is None:
            raise DataUnavailable(f"{file.name} is to be fetched from {file.url}, which asks for a login")
        return content

    def find(self, name: str) -> Path | None:
        """The path of a file or folder in the mirror or under `raw`, for files read in parts; None if in neither."""
        folders = [self.raw] if self.mirror is None else [self.mirror, self.raw]
        return next((folder / name for folder in folders if (folder / name).exists()), None)

    def _download(self, file: PublicFile) -> bytes:
        import pooch

        target = self.raw / file.name
        try:
            pooch.retrieve(
                file.url,
                known_hash=file.sha256 and f"sha256:{file.sha256}",
                path=target.parent,
                fname=target.name,
                downloader=pooch.HTTPDownloader(timeout=self.timeout_seconds),
            )
            content = target.read_bytes()
        except (OSError, ValueError) as error:
            raise DataUnavailable(f"{file.name} could not be fetched from {file.url}: {error}") from error
        if (
            file.git_blob
            and hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest() != file.git_blob
        ):
            target.unlink()
            raise DataUnavailable(f"{file.name} from {file.url} is not the published file: its git blob id differs")
        return content


def _stored(folder: Path, file: PublicFile) -> bytes | None:
    """The content of the file, plain or gzipped; None if it is not in the folder."""
    for path in (folder / file.name, folder / f"{file.name}.gz"):
        if path.is_file():
            return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return None


def real_or_generated(read: Callable[[], Table], generate: Callable[[], Table], task: str) -> Table:
    """The real rows; or, with a warning and marked as synthetic, the generated ones: their metrics mean nothing."""
    try:
        return read()
    except DataUnavailable as error:
        log.warning(
            "No real data for %s (%s). GENERATED ROWS ARE USED: every figure of this training means nothing.",
            task,
            error,
        )
        return replace(generate(), synthetic=True)
