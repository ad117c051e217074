"""Features of texts: the same alone and in a batch, fitted on training texts only, refused with other weights."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from ai_api.datasets import Table, frame, split
from ai_api.errors import MissingWeights, ModelRefused, UnknownRecipe
from ai_api.features import build_features, find_features
from ai_api.features.clean import Clean
from ai_api.features.encoder import Encoder, encoder
from ai_api.features.tensors import batches, blocks
from ai_api.features.text import MINILM, MPNET, Frequent, SentenceEncoder
from ai_api.features.weights import find_weights, weights_dir
from ai_api.inference import TOLERANCE
from ai_api.pipeline import build_pipeline
from ai_api.task import Recipe
from ai_api.tasks.tweets import generate_tweets
from tests.ai.support.small import small_tweets
from tests.ai.support.weights import give_weights, minilm_folder

LONG = "what a long day " * 40
TEXTS = ["late again, thanks", "i love this!! :-)", "x", LONG, "\U0001f600", "", "late again, thanks"]
ENCODERS = [name for name in find_features("text") if name != "raw"]


@pytest.fixture(scope="module")
def _weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AI_WEIGHTS_DIR", str(give_weights(tmp_path_factory.mktemp("weights"))))
        yield


@pytest.mark.usefixtures("_weights")
@pytest.mark.parametrize("name", ENCODERS)
def test_a_text_gives_the_same_numbers_alone_and_in_a_batch(name: str) -> None:
    features = build_features("text", name).fit(TEXTS * 3)
    together = dense(features.transform(TEXTS))
    alone = np.vstack([dense(features.transform([text])) for text in TEXTS])
    np.testing.assert_array_equal(together, alone)


def test_a_vector_has_the_same_bits_with_any_number_of_threads() -> None:
    features = SentenceEncoder(device="cpu").fit([])
    with torch_threads(1):
        one = features.transform(TEXTS)
    with torch_threads(3):
        np.testing.assert_array_equal(features.transform(TEXTS), one)


@contextmanager
def torch_threads(number: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
        assert torch.get_num_threads() == number
    finally:
        torch.set_num_threads(before)


def test_a_version_that_was_saved_with_padded_batches_keeps_them() -> None:
    """Against the library itself, called on the padded batch."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    new = SentenceEncoder(device="cpu").fit([])
    old = SentenceEncoder.__new__(SentenceEncoder)
    old.__setstate__({name: value for name, value in vars(new).items() if name != "batch_invariant_"})
    texts = ["x", "late again", "thanks for nothing, again"]
    tokens = AutoTokenizer.from_pretrained(minilm_folder())(texts, return_tensors="pt", padding=True)
    with torch.inference_mode():
        hidden = AutoModel.from_pretrained(minilm_folder())(**tokens).last_hidden_state
        mask = tokens["attention_mask"][..., None]
        mean = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1)
    np.testing.assert_array_equal(old.transform(texts), mean.numpy())
    np.testing.assert_allclose(new.transform(texts), mean.numpy(), atol=TOLERANCE)


def test_the_blocks_of_a_gpu_give_the_same_vectors() -> None:
    model = encoder(MINILM, "cpu")
    assert isinstance(model, Encoder)
    tokens = [encoding.ids for encoding in model.tokenizer.encode_batch(TEXTS)]
    found = model._in_blocks(tokens, blocks([len(ids) for ids in tokens], 512, 256))
    np.testing.assert_allclose(found, model.encode(TEXTS, 512), atol=TOLERANCE)


@given(st.lists(st.integers(1, 256), max_size=100))
def test_the_shape_of_a_block_depends_on_the_length_of_its_rows_alone(lengths: list[int]) -> None:
    cut = list(blocks(lengths, 2_048, 256))
    assert sorted(place for places, _, _ in cut for place in places) == list(range(len(lengths)))
    for places, rows, width in cut:
        assert len(places) <= rows
        for place in places:
            [(_, *shape)] = blocks([lengths[place]], 2_048, 256)
            assert shape == [rows, width]
            assert lengths[place] <= width


@pytest.mark.parametrize("name", ["tfidf", "word2vec", "glove"])
def test_a_word_that_held_out_rows_alone_hold_is_not_learnt(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AI_WEIGHTS_DIR", str(give_weights(tmp_path, ["often", "heldout"])))
    rows = generate_tweets(300)
    ends = np.where(official(rows), "heldout", "often")
    texts = [f"{row['text']} {end}" for row, end in zip(rows.rows, ends, strict=True)]
    task = small_tweets("apart")
    parts = split(Table([{"text": text} for text in texts], rows.truths, official=rows.official))
    features = build_pipeline(task, Recipe("logreg", text=name))[:-1]
    features.fit(frame(parts.train.rows, task.row.modalities()), parts.train.truths)
    encode = features[-1].named_transformers_["text"][-1]
    assert knows(encode, "often")
    assert not knows(encode, "heldout")


def official(rows: Table) -> np.ndarray:
    assert rows.official is not None
    return rows.official


def knows(encode: object, word: str) -> bool:
    if hasattr(encode, "words_"):
        return word in encode.words_
    counting, keeping, _ = dict(encode.transformer_list)["words"].named_steps.values()  # type: ignore[attr-defined]
    return bool(set(counting.transform([word]).indices) & set(keeping.columns_))


def dense(matrix: object) -> np.ndarray:
    return np.asarray(matrix.toarray() if hasattr(matrix, "toarray") else matrix)


def test_raw_texts_are_one_column_of_strings() -> None:
    task = small_tweets("raw", 30)
    rows = frame([{"text": "<b>Late</b> again"}, {"text": "&amp; x"}], task.row.modalities())
    made = build_pipeline(task, Recipe("logreg", text="raw"))[:-1].fit_transform(rows)
    assert made.dtype == np.object_
    assert made.tolist() == [["late again"], ["& x"]]


def test_tfidf_takes_texts_as_they_are_cleaned() -> None:
    features = build_features("text", "tfidf").fit(TEXTS * 3)
    made = dense(features.transform(Clean().transform(["Late  AGAIN, thanks", TEXTS[0]])))
    np.testing.assert_array_equal(made[0], made[1])


def test_rare_columns_are_left_out() -> None:
    counts = csr_matrix(np.array([[1, 0, 1], [2, 0, 0], [1, 1, 0]]))
    kept = Frequent(3).fit(counts)
    assert kept.transform(counts).toarray().tolist() == [[1], [2], [1]]


def test_like_sentences_lie_closer_than_unlike_ones() -> None:
    one, like, unlike = (
        SentenceEncoder().fit([]).transform(["my flight is late", "the plane is delayed", "i love cake"])
    )
    assert one @ like > one @ unlike + 0.2
    assert np.linalg.norm(one) == pytest.approx(1, abs=1e-5)


def test_other_weights_than_those_of_the_training_are_refused() -> None:
    features = SentenceEncoder().fit([])
    features.digest_ = "0" * 64
    with pytest.raises(ModelRefused, match="weights"):
        features.transform(["late"])


def test_a_version_that_was_saved_before_cleaning_was_a_step_still_reads_any_case() -> None:
    new = SentenceEncoder().fit([])
    state = {name: value for name, value in vars(new).items() if name != "cleaned"}
    old = SentenceEncoder.__new__(SentenceEncoder)
    old.__setstate__(state)
    texts = ["Late &amp;  AGAIN"]
    np.testing.assert_array_equal(old.transform(texts), new.transform(["late & again"]))
    assert old.get_params()["cleaned"] is False


def test_an_encoder_is_found_in_the_folder_of_weights_by_its_name_on_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AI_WEIGHTS_DIR", str(give_weights(tmp_path)))
    by_name, packaged = (SentenceEncoder(name).fit([]) for name in (MPNET, MINILM))
    assert by_name.digest_ == packaged.digest_
    np.testing.assert_array_equal(by_name.transform(TEXTS), packaged.transform(TEXTS))


@pytest.mark.parametrize("mode", ["mean", "cls", "max"])
@pytest.mark.parametrize("written", ["older", "newer"])
def test_pooling_and_dense_layers_of_sentence_transformers_are_followed(
    mode: str, written: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against the library's own definition, spelled out: the vectors of the last layer, pooled, through the layer."""
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModel, AutoTokenizer

    folder = tmp_path / "dense"
    shutil.copytree(minilm_folder(), folder, symlinks=True)
    linear = torch.nn.Linear(384, 8)
    (folder / "2_Dense").mkdir()
    save_file(
        {f"linear.{name}": value for name, value in linear.state_dict().items()}, folder / "2_Dense/model.safetensors"
    )
    activation = "torch.nn.modules.activation.Tanh"
    layer = {"in_features": 384, "out_features": 8, "bias": True, "activation_function": activation}
    (folder / "2_Dense/config.json").write_text(json.dumps(layer))
    older = {"mean": "mean_tokens", "cls": "cls_token", "max": "max_tokens"}
    pooling: dict[str, object] = {f"pooling_mode_{name}": key == mode for key, name in older.items()}
    (folder / "1_Pooling/config.json").write_text(json.dumps({"pooling_mode": mode} if written == "newer" else pooling))
    parts = (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Dense", "Dense"))
    names = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in parts]
    (folder / "modules.json").write_text(json.dumps(names))
    monkeypatch.setenv("AI_WEIGHTS_DIR", str(tmp_path))

    model, tokenizer = AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    expected = []
    with torch.inference_mode():
        for text in TEXTS[:3]:
            hidden = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
            pooled = {"mean": hidden.mean(0), "cls": hidden[0], "max": hidden.max(0).values}[mode]
            expected.append(torch.nn.functional.normalize(torch.tanh(linear(pooled)), dim=0).numpy())
    np.testing.assert_allclose(SentenceEncoder("dense").fit([]).transform(TEXTS[:3]), expected, atol=TOLERANCE)


def test_a_model_with_parts_that_are_not_known_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "odd"
    shutil.copytree(minilm_folder(), folder)
    (folder / "modules.json").write_text('[{"path": "", "type": "sentence_transformers.models.CLIPModel"}]')
    monkeypatch.setenv("AI_WEIGHTS_DIR", str(tmp_path))
    with pytest.raises(MissingWeights, match="CLIPModel"):
        SentenceEncoder("odd").fit([])


@pytest.mark.parametrize("name", ["no_such_model", "no-such-model", "os", "../secrets", "/etc", "a//b", "", "."])
def test_an_unknown_or_invalid_name_of_weights_is_missing_weights(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AI_WEIGHTS_DIR", str(tmp_path))
    with pytest.raises(MissingWeights, match=r"is neither an installed package|is no name"):
        SentenceEncoder(name).fit([])


@pytest.mark.parametrize("files", [(), ("config.json",), ("config.json", "tokenizer.json")])
def test_the_error_of_an_incomplete_folder_names_the_missing_file(
    files: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half").mkdir()
    for file in files:
        (tmp_path / "half" / file).write_text("{}")
    monkeypatch.setenv("AI_WEIGHTS_DIR", str(tmp_path))
    with pytest.raises(MissingWeights, match=("config.json", "tokenizer.json", "model.safetensors")[len(files)]):
        SentenceEncoder("half").fit([])


def test_a_hub_that_does_not_respond_is_missing_weights_within_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nothing listens there
    monkeypatch.setenv("AI_WEIGHTS_DIR", str(tmp_path))
    started = time.monotonic()
    with pytest.raises(MissingWeights, match=f"https://huggingface.co/{MPNET}"):
        build_features("text", "sentence-bert").fit([])
    assert time.monotonic() - started < 20
    assert list(tmp_path.iterdir()) == []


def test_weights_are_found_in_the_folder_of_the_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AI_WEIGHTS_DIR", raising=False)
    assert weights_dir() == Path("data/weights")
    monkeypatch.setenv("AI_WEIGHTS_DIR", str(tmp_path))
    with pytest.raises(MissingWeights, match=r"Fetch it from there\. Put it at .*vectors/a\.txt"):
        find_weights("vectors/a.txt", "Fetch it from there.")
    (tmp_path / "vectors").mkdir()
    (tmp_path / "vectors/a.txt").touch()
    assert find_weights("vectors/a.txt", "Fetch it from there.") == tmp_path / "vectors/a.txt"


def test_the_error_of_unknown_features_names_the_known_ones() -> None:
    with pytest.raises(UnknownRecipe, match="minilm, raw, sentence-bert, tfidf"):
        build_features("text", "word3vec")


def test_batches_stay_within_the_budget_and_hold_everything() -> None:
    lengths = [1, 2, 3, 5, 9, 40]
    cut = list(batches(list(range(6)), lengths, 12))
    assert [place for batch in cut for place in batch] == list(range(6))
    assert all(len(batch) * lengths[batch[-1]] <= 12 or len(batch) == 1 for batch in cut)


def test_a_vector_does_not_depend_on_the_budget() -> None:
    small, large = (SentenceEncoder(batch_tokens=budget).fit([]).transform(TEXTS) for budget in (1, 10_000))
    np.testing.assert_allclose(small, large, atol=TOLERANCE)
