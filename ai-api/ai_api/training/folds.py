"""Rows in folds: shuffled by the seed, the labels in like shares, and near copies of a row always in one fold."""

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
    """For each fold, which rows learn and which are answered. Every row is answered once."""
    make = StratifiedGroupKFold if task.kind is Kind.CLASSIFICATION else GroupKFold
    splitter = make(count, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class")  # its rows stand in some of the folds
        places = list(splitter.split(np.zeros(len(table)), table.truths, table.sides))
    for _, test in places:
        tested = np.zeros(len(table), dtype=bool)
        tested[test] = True
        yield ~tested, tested
