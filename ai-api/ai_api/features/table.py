"""Features of tables, with the encoding of gaps and categories that each family of estimators needs.

All of them return the numbers first and then the categories, each in the order of its columns. A category that was not
seen in training counts as a gap.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin

from ai_api.datasets import FloatArray

from . import table_features

SKEWED = 2.0
"""Columns of numbers with more skewness than this are replaced by logarithms: amounts of money, counts."""


@table_features("plain")
class TableFeatures(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Numbers as they are, NaN for a gap; categories one-hot, all zeros for a gap.

    Attributes
    ----------
    names_ : the names that each category column had in training, sorted.

    """

    def __init__(self, numbers: list[str], categories: list[str]) -> None:
        self.numbers = numbers
        self.categories = categories

    def fit(self, table: pd.DataFrame, _: object = None) -> TableFeatures:
        self.names_ = [sorted({str(name) for name in table[column] if name}) for column in self.categories]
        return self

    def transform(self, table: pd.DataFrame) -> NDArray[np.float64] | NDArray[np.object_]:
        return np.hstack([self._numbers(table), *self._one_hot(table)])

    def _numbers(self, table: pd.DataFrame) -> FloatArray:
        # Column by column: for one row, pandas takes ten times as long to return several at once.
        columns = [np.asarray(table[name], dtype=np.float64) for name in self.numbers]
        return np.column_stack(columns) if columns else np.empty((len(table), 0))

    def _codes(self, table: pd.DataFrame) -> list[FloatArray]:
        """The place of each name among its column's, NaN for a gap."""
        return [
            np.array([places.get(name, np.nan) for name in table[column]], dtype=np.float64)
            for column, places in zip(self.categories, map(_places, self.names_), strict=True)
        ]

    def _one_hot(self, table: pd.DataFrame) -> list[FloatArray]:
        return [
            (codes[:, None] == np.arange(len(names))).astype(np.float64)
            for codes, names in zip(self._codes(table), self.names_, strict=True)
        ]


def _places(names: list[str]) -> dict[object, int]:
    return {name: place for place, name in enumerate(names)}


@table_features("ordinal")
class Ordinal(TableFeatures):
    """Numbers as they are; categories as small whole numbers. NaN for a gap of either."""

    def transform(self, table: pd.DataFrame) -> FloatArray:
        return np.column_stack([self._numbers(table), *self._codes(table)])


@table_features("scaled")
class Scaled(TableFeatures):
    """Numbers around 0 with a spread of 1, the median for a gap, long tails as logarithms; categories one-hot.

    Attributes
    ----------
    skewed_ : columns of numbers that became sign(x) * log(1 + |x|).
    medians_, centers_, spreads_ : one a column of numbers, of the training rows.

    """

    def fit(self, table: pd.DataFrame, _: object = None) -> Scaled:
        super().fit(table)
        numbers = self._numbers(table)
        self.medians_ = np.array([np.median(known) if len(known := c[~np.isnan(c)]) else 0.0 for c in numbers.T])
        filled = self._filled(numbers)
        self.skewed_ = np.abs(_skewness(filled)) > SKEWED
        logs = self._logs(filled)
        self.centers_ = logs.mean(axis=0)
        spreads = logs.std(axis=0)
        self.spreads_ = np.where(spreads > 0, spreads, 1.0)
        return self

    def transform(self, table: pd.DataFrame) -> FloatArray:
        scaled = (self._logs(self._filled(self._numbers(table))) - self.centers_) / self.spreads_
        return np.hstack([scaled, *self._one_hot(table)])

    def _filled(self, numbers: FloatArray) -> FloatArray:
        return np.where(np.isnan(numbers), self.medians_, numbers)

    def _logs(self, numbers: FloatArray) -> FloatArray:
        return np.where(self.skewed_, np.sign(numbers) * np.log1p(np.abs(numbers)), numbers)


def _skewness(numbers: FloatArray) -> FloatArray:
    away = numbers - numbers.mean(axis=0)
    spread: FloatArray = away.std(axis=0)
    third: FloatArray = np.mean(away**3, axis=0)
    return np.divide(third, spread**3, out=np.zeros_like(third), where=spread > 0)


@table_features("native")
class Native(TableFeatures):
    """Numbers and the categories' own names side by side, for estimators that encode categories themselves."""

    def transform(self, table: pd.DataFrame) -> NDArray[np.float64] | NDArray[np.object_]:
        numbers = self._numbers(table)
        if not self.categories:
            return numbers
        names = [np.asarray(table[column], dtype=object) for column in self.categories]
        return np.column_stack([numbers.astype(object), *names])
