"""Predictions of a pipeline for a table, and their metrics: with intervals, baselines, by class and by slice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from ai_api.datasets import FloatArray, Table, Truths, as_truths, frame
from ai_api.inference import labels_of, predicted_indices
from ai_api.task import Kind, Task

from .metrics import METRICS, Metric, Predictions, counting

REPORTED = {Kind.CLASSIFICATION: ("macro_recall", "macro_f1", "accuracy"), Kind.REGRESSION: ("rmse", "mae", "r2")}
"""The metrics reported for a task that names none."""
CONFIDENCE = 0.95
REAL = "weighted_to_real_"
"""Prefix of metrics weighted to the real shares of the labels."""


def predict_table(pipeline: Pipeline, task: Task, table: Table) -> Predictions:
    """The pipeline's predictions for the rows of a table, in the type of its truths."""
    if not len(table):
        return Predictions(table.truths[:0], None, labels_of(pipeline), task.positive)
    predictions = predict_inputs(pipeline, frame(table.rows, task.row.modalities()), task.positive)
    return replace(predictions, predicted=as_truths(predictions.predicted, table))


def predict_inputs(pipeline: Pipeline | BaseEstimator, inputs: object, positive: str | None = None) -> Predictions:
    """The predictions of a fitted pipeline for a frame, or of its last step alone for features."""
    whole = pipeline if isinstance(pipeline, Pipeline) else Pipeline([("estimator", pipeline)])
    labels = labels_of(whole)
    if labels is None:
        return Predictions(np.asarray(pipeline.predict(inputs), dtype=np.float64))
    return from_scores(whole, np.asarray(pipeline.predict_proba(inputs), dtype=np.float64), positive)


def from_scores(pipeline: Pipeline, scores: FloatArray, positive: str | None) -> Predictions:
    """Predictions from probabilities of shape (rows, labels): the likeliest label, or by the pipeline's threshold."""
    labels = labels_of(pipeline) or ()
    return Predictions(np.array(labels, dtype=object)[predicted_indices(pipeline, scores)], scores, labels, positive)


def measure(
    task: Task, truths: Truths, predictions: Predictions, weights: FloatArray | None = None
) -> dict[str, float]:
    """The task's deciding metric, then those that it reports beside it."""
    weights = np.ones(len(truths)) if weights is None else weights
    names = dict.fromkeys((task.metric, *(task.metrics or REPORTED[task.kind])))
    return {name: METRICS[name].score(truths, predictions, weights) for name in names}


def real_weights(table: Table) -> FloatArray | None:
    """How many real rows each row stands for; None where each stands for itself."""
    if not table.weights:
        return None
    return np.array([table.weights.get(str(truth), 1.0) for truth in table.truths])


def measure_table(task: Task, table: Table, predictions: Predictions) -> dict[str, float]:
    """`measure` on a table; with the prefix REAL also weighted to the real shares, where the data set's differ."""
    real = real_weights(table)
    weighted = {} if real is None else measure(task, table.truths, predictions, real)
    return measure(task, table.truths, predictions) | {f"{REAL}{name}": value for name, value in weighted.items()}


def measure_with_interval(
    task: Task, table: Table, predictions: Predictions, rounds: int = 1_000, seed: int = 0
) -> dict[str, float]:
    """`measure_table` and the interval of the deciding metric: `interval_low` and `interval_high`."""
    low, high = interval(METRICS[task.metric], table.truths, predictions, rounds, seed)
    return {**measure_table(task, table, predictions), "interval_low": low, "interval_high": high}


def interval(metric: Metric, truths: Truths, predictions: Predictions, rounds: int, seed: int) -> tuple[float, float]:
    """The percentile bootstrap interval of the metric, at CONFIDENCE."""
    score = metric.scorer(truths, predictions)
    values = [score(counts.astype(np.float64)) for counts in multiplicities(len(truths), rounds, seed)]
    low, high = np.quantile(values, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    return float(low), float(high)


def multiplicities(count: int, rounds: int, seed: int) -> Iterator[NDArray[np.int_]]:
    """For each bootstrap resample, how often it holds each of `count` units."""
    random = np.random.default_rng(seed)
    for _ in range(rounds):
        yield np.bincount(random.integers(0, count, count), minlength=count)


def per_class(truths: Truths, predictions: Predictions) -> dict[str, float]:
    """`precision.<label>`, `recall.<label>` and `f1.<label>` of every label that occurs as truth or prediction."""
    counts = counting(truths, predictions)(np.ones(len(truths)))
    return {
        f"{name}.{label}": float(value)
        for name, values in (("precision", counts.precision), ("recall", counts.recall), ("f1", counts.f1))
        for label, value in zip(counts.labels, values, strict=True)
    }


def baseline(task: Task, train: Table, held_out: Table) -> dict[str, float]:
    """`baseline_<name>`: metrics of a constant prediction, the commonest label or the mean of the training truths."""
    if task.kind is Kind.CLASSIFICATION:
        labels, counts = np.unique(train.truths, return_counts=True)
        predicted = as_truths([labels[counts.argmax()]] * len(held_out), train)
        shares = np.tile(counts / counts.sum(), (len(held_out), 1))
        predictions = Predictions(predicted, shares, tuple(map(str, labels)), task.positive)
    else:
        predictions = Predictions(as_truths([train.truths.mean()] * len(held_out), train))
    return {f"baseline_{name}": value for name, value in measure(task, held_out.truths, predictions).items()}


def slices(task: Task, truths: Truths) -> dict[str, NDArray[np.bool_]]:
    """Masks of the slices that the gate compares: the rows of each class, or of each quarter of the rows by truth.

    The slice of a class is measured by its recall, also if the task's metric is one of ranking: callers act on labels.
    """
    if task.kind is Kind.CLASSIFICATION:
        return {str(label): truths == label for label in np.unique(truths)}
    bounds = np.quantile(truths.astype(float), (0.25, 0.5, 0.75)) if len(truths) else np.zeros(3)
    quarter = np.searchsorted(bounds, truths.astype(float))
    return {f"quarter {number + 1}": quarter == number for number in range(4)}
