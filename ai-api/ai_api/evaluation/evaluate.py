"""How good a version is: metrics with intervals, baselines, slices. Whether it may serve is the gate's business."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from ai_api.datasets import Table, Truths, as_truths, frame
from ai_api.inference import decided, labels_of
from ai_api.task import Kind, Task

from .metrics import METRICS, FloatArray, Metric, Predictions, counting

REPORTED = {Kind.CLASSIFICATION: ("macro_recall", "macro_f1", "accuracy"), Kind.REGRESSION: ("rmse", "mae", "r2")}
"""What is measured of a task that does not say so itself."""
CONFIDENCE = 0.95
REAL = "weighted_to_real_"


def answer(pipeline: Pipeline, task: Task, table: Table) -> Predictions:
    """What the pipeline says of each row, in the type of the truths."""
    if not len(table):
        return Predictions(table.truths[:0], None, labels_of(pipeline), task.positive)
    found = answer_of(pipeline, frame(table.rows, task.row.modalities()), task.positive)
    return replace(found, said=as_truths(found.said, table))


def answer_of(pipeline: Pipeline | BaseEstimator, inputs: object, positive: str | None = None) -> Predictions:
    """What a fitted pipeline, or its last step alone, says of its inputs."""
    whole = pipeline if isinstance(pipeline, Pipeline) else Pipeline([("estimator", pipeline)])
    labels = labels_of(whole)
    if labels is None:
        return Predictions(np.asarray(pipeline.predict(inputs), dtype=np.float64))
    return from_scores(whole, np.asarray(pipeline.predict_proba(inputs), dtype=np.float64), positive)


def from_scores(pipeline: Pipeline, scores: FloatArray, positive: str | None) -> Predictions:
    """The answers that follow from probabilities, with the pipeline's threshold if it has one."""
    labels = labels_of(pipeline) or ()
    return Predictions(np.array(labels, dtype=object)[decided(pipeline, scores)], scores, labels, positive)


def measure(task: Task, truths: Truths, answers: Predictions, weights: FloatArray | None = None) -> dict[str, float]:
    """The metric that decides and those that the task reports beside it."""
    weights = np.ones(len(truths)) if weights is None else weights
    names = dict.fromkeys((task.metric, *(task.metrics or REPORTED[task.kind])))
    return {name: METRICS[name].score(truths, answers, weights) for name in names}


def real_weights(table: Table) -> FloatArray | None:
    """How many real rows each row stands for; None where each stands for itself."""
    if not table.weights:
        return None
    return np.array([table.weights.get(str(truth), 1.0) for truth in table.truths])


def measured(task: Task, table: Table, answers: Predictions) -> dict[str, float]:
    """The metrics on a table, and again under the labels' real shares where the publisher thinned rows out."""
    real = real_weights(table)
    weighted = {} if real is None else measure(task, table.truths, answers, real)
    return measure(task, table.truths, answers) | {f"{REAL}{name}": value for name, value in weighted.items()}


def judge(task: Task, table: Table, answers: Predictions, rounds: int = 1_000, seed: int = 0) -> dict[str, float]:
    """The same with the interval of the metric that decides: `interval_low` and `interval_high`."""
    low, high = interval(METRICS[task.metric], table.truths, answers, rounds, seed)
    return {**measured(task, table, answers), "interval_low": low, "interval_high": high}


def interval(metric: Metric, truths: Truths, answers: Predictions, rounds: int, seed: int) -> tuple[float, float]:
    """Where the metric lies with CONFIDENCE on other rows of the same kind (bootstrap percentiles)."""
    score = metric.scorer(truths, answers)
    drawn = [score(times.astype(np.float64)) for times in multiplicities(len(truths), rounds, seed)]
    low, high = np.quantile(drawn, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    return float(low), float(high)


def multiplicities(count: int, rounds: int, seed: int) -> Iterator[NDArray[np.int_]]:
    """How often each of `count` units is drawn, round after round."""
    random = np.random.default_rng(seed)
    for _ in range(rounds):
        yield np.bincount(random.integers(0, count, count), minlength=count)


def per_class(truths: Truths, answers: Predictions) -> dict[str, float]:
    """`precision.<label>`, `recall.<label>` and `f1.<label>` of every label that is true or answered anywhere."""
    counts = counting(truths, answers)(np.ones(len(truths)))
    return {
        f"{name}.{label}": float(value)
        for name, values in (("precision", counts.precision), ("recall", counts.recall), ("f1", counts.f1))
        for label, value in zip(counts.labels, values, strict=True)
    }


def baseline(task: Task, train: Table, held_out: Table) -> dict[str, float]:
    """The metrics of always answering the commonest label, or the mean: what a model must beat to be worth its name."""
    if task.kind is Kind.CLASSIFICATION:
        labels, counts = np.unique(train.truths, return_counts=True)
        said = as_truths([labels[counts.argmax()]] * len(held_out), train)
        shares = np.tile(counts / counts.sum(), (len(held_out), 1))
        answers = Predictions(said, shares, tuple(map(str, labels)), task.positive)
    else:
        answers = Predictions(as_truths([train.truths.mean()] * len(held_out), train))
    return {f"baseline_{name}": value for name, value in measure(task, held_out.truths, answers).items()}


def slices(task: Task, truths: Truths) -> dict[str, NDArray[np.bool_]]:
    """Parts of the rows in which a version may not be worse: each class, or each quarter of the truth.

    A class is judged by its recall, also where the metric ranks rows whatever the threshold: callers act on labels.
    """
    if task.kind is Kind.CLASSIFICATION:
        return {str(label): truths == label for label in np.unique(truths)}
    bounds = np.quantile(truths.astype(float), (0.25, 0.5, 0.75)) if len(truths) else np.zeros(3)
    quarter = np.searchsorted(bounds, truths.astype(float))
    return {f"quarter {number + 1}": quarter == number for number in range(4)}
