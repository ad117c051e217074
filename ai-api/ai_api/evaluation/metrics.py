"""Metrics of answers whose rows weigh differently: how often a bootstrap drew a row, how many real rows it stands for.

A metric looks at the answers once (labels counted into places, scores sorted) and then takes weights a thousand times.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ai_api.datasets import Truths

FloatArray = NDArray[np.float64]
Scorer = Callable[[FloatArray], float]
"""One metric of certain answers, given the weight of each row."""

TINY = 1e-12


@dataclass(frozen=True)
class Predictions:
    """What a version says of some rows: labels, or values. Of a classification also `scores`, the probabilities of
    `labels` in their order, a line a row. `positive` is the label that a yes-or-no task looks for.
    """

    said: Truths
    scores: FloatArray | None = None
    labels: tuple[str, ...] | None = None
    positive: str | None = None

    def __len__(self) -> int:
        return len(self.said)

    def pick(self, wanted: NDArray[np.bool_]) -> Predictions:
        """The answers where `wanted` is true."""
        return Predictions(
            self.said[wanted], None if self.scores is None else self.scores[wanted], self.labels, self.positive
        )

    def of_positive(self) -> tuple[str, FloatArray]:
        """The label that is looked for and its probability in each row, 0 where the version does not know it."""
        if self.positive is None or self.scores is None or self.labels is None:
            raise ValueError("This metric needs probabilities, and the task's `positive` label.")
        if self.positive not in self.labels:
            return self.positive, np.zeros(len(self))
        return self.positive, self.scores[:, self.labels.index(self.positive)]


@dataclass(frozen=True)
class Metric:
    """A number that judges answers. `sign` is 1 where more is better, -1 where less is.

    A label or side that no row weighs in does not count: a resample may hold none of its rows.
    """

    name: str
    sign: int
    scorer: Callable[[Truths, Predictions], Scorer]

    def score(self, truths: Truths, answers: Predictions, weights: FloatArray) -> float:
        return self.scorer(truths, answers)(weights)


@dataclass(frozen=True)
class Counts:
    """By label: the weight of the rows that are of it, that were answered with it, and both."""

    labels: NDArray[np.str_]
    whole: FloatArray
    told: FloatArray
    right: FloatArray

    @property
    def recall(self) -> FloatArray:
        return self.right / np.maximum(self.whole, TINY)

    @property
    def precision(self) -> FloatArray:
        return self.right / np.maximum(self.told, TINY)

    @property
    def f1(self) -> FloatArray:
        return 2 * self.right / np.maximum(self.whole + self.told, TINY)


def counting(truths: Truths, answers: Predictions) -> Callable[[FloatArray], Counts]:
    """Counts by label, given weights. The labels are those among the truths and the answers, sorted."""
    both = np.concatenate([truths.astype(str), answers.said.astype(str)])
    labels, places = np.unique(both, return_inverse=True)
    of_truths, of_said = places[: len(truths)], places[len(truths) :]
    hits = of_truths == of_said

    def count(weights: FloatArray) -> Counts:
        return Counts(labels, summed(of_truths, weights), summed(of_said, weights), summed(of_truths, weights * hits))

    def summed(where: NDArray[np.intp], weights: FloatArray) -> FloatArray:
        return np.asarray(np.bincount(where, weights, len(labels)), dtype=np.float64)

    return count


def _of_counts(reduce: Callable[[Counts], float]) -> Callable[[Truths, Predictions], Scorer]:
    def scorer(truths: Truths, answers: Predictions) -> Scorer:
        count = counting(truths, answers)
        return lambda weights: reduce(count(weights))

    return scorer


def _macro_recall(counts: Counts) -> float:
    there = counts.whole > 0
    return float(np.mean(counts.right[there] / counts.whole[there])) if there.any() else 0.0


def _macro_f1(counts: Counts) -> float:
    there = counts.whole + counts.told > 0
    return float(np.mean(counts.f1[there])) if there.any() else 0.0


def _weighted_f1(counts: Counts) -> float:
    return float(np.sum(counts.f1 * counts.whole) / max(counts.whole.sum(), TINY))


def _accuracy(truths: Truths, answers: Predictions) -> Scorer:
    hits = truths == answers.said
    return lambda weights: float(np.average(hits, weights=weights))


def _of_positive(figure: Callable[[Counts], FloatArray]) -> Callable[[Truths, Predictions], Scorer]:
    def scorer(truths: Truths, answers: Predictions) -> Scorer:
        if answers.positive is None:
            raise ValueError("This metric needs the task's `positive` label.")
        count, wanted = counting(truths, answers), answers.positive

        def score(weights: FloatArray) -> float:
            counts = count(weights)
            return float(figure(counts)[counts.labels == wanted].sum())

        return score

    return scorer


def _ranked(reduce: Callable[[FloatArray, FloatArray], float]) -> Callable[[Truths, Predictions], Scorer]:
    """From the weights of true and false alarms, summed from the highest score down to the end of each equal one."""

    def scorer(truths: Truths, answers: Predictions) -> Scorer:
        label, scores = answers.of_positive()
        order = np.argsort(-scores, kind="stable")
        wanted = np.asarray(truths[order] == label, dtype=np.float64)
        ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True)) if len(scores) else order

        def score(weights: FloatArray) -> float:
            falling = weights[order]
            hits = np.cumsum(falling * wanted)[ends]
            return reduce(hits, np.cumsum(falling)[ends] - hits)

        return score

    return scorer


def _average_precision(hits: FloatArray, alarms: FloatArray) -> float:
    """The area under the steps of precision over recall; 0 without a row of the label."""
    if not len(hits) or hits[-1] <= 0:
        return 0.0
    return float(np.sum(np.diff(hits, prepend=0) * hits / np.maximum(hits + alarms, TINY)) / hits[-1])


def _roc_auc(hits: FloatArray, alarms: FloatArray) -> float:
    """The chance that a row of the label scores above another, ties half; 0.5 without rows on both sides."""
    if not len(hits) or hits[-1] <= 0 or alarms[-1] <= 0:
        return 0.5
    below = np.concatenate([[0.0], hits[:-1]])
    return float(np.sum(np.diff(alarms, prepend=0) * (hits + below) / 2) / (hits[-1] * alarms[-1]))


def _errors(truths: Truths, answers: Predictions) -> FloatArray:
    return answers.said.astype(np.float64) - truths.astype(np.float64)


def _rmse(truths: Truths, answers: Predictions) -> Scorer:
    squares = _errors(truths, answers) ** 2
    return lambda weights: float(np.sqrt(np.average(squares, weights=weights)))


def _mae(truths: Truths, answers: Predictions) -> Scorer:
    distances = np.abs(_errors(truths, answers))
    return lambda weights: float(np.average(distances, weights=weights))


def _r2(truths: Truths, answers: Predictions) -> Scorer:
    squares, values = _errors(truths, answers) ** 2, truths.astype(np.float64)

    def score(weights: FloatArray) -> float:
        spread = np.average((values - np.average(values, weights=weights)) ** 2, weights=weights)
        return float(1 - np.average(squares, weights=weights) / max(spread, TINY))

    return score


METRICS = {
    metric.name: metric
    for metric in (
        Metric("macro_recall", 1, _of_counts(_macro_recall)),
        Metric("macro_f1", 1, _of_counts(_macro_f1)),
        Metric("weighted_f1", 1, _of_counts(_weighted_f1)),
        Metric("accuracy", 1, _accuracy),
        Metric("pr_auc", 1, _ranked(_average_precision)),
        Metric("roc_auc", 1, _ranked(_roc_auc)),
        Metric("precision", 1, _of_positive(lambda counts: counts.precision)),
        Metric("recall", 1, _of_positive(lambda counts: counts.recall)),
        Metric("f1", 1, _of_positive(lambda counts: counts.f1)),
        Metric("rmse", -1, _rmse),
        Metric("mae", -1, _mae),
        Metric("r2", 1, _r2),
    )
}
