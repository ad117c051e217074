"""Tables of rows and truths, and their split into parts by row hash, so that a row stays in its part for good."""

from __future__ import annotations

import hashlib
import html
import json
import logging
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .corrections import Correction, resolve
from .errors import LeakedRows
from .images.reference import ImageRef

log = logging.getLogger(__name__)

FloatArray = NDArray[np.float64]
Truths = NDArray[np.object_] | NDArray[np.float64]
"""Labels as strings, or floats."""

HELD_OUT_SHARE = 0.2
UNSEEN_SHARE = 0.02
LONGEST_PIECE = 500
"""Most characters that are normalised (NFKC) together. Sorting the accents on one character takes quadratic time."""
ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
NO_SIGN = re.compile(r"&#(?:[0-9]{8,}|[xX][0-9a-fA-F]{8,});?")
"""Numeric HTML references beyond Unicode. Python raises for very long ones."""


def normalise(text: str) -> str:
    """The text as features and hashes read it: escapes and entities decoded, NFKC, case folded, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", decode(text)).casefold().split())


def is_longer(text: str, most: int) -> bool:
    """Whether `normalise(text)`, but for its spaces, has more than `most` characters. Reads no further than needed."""
    text, left = decode(text), most
    if text.isascii():
        return len(text) > most
    for start in range(0, len(text), LONGEST_PIECE):
        left -= len(unicodedata.normalize("NFKC", text[start : start + LONGEST_PIECE]).casefold())
        if left < 0:
            return True
    return False


def decode(text: str) -> str:
    r"""The text with escapes such as `\u2019` and HTML entities decoded."""
    if "\\u" in text:
        text = ESCAPE.sub(lambda match: chr(int(match[1], 16)), text)
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return html.unescape(NO_SIGN.sub("\ufffd", text)) if "&" in text else text


def row_hash(row: Mapping[str, object]) -> str:
    """32 hex digits of a row's content. They do not depend on key order, 1 or 1.0, case, spaces, absent or null."""
    content = {name: _canonical(value) for name, value in row.items() if value is not None and value == value}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


def _canonical(value: object) -> str | bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, ImageRef):
        return value.reference
    if isinstance(value, int | float | np.number):
        return format(float(value) + 0.0, ".9g")
    return normalise(str(value))


def is_held_out(digest: str) -> bool:
    """Whether a row is held out, from its hash alone, so that it never changes."""
    return int(digest[:8], 16) < HELD_OUT_SHARE * 2**32


def is_unseen(digest: str) -> bool:
    """Whether a data set row takes no part in training and evaluation: it is for simulations of use (`data/unseen`)."""
    return int(digest[16:24], 16) < UNSEEN_SHARE * 2**32


def is_within(digest: str, share: float) -> bool:
    """Whether a row is in the sample of `share` of its table. A larger share contains a smaller one.

    It uses other digits of the hash than `is_held_out`, so the two are independent.
    """
    return int(digest[8:16], 16) < share * 2**32


def frame(rows: Sequence[Mapping[str, object]], columns: Mapping[str, str]) -> pd.DataFrame:
    """Rows as the frame that a pipeline takes, with the columns in this order.

    Texts and categories are strings, "" if missing; numbers are floats, NaN if missing; images are ImageRef or None.
    """
    return pd.DataFrame(
        {name: _column([row.get(name) for row in rows], modality) for name, modality in columns.items()}
    )


def _column(values: Sequence[object], modality: str) -> NDArray[np.object_] | NDArray[np.float64]:
    if modality == "number":
        return np.array(values, dtype=np.float64)
    column = np.empty(len(values), dtype=object)
    column[:] = values if modality == "image" else [value or "" for value in values]
    return column


def _part(row: Mapping[str, object], columns: Sequence[str]) -> Mapping[str, object]:
    """The row's values in these columns; the whole row if it has none there."""
    return {name: row[name] for name in columns if row.get(name) not in (None, "")} or row


@dataclass(frozen=True)
class Table:
    """Rows with their truths. `official` marks rows that the publisher holds out.

    `key`: the columns that decide in which part a row is (none: all columns). Rows with the same key are near copies,
    such as two images under one title, and are always in the same part. `sides` holds the hash of each row's key.
    `identity`: the columns that identify a row (none: all), so that a row without an optional column is the same row.
    `hashes` holds the hash of each row's identity. `weights`: how many real rows one row of a label stands for, if the
    publisher removed some of them; 1 for a label that is not named.
    """

    rows: list[dict[str, object]]
    truths: Truths
    official: NDArray[np.bool_] | None = None
    synthetic: bool = False
    key: tuple[str, ...] = ()
    identity: tuple[str, ...] = ()
    weights: Mapping[str, float] = field(default_factory=dict)
    hashes: list[str] = field(default_factory=list)
    sides: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.hashes:
            object.__setattr__(self, "hashes", [self.identify(row) for row in self.rows])
        if not self.sides:
            object.__setattr__(self, "sides", [self.side(row) for row in self.rows] if self.key else self.hashes)

    def identify(self, row: Mapping[str, object]) -> str:
        """The hash that identifies a row."""
        return row_hash(_part(row, self.identity))

    def side(self, row: Mapping[str, object]) -> str:
        """The hash that decides in which part such a row is; of the whole row if the key's columns are empty."""
        return row_hash(_part(row, self.key))

    def __len__(self) -> int:
        return len(self.rows)

    def pick(self, wanted: Iterable[bool]) -> Table:
        """The rows where `wanted` is true."""
        indices = np.flatnonzero(np.fromiter(wanted, dtype=bool, count=len(self)))
        return replace(
            self,
            rows=[self.rows[i] for i in indices],
            truths=self.truths[indices],
            official=None if self.official is None else self.official[indices],
            hashes=[self.hashes[i] for i in indices],
            sides=[self.sides[i] for i in indices],
        )

    def digest(self) -> str:
        """A hash of all rows with their truths, independent of their order."""
        lines = sorted(f"{digest} {truth}" for digest, truth in zip(self.hashes, self.truths, strict=True))
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class LiveRows:
    """Held-out corrections: rows from use, with the person who corrected each and whether that person is trusted."""

    table: Table
    users: NDArray[np.object_]
    trusted: NDArray[np.bool_]


@dataclass(frozen=True)
class Split:
    """The parts of one training's data. No row of `held_out`, `live` or `unseen`, nor a near copy, is in `train`."""

    train: Table
    held_out: Table
    live: LiveRows
    unseen: Table
    corrections_used: int

    def check(self) -> None:
        """LeakedRows if a held-out row or a near copy is in `train`. It is cheap, so every training checks it."""
        held = {*self.held_out.sides, *self.live.table.sides}
        if leaked := sum(digest in held for digest in self.train.sides):
            raise LeakedRows(f"{leaked} held-out rows, or near copies of them, are among the training rows.")


def split(table: Table, corrections: Iterable[Correction] = (), share: float = 1.0) -> Split:
    """Splits the data set by the publisher's split, or else by hash, and corrections always by hash.

    A correction of a held-out row becomes a live row and does not train, nor does a data set row that is a live row.
    Only a trusted person's correction replaces the truth of a data set row, so no caller can relabel the data set.
    """
    outside = table.official if table.official is not None else [is_held_out(side) for side in table.sides]
    held_out = _distinct(table.pick(outside))
    fixed = set(held_out.sides)
    resolved = resolve(corrections, table.identify)
    sides = {digest: table.side(correction.row) for digest, correction in resolved.items()}
    live = {d: c for d, c in resolved.items() if is_held_out(sides[d]) or sides[d] in fixed}
    live_sides = {sides[d] for d in live}
    inside = table.pick(side not in fixed for side in table.sides)
    unseen = inside.pick(is_unseen(side) for side in inside.sides)
    base = inside.pick(
        side not in live_sides and not is_unseen(side) and is_within(side, share) for side in inside.sides
    )
    known = set(base.hashes)
    used = {d: c for d, c in resolved.items() if d not in live and (c.trusted or d not in known)}
    base_rows = base.pick(d not in used for d in base.hashes)
    result = Split(_joined(base_rows, used), held_out, _live(live, table), unseen, len(used))
    result.check()
    return result


def without_unseen(table: Table) -> Table:
    """All rows but the unseen ones: the rows of a cross-validation."""
    unseen = set(split(table).unseen.sides)
    return table.pick(side not in unseen for side in table.sides)


def _distinct(table: Table) -> Table:
    """The table without repetitions of a row."""
    first = {digest: index for index, digest in reversed(list(enumerate(table.hashes)))}
    return table.pick(first[digest] == index for index, digest in enumerate(table.hashes))


def _joined(base: Table, corrections: Mapping[str, Correction]) -> Table:
    return Table(
        rows=[*base.rows, *(correction.row for correction in corrections.values())],
        truths=np.concatenate([base.truths, _truths(corrections.values(), base)]),
        synthetic=base.synthetic,
        key=base.key,
        identity=base.identity,
        weights=base.weights,
        hashes=[*base.hashes, *corrections],
    )


def _live(live: Mapping[str, Correction], like: Table) -> LiveRows:
    corrections = list(live.values())
    table = (
        Table(
            [correction.row for correction in corrections],
            _truths(corrections, like),
            key=like.key,
            identity=like.identity,
            hashes=list(live),
        )
        if corrections
        else like.pick([False] * len(like))
    )
    return LiveRows(
        table,
        np.array([correction.user for correction in corrections], dtype=object),
        np.array([correction.trusted for correction in corrections], dtype=bool),
    )


def _truths(corrections: Iterable[Correction], like: Table) -> Truths:
    return as_truths([correction.truth for correction in corrections], like)


def as_truths(values: Sequence[object] | NDArray[np.generic], like: Table) -> Truths:
    """The values in the type of the table's truths."""
    return np.array(values, dtype=np.object_) if like.truths.dtype == object else np.array(values, dtype=np.float64)
