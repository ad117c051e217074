"""Universal Sentence Encoder, in the formats in which its authors publish it, or another model in its place."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ai_api.errors import MissingWeights, ModelRefused
from ai_api.features import build_features
from ai_api.features.text import SentenceEncoder
from ai_api.features.use import SavedModel
from tests.ai.support.weights import minilm_folder

pytestmark = pytest.mark.training
tensorflow = pytest.mark.slow
"""Of tests that import TensorFlow, which takes many seconds."""

NAME = "universal-sentence-encoder"
TEXTS = ["late again, thanks", "i love this", "x", "", "\U0001f600", "late again, thanks"] * 60


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folders of small models with the signatures of the published ones: 16 numbers for each string."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of TensorFlow about its own parts
        import tensorflow as tf

        table = tf.random.stateless_normal([64, 16], seed=(1, 2))

        def embed(texts: object) -> object:
            words = tf.strings.split(texts)
            places = tf.strings.to_hash_bucket_fast(words.flat_values, 64)
            return tf.reduce_sum(words.with_flat_values(tf.gather(table, places)), axis=1)

        strings = [tf.TensorSpec([None], tf.string)]

        class Called(tf.Module):  # type: ignore[misc]
            """Version 4."""

            @tf.function(input_signature=strings)  # type: ignore[untyped-decorator]
            def __call__(self, texts: object) -> object:
                return embed(texts)

        class Named(tf.Module):  # type: ignore[misc]
            """A newer one."""

            @tf.function(input_signature=strings)  # type: ignore[untyped-decorator]
            def __call__(self, texts: object) -> object:
                return {"length": tf.strings.length(texts), "outputs": embed(texts)}

        class Signed(tf.Module):  # type: ignore[misc]
            """Before version 4: nothing but a signature."""

            @tf.function(input_signature=strings)  # type: ignore[untyped-decorator]
            def embed(self, text: object) -> object:
                return {"default": embed(text)}

        folder = tmp_path_factory.mktemp("published")
        for model in (Called(), Named()):
            tf.saved_model.save(model, str(folder / type(model).__name__ / NAME))
        signed = Signed()
        tf.saved_model.save(signed, str(folder / "Signed" / NAME), signatures={"default": signed.embed})
    return lambda name: folder / name


@tensorflow
@pytest.mark.parametrize("name", ["Called", "Named", "Signed"])
def test_a_saved_model_is_read_as_published(
    name: str, published: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AI_WEIGHTS_DIR", str(published(name)))
    features = build_features("text", "use").fit(TEXTS)
    together = features.transform(TEXTS)
    assert together.shape == (len(TEXTS), 16)
    assert together.dtype == np.float32
    np.testing.assert_array_equal(together[:6], np.vstack([features.transform([text]) for text in TEXTS[:6]]))
    np.testing.assert_allclose(np.linalg.norm(together[:3], axis=1), 1, atol=1e-5)
    assert together[3].tolist() == [0.0] * 16
    assert features.transform([]).shape == (0, 16)


@tensorflow
def test_the_digest_covers_graph_and_variables(
    published: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = {SavedModel(published(name) / NAME).digest for name in ("Called", "Named")}
    assert len(digests) == 2
    monkeypatch.setenv("AI_WEIGHTS_DIR", str(published("Called")))
    features = SentenceEncoder(NAME).fit([])
    monkeypatch.setenv("AI_WEIGHTS_DIR", str(published("Named")))
    with pytest.raises(ModelRefused, match="weights"):
        features.transform(["late"])


def test_a_model_of_hugging_face_in_the_folder_is_read_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / NAME).symlink_to(minilm_folder(), target_is_directory=True)
    monkeypatch.setenv("AI_WEIGHTS_DIR", str(tmp_path))
    assert build_features("text", "use").fit([]).transform(["late"]).shape == (1, 384)


def test_the_error_of_a_missing_folder_names_what_to_fetch_and_where_to_put_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AI_WEIGHTS_DIR", str(tmp_path))
    with pytest.raises(MissingWeights, match=r"kaggle.com/models/google/universal-sentence-encoder") as missing:
        build_features("text", "use").fit([])
    assert str(tmp_path / NAME) in str(missing.value)


@tensorflow
@pytest.mark.parametrize("content", [b"", b"no graph"])
def test_a_folder_that_holds_something_else_is_refused(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / NAME).mkdir()
    (tmp_path / NAME / "saved_model.pb").write_bytes(content)
    monkeypatch.setenv("AI_WEIGHTS_DIR", str(tmp_path))
    with pytest.raises(MissingWeights, match="Universal Sentence Encoder"):
        build_features("text", "use").fit([])
