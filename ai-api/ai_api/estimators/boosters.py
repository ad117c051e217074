"""Base of the boosters of other libraries. Labels are strings; a fitted booster is saved in its library's format."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Generic, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from ai_api.datasets import FloatArray, Truths
from ai_api.errors import MissingExtra

Inputs: TypeAlias = FloatArray | NDArray[np.object_] | csr_matrix
B = TypeVar("B")


def threads() -> int:
    """How many threads a fit may use: OMP_NUM_THREADS, else the cores that this process may run on."""
    setting = os.environ.get("OMP_NUM_THREADS", "")
    return int(setting) if setting.isdecimal() and int(setting) > 0 else len(os.sched_getaffinity(0))


class Booster(BaseEstimator, ABC, Generic[B]):  # type: ignore[misc]
    """A fitted booster is `model_`, the bytes of its library's file format: a version contains no type of that library.

    The library's object is created from it at the first prediction and is not saved. It predicts with one thread: in
    serving batches are small, and synchronising threads costs more than a second thread saves.
    """

    model_: bytes
    n_iter_: int
    _opened: B | None = None

    @property
    def booster(self) -> B:
        if self._opened is None:
            try:
                self._opened = self._open()
            except ImportError as error:
                raise MissingExtra(f"This model needs the library {error.name!r}, which is not installed.") from error
        return self._opened

    @abstractmethod
    def _open(self) -> B:
        """The library's object from `model_`."""

    @abstractmethod
    def _train(self, inputs: Inputs, targets: FloatArray, labels: int, weights: FloatArray | None) -> None:
        """Sets `model_` and `n_iter_`. `targets` are places of labels, or values where `labels` is 0."""

    @abstractmethod
    def _predictions(self, inputs: Inputs) -> FloatArray:
        """Values, or probabilities: of all labels, or of the second alone where there are two."""

    @abstractmethod
    def _stages(self, inputs: Inputs) -> Iterator[FloatArray]:
        """The predictions of the first tree, of the first two trees, and so on."""

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in super().__getstate__().items() if name != "_opened"}


class BoosterRegressor(RegressorMixin, Booster[B]):  # type: ignore[misc]
    def fit(self, inputs: Inputs, truths: Truths) -> BoosterRegressor[B]:
        self._opened = None
        self._train(inputs, truths.astype(np.float64), 0, None)
        return self

    def predict(self, inputs: Inputs) -> FloatArray:
        return self._predictions(inputs).astype(np.float64)

    def staged_predict(self, inputs: Inputs) -> Iterator[FloatArray]:
        yield from self._stages(inputs)


class BoosterClassifier(ClassifierMixin, Booster[B]):  # type: ignore[misc]
    """`classes_` are the labels, sorted, in the order of the probabilities."""

    def fit(self, inputs: Inputs, truths: Truths) -> BoosterClassifier[B]:
        self._opened = None
        self.classes_, places = np.unique(truths, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError("There is but one label to learn.")
        self._train(inputs, places.astype(np.float64), len(self.classes_), self._weights(places))
        return self

    @abstractmethod
    def _weights(self, places: NDArray[np.intp]) -> FloatArray | None:
        """The weight of each row in training; None for equal weights."""

    def predict_proba(self, inputs: Inputs) -> FloatArray:
        return _of_all_labels(self._predictions(inputs))

    def predict(self, inputs: Inputs) -> NDArray[np.object_]:
        return self._labels(self.predict_proba(inputs))

    def staged_predict_proba(self, inputs: Inputs) -> Iterator[FloatArray]:
        yield from map(_of_all_labels, self._stages(inputs))

    def staged_predict(self, inputs: Inputs) -> Iterator[NDArray[np.object_]]:
        yield from map(self._labels, self.staged_predict_proba(inputs))

    def _labels(self, probabilities: FloatArray) -> NDArray[np.object_]:
        labels: NDArray[np.object_] = self.classes_[probabilities.argmax(axis=1)]
        return labels


def balanced(places: NDArray[np.intp]) -> FloatArray:
    """Weights of the rows: every label has the same total weight, and the mean weight is 1."""
    counts = np.bincount(places)
    return (len(places) / (len(counts) * counts))[places]


def probabilities(margins: FloatArray) -> FloatArray:
    """Probabilities from the sums of the trees: of the second of two labels (one number per row), or of all labels."""
    margins = margins.astype(np.float64)
    if margins.ndim == 1:
        return np.exp(-np.logaddexp(0, -margins))
    powers: FloatArray = np.exp(margins - margins.max(axis=1, keepdims=True))
    whole: FloatArray = powers.sum(axis=1, keepdims=True)
    return powers / whole


def _of_all_labels(predicted: FloatArray) -> FloatArray:
    predicted = predicted.astype(np.float64)
    return np.column_stack([1 - predicted, predicted]) if predicted.ndim == 1 else predicted
