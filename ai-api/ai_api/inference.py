"""What a pipeline answers, as plain values. Serving and training ask here alike, so that they cannot disagree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.pipeline import Pipeline

from .datasets import frame

TOLERANCE = 1e-5
"""How far scores and values may differ between a batch and single rows, or between machines. Labels may not."""

ModelOutput = dict[str, object]
"""`{"label", "score", "probabilities"}` of a classification, `{"value"}` of a regression: plain strings and floats."""


def estimator_of(pipeline: Pipeline) -> BaseEstimator:
    """The last step, without the threshold that may stand around it."""
    last = pipeline[-1]
    return last.estimator_ if isinstance(last, FixedThresholdClassifier) else last


def labels_of(pipeline: Pipeline) -> tuple[str, ...] | None:
    """The labels in the order of the pipeline's probabilities; None for a regression."""
    classes = getattr(estimator_of(pipeline), "classes_", None)
    return None if classes is None else tuple(str(label) for label in np.asarray(classes))


def threshold_of(pipeline: Pipeline) -> tuple[str, float] | None:
    """The label whose probability decides, and from where on; None where the likeliest label is the answer."""
    last = pipeline[-1]
    return (str(last.pos_label), float(last.threshold)) if isinstance(last, FixedThresholdClassifier) else None


def decided(pipeline: Pipeline, probabilities: NDArray[np.float64]) -> NDArray[np.int_]:
    """The place of each row's answer among the labels, given the probabilities of the rows."""
    found = threshold_of(pipeline)
    if found is None:
        return np.asarray(probabilities.argmax(axis=1), dtype=np.int_)
    label, threshold = found
    wanted = (labels_of(pipeline) or ()).index(label)
    return np.where(probabilities[:, wanted] >= threshold, wanted, 1 - wanted)


def predict(
    pipeline: Pipeline,
    columns: Mapping[str, str],
    labels: Sequence[str] | None,
    rows: Sequence[Mapping[str, object]],
) -> list[ModelOutput]:
    """The pipeline's answers as plain values, one a row. `score` is the probability of the label that is answered."""
    if not rows:
        return []
    inputs = frame(rows, columns)
    if labels is None:
        return [{"value": float(value)} for value in pipeline.predict(inputs)]
    probabilities = np.asarray(pipeline.predict_proba(inputs), dtype=np.float64)
    return [
        {"label": labels[place], "score": line[place], "probabilities": dict(zip(labels, line, strict=True))}
        for place, line in zip(decided(pipeline, probabilities).tolist(), probabilities.tolist(), strict=True)
    ]
