"""Texts become numbers: the same alone and in a batch, and never by weights that were swapped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from ai_api.errors import MissingExtra, ModelRefused, UnknownRecipe
from ai_api.features import build_text_features, find_text_features
from ai_api.features.text import Frequent, SentenceEncoder, batches
from ai_api.registry import TOLERANCE

TEXTS = [
    "late again, thanks",
    "I love this!! :-)",
    "x",
    "what a long day " * 40,
    "\U0001f600",
    "  ",
    "Late AGAIN, thanks",
]


@pytest.mark.parametrize("name", sorted(find_text_features()))
def test_a_text_gives_the_same_numbers_alone_and_in_a_batch(name: str) -> None:
    features = build_text_features(name).fit(TEXTS * 3)
    together = dense(features.transform(TEXTS))
    alone = np.vstack([dense(features.transform([text])) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=TOLERANCE)


def dense(matrix: object) -> np.ndarray:
    return np.asarray(matrix.toarray() if hasattr(matrix, "toarray") else matrix)


def test_tfidf_reads_the_same_text_in_any_case() -> None:
    made = dense(build_text_features("tfidf").fit(TEXTS * 3).transform(TEXTS))
    np.testing.assert_array_equal(made[0], made[-1])


def test_rare_columns_are_left_out() -> None:
    counts = csr_matrix(np.array([[1, 0, 1], [2, 0, 0], [1, 1, 0]]))
    kept = Frequent(3).fit(counts)
    assert kept.transform(counts).toarray().tolist() == [[1], [2], [1]]


def test_like_sentences_lie_closer_than_unlike_ones() -> None:
    one, like, unlike = (
        SentenceEncoder().fit([]).transform(["my flight is late", "the plane is delayed", "I love cake"])
    )
    assert one @ like > one @ unlike + 0.2
    assert np.linalg.norm(one) == pytest.approx(1, abs=1e-5)


def test_other_weights_than_those_of_the_training_are_refused() -> None:
    encoder = SentenceEncoder().fit([])
    encoder.digest_ = "0" * 64
    with pytest.raises(ModelRefused, match="weights"):
        encoder.transform(["late"])


def test_a_missing_package_is_named() -> None:
    with pytest.raises(MissingExtra, match="no-such-model"):
        SentenceEncoder("no_such_model").fit([])


def test_unknown_features_are_answered_with_the_known_ones() -> None:
    with pytest.raises(UnknownRecipe, match="minilm, tfidf"):
        build_text_features("glove")


def test_batches_stay_within_the_budget_and_hold_everything() -> None:
    lengths = [1, 2, 3, 5, 9, 40]
    cut = list(batches(list(range(6)), lengths, 12))
    assert [place for batch in cut for place in batch] == list(range(6))
    assert all(len(batch) * lengths[batch[-1]] <= 12 or len(batch) == 1 for batch in cut)


def test_a_vector_does_not_depend_on_the_budget(tmp_path: Path) -> None:
    small, large = (SentenceEncoder(batch_tokens=budget).fit([]).transform(TEXTS) for budget in (1, 10_000))
    np.testing.assert_allclose(small, large, atol=TOLERANCE)
