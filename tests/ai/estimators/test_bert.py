"""A fine-tuned transformer of test size: training, missing weights, and saved versions without the encoder's files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from numpy.typing import NDArray

from ai_api.errors import InvalidParams, MissingWeights
from ai_api.estimators import build_estimator
from ai_api.estimators.bert import TransformerClassifier, _shuffled
from ai_api.inference import TOLERANCE
from ai_api.task import Kind
from tests.ai.support.weights import ENCODER, give_encoder

pytestmark = pytest.mark.training

WORDS = ("good", "bad", "a", "day", "flight", "with", "us")
QUICK = {"package": ENCODER, "epochs": 8, "learning_rate": 5e-3, "batch_size": 16}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of weights with an untrained encoder."""
    return give_encoder(tmp_path_factory.mktemp("weights"), WORDS)


@pytest.fixture(autouse=True)
def _here(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AI_WEIGHTS_DIR", str(weights))


def build(*, seed: int = 0, **params: Any) -> TransformerClassifier:
    made = build_estimator("bert", Kind.CLASSIFICATION, {**QUICK, **params}, seed)
    assert isinstance(made, TransformerClassifier)
    return made


def _texts() -> NDArray[np.object_]:
    random = np.random.default_rng(0)
    fill = [" ".join(random.choice(WORDS[2:], size=random.integers(1, 9))) for _ in range(100)]
    return np.array([f"{words} {WORDS[place % 2]}" for place, words in enumerate(fill)], dtype=object)


TEXTS = _texts()
LABELS = np.array(["pleased", "angry"] * 50, dtype=object)


@pytest.fixture(scope="module")
def fitted(weights: Path) -> TransformerClassifier:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AI_WEIGHTS_DIR", str(weights))
        return build().fit(TEXTS, LABELS)


def test_it_learns_which_word_decides(fitted: TransformerClassifier) -> None:
    assert fitted.score(TEXTS, LABELS) > 0.9
    assert fitted.predict(["a good day", "a bad flight"]).tolist() == ["pleased", "angry"]


def test_the_loss_by_step_is_kept_and_falls(fitted: TransformerClassifier) -> None:
    assert [name for name, _, _ in fitted.history_] == ["loss"] * 56
    assert fitted.history_[-1][1] < fitted.history_[0][1]
    assert fitted.history_[-1][2] == 56


def test_a_text_has_the_same_prediction_alone_and_in_a_batch_of_any_size(fitted: TransformerClassifier) -> None:
    texts = [*TEXTS, "", "unheard of", "a day " * 40]
    together = fitted.predict_proba(texts)
    np.testing.assert_allclose(np.vstack([fitted.predict_proba([text]) for text in texts]), together, atol=TOLERANCE)
    small = fitted.set_params(batch_tokens=20).predict_proba(np.array(texts, dtype=object)[:, None])
    np.testing.assert_allclose(small, together, atol=TOLERANCE)
    np.testing.assert_allclose(together.sum(axis=1), 1)


def test_the_same_seed_gives_the_same_predictions(fitted: TransformerClassifier) -> None:
    again = build().fit(TEXTS[:, None], LABELS)
    np.testing.assert_allclose(again.predict_proba(TEXTS), fitted.predict_proba(TEXTS), atol=1e-6)


def test_a_saved_version_predicts_without_the_folder_of_its_encoder(
    fitted: TransformerClassifier, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    saved = skops.io.dumps(fitted)
    types = skops.io.get_untrusted_types(data=saved)
    assert types == ["ai_api.estimators.bert.TransformerClassifier"]
    monkeypatch.setenv("AI_WEIGHTS_DIR", str(tmp_path))
    again = skops.io.loads(saved, trusted=types).set_params(device="cpu")
    np.testing.assert_array_equal(again.predict_proba(TEXTS), fitted.predict_proba(TEXTS))
    assert str(Path.cwd()) not in again.config_
    assert str(tmp_path.parent) not in again.config_


def test_rare_labels_weigh_as_much_as_common_ones_by_default() -> None:
    texts, labels = TEXTS[np.r_[0:90:2, 1:9:2]], LABELS[np.r_[0:90:2, 1:9:2]]
    even, plain = (
        build(epochs=1, class_weight_power=power).fit(texts, labels).predict_proba(texts)[:, 0].mean()
        for power in (1.0, 0.0)
    )
    assert even > plain


def test_an_encoder_that_cannot_be_found_is_missing_weights() -> None:
    with pytest.raises(MissingWeights, match="no-such-encoder"):
        build(package="no-such-encoder").fit(TEXTS, LABELS)


def test_a_folder_without_an_encoder_is_refused(weights: Path) -> None:
    (weights / "empty").mkdir()
    (weights / "empty" / "config.json").write_text("{}")
    with pytest.raises(MissingWeights, match="holds no encoder"):
        build(package="empty").fit(TEXTS, LABELS)


@pytest.mark.parametrize("params", [{"no_such": 1}, {"epochs": 0}, {"learning_rate": 2.0}, {"package": 3}])
def test_parameters_that_it_does_not_take_are_refused(params: dict[str, Any]) -> None:
    with pytest.raises(InvalidParams):
        build(**params)


def test_batches_hold_every_text_once_and_texts_of_like_length() -> None:
    lengths = np.random.default_rng(0).integers(2, 60, size=1_000)
    batches = list(_shuffled(lengths, 32, np.random.default_rng(1)))
    assert sorted(np.concatenate(batches).tolist()) == list(range(1_000))
    assert np.mean([np.ptp(lengths[batch]) for batch in batches]) < 5
