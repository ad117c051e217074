"""The same row gets the same prediction alone and in a batch, also where the last bits of sums depend on their shapes.

Such a processor is simulated: each layer's output gets noise that is drawn from the shape of its input, which
moves vectors by up to 1e-5. Trees predict rows that they were trained on, which lie on their thresholds.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from ai_api.estimators import build_estimator
from ai_api.features import bert_rows, image, text
from ai_api.features.encoder import Encoder
from ai_api.features.image import Backbone
from ai_api.features.onednn import packed_linear
from ai_api.features.text import SentenceEncoder
from ai_api.task import Kind
from ai_api.tasks.tweets import generate_tweets
from tests.ai.support.drawn import plain
from tests.ai.support.small import BACKBONE
from tests.ai.support.weights import minilm_folder

ROWS = 60
NOISE = 1e-8
"""As a share of the layer's largest value."""
TABLE = generate_tweets(ROWS)
TEXTS = [f"{row['text']}{' again' * (place % 7)}" for place, row in enumerate(TABLE.rows)]
TREES: dict[str, dict[str, object]] = {
    "boosting": {"max_iter": 5, "min_samples_leaf": 3},
    "catboost": {"iterations": 10},
    "forest": {"n_estimators": 10},
    "lightgbm": {"n_estimators": 10, "min_child_samples": 3},
    "xgboost": {"n_estimators": 20, "min_child_weight": 0.1},
}


def disturbed(found: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    """The output of a layer, its last bits depending on the shape of the input and on the number of threads."""
    seed = zlib.crc32(repr((tuple(inputs.shape), torch.get_num_threads())).encode())
    noise = torch.randn(found.shape[1:], generator=torch.Generator().manual_seed(seed))
    return found + NOISE * found.abs().max() * noise


def disturb(network: torch.nn.Module) -> None:
    for layer in network.modules():
        if not list(layer.children()) and not isinstance(layer, torch.nn.Embedding):
            layer.register_forward_hook(lambda _, inputs, found: disturbed(found, inputs[0]))


@pytest.fixture(scope="module")
def _text_encoder() -> Iterator[None]:
    def pack(layer: torch.nn.Linear, activation: str = "none") -> Callable[[torch.Tensor], torch.Tensor]:
        call = packed_linear(layer, activation)
        return lambda inputs: disturbed(call(inputs), inputs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bert_rows, "packed_linear", pack)
        model = Encoder(minilm_folder(), "cpu")
        disturb(model.model)
        patch.setattr(text, "encoder", lambda *_: model)
        yield


@pytest.fixture
def _network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timm = image._timm()
    from timm.models import save_for_hf

    torch.manual_seed(0)
    save_for_hf(timm.create_model(BACKBONE.partition(".")[0]), str(tmp_path / BACKBONE), safe_serialization=True)
    monkeypatch.setenv("AI_WEIGHTS_DIR", str(tmp_path))
    network = image.Network(BACKBONE, "cpu")
    disturb(network.model)
    monkeypatch.setattr(image, "network", lambda *_: network)


def trained(name: str, vectors: NDArray[np.float32]) -> BaseEstimator:
    return build_estimator(name, Kind.CLASSIFICATION, TREES[name]).fit(vectors, TABLE.truths[: len(vectors)])


@pytest.fixture(scope="module")
def vectors(_text_encoder: None) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Of all texts: encoded together, and each alone."""
    features = SentenceEncoder(device="cpu").fit([])
    return features.transform(TEXTS), np.vstack([features.transform([text]) for text in TEXTS])


@pytest.mark.parametrize("name", TREES)
def test_trees_on_texts_predict_the_same_alone_and_in_a_batch(
    name: str, vectors: tuple[NDArray[np.float32], NDArray[np.float32]]
) -> None:
    together, alone = vectors
    trees = trained(name, together)
    np.testing.assert_array_equal(trees.predict_proba(alone), trees.predict_proba(together))
    np.testing.assert_array_equal(alone, together)


def test_trees_on_texts_predict_nearly_all_held_out_rows_the_same_on_another_processor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """XGBoost would split on values that are 0 but for rounding errors. Rounded, they are 0 on every processor."""
    model = Encoder(minilm_folder(), "cpu")
    exact = model.encode(TEXTS, 4_096)
    noise = np.random.default_rng(0).uniform(-3e-7, 3e-7, exact.shape).astype(np.float32)
    monkeypatch.setattr(text, "encoder", lambda *_: model)
    features = SentenceEncoder(device="cpu").fit([])
    here = features.transform(TEXTS)
    monkeypatch.setattr(model, "encode", lambda *_: exact + noise)
    there = features.transform(TEXTS)
    assert (np.ptp(exact, axis=0) < 1e-6).any()
    assert not here[:, np.ptp(exact, axis=0) < 1e-6].any()
    assert (here != there).mean() < 0.1
    learned = ROWS // 2
    trees = trained("xgboost", here[:learned])
    changed = np.abs(trees.predict_proba(there) - trees.predict_proba(here)).max(axis=1) > 1e-5
    assert changed[learned:].mean() < 0.05


@pytest.mark.usefixtures("_text_encoder")
def test_padded_batches_would_change_predictions_on_such_a_processor() -> None:
    """The padded batches of earlier versions do not pass the tests of this file."""
    features = SentenceEncoder(device="cpu").fit([])
    features.batch_invariant_ = False
    together = features.transform(TEXTS)
    alone = np.vstack([features.transform([text]) for text in TEXTS])
    np.testing.assert_allclose(alone, together, atol=1e-5)
    trees = trained("xgboost", together)
    assert np.abs(trees.predict_proba(alone) - trees.predict_proba(together)).max() > 1e-3


@pytest.mark.usefixtures("_network")
def test_trees_on_images_predict_the_same_alone_and_in_a_batch() -> None:
    images = [plain((place * 4, 255 - place * 4, place % 7 * 30)) for place in range(ROWS // 2)]
    features = Backbone(BACKBONE, device="cpu", batch_rows=16).fit([])
    together = features.transform(images)
    alone = np.vstack([features.transform([content]) for content in images])
    trees = trained("xgboost", together)
    np.testing.assert_array_equal(trees.predict_proba(alone), trees.predict_proba(together))
    np.testing.assert_array_equal(alone, together)
    features.batch_invariant_ = False
    assert (features.transform(images) != together).any()
