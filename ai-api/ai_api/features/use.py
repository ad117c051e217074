"""Universal Sentence Encoder (Cer et al., EMNLP 2018) as TensorFlow saves it: a folder with `saved_model.pb`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import normalize

from ai_api.errors import MissingExtra, MissingWeights

from .weights import digest

if TYPE_CHECKING:
    import tensorflow as tf

FETCH = (
    "Fetch Universal Sentence Encoder from https://www.kaggle.com/models/google/universal-sentence-encoder (TensorFlow"
    " 2, variation universal-sentence-encoder; https://tfhub.dev/google/universal-sentence-encoder/4) and unpack it."
)
NAMES = ("outputs", "default", "sentence_embedding", "output_0")
"""Names of the vectors in models that return several outputs, the preferred one first."""
BATCH_ROWS = 256


class SavedModel:
    """One SavedModel in memory, shared by every version that names it. Thread-safe.

    It reads models that are called on strings (version 4) and those that have a signature for it (earlier versions).
    """

    def __init__(self, folder: Path) -> None:
        """MissingExtra without TensorFlow; MissingWeights when the folder holds another kind of model."""
        try:
            tf = _tensorflow()
        except ImportError as error:
            raise MissingExtra("Universal Sentence Encoder needs the extra `use` (tensorflow-cpu).") from error
        files = [folder / "saved_model.pb", *sorted((folder / "variables").glob("*"))]
        self.digest = digest(files)
        try:
            self._model = tf.saved_model.load(str(folder))
        except (OSError, ValueError, tf.errors.OpError) as error:
            raise MissingWeights(
                f"{folder} holds no SavedModel that TensorFlow can read by itself ({type(error).__name__}). {FETCH}"
            ) from error
        self.width = self.encode([""]).shape[1]

    def encode(self, texts: list[str], _: int = 0, batch_invariant: bool = True) -> NDArray[np.float32]:
        """A vector of length one for each text: (n, width). Batch-invariant: the model is called with single texts."""
        if not texts:
            return np.empty((0, self.width), dtype=np.float32)
        rows = 1 if batch_invariant else BATCH_ROWS
        parts = [self._embed(texts[start : start + rows]) for start in range(0, len(texts), rows)]
        vectors: NDArray[np.float32] = normalize(np.vstack(parts), copy=False)
        return vectors

    def _embed(self, texts: list[str]) -> NDArray[np.float32]:
        tf = _tensorflow()
        inputs = tf.constant(texts)
        outputs = self._model(inputs) if callable(self._model) else self._signature()(inputs)
        if isinstance(outputs, Mapping):
            outputs = outputs[next((name for name in NAMES if name in outputs), next(iter(outputs)))]
        vectors: NDArray[np.float32] = np.asarray(outputs, dtype=np.float32)
        return vectors

    def _signature(self) -> tf.types.experimental.ConcreteFunction:
        known = self._model.signatures
        return known["serving_default" if "serving_default" in known else "default"]


def _tensorflow() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow uses deprecated parts of numpy and protobuf
        import tensorflow as tf
    found: ModuleType = tf
    return found
