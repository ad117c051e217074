"""Plots of a version's predictions on held-out rows, as matplotlib figures without a display."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ai_api.datasets import FloatArray, Truths
from ai_api.evaluation.metrics import Predictions
from ai_api.task import Task

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMED_LABELS = 20
"""A confusion matrix of more labels than this has no counts and names, which would be too small to read."""
BINS = 10


def plots(task: Task, truths: Truths, predictions: Predictions, threshold: float | None = None) -> Mapping[str, Figure]:
    """For values: predictions against truths, and residuals. For labels: a confusion matrix; for a binary task also the
    precision-recall curve, with `threshold` marked, and the calibration curve.
    """
    if predictions.labels is None:
        return {"residuals": _residuals(task, truths.astype(np.float64), predictions.predicted.astype(np.float64))}
    figures = {"confusion": _confusion(task, truths, predictions)}
    if task.positive is None or predictions.scores is None:
        return figures
    _, scores = predictions.of_positive()
    is_positive = np.asarray(truths == task.positive, dtype=np.float64)
    return {
        **figures,
        "precision_recall": _precision_recall(task, is_positive, scores, threshold),
        "calibration": _calibration(task, is_positive, scores),
    }


def _panels(count: int, width: float = 5, height: float = 4) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * count, height), layout="constrained")
    return figure, list(figure.subplots(1, count, squeeze=False)[0])


def _residuals(task: Task, truths: FloatArray, predicted: FloatArray) -> Figure:
    figure, (left, right) = _panels(2)
    span = [float(np.min(truths)), float(np.max(truths))] if len(truths) else [0.0, 1.0]
    left.scatter(truths, predicted, s=4, alpha=0.3)
    left.plot(span, span, color="black", linewidth=1)
    left.set(title=task.name, xlabel="truth", ylabel="prediction")
    right.scatter(predicted, truths - predicted, s=4, alpha=0.3)
    right.axhline(0, color="black", linewidth=1)
    right.set(title="residuals", xlabel="prediction", ylabel="truth - prediction")
    return figure


def _confusion(task: Task, truths: Truths, predictions: Predictions) -> Figure:
    """Colours are shares of the rows of the true label. Up to NAMED_LABELS labels, counts and names are written."""
    every = np.concatenate(
        [truths.astype(str), predictions.predicted.astype(str), np.array(predictions.labels, dtype=str)]
    )
    labels, indices = np.unique(every, return_inverse=True)
    of_truths, of_predicted = indices[: len(truths)], indices[len(truths) : 2 * len(truths)]
    counts = np.bincount(of_truths * len(labels) + of_predicted, minlength=len(labels) ** 2).reshape(len(labels), -1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(12.0, 3.5 + 0.5 * len(labels))
    figure, (axes,) = _panels(1, side + 1, side)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    figure.colorbar(image, ax=axes, label="share of the rows of the true label")
    axes.set(title=task.name, xlabel="prediction", ylabel="truth")
    if len(labels) > NAMED_LABELS:
        axes.set(xlabel=f"prediction ({len(labels)} labels, sorted by name)", ylabel="truth (in the same order)")
        return figure
    axes.set_xticks(range(len(labels)), labels, rotation=90 if len(labels) > 4 else 0)
    axes.set_yticks(range(len(labels)), labels)
    for (row, column), count in np.ndenumerate(counts):
        color = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, str(count), ha="center", va="center", color=color)
    return figure


def _precision_recall(task: Task, is_positive: FloatArray, scores: FloatArray, threshold: float | None) -> Figure:
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(is_positive[order])
    recall, precision = hits / max(is_positive.sum(), 1), hits / np.arange(1, len(hits) + 1)
    figure, (axes,) = _panels(1)
    axes.step(recall, precision, where="post")
    axes.set(title=task.name, xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.02))
    for value, mark in ((0.5, "o"), (threshold, "D")):
        alarms = 0 if value is None else int(np.sum(scores >= value))
        if alarms:
            axes.plot(recall[alarms - 1], precision[alarms - 1], mark, label=f"threshold {value:.3g}")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower left")
    return figure


def _calibration(task: Task, is_positive: FloatArray, scores: FloatArray) -> Figure:
    """A reliability diagram: in bins of equally many rows, the mean probability and the share of positive rows."""
    order = np.argsort(scores, kind="stable")
    bins = [part for part in np.array_split(order, BINS) if len(part)]
    figure, (axes,) = _panels(1)
    axes.plot([0, 1], [0, 1], color="black", linewidth=1)
    axes.plot([scores[part].mean() for part in bins], [is_positive[part].mean() for part in bins], "o-")
    axes.set(title=task.name, xlabel="predicted probability", ylabel=f"share that is {task.positive!r}")
    return figure
