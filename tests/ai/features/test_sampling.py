"""Resampling happens in `fit`, to training rows, and nowhere else."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin

from ai_api.datasets import frame, split
from ai_api.errors import TrainingFailed, UnknownRecipe
from ai_api.features.sampling import at_least, at_most, build_sampler
from ai_api.pipeline import build_pipeline, for_serving
from ai_api.task import Recipe
from ai_api.tasks.fraud import TASK as FRAUD
from ai_api.tasks.fraud import generate_fraud
from ai_api.training.fitting import fit

TRUTHS = np.array(["rare"] * 20 + ["common"] * 600, dtype=object)
NUMBERS = np.random.default_rng(0).normal(size=(620, 3))


class Recorder(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Keeps the inputs of `fit` and `predict`."""

    def fit(self, inputs: np.ndarray, truths: np.ndarray) -> Recorder:
        self.inputs_, self.truths_, self.classes_ = inputs, truths, np.unique(truths)
        return self

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        self.asked_ = inputs
        return np.repeat(self.classes_[:1], len(inputs))


def test_smote_adds_synthetic_rare_rows_up_to_a_tenth_of_the_common_ones() -> None:
    inputs, truths = build_sampler("resample", "smote", 0).fit_resample(NUMBERS, TRUTHS)
    assert Counter(truths) == {"common": 600, "rare": 60}
    np.testing.assert_array_equal(inputs[:620], NUMBERS)
    low, high = NUMBERS[:20].min(axis=0), NUMBERS[:20].max(axis=0)
    assert ((inputs[620:] >= low) & (inputs[620:] <= high)).all()


def test_undersampling_keeps_ten_common_rows_for_each_rare_one() -> None:
    inputs, truths = build_sampler("resample", "undersample", 0).fit_resample(NUMBERS, TRUTHS)
    assert Counter(truths) == {"common": 200, "rare": 20}
    assert {tuple(row) for row in inputs} <= {tuple(row) for row in NUMBERS}


@pytest.mark.parametrize("name", ["smote", "undersample"])
def test_labels_that_are_not_that_uneven_are_left_alone(name: str) -> None:
    even = TRUTHS[:100]
    assert at_least(even) == at_most(even) == {}
    inputs, truths = build_sampler("resample", name, 0).fit_resample(NUMBERS[:100], even)
    assert sorted(truths) == sorted(even)
    assert len(inputs) == 100


def test_three_labels_are_brought_nearer_to_each_other_too() -> None:
    truths = np.array(["a"] * 500 + ["b"] * 30 + ["c"] * 10, dtype=object)
    assert at_least(truths) == {"b": 50, "c": 50}
    assert at_most(truths) == {"a": 100}


@pytest.mark.parametrize(("name", "table"), [("smote", "scaled"), ("undersample", "plain")])
def test_only_the_training_rows_are_resampled_and_held_out_rows_are_not_changed(name: str, table: str) -> None:
    parts = split(generate_fraud(1_500))
    pipeline = build_pipeline(FRAUD, Recipe("logreg", table=table, resample=name))
    pipeline.steps[-1] = ("estimator", Recorder())
    fit(pipeline, FRAUD, parts.train)
    recorder = pipeline[-1]
    before, after = Counter(parts.train.truths), Counter(recorder.truths_)
    assert before["legitimate"] > 10 * before["fraud"]
    assert after["legitimate"] == pytest.approx(10 * after["fraud"], abs=10)
    held_out = frame(parts.held_out.rows, FRAUD.row.modalities())
    pipeline.predict(held_out)
    assert len(recorder.asked_) == len(parts.held_out)
    np.testing.assert_array_equal(recorder.asked_, pipeline["features"].transform(held_out))
    seen = {row.tobytes() for row in np.asarray(recorder.inputs_)}
    assert not any(row.tobytes() in seen for row in np.asarray(recorder.asked_))
    assert [step for step, _ in for_serving(pipeline).steps] == ["features", "estimator"]


def test_smote_on_rows_with_gaps_fails_with_its_name() -> None:
    table = generate_fraud(300)
    for row in table.rows[::3]:
        row["Time"] = None
    with pytest.raises(TrainingFailed):
        fit(build_pipeline(FRAUD, Recipe("logreg", table="plain", resample="smote")), FRAUD, table)


def test_the_error_of_an_unknown_sampler_names_the_known_ones() -> None:
    with pytest.raises(UnknownRecipe, match="smote, undersample"):
        build_sampler("resample", "wish", 0)
