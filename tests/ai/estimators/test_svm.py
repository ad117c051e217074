"""Margins become probabilities, also where a class has a single row."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from ai_api.errors import InvalidParams
from ai_api.estimators import build_estimator
from ai_api.estimators.svm import LinearSvm
from ai_api.task import Kind


def blobs(rows: int, kinds: int, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.object_]]:
    """Classes that overlap."""
    random = np.random.default_rng(seed)
    middles = np.random.default_rng(99).normal(size=(kinds, 6))
    places = random.integers(0, kinds, rows)
    return middles[places] + random.normal(size=(rows, 6)), np.array([f"kind {place}" for place in places], object)


@pytest.mark.parametrize("kinds", [2, 5])
@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_its_probabilities_are_calibrated(kinds: int, class_weight: str | None) -> None:
    made = LinearSvm(class_weight=class_weight).fit(*blobs(2_000, kinds))
    inputs, truths = blobs(3_000, kinds, seed=1)
    predictions = made.predict_proba(inputs)
    np.testing.assert_allclose(predictions.sum(axis=1), 1)
    assert predictions.max(axis=1).mean() == pytest.approx((made.predict(inputs) == truths).mean(), abs=0.03)


def test_the_likeliest_label_is_predicted_also_for_sparse_rows() -> None:
    inputs, truths = blobs(300, 4)
    made = LinearSvm().fit(csr_matrix(inputs), truths)
    assert (made.classes_[made.predict_proba(inputs).argmax(axis=1)] == made.predict(csr_matrix(inputs))).all()


def test_labels_of_one_row_are_known_and_do_not_reduce_accuracy() -> None:
    inputs, truths = blobs(300, 3)
    truths[:5] = [f"rare {place}" for place in range(5)]
    made = LinearSvm(class_weight="balanced").fit(inputs, truths)
    assert len(made.classes_) == 8
    assert (made.predict(inputs) == truths).mean() > 0.6


@pytest.mark.parametrize("rows", [2, 5])
def test_a_handful_of_rows_is_enough(rows: int) -> None:
    inputs, _ = blobs(rows, 2)
    truths = np.array(["a", "b", "b", "a", "b"][:rows], dtype=object)
    assert LinearSvm().fit(inputs, truths).predict_proba(inputs).shape == (rows, 2)


@pytest.mark.parametrize("params", [{"C": 0}, {"share": 1.5}, {"class_weight": "heavy"}])
def test_parameters_out_of_range_are_refused(params: dict[str, object]) -> None:
    with pytest.raises(InvalidParams):
        build_estimator("svm", Kind.CLASSIFICATION, params)
