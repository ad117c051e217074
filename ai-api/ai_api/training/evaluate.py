"""How good a version is: metrics, baselines, slices, plots. Whether it may serve is the gate's business."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ai_api.datasets import Table, Truths, as_truths, frame
from ai_api.task import Kind, Task

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from sklearn.pipeline import Pipeline

Numbers = NDArray[np.float64]
Score = Callable[[Truths, Truths, Numbers], float]
"""Truths, answers, and the weight of each row."""


@dataclass(frozen=True)
class Metric:
    """A number that judges answers. `sign` is 1 where more is better, -1 where less is."""

    name: str
    sign: int
    score: Score


def _macro_recall(truths: Truths, answers: Truths, weights: Numbers) -> float:
    places = np.unique(truths, return_inverse=True)[1]
    whole = np.bincount(places, weights=weights)
    right = np.bincount(places, weights=weights * (truths == answers))
    return float(np.mean(right[whole > 0] / whole[whole > 0]))


def _accuracy(truths: Truths, answers: Truths, weights: Numbers) -> float:
    return float(np.average(truths == answers, weights=weights))


def _macro_f1(truths: Truths, answers: Truths, weights: Numbers) -> float:
    labels = np.unique(truths)
    right = np.array([weights[(truths == label) & (answers == label)].sum() for label in labels])
    told = np.array([weights[truths == label].sum() + weights[answers == label].sum() for label in labels])
    return float(np.mean(2 * right / np.maximum(told, 1e-12)))


def _rmse(truths: Truths, answers: Truths, weights: Numbers) -> float:
    return float(np.sqrt(np.average(_errors(truths, answers) ** 2, weights=weights)))


def _mae(truths: Truths, answers: Truths, weights: Numbers) -> float:
    return float(np.average(np.abs(_errors(truths, answers)), weights=weights))


def _r2(truths: Truths, answers: Truths, weights: Numbers) -> float:
    spread = np.average((truths - np.average(truths.astype(float), weights=weights)) ** 2, weights=weights)
    return float(1 - np.average(_errors(truths, answers) ** 2, weights=weights) / max(spread, 1e-12))


def _errors(truths: Truths, answers: Truths) -> Numbers:
    return answers.astype(np.float64) - truths.astype(np.float64)


METRICS = {
    metric.name: metric
    for metric in (
        Metric("macro_recall", 1, _macro_recall),
        Metric("macro_f1", 1, _macro_f1),
        Metric("accuracy", 1, _accuracy),
        Metric("rmse", -1, _rmse),
        Metric("mae", -1, _mae),
        Metric("r2", 1, _r2),
    )
}
REPORTED = {Kind.CLASSIFICATION: ("macro_recall", "macro_f1", "accuracy"), Kind.REGRESSION: ("rmse", "mae", "r2")}


def answer(pipeline: Pipeline, task: Task, table: Table) -> Truths:
    """What the pipeline says of each row, in the type of the truths."""
    if not len(table):
        return table.truths[:0]
    said = pipeline.predict(frame(table.rows, task.row.modalities()))
    return as_truths(said, table)


def measure(task: Task, truths: Truths, answers: Truths) -> dict[str, float]:
    """Every metric of the task's kind, its own among them."""
    weights = np.ones(len(truths))
    names = dict.fromkeys((task.metric, *REPORTED[task.kind]))
    return {name: METRICS[name].score(truths, answers, weights) for name in names}


def baseline(task: Task, train: Table, held_out: Table) -> dict[str, float]:
    """The metrics of always answering the commonest label, or the mean: what a model must beat to be worth its name."""
    if task.kind is Kind.CLASSIFICATION:
        labels, counts = np.unique(train.truths, return_counts=True)
        constant = labels[counts.argmax()]
    else:
        constant = train.truths.mean()
    answers = as_truths([constant] * len(held_out), train)
    return {f"baseline_{name}": value for name, value in measure(task, held_out.truths, answers).items()}


def slices(task: Task, truths: Truths) -> dict[str, NDArray[np.bool_]]:
    """Parts of the rows in which a version may not be worse: each class, or each quarter of the truth."""
    if task.kind is Kind.CLASSIFICATION:
        return {str(label): truths == label for label in np.unique(truths)}
    bounds = np.quantile(truths.astype(float), (0.25, 0.5, 0.75)) if len(truths) else np.zeros(3)
    quarter = np.searchsorted(bounds, truths.astype(float))
    return {f"quarter {number + 1}": quarter == number for number in range(4)}


def plots(task: Task, truths: Truths, answers: Truths, labels: Sequence[str] | None) -> Mapping[str, Figure]:
    """A confusion matrix, or predicted against true values. Drawn without a display."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.subplots()
    if labels is None:
        axes.scatter(truths, answers, s=4, alpha=0.3)
        axes.plot(span := [float(np.min(truths)), float(np.max(truths))], span, color="black", linewidth=1)
        axes.set(title=task.name, xlabel="truth", ylabel="answer")
        return {"residuals": figure}
    counts = np.array([[np.sum((truths == true) & (answers == said)) for said in labels] for true in labels])
    axes.imshow(counts, cmap="Blues")
    axes.set(title=task.name, xlabel="answer", ylabel="truth")
    axes.set_xticks(range(len(labels)), labels)
    axes.set_yticks(range(len(labels)), labels)
    for (row, column), count in np.ndenumerate(counts):
        axes.text(column, row, str(count), ha="center", va="center")
    return {"confusion": figure}
