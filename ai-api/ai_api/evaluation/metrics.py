"""Metrics with a weight for each row: how often a bootstrap resample holds it, or how many real rows it stands for.

A metric prepares its predictions once (labels as indices, scores sorted). The result is a function of the weights, so a
bootstrap of a thousand resamples repeats only the weighted sums.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ai_api.datasets import FloatArray, Truths

Scorer = Callable[[FloatArray], float]
"""The value of one metric for fixed truths and predictions, as a function of the weight of each row."""

TINY = 1e-12


@dataclass(frozen=True)
class Predictions:
    """A version's predictions for some rows: `predicted` holds a label or a value for each row.

    For a classification, `scores` is of shape (rows, labels): the probabilities of `labels` in their order. `positive`
    is the label that a binary task detects.
    """

    predicted: Truths
    scores: FloatArray | None = None
    labels: tuple[str, ...] | None = None
    positive: str | None = None

    def __len__(self) -> int:
        return len(self.predicted)

    def pick(self, wanted: NDArray[np.bool_]) -> Predictions:
        """The predictions where `wanted` is true."""
        return Predictions(
            self.predicted[wanted], None if self.scores is None else self.scores[wanted], self.labels, self.positive
        )

    def of_positive(self) -> tuple[str, FloatArray]:
        """The positive label and its probability in each row; 0 when the version was never trained on that label."""
        if self.positive is None or self.scores is None or self.labels is None:
            raise ValueError("This metric needs probabilities, and the task's `positive` label.")
        if self.positive not in self.labels:
            return self.positive, np.zeros(len(self))
        return self.positive, self.scores[:, self.labels.index(self.positive)]


@dataclass(frozen=True)
class Metric:
    """A named metric. `sign` is 1 if higher values are better and -1 if lower ones are.

    Labels whose rows all have weight 0 are left out of averages over labels: a resample may hold none of their rows.
    """

    name: str
    sign: int
    scorer: Callable[[Truths, Predictions], Scorer]

    def score(self, truths: Truths, predictions: Predictions, weights: FloatArray) -> float:
        return self.scorer(truths, predictions)(weights)


@dataclass(frozen=True)
class Counts:
    """Sums of row weights by label: rows with this truth, rows predicted as it, and rows where both hold."""

    labels: NDArray[np.str_]
    actual: FloatArray
    predicted: FloatArray
    correct: FloatArray

    @property
    def recall(self) -> FloatArray:
        return self.correct / np.maximum(self.actual, TINY)

    @property
    def precision(self) -> FloatArray:
        return self.correct / np.maximum(self.predicted, TINY)

    @property
    def f1(self) -> FloatArray:
        return 2 * self.correct / np.maximum(self.actual + self.predicted, TINY)


def counting(truths: Truths, predictions: Predictions) -> Callable[[FloatArray], Counts]:
    """A function from row weights to counts by label. The labels are all truths and predicted labels, sorted."""
    every = np.concatenate([truths.astype(str), predictions.predicted.astype(str)])
    labels, indices = np.unique(every, return_inverse=True)
    of_truths, of_predicted = indices[: len(truths)], indices[len(truths) :]
    hits = of_truths == of_predicted

    def count(weights: FloatArray) -> Counts:
        return Counts(
            labels, summed(of_truths, weights), summed(of_predicted, weights), summed(of_truths, weights * hits)
        )

    def summed(where: NDArray[np.intp], weights: FloatArray) -> FloatArray:
        return np.asarray(np.bincount(where, weights, len(labels)), dtype=np.float64)

    return count


def _of_counts(reduce: Callable[[Counts], float]) -> Callable[[Truths, Predictions], Scorer]:
    def scorer(truths: Truths, predictions: Predictions) -> Scorer:
        count = counting(truths, predictions)
        return lambda weights: reduce(count(weights))

    return scorer


def _macro_recall(counts: Counts) -> float:
    present = counts.actual > 0
    return float(np.mean(counts.correct[present] / counts.actual[present])) if present.any() else 0.0


def _macro_f1(counts: Counts) -> float:
    present = counts.actual + counts.predicted > 0
    return float(np.mean(counts.f1[present])) if present.any() else 0.0


def _weighted_f1(counts: Counts) -> float:
    return float(np.sum(counts.f1 * counts.actual) / max(counts.actual.sum(), TINY))


def _accuracy(truths: Truths, predictions: Predictions) -> Scorer:
    hits = truths == predictions.predicted
    return lambda weights: float(np.average(hits, weights=weights))


def _of_positive(figure: Callable[[Counts], FloatArray]) -> Callable[[Truths, Predictions], Scorer]:
    def scorer(truths: Truths, predictions: Predictions) -> Scorer:
        if predictions.positive is None:
            raise ValueError("This metric needs the task's `positive` label.")
        count, positive = counting(truths, predictions), predictions.positive

        def score(weights: FloatArray) -> float:
            counts = count(weights)
            return float(figure(counts)[counts.labels == positive].sum())

        return score

    return scorer


def _of_ranking(reduce: Callable[[FloatArray, FloatArray], float]) -> Callable[[Truths, Predictions], Scorer]:
    """A metric of the ranking by score. `reduce` gets the cumulated weights of true and of false positives, from the
    highest score down, one value for each distinct score.
    """

    def scorer(truths: Truths, predictions: Predictions) -> Scorer:
        label, scores = predictions.of_positive()
        order = np.argsort(-scores, kind="stable")
        is_positive = np.asarray(truths[order] == label, dtype=np.float64)
        ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True)) if len(scores) else order

        def score(weights: FloatArray) -> float:
            ranked = weights[order]
            hits = np.cumsum(ranked * is_positive)[ends]
            return reduce(hits, np.cumsum(ranked)[ends] - hits)

        return score

    return scorer


def _average_precision(hits: FloatArray, alarms: FloatArray) -> float:
    """The area under the precision-recall curve as steps (average precision); 0 without a positive row."""
    if not len(hits) or hits[-1] <= 0:
        return 0.0
    return float(np.sum(np.diff(hits, prepend=0) * hits / np.maximum(hits + alarms, TINY)) / hits[-1])


def _roc_auc(hits: FloatArray, alarms: FloatArray) -> float:
    """The probability that a positive row scores above a negative one, ties count half; 0.5 without both kinds."""
    if not len(hits) or hits[-1] <= 0 or alarms[-1] <= 0:
        return 0.5
    below = np.concatenate([[0.0], hits[:-1]])
    return float(np.sum(np.diff(alarms, prepend=0) * (hits + below) / 2) / (hits[-1] * alarms[-1]))


def _errors(truths: Truths, predictions: Predictions) -> FloatArray:
    return predictions.predicted.astype(np.float64) - truths.astype(np.float64)


def _rmse(truths: Truths, predictions: Predictions) -> Scorer:
    squares = _errors(truths, predictions) ** 2
    return lambda weights: float(np.sqrt(np.average(squares, weights=weights)))


def _mae(truths: Truths, predictions: Predictions) -> Scorer:
    distances = np.abs(_errors(truths, predictions))
    return lambda weights: float(np.average(distances, weights=weights))


def _r2(truths: Truths, predictions: Predictions) -> Scorer:
    squares, values = _errors(truths, predictions) ** 2, truths.astype(np.float64)

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
        Metric("pr_auc", 1, _of_ranking(_average_precision)),
        Metric("roc_auc", 1, _of_ranking(_roc_auc)),
        Metric("precision", 1, _of_positive(lambda counts: counts.precision)),
        Metric("recall", 1, _of_positive(lambda counts: counts.recall)),
        Metric("f1", 1, _of_positive(lambda counts: counts.f1)),
        Metric("rmse", -1, _rmse),
        Metric("mae", -1, _mae),
        Metric("r2", 1, _r2),
    )
}
