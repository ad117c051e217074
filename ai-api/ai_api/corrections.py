"""People's corrections of predictions as training rows, and the one truth of a row that several people corrected.

Two rules make one truth of many corrections, each in one place. data-api keeps the latest accepted correction of each
prediction and exports only that. Several predictions may be of the same row, so `resolve` decides between people.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Correction:
    """The truth of a row as one person states it. `trusted` when that person is a trainer or admin."""

    row: dict[str, object]
    truth: str | float
    user: str
    trusted: bool
    created_at: str


def resolve(
    corrections: Iterable[Correction], identify: Callable[[Mapping[str, object]], str]
) -> dict[str, Correction]:
    """One correction for each row, by the digest of the row that `identify` gives."""
    groups: dict[str, list[Correction]] = {}
    for correction in corrections:
        groups.setdefault(identify(correction.row), []).append(correction)
    return {digest: _resolve_row(group) for digest, group in groups.items()}


def _resolve_row(group: list[Correction]) -> Correction:
    """The latest trusted correction. Without one, of each person's latest: the commonest label (the newest of equally
    common ones), or the value nearest to the median.
    """
    group = sorted(group, key=lambda correction: correction.created_at)
    if trusted := [correction for correction in group if correction.trusted]:
        return trusted[-1]
    latest = list({correction.user: correction for correction in group}.values())
    truths = [correction.truth for correction in latest]
    if isinstance(truths[0], str):
        return max(latest, key=lambda correction: (truths.count(correction.truth), correction.created_at))
    median = float(np.median(np.array(truths, dtype=np.float64)))
    return min(latest, key=lambda correction: abs(float(correction.truth) - median))
