"""Classifies the grower of a wine by thirteen chemical measurements."""

from __future__ import annotations

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.datasets import load_wine
from sklearn.naive_bayes import GaussianNB

from ai_api.datasets import Table
from ai_api.estimators import estimator
from ai_api.sources import Source
from ai_api.task import Kind, Recipe, Row, Task


class Wine(Row):
    alcohol: float
    malic_acid: float
    ash: float
    alcalinity_of_ash: float
    magnesium: float
    total_phenols: float
    flavanoids: float
    nonflavanoid_phenols: float
    proanthocyanins: float
    color_intensity: float
    hue: float
    od280_od315: float
    proline: float


def read_wine(_: Source) -> Table:
    """Each wine ten times, with measurement errors of one percent."""
    found = load_wine()
    measured = np.repeat(found.data, 10, axis=0) * np.random.default_rng(0).normal(1, 0.01, (10 * len(found.data), 1))
    rows = [dict(zip(Wine.model_fields, line, strict=True)) for line in measured.tolist()]
    return Table(rows, np.array([f"grower {place + 1}" for place in np.repeat(found.target, 10)], dtype=object))


@estimator("naive-bayes", kinds=[Kind.CLASSIFICATION], table="scaled")
def naive_bayes(**params: object) -> BaseEstimator:
    """One normal distribution for each measurement and grower."""
    return GaussianNB(**params)


TASK = Task(
    name="wine",
    kind=Kind.CLASSIFICATION,
    row=Wine,
    metric="macro_recall",
    margin=0.05,
    load=read_wine,
    recipes=(Recipe("naive-bayes"), Recipe("forest")),
)
