"""May the challenger take over? Champion and challenger answer the very same rows; paired bootstrap says how sure.

Fixed rows (the data set's held-out part) and live rows (held-out corrections) are judged apart:

- not worse: the lower end of the interval of the difference lies above minus the task's margin, on both. Few live rows
  leave a wide interval, so there it counts only if the difference itself is not in the challenger's favour;
- better on at least one: the difference is positive and LIKELY_SHARE of the resamples agree. That is less than the
  95 % of the interval on purpose: the corrections of a week move macro-recall by a point, which 2,000 rows show with
  that certainty at best, and being worse by more than the margin is ruled out apart (27 of 110 pairs of equals pass);
- no slice of at least SLICE_ROWS rows lies with its whole interval below minus the margin.

Live rows carry two dangers, and each has its own answer. People correct what they notice, so on rows chosen by the
champion's mistakes any challenger looks better: rows are weighted so that the champion errs on them as often as on the
fixed rows, and without enough rows that it got right (confirmations) they prove nothing. And one caller's wrong labels
would teach the challenger and then praise it: the unit of resampling is the person, and untrusted people must be at
least PEOPLE for their rows to count as better. A live set that proves nothing can neither promote nor veto.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field

import numpy as np
from numpy.typing import NDArray

from ai_api.datasets import LiveRows, Truths
from ai_api.task import Kind, Task

from .evaluate import CONFIDENCE, multiplicities, slices
from .metrics import METRICS, FloatArray, Metric, Predictions, Scorer

LIKELY_SHARE = 0.8
SLICE_ROWS = 200
LIVE_ROWS = 50
STRATUM_ROWS = 15
PEOPLE = 3


@dataclass(frozen=True)
class Interval:
    """Challenger minus champion; more is better whatever the metric. `likely`: the share of resamples above 0."""

    delta: float
    low: float
    high: float
    likely: float
    rows: int

    def __str__(self) -> str:
        return f"{self.delta:+.4f} [{self.low:+.4f}, {self.high:+.4f}] on {self.rows} rows"


@dataclass(frozen=True)
class GateDecision:
    promote: bool
    reason: str
    fixed: Interval | None = None
    live: Interval | None = None
    slices: Mapping[str, Interval] = field(default_factory=dict)

    def report(self) -> dict[str, object]:
        return asdict(self)


FIRST = GateDecision(True, "first version")


@dataclass(frozen=True)
class PairedPredictions:
    """Rows that both versions answered."""

    truths: Truths
    champion: Predictions
    challenger: Predictions

    def pick(self, wanted: NDArray[np.bool_]) -> PairedPredictions:
        return PairedPredictions(self.truths[wanted], self.champion.pick(wanted), self.challenger.pick(wanted))


def decide(
    task: Task, fixed: PairedPredictions, live: PairedPredictions, who: LiveRows, rounds: int = 1_000, seed: int = 0
) -> GateDecision:
    """The decision with a reason that a person can read."""
    metric = METRICS[task.metric]
    on_fixed = compare(metric, fixed, rounds, seed)
    on_live, doubt = _judge_live(task, metric, fixed, live, who, rounds, seed)
    of_slices = METRICS["macro_recall"] if task.kind is Kind.CLASSIFICATION else metric  # of one class: its recall
    parts = {
        name: compare(of_slices, fixed.pick(wanted), rounds, seed)
        for name, wanted in slices(task, fixed.truths).items()
        if wanted.sum() >= SLICE_ROWS
    }
    objections = list(_objections(task, on_fixed, on_live, parts))
    better = [name for name, found in (("fixed", on_fixed), ("live", on_live)) if found and is_better(found)]
    if doubt:
        better = [name for name in better if name != "live"]
    said = (
        f"{task.metric} against the champion: fixed {on_fixed}"
        + (f"; live {on_live}" if on_live else "")
        + (f" ({doubt})" if doubt else "")
    )
    if objections:
        return GateDecision(False, f"Not promoted: {'; '.join(objections)}. {said}.", on_fixed, on_live, parts)
    if not better:
        return GateDecision(
            False,
            f"Not promoted: not clearly better on the fixed rows nor on the live ones. {said}.",
            on_fixed,
            on_live,
            parts,
        )
    return GateDecision(
        True,
        f"Promoted: better on the {' and the '.join(better)} rows, worse on none. {said}.",
        on_fixed,
        on_live,
        parts,
    )


def is_better(found: Interval) -> bool:
    return found.delta > 0 and found.likely >= LIKELY_SHARE


def _objections(task: Task, fixed: Interval, live: Interval | None, parts: Mapping[str, Interval]) -> Iterator[str]:
    if fixed.low <= -task.margin:
        yield f"it may be worse on the fixed rows by more than the margin of {task.margin}"
    if live and live.low <= -task.margin and live.delta < 0:
        yield f"it may be worse on the live rows by more than the margin of {task.margin}"
    for name, found in parts.items():
        if found.high < -task.margin:
            yield f"it is worse on {name!r}: {found}"


def compare(
    metric: Metric,
    rows: PairedPredictions,
    rounds: int,
    seed: int,
    weights: FloatArray | None = None,
    units: NDArray[np.int_] | None = None,
) -> Interval:
    """The paired difference with its bootstrap interval. `units` groups rows that are drawn together."""
    weights = np.ones(len(rows.truths)) if weights is None else weights
    units = np.arange(len(rows.truths)) if units is None else units
    difference = _differing(metric, rows)
    drawn = np.zeros(rounds)
    for place, drawn_units in enumerate(multiplicities(int(units.max()) + 1, rounds, seed)):
        times = drawn_units[units]
        drawn[place] = difference(weights * times) if times.any() else 0.0
    low, high = np.quantile(drawn, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    return Interval(difference(weights), float(low), float(high), float(np.mean(drawn > 0)), len(rows.truths))


def _differing(metric: Metric, rows: PairedPredictions) -> Scorer:
    champion, challenger = metric.scorer(rows.truths, rows.champion), metric.scorer(rows.truths, rows.challenger)
    return lambda weights: metric.sign * (challenger(weights) - champion(weights))


def _judge_live(
    task: Task, metric: Metric, fixed: PairedPredictions, live: PairedPredictions, who: LiveRows, rounds: int, seed: int
) -> tuple[Interval | None, str]:
    """The interval on live rows, or None when they prove nothing; and why they cannot count as better."""
    if len(live.truths) < LIVE_ROWS:
        return None, f"{len(live.truths)} live rows are too few to judge by"
    weights = balance(task, fixed, live)
    if weights is None:
        return (
            None,
            f"{len(live.truths)} live rows prove nothing: hardly any of them confirms an answer of the champion",
        )
    units, people = _units(who)
    doubt = (
        ""
        if who.trusted.sum() >= LIVE_ROWS or people >= PEOPLE
        else f"the word of {people} untrusted people, {PEOPLE} are needed"
    )
    return compare(metric, live, rounds, seed, weights, units), doubt


def _units(who: LiveRows) -> tuple[NDArray[np.int_], int]:
    """Trusted rows stand for themselves; the rows of an untrusted person are drawn together."""
    names = [
        f"row {place}" if trusted else f"user {user}"
        for place, (user, trusted) in enumerate(zip(who.users, who.trusted, strict=True))
    ]
    units = np.unique(np.array(names), return_inverse=True)[1]
    return units, len(set(who.users[~who.trusted]))


def balance(task: Task, fixed: PairedPredictions, live: PairedPredictions) -> FloatArray | None:
    """Weights under which the champion errs on the live rows as on the fixed ones; None when there are none."""
    of_fixed, of_live = _strata(task, fixed, fixed), _strata(task, fixed, live)
    weights = np.zeros(len(of_live))
    for stratum in np.unique(of_fixed):
        here = of_live == stratum
        if here.sum() < STRATUM_ROWS:
            return None
        weights[here] = np.mean(of_fixed == stratum) / here.sum()
    return weights * len(of_live)


def _strata(task: Task, fixed: PairedPredictions, rows: PairedPredictions) -> NDArray[np.int_]:
    """Right or wrong; for numbers, the lower or the upper half of the champion's errors on the fixed rows."""
    if task.kind is Kind.CLASSIFICATION:
        return np.asarray(rows.champion.said == rows.truths, dtype=np.int_)
    usual = np.median(np.abs(fixed.champion.said - fixed.truths))
    return np.asarray(np.abs(rows.champion.said - rows.truths) > usual, dtype=np.int_)
