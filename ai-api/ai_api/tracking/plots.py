"""Pictures of how a version answers, as figures without a display."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ai_api.datasets import Truths
from ai_api.evaluation.metrics import FloatArray, Predictions
from ai_api.task import Task

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMED_LABELS = 20
"""A confusion matrix of more labels than this is a map without words."""
BINS = 10


def plots(task: Task, truths: Truths, answers: Predictions, threshold: float | None = None) -> Mapping[str, Figure]:
    """Predicted against true values with their residuals; or a confusion matrix, and of a yes-or-no task also
    precision over recall, the threshold marked, and how far its probabilities can be believed.
    """
    if answers.labels is None:
        return {"residuals": _residuals(task, truths.astype(np.float64), answers.said.astype(np.float64))}
    figures = {"confusion": _confusion(task, truths, answers)}
    if task.positive is None or answers.scores is None:
        return figures
    _, scores = answers.of_positive()
    wanted = np.asarray(truths == task.positive, dtype=np.float64)
    return {
        **figures,
        "precision_recall": _precision_recall(task, wanted, scores, threshold),
        "calibration": _calibration(task, wanted, scores),
    }


def _panels(count: int, width: float = 5, height: float = 4) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * count, height), layout="constrained")
    return figure, list(figure.subplots(1, count, squeeze=False)[0])


def _residuals(task: Task, truths: FloatArray, said: FloatArray) -> Figure:
    figure, (left, right) = _panels(2)
    span = [float(np.min(truths)), float(np.max(truths))] if len(truths) else [0.0, 1.0]
    left.scatter(truths, said, s=4, alpha=0.3)
    left.plot(span, span, color="black", linewidth=1)
    left.set(title=task.name, xlabel="truth", ylabel="answer")
    right.scatter(said, truths - said, s=4, alpha=0.3)
    right.axhline(0, color="black", linewidth=1)
    right.set(title="residuals", xlabel="answer", ylabel="truth - answer")
    return figure


def _confusion(task: Task, truths: Truths, answers: Predictions) -> Figure:
    """Coloured by the share of the true label's rows; counts and names are written where they can be read."""
    both = np.concatenate([truths.astype(str), answers.said.astype(str), np.array(answers.labels, dtype=str)])
    labels, places = np.unique(both, return_inverse=True)
    of_truths, of_said = places[: len(truths)], places[len(truths) : 2 * len(truths)]
    counts = np.bincount(of_truths * len(labels) + of_said, minlength=len(labels) ** 2).reshape(len(labels), -1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(12.0, 3.5 + 0.5 * len(labels))
    figure, (axes,) = _panels(1, side + 1, side)
    picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    figure.colorbar(picture, ax=axes, label="share of the rows of the true label")
    axes.set(title=task.name, xlabel="answer", ylabel="truth")
    if len(labels) > NAMED_LABELS:
        axes.set(xlabel=f"answer ({len(labels)} labels, sorted by name)", ylabel="truth (in the same order)")
        return figure
    axes.set_xticks(range(len(labels)), labels, rotation=90 if len(labels) > 4 else 0)
    axes.set_yticks(range(len(labels)), labels)
    for (row, column), count in np.ndenumerate(counts):
        color = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, str(count), ha="center", va="center", color=color)
    return figure


def _precision_recall(task: Task, wanted: FloatArray, scores: FloatArray, threshold: float | None) -> Figure:
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(wanted[order])
    recall, precision = hits / max(wanted.sum(), 1), hits / np.arange(1, len(hits) + 1)
    figure, (axes,) = _panels(1)
    axes.step(recall, precision, where="post")
    axes.set(title=task.name, xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.02))
    for value, mark in ((0.5, "o"), (threshold, "D")):
        told = 0 if value is None else int(np.sum(scores >= value))
        if told:
            axes.plot(recall[told - 1], precision[told - 1], mark, label=f"threshold {value:.3g}")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower left")
    return figure


def _calibration(task: Task, wanted: FloatArray, scores: FloatArray) -> Figure:
    """In bins of as many rows each: the share of the label among rows that were given a probability."""
    order = np.argsort(scores, kind="stable")
    bins = [part for part in np.array_split(order, BINS) if len(part)]
    figure, (axes,) = _panels(1)
    axes.plot([0, 1], [0, 1], color="black", linewidth=1)
    axes.plot([scores[part].mean() for part in bins], [wanted[part].mean() for part in bins], "o-")
    axes.set(title=task.name, xlabel="probability answered", ylabel=f"share that is {task.positive!r}")
    return figure
