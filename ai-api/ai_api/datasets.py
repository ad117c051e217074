"""Rows and truths: fetched once, split by a row's hash so that none ever changes sides, corrections added."""

from __future__ import annotations

import gzip
import hashlib
import html
import json
import logging
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .errors import DataUnavailable

log = logging.getLogger(__name__)

Truths = NDArray[np.object_] | NDArray[np.float64]
"""Labels as strings, or floats."""

HELD_OUT_SHARE = 0.2
ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")


def normalise(text: str) -> str:
    """The text as every feature and every hash reads it: escapes and entities decoded, one case, single blanks."""
    if "\\u" in text:
        text = ESCAPE.sub(lambda found: chr(int(found[1], 16)), text)
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return " ".join(unicodedata.normalize("NFKC", html.unescape(text)).casefold().split())


def row_hash(row: Mapping[str, object]) -> str:
    """32 hex digits that depend on what a row says, not on how: key order, 1 or 1.0, case, blanks, absent or null."""
    said = {name: _canonical(value) for name, value in row.items() if value is not None and value == value}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:32]


def _canonical(value: object) -> str | bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float | np.number):
        return format(float(value) + 0.0, ".9g")
    return normalise(str(value))


def is_held_out(digest: str) -> bool:
    """The side of a row for good, from its hash alone."""
    return int(digest[:8], 16) < HELD_OUT_SHARE * 2**32


def is_within(digest: str, share: float) -> bool:
    """Whether a row belongs to `share` of its table. Other digits than the side's; a larger share holds a smaller."""
    return int(digest[8:16], 16) < share * 2**32


def frame(rows: Sequence[Mapping[str, object]], columns: Mapping[str, str]) -> pd.DataFrame:
    """Rows as a pipeline takes them: the columns in order, texts as strings, numbers as floats, a gap as NaN."""
    return pd.DataFrame(
        {
            name: np.array([row.get(name) or "" for row in rows], dtype=object)
            if modality == "text"
            else np.array([row.get(name) for row in rows], dtype=np.float64)
            for name, modality in columns.items()
        }
    )


@dataclass(frozen=True)
class Table:
    """Rows with their truths. `official` marks rows that the publisher holds out."""

    rows: list[dict[str, object]]
    truths: Truths
    official: NDArray[np.bool_] | None = None
    synthetic: bool = False
    hashes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.hashes:
            object.__setattr__(self, "hashes", [row_hash(row) for row in self.rows])

    def __len__(self) -> int:
        return len(self.rows)

    def pick(self, wanted: Iterable[bool]) -> Table:
        """The rows where `wanted` is true."""
        places = np.flatnonzero(np.fromiter(wanted, dtype=bool, count=len(self)))
        return replace(
            self,
            rows=[self.rows[i] for i in places],
            truths=self.truths[places],
            official=None if self.official is None else self.official[places],
            hashes=[self.hashes[i] for i in places],
        )

    def digest(self) -> str:
        """Which rows with which truths, whatever their order."""
        lines = sorted(f"{digest} {truth}" for digest, truth in zip(self.hashes, self.truths, strict=True))
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Correction:
    """What a person says about a row. `trusted` when that person is a trainer or admin."""

    row: dict[str, object]
    truth: str | float
    user: str
    trusted: bool
    created_at: str


@dataclass(frozen=True)
class Live:
    """Held-out corrections: the rows of real use, with who vouches for each truth."""

    table: Table
    users: NDArray[np.object_]
    trusted: NDArray[np.bool_]


@dataclass(frozen=True)
class Split:
    """What one training uses. No hash of `held_out` or `live` is in `train`."""

    train: Table
    held_out: Table
    live: Live
    corrections_used: int

    def check(self) -> None:
        """ValueError when a held-out row trains: cheap, so every training asks."""
        held = set(self.held_out.hashes) | set(self.live.table.hashes)
        if leaked := sum(digest in held for digest in self.train.hashes):
            raise ValueError(f"{leaked} held-out rows are among the training rows")


def split(table: Table, corrections: Iterable[Correction] = (), share: float = 1.0) -> Split:
    """Base rows by the publisher's split, or else by hash; corrections always by hash.

    A correction of a held-out row is live evidence and never trains; neither does a base row that is live evidence.
    A base row keeps its truth unless somebody trusted says otherwise: no caller can relabel the data set alone.
    """
    outside = table.official if table.official is not None else [is_held_out(digest) for digest in table.hashes]
    held_out = _distinct(table.pick(outside))
    fixed = set(held_out.hashes)
    said = _by_row(corrections)
    live = {d: c for d, c in said.items() if is_held_out(d) or d in fixed}
    base = table.pick(d not in fixed and d not in live and is_within(d, share) for d in table.hashes)
    known = set(base.hashes)
    taught = {d: c for d, c in said.items() if d not in live and (c.trusted or d not in known)}
    kept = base.pick(d not in taught for d in base.hashes)
    result = Split(_joined(kept, taught), held_out, _live(live, table), len(taught))
    result.check()
    return result


def _distinct(table: Table) -> Table:
    first = {digest: place for place, digest in reversed(list(enumerate(table.hashes)))}
    return table.pick(first[digest] == place for place, digest in enumerate(table.hashes))


def _by_row(corrections: Iterable[Correction]) -> dict[str, Correction]:
    groups: dict[str, list[Correction]] = {}
    for correction in corrections:
        groups.setdefault(row_hash(correction.row), []).append(correction)
    return {digest: _settle(group) for digest, group in groups.items()}


def _settle(group: list[Correction]) -> Correction:
    """One word on a row that several people corrected: the latest trusted one, else the one most people share."""
    group = sorted(group, key=lambda correction: correction.created_at)
    if trusted := [correction for correction in group if correction.trusted]:
        return trusted[-1]
    latest = list({correction.user: correction for correction in group}.values())
    truths = [correction.truth for correction in latest]
    if isinstance(truths[0], str):
        return max(latest, key=lambda correction: (truths.count(correction.truth), correction.created_at))
    middle = float(np.median(np.array(truths, dtype=np.float64)))
    return min(latest, key=lambda correction: abs(float(correction.truth) - middle))


def _joined(base: Table, taught: Mapping[str, Correction]) -> Table:
    return Table(
        rows=[*base.rows, *(correction.row for correction in taught.values())],
        truths=np.concatenate([base.truths, _truths(taught.values(), base)]),
        synthetic=base.synthetic,
        hashes=[*base.hashes, *taught],
    )


def _live(live: Mapping[str, Correction], like: Table) -> Live:
    words = list(live.values())
    table = (
        Table([word.row for word in words], _truths(words, like), hashes=list(live))
        if words
        else like.pick([False] * len(like))
    )
    return Live(
        table,
        np.array([word.user for word in words], dtype=object),
        np.array([word.trusted for word in words], dtype=bool),
    )


def _truths(corrections: Iterable[Correction], like: Table) -> Truths:
    return as_truths([correction.truth for correction in corrections], like)


def as_truths(values: Sequence[object] | NDArray[np.generic], like: Table) -> Truths:
    """Values in the type that the table's truths have."""
    return np.array(values, dtype=np.object_) if like.truths.dtype == object else np.array(values, dtype=np.float64)


@dataclass(frozen=True)
class PublicFile:
    """A file of a public data set: its place in a mirror, its home, and the publisher's checksum of the whole file.

    `git_blob` is git's own id of the file, for the one whose sha256 nobody has published.
    """

    name: str
    url: str
    sha256: str | None = None
    git_blob: str | None = None


@dataclass(frozen=True)
class Source:
    """Where public files come from: a mirror if it has them, else their home, kept under `raw`."""

    raw: Path
    mirror: Path | None = None
    timeout_seconds: float = 5

    def read(self, file: PublicFile) -> bytes:
        """The file's content; DataUnavailable when neither mirror nor home has it within seconds."""
        if self.mirror is not None:
            for path in (self.mirror / file.name, self.mirror / f"{file.name}.gz"):
                if path.is_file():
                    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            log.warning("%s is not in the mirror %s; asking its public home", file.name, self.mirror)
        return self._download(file)

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


def real_or_generated(read: Callable[[], Table], generate: Callable[[], Table], task: str) -> Table:
    """The real rows, or loudly the generated ones: whoever trains on them must not take the figures for real."""
    try:
        return read()
    except DataUnavailable as error:
        log.warning(
            "No real data for %s (%s). GENERATED ROWS ARE USED: every figure of this training means nothing.",
            task,
            error,
        )
        return replace(generate(), synthetic=True)
