"""Word vectors: learnt from the training texts alone, or read from public files as their authors write them."""

from __future__ import annotations

import gzip
import inspect
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from gensim.models import KeyedVectors
from sklearn.base import clone

from ai_api.datasets import split
from ai_api.errors import MissingWeights
from ai_api.features.word_vectors import GloVe, Word2Vec, read_vectors, words
from ai_api.tasks.tweets import generate_tweets

pytestmark = pytest.mark.training

TEXTS = [str(row["text"]) for row in split(generate_tweets(300)).train.rows]
VECTORS = {"late": [1.0, 0.0, 2.0], "thanks": [0.0, 3.0, 0.5], "<user>": [0.5, 0.5, 0.5], "#mood": [9.0, 9.0, 9.0]}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("i don't, it's late!!", ["i", "do", "n't", ",", "it", "'s", "late", "!!"]),
        ("we can\u2019t :-)", ["we", "ca", "n't", ":-)"]),
        ("@ann_b #mood @ 5pm", ["@user", "#mood", "@", "5pm"]),
        ("call 0612345678 in 2017", ["call", "10000", "in", "2017"]),
        ("\U0001f600\U0001f600", ["\U0001f600", "\U0001f600"]),
        ("\u00e9t\u00e9 " + "x" * 41, ["\u00e9t\u00e9"]),
        ("", []),
    ],
)
def test_a_text_falls_into_the_words_that_public_vectors_know(text: str, found: list[str]) -> None:
    assert words(text) == found


def test_word2vec_learns_the_words_of_the_training_texts_alone() -> None:
    features = Word2Vec(size=8, epochs=1).fit([*TEXTS, *["seldom"] * 4])
    known = set(features.words_.tolist())
    assert {"love", "hate", "the", "@user"} <= known
    assert not known & {"seldom", "heldout"}
    assert features.vectors_.shape == (len(known), 8)
    np.testing.assert_array_equal(features.transform(["heldout seldom", ""]), np.zeros((2, 8), dtype=np.float32))


def test_vectors_have_length_one_and_do_not_depend_on_the_batch() -> None:
    features = clone(Word2Vec(size=8, epochs=1)).fit(TEXTS)
    together = features.transform(TEXTS)
    assert together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(together, np.vstack([features.transform([text]) for text in TEXTS]))


def test_words_that_are_used_alike_lie_close() -> None:
    texts = [
        f"the {animal} {verb} in the {place}"
        for animal in ("cat", "dog")
        for verb in ("sleeps", "sits")
        for place in ("house", "garden")
    ] * 20 + ["we paid nine euros for tickets"] * 100
    cat, dog, euros = Word2Vec(size=16, epochs=60).fit(texts).transform(["cat", "dog", "euros"])
    assert cat @ dog > cat @ euros + 0.2


def test_the_same_texts_give_the_same_vectors_with_any_hash_seed_of_python() -> None:
    few = TEXTS[:60]
    code = f"{inspect.getsource(fingerprint)}\nimport json, sys\nprint(fingerprint(json.load(sys.stdin)))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(few),
        env={**os.environ, "PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == fingerprint(few)


def fingerprint(texts: list[str]) -> str:
    import hashlib

    from ai_api.features.word_vectors import Word2Vec

    made = Word2Vec(size=8, epochs=2, least=1).fit(texts)
    return hashlib.sha256(made.words_.tobytes() + made.vectors_.tobytes()).hexdigest()


def test_word_vectors_are_saved_without_their_index() -> None:
    features = Word2Vec(size=8, epochs=1).fit(TEXTS)
    before = features.transform(TEXTS[:3])
    assert "_places" not in features.__getstate__()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(features)).transform(TEXTS[:3]), before)


def test_texts_without_words_have_zero_vectors() -> None:
    assert Word2Vec(size=8).fit(["", "  "]).transform(["late"]).tolist() == [[0.0] * 8]


def as_glove(path: Path) -> None:
    odd = ["", ". . . ", "\u00a0", "at name@domain.com", "\x85"]  # glove.840B and glove.twitter hold such words
    with path.open("wb") as file:
        for word, vector in [*VECTORS.items(), *((word, [7.0, 7.0, 7.0]) for word in odd)]:
            file.write(f"{word} {' '.join(map(str, vector))}\n".encode())
        file.write(b"7.0 7.0 7.0\n")  # no word at all
        file.write(b"\xff\xfe 7.0 7.0 7.0\n")  # not UTF-8
        file.write(b"late 8.0 8.0 8.0\n")  # a second time


def as_packed_glove(path: Path) -> None:
    as_glove(path.with_suffix(""))
    path.write_bytes(gzip.compress(path.with_suffix("").read_bytes()))
    path.with_suffix("").unlink()


def as_word2vec(path: Path) -> None:
    keyed().save_word2vec_format(str(path), binary=path.suffix == ".bin")


def as_fasttext(path: Path) -> None:
    path.write_text("4 3\n" + "".join(f"{word} {' '.join(map(str, v))} \n" for word, v in VECTORS.items()))


def as_the_first_word2vec(path: Path) -> None:
    """As the program in C writes it: a line end after each vector."""
    body = b"".join(f"{w} ".encode() + np.array(v, "<f4").tobytes() + b"\n" for w, v in VECTORS.items())
    path.write_bytes(b"4 3\n" + body)


def keyed() -> KeyedVectors:
    made = KeyedVectors(3)
    made.add_vectors(list(VECTORS), np.array(list(VECTORS.values()), dtype=np.float32))
    return made


FORMATS = pytest.mark.parametrize(
    ("name", "write"),
    [
        ("glove.twitter.27B.100d.txt", as_glove),
        ("glove.6B.100d.txt.gz", as_packed_glove),
        ("vectors.vec", as_word2vec),
        ("crawl-300d-2M.vec", as_fasttext),
        ("GoogleNews-vectors-negative300.bin", as_word2vec),
        ("text8.bin", as_the_first_word2vec),
    ],
)


@FORMATS
def test_a_public_file_is_read_as_its_authors_write_it(
    name: str, write: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / name)
    found = read_vectors(tmp_path / name, frozenset([b"late", b"thanks", b"at", b"."]))
    assert {word: vector.tolist() for word, vector in found.items()} == {
        b"late": VECTORS["late"],
        b"thanks": VECTORS["thanks"],
    }
    monkeypatch.setenv("AI_WEIGHTS_DIR", str(tmp_path))
    features = GloVe(name, least=1, smoothing=1e9).fit(["late , thanks", "@ann #mood"])
    assert features.words_.tolist() == ["#mood", "@user", "late", "thanks"]
    assert len(features.digest_) == 64
    (tmp_path / name).unlink()  # a version predicts without the file
    sums = np.array([[1.0, 3.0, 2.5], [0.5, 0.5, 0.5]])
    np.testing.assert_allclose(
        features.transform(["late thanks unknown", "@bob"]),
        sums / np.linalg.norm(sums, axis=1, keepdims=True),
        rtol=1e-5,
    )


def test_a_file_may_lie_there_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_packed_glove(tmp_path / "glove.twitter.27B.100d.txt.gz")
    monkeypatch.setenv("AI_WEIGHTS_DIR", str(tmp_path))
    assert GloVe(least=1).fit(["late"]).words_.tolist() == ["late"]


def test_the_error_of_a_missing_file_names_what_to_fetch_and_where_to_put_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AI_WEIGHTS_DIR", str(tmp_path))
    with pytest.raises(MissingWeights, match=r"https://nlp.stanford.edu/.*glove\.twitter\.27B\.zip") as missing:
        GloVe().fit(["late"])
    assert str(tmp_path / "glove.twitter.27B.100d.txt") in str(missing.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.txt", b""),
        ("words.txt", b"late\nthanks\n"),
        ("page.txt", b"<html><body>Not found</body></html>\n" * 5),
        ("short.bin", b"4 3\nlate \x00\x00"),
        ("text.bin", b"late 1.0 0.0 2.0\n"),
        ("plain.txt.gz", b"late 1.0 0.0 2.0\n"),
        ("odd.txt", b"late one two three\n"),
    ],
)
def test_a_file_of_another_format_is_refused(
    name: str, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).write_bytes(content)
    monkeypatch.setenv("AI_WEIGHTS_DIR", str(tmp_path))
    with pytest.raises(MissingWeights, match=name):
        GloVe(name, least=1).fit(["late"])


def test_a_file_of_another_language_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_glove(tmp_path / "glove.twitter.27B.100d.txt")
    monkeypatch.setenv("AI_WEIGHTS_DIR", str(tmp_path))
    with pytest.raises(MissingWeights, match="language"):
        GloVe(least=1).fit(["encore en retard"])
