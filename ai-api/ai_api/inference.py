"""A pipeline's predictions as plain values. Serving and training both use this module, so that they give the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.pipeline import Pipeline

from .datasets import FloatArray, frame
from .errors import NoFinitePrediction

TOLERANCE = 1e-5
"""How far scores and values may differ between a batch and single rows, or between machines. Labels are equal."""

LARGEST_NUMBER = float(np.finfo(np.float32).max)

ModelOutput = dict[str, object]
"""`{"label", "score", "probabilities"}` of a classification, `{"value"}` of a regression: plain strings and floats."""


def estimator_of(pipeline: Pipeline) -> BaseEstimator:
    """The last step, without the threshold classifier that may wrap it."""
    last = pipeline[-1]
    return last.estimator_ if isinstance(last, FixedThresholdClassifier) else last


def labels_of(pipeline: Pipeline) -> tuple[str, ...] | None:
    """The labels in the order of the pipeline's probabilities; None for a regression."""
    classes = getattr(estimator_of(pipeline), "classes_", None)
    return None if classes is None else tuple(str(label) for label in np.asarray(classes))


def threshold_of(pipeline: Pipeline) -> tuple[str, float] | None:
    """The positive label and the probability from which it is predicted; None if the likeliest label is predicted."""
    last = pipeline[-1]
    return (str(last.pos_label), float(last.threshold)) if isinstance(last, FixedThresholdClassifier) else None


def predicted_indices(pipeline: Pipeline, probabilities: NDArray[np.float64]) -> NDArray[np.int_]:
    """The index of each row's predicted label, from probabilities of shape (rows, labels)."""
    deciding = threshold_of(pipeline)
    if deciding is None:
        return np.asarray(probabilities.argmax(axis=1), dtype=np.int_)
    label, threshold = deciding
    positive = (labels_of(pipeline) or ()).index(label)
    return np.where(probabilities[:, positive] >= threshold, positive, 1 - positive)


def predict(
    pipeline: Pipeline,
    columns: Mapping[str, str],
    labels: Sequence[str] | None,
    rows: Sequence[Mapping[str, object]],
) -> list[ModelOutput]:
    """One prediction a row, as plain values. `score` is the probability of the predicted label.

    NoFinitePrediction when one is not finite, or when a number is too large for the floats of 32 bits of many models.
    """
    if not rows:
        return []
    try:
        inputs = frame(rows, columns)
    except OverflowError:  # a whole number of more than 308 digits
        raise NoFinitePrediction from None
    numbers = [name for name, modality in columns.items() if modality == "number"]
    if (inputs[numbers].abs() > LARGEST_NUMBER).to_numpy().any():
        raise NoFinitePrediction
    if labels is None:
        values = _finite(pipeline.predict(inputs))
        return [{"value": value} for value in values.tolist()]
    probabilities = _finite(pipeline.predict_proba(inputs))
    return [
        {"label": labels[index], "score": scores[index], "probabilities": dict(zip(labels, scores, strict=True))}
        for index, scores in zip(
            predicted_indices(pipeline, probabilities).tolist(), probabilities.tolist(), strict=True
        )
    ]


def _finite(outputs: object) -> FloatArray:
    """A model's outputs as floats; NoFinitePrediction unless all are finite."""
    found = np.asarray(outputs, dtype=np.float64)
    if not np.isfinite(found).all():
        raise NoFinitePrediction
    return found
