"""Folds of a table: shuffled by the seed, stratified by label, and grouped so that near copies are in one fold."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

from ai_api.datasets import Table
from ai_api.task import Kind, Task

RowMask = NDArray[np.bool_]


def in_folds(task: Task, table: Table, count: int, seed: int) -> Iterator[tuple[RowMask, RowMask]]:
    """For each fold, a mask of the rows to train on and one of the rows to test. Every row is tested once."""
    splitter_class = StratifiedGroupKFold if task.kind is Kind.CLASSIFICATION else GroupKFold
    splitter = splitter_class(count, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class")  # then its rows are in some of the folds
        folds = list(splitter.split(np.zeros(len(table)), table.truths, table.sides))
    for _, test in folds:
        tested = np.zeros(len(table), dtype=bool)
        tested[test] = True
        yield ~tested, tested
