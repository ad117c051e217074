"""Copies of rows with changed words are added in training only."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from imblearn.pipeline import Pipeline as SamplingPipeline

from ai_api.datasets import frame, split
from ai_api.features.augmentation import ChangedWords
from ai_api.pipeline import build_pipeline, for_serving
from ai_api.task import Modality, Recipe
from tests.ai.support.small import small_tweets

COLUMNS = {"text": Modality.TEXT, "size": Modality.NUMBER}
ROWS = frame([{"text": f"one two three four five {n}", "size": float(n)} for n in range(40)], COLUMNS)
TRUTHS = np.array(["a", "b"] * 20, dtype=object)


def test_each_row_gets_a_copy_with_fewer_or_swapped_words_and_its_own_truth() -> None:
    rows, truths = ChangedWords().fit_resample(ROWS, TRUTHS)
    pd.testing.assert_frame_equal(rows.iloc[:40], ROWS)
    assert truths[:40].tolist() == TRUTHS.tolist()
    assert len(rows) == len(truths) == 80
    kinds = set()
    for before, after, truth in zip(ROWS.itertuples(), rows.iloc[40:].itertuples(), truths[40:], strict=True):
        words, left = before.text.split(), after.text.split()
        assert before.text != after.text
        assert not Counter(left) - Counter(words)
        assert left
        assert after.size == before.size
        assert truth == TRUTHS[before.Index]
        kinds.add(len(left) < len(words))
    assert kinds == {True, False}


def test_the_same_seed_changes_the_same_words() -> None:
    one, same, other = (ChangedWords(random_state=seed).fit_resample(ROWS, TRUTHS)[0] for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(one, same)
    assert not one.equals(other)


def test_texts_of_a_single_word_get_no_copy() -> None:
    rows = frame([{"text": "one"}, {"text": ""}, {"text": "one two"}, {"text": "same same"}], {"text": Modality.TEXT})
    made, truths = ChangedWords(copies=3).fit_resample(rows, np.array(list("abcd"), dtype=object))
    assert set(truths[4:]) <= {"c", "d"}
    assert made["text"].tolist()[:2] == ["one", ""]
    assert all(made["text"][4:])


def test_columns_that_are_not_named_stay() -> None:
    columns = {"text": Modality.TEXT, "plan": Modality.CATEGORY}
    rows = frame([{"text": "one two three", "plan": "two years"}] * 5, columns)
    made, _ = ChangedWords(columns=["text"]).fit_resample(rows, np.array(["a"] * 5, dtype=object))
    assert set(made["plan"]) == {"two years"}
    assert len(made) == 10


def test_a_recipe_augments_training_rows_only() -> None:
    task = small_tweets("augmented", 300)
    rows = split(task.load(None)).train  # type: ignore[arg-type]
    inputs = frame(rows.rows, task.row.modalities())
    pipeline = build_pipeline(task, Recipe("logreg", text="tfidf", augment="words", params={"augment__copies": 2}))
    assert isinstance(pipeline, SamplingPipeline)
    pipeline.fit(inputs, rows.truths)
    plain = build_pipeline(task, Recipe("logreg", text="tfidf")).fit(inputs, rows.truths)
    assert len(pipeline.predict(inputs)) == len(inputs)
    assert not np.allclose(pipeline.predict_proba(inputs), plain.predict_proba(inputs))
    served = for_serving(pipeline)
    assert [name for name, _ in served.steps] == ["features", "estimator"]
    np.testing.assert_array_equal(served.predict_proba(inputs), pipeline.predict_proba(inputs))


@pytest.mark.parametrize("copies", [0, 3])
def test_any_number_of_copies_can_be_had(copies: int) -> None:
    rows, truths = ChangedWords(copies=copies).fit_resample(ROWS, TRUTHS)
    assert len(rows) == len(truths) == 40 * (1 + copies)
