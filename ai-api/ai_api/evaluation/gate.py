"""Decides whether the challenger replaces the champion, by a paired bootstrap on rows that both predict.

Two sets of rows are compared separately: the fixed rows (the held-out part of the data set) and the live rows (held-out
corrections). The statistic is the difference in the task's metric, challenger minus champion, signed so that positive
is better. Each of `rounds` resamples draws rows with replacement and computes both metrics on the same rows. The 2.5 %
and 97.5 % percentiles of the differences are the interval. The challenger is promoted if all three conditions hold:

- Not worse (non-inferiority): on both sets, the lower end of the interval lies above minus the task's margin. On live
  rows, which are often few and give a wide interval, the condition fails only if the difference is also negative.
- Better on at least one set: the difference is positive, and it is positive in LIKELY_SHARE of the resamples. This is
  less strict than the interval on purpose. A week of corrections moves macro-recall by about one point, which 2,000
  rows show with about this certainty, and a loss above the margin is excluded by the first condition. Of 110 pairs of
  equally good versions, 27 passed.
- No slice of at least SLICE_ROWS fixed rows has its whole interval below minus the margin.

Live rows are biased in two ways:

- People correct mistakes that they notice, so the champion errs more often on live rows than in general, and any
  challenger would look better. Rows are stratified by whether the champion errs, and weighted so that each stratum has
  the share that it has on the fixed rows. A stratum of fewer than STRATUM_ROWS rows makes the live rows unusable.
- One person could train the challenger with wrong labels and then confirm them. So rows of an untrusted person are one
  cluster: they are drawn together, as one unit of the resampling. Without LIVE_ROWS rows of trusted people, corrections
  of at least PEOPLE untrusted people are needed before live rows can count as better.

Unusable live rows can neither promote a version nor prevent its promotion.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
from numpy.typing import NDArray

from ai_api.datasets import FloatArray, LiveRows, Truths
from ai_api.task import Kind, Task

from .evaluate import CONFIDENCE, multiplicities, slices
from .metrics import METRICS, Metric, Predictions, Scorer

LIKELY_SHARE = 0.8
SLICE_ROWS = 200
LIVE_ROWS = 50
STRATUM_ROWS = 15
PEOPLE = 3


@dataclass(frozen=True)
class Interval:
    """The difference challenger minus champion, positive if the challenger is better, and its interval from `low` to
    `high`. `likely` is the share of resamples with a positive difference.
    """

    delta: float
    low: float
    high: float
    likely: float
    rows: int

    def __str__(self) -> str:
        return f"{self.delta:+.4f} [{self.low:+.4f}, {self.high:+.4f}] on {self.rows} rows"


@dataclass(frozen=True)
class GateDecision:
    """Whether to promote, the reason as text, and the compared differences on fixed rows, live rows and slices."""

    promote: bool
    reason: str
    fixed: Interval | None = None
    live: Interval | None = None
    slices: Mapping[str, Interval] = field(default_factory=dict)

    def report(self) -> dict[str, object]:
        """The content of gate.json."""
        return asdict(self)


FIRST = GateDecision(True, "first version")


@dataclass(frozen=True)
class PairedPredictions:
    """Truths of some rows and both versions' predictions for them."""

    truths: Truths
    champion: Predictions
    challenger: Predictions

    def pick(self, wanted: NDArray[np.bool_]) -> PairedPredictions:
        """The rows where `wanted` is true."""
        return PairedPredictions(self.truths[wanted], self.champion.pick(wanted), self.challenger.pick(wanted))


def decide(
    task: Task,
    fixed: PairedPredictions,
    live: PairedPredictions,
    live_rows: LiveRows,
    rounds: int = 1_000,
    seed: int = 0,
) -> GateDecision:
    """The decision by the three conditions above. `live_rows` has the person who corrected each row of `live`."""
    metric = METRICS[task.metric]
    on_fixed = compare(metric, fixed, rounds, seed)
    on_live, doubt = _compare_live(task, metric, fixed, live, live_rows, rounds, seed)
    slice_metric = METRICS["macro_recall"] if task.kind is Kind.CLASSIFICATION else metric  # of one class: its recall
    by_slice = {
        name: compare(slice_metric, fixed.pick(wanted), rounds, seed)
        for name, wanted in slices(task, fixed.truths).items()
        if wanted.sum() >= SLICE_ROWS
    }
    objections = list(_objections(task, on_fixed, on_live, by_slice))
    better = ["fixed"] if is_better(on_fixed) else []
    if on_live and is_better(on_live) and not doubt:
        better.append("live")
    promote = bool(better) and not objections
    reason = f"{_conclusion(objections, better)}. {_differences(task, on_fixed, on_live, doubt)}."
    return GateDecision(promote, reason, on_fixed, on_live, by_slice)


def _conclusion(objections: Sequence[str], better: Sequence[str]) -> str:
    if objections:
        return f"Not promoted: {'; '.join(objections)}"
    if not better:
        return "Not promoted: not clearly better on the fixed rows nor on the live ones"
    return f"Promoted: better on the {' and the '.join(better)} rows, worse on none"


def _differences(task: Task, fixed: Interval, live: Interval | None, doubt: str) -> str:
    on_live = f"; live {live}" if live else ""
    return f"{task.metric} against the champion: fixed {fixed}{on_live}" + (f" ({doubt})" if doubt else "")


def is_better(difference: Interval) -> bool:
    """Whether the difference is positive, also in LIKELY_SHARE of the resamples."""
    return difference.delta > 0 and difference.likely >= LIKELY_SHARE


def _objections(task: Task, fixed: Interval, live: Interval | None, by_slice: Mapping[str, Interval]) -> Iterator[str]:
    """One text for each condition of non-inferiority that fails."""
    if fixed.low <= -task.margin:
        yield f"it may be worse on the fixed rows by more than the margin of {task.margin}"
    if live and live.low <= -task.margin and live.delta < 0:
        yield f"it may be worse on the live rows by more than the margin of {task.margin}"
    for name, difference in by_slice.items():
        if difference.high < -task.margin:
            yield f"it is worse on {name!r}: {difference}"


def compare(
    metric: Metric,
    rows: PairedPredictions,
    rounds: int,
    seed: int,
    weights: FloatArray | None = None,
    units: NDArray[np.int_] | None = None,
) -> Interval:
    """The paired difference with its bootstrap interval.

    `weights`: a weight for each row (default 1). `units`: the number of each row's cluster, from 0; the rows of a
    cluster are drawn together (default: each row is a cluster).
    """
    weights = np.ones(len(rows.truths)) if weights is None else weights
    units = np.arange(len(rows.truths)) if units is None else units
    difference = _difference(metric, rows)
    resampled = np.zeros(rounds)
    for number, counts_by_unit in enumerate(multiplicities(int(units.max()) + 1, rounds, seed)):
        counts = counts_by_unit[units]
        resampled[number] = difference(weights * counts) if counts.any() else 0.0
    low, high = np.quantile(resampled, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    return Interval(difference(weights), float(low), float(high), float(np.mean(resampled > 0)), len(rows.truths))


def _difference(metric: Metric, rows: PairedPredictions) -> Scorer:
    """The signed difference of the metric as a function of row weights."""
    champion, challenger = metric.scorer(rows.truths, rows.champion), metric.scorer(rows.truths, rows.challenger)
    return lambda weights: metric.sign * (challenger(weights) - champion(weights))


def _compare_live(
    task: Task,
    metric: Metric,
    fixed: PairedPredictions,
    live: PairedPredictions,
    live_rows: LiveRows,
    rounds: int,
    seed: int,
) -> tuple[Interval | None, str]:
    """The difference on live rows, None if they are unusable; and the reason why it cannot count as better, or ""."""
    if len(live.truths) < LIVE_ROWS:
        return None, f"{len(live.truths)} live rows are too few to compare"
    weights = balance(task, fixed, live)
    if weights is None:
        return None, f"{len(live.truths)} live rows are not used: too few of them confirm a prediction of the champion"
    units, people = _units(live_rows)
    doubt = (
        ""
        if live_rows.trusted.sum() >= LIVE_ROWS or people >= PEOPLE
        else f"corrections of {people} untrusted people, {PEOPLE} are needed"
    )
    return compare(metric, live, rounds, seed, weights, units), doubt


def _units(live_rows: LiveRows) -> tuple[NDArray[np.int_], int]:
    """The cluster of each row, and how many untrusted people there are. A row of a trusted person is a cluster."""
    names = [
        f"row {number}" if trusted else f"user {user}"
        for number, (user, trusted) in enumerate(zip(live_rows.users, live_rows.trusted, strict=True))
    ]
    units = np.unique(np.array(names), return_inverse=True)[1]
    return units, len(set(live_rows.users[~live_rows.trusted]))


def balance(task: Task, fixed: PairedPredictions, live: PairedPredictions) -> FloatArray | None:
    """Weights of the live rows by which each stratum has its share among the fixed rows; None if one is too small."""
    of_fixed, of_live = _strata(task, fixed, fixed), _strata(task, fixed, live)
    weights = np.zeros(len(of_live))
    for stratum in np.unique(of_fixed):
        members = of_live == stratum
        if members.sum() < STRATUM_ROWS:
            return None
        weights[members] = np.mean(of_fixed == stratum) / members.sum()
    return weights * len(of_live)


def _strata(task: Task, fixed: PairedPredictions, rows: PairedPredictions) -> NDArray[np.int_]:
    """0 or 1: for labels, whether the champion's prediction is correct; for values, whether its error is above its
    median error on the fixed rows.
    """
    if task.kind is Kind.CLASSIFICATION:
        return np.asarray(rows.champion.predicted == rows.truths, dtype=np.int_)
    median = np.median(np.abs(fixed.champion.predicted - fixed.truths))
    return np.asarray(np.abs(rows.champion.predicted - rows.truths) > median, dtype=np.int_)
