"""Zip files that are sent while they are made, without holding them in memory or on disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import IO, cast
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo


class WriteBuffer:
    """A file-like buffer that is emptied by `take`. It cannot seek, so ZipFile writes front to back."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, part: bytes) -> int:
        self._parts.append(bytes(part))
        return len(part)

    def flush(self) -> None:
        """Does nothing; ZipFile needs it."""

    def take(self) -> bytes:
        """Returns and removes what was written since the last call."""
        content = b"".join(self._parts)
        self._parts.clear()
        return content


def zip_stream(files: Iterable[tuple[str, Iterable[bytes]]]) -> Iterator[bytes]:
    """The bytes of a zip of these files; each file is its name and its content in parts."""
    buffer = WriteBuffer()
    now = datetime.now(UTC).timetuple()[:6]
    with ZipFile(cast("IO[bytes]", buffer), "w") as whole:
        for name, parts in files:
            info = ZipInfo(name, now)
            info.compress_type = ZIP_DEFLATED
            with whole.open(info, "w", force_zip64=True) as file:
                for part in parts:
                    file.write(part)
                    yield buffer.take()
    yield buffer.take()
