"""A zip that is sent while it is made: neither memory nor disk holds it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import IO, cast
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo


class Pipe:
    """Takes what is written until somebody fetches it. It cannot seek, so the zip is written front to back."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, part: bytes) -> int:
        self._parts.append(bytes(part))
        return len(part)

    def flush(self) -> None:
        """There is nobody to pass anything on to."""

    def fetch(self) -> bytes:
        """What was written since the last time."""
        found = b"".join(self._parts)
        self._parts.clear()
        return found


def archive(files: Iterable[tuple[str, Iterable[bytes]]]) -> Iterator[bytes]:
    """The bytes of a zip of these files, each given by its name and its parts."""
    pipe = Pipe()
    now = datetime.now(UTC).timetuple()[:6]
    with ZipFile(cast("IO[bytes]", pipe), "w") as whole:
        for name, parts in files:
            info = ZipInfo(name, now)
            info.compress_type = ZIP_DEFLATED
            with whole.open(info, "w", force_zip64=True) as file:
                for part in parts:
                    file.write(part)
                    yield pipe.fetch()
    yield pipe.fetch()
