"""A text as the mean of the vectors of its words: learnt from the training texts, or read from a public file."""

from __future__ import annotations

import gzip
import re
import zlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.preprocessing import normalize

from ai_api.errors import MissingExtra, MissingWeights

from . import text_features
from .weights import digest, find_weights

WORD = re.compile(
    r"[@#]?\w+?(?=n['’]t\b)|n['’]t\b|['’](?:s|re|ve|ll|d|m)\b"  # do n't, it 's: as in public word vectors
    r"|[@#]?\w+|[!-/:-@\[-`{-~]+|[^\w\s]"  # words, runs of signs, and each emoji by itself
)
LONGEST_WORD = 40
FETCH = (
    "Fetch GloVe's vectors of tweets from https://nlp.stanford.edu/data/glove.twitter.27B.zip (others: https://nlp"
    ".stanford.edu/projects/glove) and unpack it. Word2vec's files, text or .bin, are read as well, as are packed ones"
    " (.gz)."
)
HEAD_LINES = 100
CHUNK = 2**20

Vectors = NDArray[np.float32]


class WordVectors(TransformerMixin, BaseEstimator, ABC):  # type: ignore[misc]
    """The weighted mean of a text's word vectors, scaled to length one. Weights are the smooth inverse
    frequency (Arora et al., ICLR 2017).

    Words of fewer than `least` training rows, user names and long numbers are not kept, so that a saved version does
    not disclose a single row. A text without a known word is all zeros.

    Attributes
    ----------
    words_ : the words that are known, sorted.
    vectors_ : a line for each, times its weight.

    """

    least: int
    smoothing: float
    _places: dict[str, int] | None = None

    @abstractmethod
    def _find(self, texts: list[list[str]], words: list[str]) -> tuple[list[str], Vectors]:
        """Those of the words that have a vector, and their vectors."""

    def fit(self, texts: Iterable[str], _: object = None) -> WordVectors:
        split = [words(text) for text in texts]
        rows = Counter(word for text in split for word in set(text))
        common = sorted(word for word, count in rows.items() if count >= min(self.least, len(split)))
        counts = Counter(word for text in split for word in text)
        known, vectors = self._find(split, common)
        share = np.array([counts[word] for word in known]) / max(1, counts.total())
        weights = self.smoothing / (self.smoothing + share)
        self.words_ = np.array(known, dtype=f"<U{LONGEST_WORD}")
        self.vectors_ = (vectors * weights[:, None]).astype(np.float32)
        self._places = None
        return self

    def transform(self, texts: Iterable[str]) -> Vectors:
        found = self._known()
        lines = [[found[word] for word in words(text) if word in found] for text in texts]
        ends = np.cumsum([0, *map(len, lines)])
        places = np.fromiter(chain.from_iterable(lines), dtype=np.int64, count=ends[-1])
        counts = csr_matrix((np.ones(len(places), np.float32), places, ends), (len(lines), len(self.words_)))
        means: Vectors = normalize(counts @ self.vectors_, copy=False)
        return means

    def _known(self) -> dict[str, int]:
        if self._places is None:
            self._places = {word: place for place, word in enumerate(self.words_.tolist())}
        return self._places

    def __getstate__(self) -> dict[str, object]:
        state: dict[str, object] = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_places"}

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "vectors_")


def words(text: str) -> list[str]:
    """The words and signs of a cleaned text. User names become `@user`, numbers of five or more digits `10000`."""
    return [_alike(word) for word in WORD.findall(text) if len(word) <= LONGEST_WORD]


def _alike(word: str) -> str:
    if word[0] == "@" and len(word) > 1 and word[1].isalnum():
        return "@user"
    if len(word) > 4 and word.isdecimal():
        return "10000"
    return word.replace("’", "'")


@text_features("word2vec")
def word2vec() -> Word2Vec:
    """200 numbers per text, from word vectors that are learnt from the training texts alone."""
    return Word2Vec()


class Word2Vec(WordVectors):
    """Vectors by skip-grams with negative sampling (Mikolov et al., NeurIPS 2013), learnt from the texts of `fit`.

    One thread and a fixed hash function: the same texts and seed give the same vectors with any PYTHONHASHSEED.

    Parameters
    ----------
    size : numbers per word.
    window : context words on either side.
    epochs : passes over the texts.
    least, smoothing : see WordVectors.
    seed : of the initial vectors and of sampling.

    """

    def __init__(
        self,
        size: int = 200,
        window: int = 5,
        epochs: int = 5,
        least: int = 5,
        smoothing: float = 1e-2,
        seed: int = 0,
    ) -> None:
        self.size = size
        self.window = window
        self.epochs = epochs
        self.least = least
        self.smoothing = smoothing
        self.seed = seed

    def _find(self, texts: list[list[str]], words: list[str]) -> tuple[list[str], Vectors]:
        try:
            from gensim.models import Word2Vec as Trained
        except ImportError as error:
            raise MissingExtra("word2vec needs the extra `text` (gensim), which is not installed.") from error
        kept = set(words)
        if not kept:
            return [], np.empty((0, self.size), dtype=np.float32)
        model = Trained(
            [[word for word in text if word in kept] for text in texts],
            vector_size=self.size,
            window=self.window,
            epochs=self.epochs,
            sg=1,
            min_count=1,
            workers=1,
            seed=self.seed,
            hashfxn=_hash,
        )
        return words, np.asarray(model.wv[words], dtype=np.float32)


def _hash(word: str) -> int:
    return zlib.crc32(word.encode())


@text_features("glove")
def glove() -> GloVe:
    """The vectors of a public file (Pennington et al., EMNLP 2014): of tweets, unless `text__file` names another."""
    return GloVe()


class GloVe(WordVectors):
    """Vectors from a file of AI_WEIGHTS_DIR; only those of the training texts' words are kept with a version.

    Parameters
    ----------
    file : GloVe's own text format, word2vec's text format (a first line with count and size), or word2vec's `.bin`;
        each may be packed (`.gz`).
    least, smoothing : see WordVectors.

    Attributes
    ----------
    digest_ : sha256 of the file.

    """

    def __init__(self, file: str = "glove.twitter.27B.100d.txt", least: int = 5, smoothing: float = 1e-2) -> None:
        self.file = file
        self.least = least
        self.smoothing = smoothing

    def _find(self, _: list[list[str]], words: list[str]) -> tuple[list[str], Vectors]:
        path = find_file(self.file)
        self.digest_ = digest([path])
        names = {word: [name.encode() for name in _names(word)] for word in words}
        found = read_vectors(path, frozenset(chain.from_iterable(names.values())))
        known = {word: name for word, of in names.items() if (name := next((n for n in of if n in found), None))}
        if not known:
            raise MissingWeights(f"{path} has no vector for any word of the training texts. Is it of their language?")
        return list(known), np.stack([found[name] for name in known.values()])


def find_file(name: str) -> Path:
    """The path of the file, or of its `.gz`; MissingWeights names what to fetch."""
    try:
        return find_weights(name, FETCH)
    except MissingWeights:
        packed = f"{name}.gz"
        if name.endswith(".gz"):
            raise
        try:
            return find_weights(packed, FETCH)
        except MissingWeights:
            pass
        raise


def _names(word: str) -> list[str]:
    """Names of a word in public files, the preferred one first."""
    if word == "@user":
        return [word, "<user>"]
    if word[0] == "#" and len(word) > 1:
        return [word, word[1:], "<hashtag>"]
    return [word, "<number>"] if word.isdecimal() else [word]


def read_vectors(path: Path, wanted: frozenset[bytes]) -> dict[bytes, Vectors]:
    """The vectors of the wanted words, which contain no blank; MissingWeights when the format is unknown."""
    packed = path.suffix == ".gz"
    binary = (path.with_suffix("") if packed else path).suffix == ".bin"
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            pairs = _binary(file, wanted) if binary else _text(file, wanted)  # type: ignore[arg-type]
            found: dict[bytes, Vectors] = {}
            for word, vector in pairs:
                found.setdefault(word, vector)
            return found
    except (ValueError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise MissingWeights(f"{path} is not in the format that its name says ({error}). {FETCH}") from error


def _text(file: BinaryIO, wanted: frozenset[bytes]) -> Iterator[tuple[bytes, Vectors]]:
    """Words as bytes: in the large files some are not UTF-8, some contain blanks, some are empty."""
    head = list(islice(file, HEAD_LINES))
    first = head[0].split() if head else []
    has_header = len(first) == 2 and all(part.isdigit() for part in first)
    [(size, _)] = Counter([line.rstrip().count(b" ") for line in head] or [0]).most_common(1)
    size = int(first[1]) if has_header else size
    if size < 1:
        raise ValueError("no vector in the first lines")
    for line in chain(head[has_header:], file):
        if line[: line.find(b" ")] in wanted:
            word, *values = line.rstrip().rsplit(b" ", size)
            if len(values) == size and word in wanted:
                yield word, np.array([float(value) for value in values], dtype=np.float32)


def _binary(file: BinaryIO, wanted: frozenset[bytes]) -> Iterator[tuple[bytes, Vectors]]:
    """A line with count and size, then each word, a blank, its floats, and by some writers a line end."""
    count, size = (int(part) for part in file.readline(100).split())
    held, at = b"", 0
    for _ in range(count):
        while (blank := held.find(b" ", at)) < 0 or len(held) <= blank + 4 * size:
            if not (more := file.read(CHUNK)):
                raise ValueError("it ends too early")
            held, at = held[at:] + more, 0
        word = held[at:blank].lstrip(b"\n")
        if word in wanted:
            yield word, np.frombuffer(held, "<f4", size, blank + 1).copy()
        at = blank + 1 + 4 * size
