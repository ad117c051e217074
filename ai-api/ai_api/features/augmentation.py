"""Copies of training rows with slightly changed texts, for the `augment` step of a recipe."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from ai_api.datasets import Truths


class ChangedWords(BaseEstimator):  # type: ignore[misc]
    """Words left out or swapped at random, the two of EDA's operations that need no dictionary (Wei & Zou, EMNLP 2019).

    A text of a copied row loses words or has words swapped, with a probability of a half each. A row gets no copy when
    its texts are too short to change. The step is not saved with a version.

    Parameters
    ----------
    copies : of each row.
    share : of the words of a text: with which probability each is left out, and how many are swapped, at least one.
    columns : those with texts; None: every column that holds nothing but strings. Name them where a frame has
        categories too.
    random_state : the seed.

    """

    def __init__(
        self, copies: int = 1, share: float = 0.1, columns: list[str] | None = None, random_state: int = 0
    ) -> None:
        self.copies = copies
        self.share = share
        self.columns = columns
        self.random_state = random_state

    def fit_resample(self, rows: pd.DataFrame, truths: Truths) -> tuple[pd.DataFrame, Truths]:
        """The rows, then their changed copies. The input frame is not modified."""
        random = np.random.default_rng(self.random_state)
        columns = self._texts(rows) if self.columns is None else self.columns
        frames, parts = [rows], [truths]
        for _ in range(self.copies):
            copy = rows.copy()
            for column in columns:
                copy[column] = pd.Series(
                    [self._changed(text, random) for text in rows[column]], index=rows.index, dtype=rows[column].dtype
                )
            differs = (copy[columns] != rows[columns]).any(axis=1).to_numpy(dtype=bool)
            frames.append(copy[differs])
            parts.append(truths[differs])
        joined: Truths = np.concatenate(parts)  # type: ignore[assignment]
        return pd.concat(frames, ignore_index=True), joined

    def _texts(self, rows: pd.DataFrame) -> list[str]:
        return [name for name in rows.columns if all(isinstance(value, str) for value in rows[name])]

    def _changed(self, text: str, random: np.random.Generator) -> str:
        words = text.split()
        if len(words) < 2:
            return text
        return " ".join(self._fewer(words, random) if random.random() < 0.5 else self._swapped(words, random))

    def _fewer(self, words: list[str], random: np.random.Generator) -> list[str]:
        """Removes at least one word and keeps at least one."""
        is_removed: NDArray[np.bool_] = random.random(len(words)) < self.share
        is_removed[random.integers(len(words))] = True
        if is_removed.all():
            is_removed[random.integers(len(words))] = False
        return [word for word, removed in zip(words, is_removed, strict=True) if not removed]

    def _swapped(self, words: list[str], random: np.random.Generator) -> list[str]:
        swapped = list(words)
        for _ in range(max(1, round(self.share * len(words)))):
            one, other = random.choice(len(words), 2, replace=False)
            swapped[one], swapped[other] = swapped[other], swapped[one]
        return swapped
