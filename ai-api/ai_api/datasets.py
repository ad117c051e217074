"""Rows and truths: split by a row's hash so that none ever changes sides, corrections added."""

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
from .images import ImageRef

log = logging.getLogger(__name__)

Truths = NDArray[np.object_] | NDArray[np.float64]
"""Labels as strings, or floats."""

HELD_OUT_SHARE = 0.2
UNSEEN_SHARE = 0.02
ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
NO_SIGN = re.compile(r"&#(?:[0-9]{8,}|[xX][0-9a-fA-F]{8,});?")
"""References to numbers beyond Unicode. Python refuses to read very long ones."""


def normalise(text: str) -> str:
    """The text as every feature and every hash reads it: escapes and entities decoded, one case, single blanks."""
    return " ".join(unicodedata.normalize("NFKC", decode(text)).casefold().split())


def decode(text: str) -> str:
    r"""Escapes such as `\u2019` and HTML's entities as the signs they stand for."""
    if "\\u" in text:
        text = ESCAPE.sub(lambda found: chr(int(found[1], 16)), text)
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return html.unescape(NO_SIGN.sub("\ufffd", text)) if "&" in text else text


def row_hash(row: Mapping[str, object]) -> str:
    """32 hex digits that depend on what a row says, not on how: key order, 1 or 1.0, case, blanks, absent or null."""
    said = {name: _canonical(value) for name, value in row.items() if value is not None and value == value}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:32]


def _canonical(value: object) -> str | bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, ImageRef):
        return value.reference
    if isinstance(value, int | float | np.number):
        return format(float(value) + 0.0, ".9g")
    return normalise(str(value))


def is_held_out(digest: str) -> bool:
    """The side of a row for good, from its hash alone."""
    return int(digest[:8], 16) < HELD_OUT_SHARE * 2**32


def is_unseen(digest: str) -> bool:
    """Whether a base row is kept from training and evaluation alike, for simulations of real use (`data/unseen`)."""
    return int(digest[16:24], 16) < UNSEEN_SHARE * 2**32


def is_within(digest: str, share: float) -> bool:
    """Whether a row belongs to `share` of its table. Other digits than the side's; a larger share holds a smaller."""
    return int(digest[8:16], 16) < share * 2**32


def frame(rows: Sequence[Mapping[str, object]], columns: Mapping[str, str]) -> pd.DataFrame:
    """Rows as a pipeline takes them, the columns in order.

    Texts and categories are strings, "" for a gap; numbers are floats, NaN for a gap; images are ImageRef or None.
    """
    return pd.DataFrame({name: _column([row.get(name) for row in rows], of) for name, of in columns.items()})


def _column(values: Sequence[object], modality: str) -> NDArray[np.object_] | NDArray[np.float64]:
    if modality == "number":
        return np.array(values, dtype=np.float64)
    column = np.empty(len(values), dtype=object)
    column[:] = values if modality == "image" else [value or "" for value in values]
    return column


def _part(row: Mapping[str, object], columns: Sequence[str]) -> Mapping[str, object]:
    """What a row says in these columns; the whole row when that is nothing."""
    return {name: row[name] for name in columns if row.get(name) not in (None, "")} or row


@dataclass(frozen=True)
class Table:
    """Rows with their truths. `official` marks rows that the publisher holds out.

    `key` names the columns whose content alone decides a row's side (none: all columns). Rows that share it are near
    copies, such as two pictures under one title, and must not stand on both sides. `identity` names the columns that
    say which row it is (none: all), so that a caller who leaves out an optional one still means the same row. `hashes`
    holds the digest of the identity, `sides` that of the key. `weights` says how many real rows one row of a label
    stands for, where the publisher thinned them out; a label that is not named stands for itself.
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
        """The digest that says which row it is."""
        return row_hash(_part(row, self.identity))

    def side(self, row: Mapping[str, object]) -> str:
        """The digest that decides on which side a row of this table's kind is; a row without its key counts whole."""
        return row_hash(_part(row, self.key))

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
            sides=[self.sides[i] for i in places],
        )

    def digest(self) -> str:
        """Which rows with which truths, whatever their order."""
        lines = sorted(f"{digest} {truth}" for digest, truth in zip(self.hashes, self.truths, strict=True))
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class LiveRows:
    """Held-out corrections: the rows of real use, with who vouches for each truth."""

    table: Table
    users: NDArray[np.object_]
    trusted: NDArray[np.bool_]


@dataclass(frozen=True)
class Split:
    """What one training uses. No row of `held_out`, `live` or `unseen`, nor a near copy of one, is in `train`."""

    train: Table
    held_out: Table
    live: LiveRows
    unseen: Table
    corrections_used: int

    def check(self) -> None:
        """LeakedRows when a held-out row trains: cheap, so every training asks."""
        held = {*self.held_out.sides, *self.live.table.sides}
        if leaked := sum(digest in held for digest in self.train.sides):
            raise LeakedRows(f"{leaked} held-out rows, or near copies of them, are among the training rows.")


def split(table: Table, corrections: Iterable[Correction] = (), share: float = 1.0) -> Split:
    """Base rows by the publisher's split, or else by hash; corrections always by hash.

    A correction of a held-out row is live evidence and never trains; neither does a base row that is live evidence.
    A base row keeps its truth unless somebody trusted says otherwise: no caller can relabel the data set alone.
    """
    outside = table.official if table.official is not None else [is_held_out(side) for side in table.sides]
    held_out = _distinct(table.pick(outside))
    fixed = set(held_out.sides)
    said = resolve(corrections, table.identify)
    sides = {digest: table.side(correction.row) for digest, correction in said.items()}
    live = {d: c for d, c in said.items() if is_held_out(sides[d]) or sides[d] in fixed}
    seen = {sides[d] for d in live}
    inside = table.pick(side not in fixed for side in table.sides)
    unseen = inside.pick(is_unseen(side) for side in inside.sides)
    base = inside.pick(side not in seen and not is_unseen(side) and is_within(side, share) for side in inside.sides)
    known = set(base.hashes)
    taught = {d: c for d, c in said.items() if d not in live and (c.trusted or d not in known)}
    kept = base.pick(d not in taught for d in base.hashes)
    result = Split(_joined(kept, taught), held_out, _live(live, table), unseen, len(taught))
    result.check()
    return result


def without_unseen(table: Table) -> Table:
    """All rows but those that are kept for simulations: what a repetition over folds may use."""
    unseen = set(split(table).unseen.sides)
    return table.pick(side not in unseen for side in table.sides)


def _distinct(table: Table) -> Table:
    first = {digest: place for place, digest in reversed(list(enumerate(table.hashes)))}
    return table.pick(first[digest] == place for place, digest in enumerate(table.hashes))


def _joined(base: Table, taught: Mapping[str, Correction]) -> Table:
    return Table(
        rows=[*base.rows, *(correction.row for correction in taught.values())],
        truths=np.concatenate([base.truths, _truths(taught.values(), base)]),
        synthetic=base.synthetic,
        key=base.key,
        identity=base.identity,
        weights=base.weights,
        hashes=[*base.hashes, *taught],
    )


def _live(live: Mapping[str, Correction], like: Table) -> LiveRows:
    words = list(live.values())
    table = (
        Table(
            [word.row for word in words], _truths(words, like), key=like.key, identity=like.identity, hashes=list(live)
        )
        if words
        else like.pick([False] * len(like))
    )
    return LiveRows(
        table,
        np.array([word.user for word in words], dtype=object),
        np.array([word.trusted for word in words], dtype=bool),
    )


def _truths(corrections: Iterable[Correction], like: Table) -> Truths:
    return as_truths([correction.truth for correction in corrections], like)


def as_truths(values: Sequence[object] | NDArray[np.generic], like: Table) -> Truths:
    """Values in the type that the table's truths have."""
    return np.array(values, dtype=np.object_) if like.truths.dtype == object else np.array(values, dtype=np.float64)
