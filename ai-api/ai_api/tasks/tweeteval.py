"""TweetEval (Barbieri et al., Findings of EMNLP 2020): one row, sets of labels, official splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from ai_api.datasets import Table
from ai_api.errors import InvalidData
from ai_api.sources import PublicFile, Source
from ai_api.task import Published, Row, Text

from .data_files import checked_rows, text_of

HOME = "https://raw.githubusercontent.com/cardiffnlp/tweeteval/main/datasets"
FOLDER = "tweets/tweeteval"
LICENCE = "Released without restrictions; the terms of SemEval and Twitter/X apply: research use, no search for authors"


class Tweet(Row):
    text: Text = Field(min_length=1, max_length=2_000, examples=["late again, thanks"])


@dataclass(frozen=True)
class LabelSet:
    """One of TweetEval's problems. `labels` are in the order of its numbers; `sums` are sha256 by the file's name.

    `git_blobs` are for files without a published sha256.
    """

    name: str
    labels: tuple[str, ...]
    sums: Mapping[str, str]
    git_blobs: Mapping[str, str]

    def read(self, source: Source) -> Table:
        """Training rows, then the validation rows, which are held out. The test rows are not read."""
        train, held_out = self._part(source, "train"), self._part(source, "val")
        pairs = [*train, *held_out]
        return Table(
            rows=[row for row, _ in pairs],
            truths=np.array([label for _, label in pairs], dtype=object),
            official=np.arange(len(pairs)) >= len(train),
        )

    def _part(self, source: Source, part: str) -> list[tuple[dict[str, object], str]]:
        """The rows of a part, each with its label."""
        texts, numbers = (self.file(f"{part}_{what}.txt") for what in ("text", "labels"))
        rows: list[dict[str, object]] = [{"text": text} for text in _lines(source, texts)]
        labels = [self._label(number, line, numbers.name) for line, number in enumerate(_lines(source, numbers), 1)]
        if len(rows) != len(labels):
            raise InvalidData(f"{numbers.name}: has {len(labels)} lines, and {texts.name} has {len(rows)}.")
        checked_rows(rows, Tweet, lambda place: f"{texts.name}, line {place + 1}")
        return list(zip(rows, labels, strict=True))

    def _label(self, number: str, line: int, name: str) -> str:
        known = {str(place): label for place, label in enumerate(self.labels)}
        if number.strip() not in known:
            raise InvalidData(f"{name}, line {line}: has no number from 0 to {len(known) - 1}.")
        return known[number.strip()]

    def file(self, name: str) -> PublicFile:
        return PublicFile(
            f"{FOLDER}/{self.name}/{name}",
            f"{HOME}/{self.name}/{name}",
            sha256=self.sums.get(name),
            git_blob=self.git_blobs.get(name),
        )


def _lines(source: Source, file: PublicFile) -> list[str]:
    # On "\n" alone: tweets hold other line separators of Unicode.
    return text_of(source.read(file), file.name).removesuffix("\n").split("\n")


MODELS = ("SVM", "FastText", "LSTM", "RoBERTa-base", "RoBERTa retrained on tweets", "TimeLMs-2021", "BERTweet")


def published(metric: str, *values: float) -> tuple[Published, ...]:
    """The figures of TweetEval's own page for one label set, in the order of MODELS."""
    return tuple(
        Published(model, metric, value, "official test rows") for model, value in zip(MODELS, values, strict=True)
    )


PLAIN = (
    "today",
    "the train",
    "my phone",
    "at home",
    "the match",
    "this album",
    "the 3rd",
    "meeting",
    "tickets",
    "news",
)


def generate(words: Mapping[str, Sequence[str]], shares: Sequence[float], rows: int, seed: int) -> Table:
    """Synthetic tweets, most with words of their label; every tenth has a wrong label, every tenth is an official row.

    `words`: those of each label. `shares`: the labels' frequencies.
    """
    random = np.random.default_rng(seed)
    labels = np.array(list(words), dtype=object)
    truths = random.choice(labels, rows, p=shares)
    texts = [
        f"@user {' '.join(random.choice(PLAIN, 4))} {random.choice(words[truth])} {place}"
        for place, truth in enumerate(truths)
    ]
    wrong = random.random(rows) < 0.1
    truths[wrong] = random.choice(labels, int(wrong.sum()))
    return Table([{"text": text} for text in texts], truths, official=np.arange(rows) % 10 == 0)
