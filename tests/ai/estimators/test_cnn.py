"""The convolutional network: training, refused inputs, and predictions that do not depend on the batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import skops.io
from numpy.typing import NDArray

from ai_api.errors import InvalidParams
from ai_api.estimators import build_estimator
from ai_api.estimators.cnn import PictureClassifier, _augmented
from ai_api.inference import TOLERANCE
from ai_api.task import Kind

pytestmark = pytest.mark.training

HEIGHT, WIDTH = 40, 32
QUICK = {"height": HEIGHT, "width": WIDTH, "channels": 4, "epochs": 6, "batch_size": 10, "learning_rate": 0.01}


def build(*, seed: int = 0, **params: Any) -> PictureClassifier:
    made = build_estimator("cnn", Kind.CLASSIFICATION, {**QUICK, **params}, seed)
    assert isinstance(made, PictureClassifier)
    return made


@pytest.fixture(scope="module")
def pixels() -> NDArray[np.uint8]:
    """Noise, with a vertical or a horizontal bright bar."""
    made = np.random.default_rng(0).integers(0, 120, size=(60, HEIGHT, WIDTH, 3), dtype=np.uint8)
    made[::2, :, 12:20] = 250
    made[1::2, 16:24, :] = 250
    return made.reshape(60, -1)


LABELS = np.array(["stands", "lies"] * 30, dtype=object)


@pytest.fixture(scope="module")
def fitted(pixels: NDArray[np.uint8]) -> PictureClassifier:
    return build().fit(pixels, LABELS)


def test_it_distinguishes_vertical_and_horizontal_bars(fitted: PictureClassifier, pixels: NDArray[np.uint8]) -> None:
    assert fitted.score(pixels, LABELS) > 0.95
    assert fitted.classes_.tolist() == ["lies", "stands"]


def test_an_image_has_the_same_prediction_alone_and_in_a_batch(
    fitted: PictureClassifier, pixels: NDArray[np.uint8]
) -> None:
    alone = np.vstack([fitted.predict_proba(pixels[place : place + 1]) for place in range(len(pixels))])
    np.testing.assert_allclose(alone, fitted.predict_proba(pixels), atol=TOLERANCE)
    assert fitted.predict_proba(pixels[:0]).shape == (0, 2)


def test_the_same_seed_gives_the_same_predictions_in_any_state_of_the_generator(
    fitted: PictureClassifier, pixels: NDArray[np.uint8]
) -> None:
    import torch

    torch.rand(3)
    before = torch.random.get_rng_state()
    again = build().fit(pixels, LABELS)
    np.testing.assert_allclose(again.predict_proba(pixels), fitted.predict_proba(pixels), atol=1e-6)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not np.allclose(build(seed=1).fit(pixels, LABELS).predict_proba(pixels), fitted.predict_proba(pixels))


def test_it_is_saved_as_arrays_and_predicts_the_same_after_reloading(
    fitted: PictureClassifier, pixels: NDArray[np.uint8]
) -> None:
    saved = skops.io.dumps(fitted)
    types = skops.io.get_untrusted_types(data=saved)
    assert types == ["ai_api.estimators.cnn.PictureClassifier"]
    again = skops.io.loads(saved, trusted=types).set_params(device="cpu")
    np.testing.assert_array_equal(again.predict_proba(pixels), fitted.predict_proba(pixels))


def test_missing_images_have_finite_predictions(pixels: NDArray[np.uint8]) -> None:
    gaps = pixels.copy()
    gaps[:10] = 128
    assert np.isfinite(build(epochs=1).fit(gaps, LABELS).predict_proba(gaps)).all()


@pytest.mark.parametrize("wrong", [np.zeros((2, 9), dtype=np.uint8), np.zeros((2, HEIGHT * WIDTH * 3))])
def test_rows_of_another_size_or_type_are_refused(fitted: PictureClassifier, wrong: NDArray[np.generic]) -> None:
    with pytest.raises(ValueError, match="40 x 32 x 3 bytes"):
        fitted.predict(wrong)


@pytest.mark.parametrize("params", [{"no_such": 1}, {"epochs": 0}, {"augment": "much"}, {"device": "tpu"}])
def test_parameters_that_it_does_not_take_are_refused(params: dict[str, Any]) -> None:
    with pytest.raises(InvalidParams):
        build(**params)


def test_an_augmented_image_differs_and_has_the_same_size() -> None:
    images = np.random.default_rng(0).integers(0, 255, size=(8, HEIGHT, WIDTH, 3), dtype=np.uint8)
    seen = _augmented(images, np.random.default_rng(0))
    assert seen.shape == images.shape
    assert seen.dtype == np.uint8
    assert (seen != images).any(axis=(1, 2, 3)).mean() > 0.5
    assert set(np.unique(seen)) <= set(np.unique(images))
    np.testing.assert_array_equal(seen, _augmented(images, np.random.default_rng(0)))
