"""Late fusion: each member predicts from the columns that it reads, and learned weights combine the probabilities."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from numbers import Integral, Real
from typing import ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.pipeline import Pipeline
from sklearn.utils._param_validation import Interval, StrOptions

from ai_api.datasets import row_hash
from ai_api.errors import InvalidParams
from ai_api.task import Kind

from . import estimator

Numbers = NDArray[np.float64]
Places = NDArray[np.intp]
Mask = NDArray[np.bool_]

PRIOR_SHARE = 1e-3
"""Share of the labels' frequencies in a member's probabilities: none of them is 0 then."""
REGULARIZATION = 1.0
"""L2 penalty on the distance of the weights from the plain mean: with few rows to learn from they stay near it."""
MAX_WEIGHT = 10.0


@estimator("fusion", kinds=[Kind.CLASSIFICATION])
def fusion(**params: object) -> LateFusion:
    """Several recipes on several columns, combined by weights that are fitted on separate rows."""
    return LateFusion(**params)  # type: ignore[arg-type]


class LateFusion(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A weighted product of the members' probabilities (a logarithmic opinion pool; Genest and Zidek, 1986).

    The labels' frequencies have a weight too. It may be negative, because the probabilities of every member already
    contain them. A row is predicted by the members that have a value in one of their columns. There are weights for
    each set of such members; a row without any gets the labels' frequencies. For a label that was not in a member's
    training rows, the member's probability is the label's frequency.

    `fit` sets rows aside, fits the members on the others, and finds the weights that make the rows aside most likely:
    on their own training rows members are overconfident. Weights need not sum to one: they include a temperature.

    Parameters
    ----------
    members : names and unfitted pipelines, which take the raw rows as a frame.
    columns : the columns that each member reads.
    share : the share of the rows that is set aside. Rows with the same texts go together; no label goes as a whole.
    refit : the members that are fitted again at the end, on all rows. Others never train on the rows set aside.
    device : "auto", "cpu" or "cuda", for neural members.

    Attributes
    ----------
    classes_ : every label, sorted. prior_ : their frequencies. members_ : the fitted pipelines by name.
    weights_ : the members' weights and, last, that of the frequencies, by the members that have a value: "10" is
        the first of two members alone.

    """

    _parameter_constraints: ClassVar[dict[str, list[object]]] = {
        "members": [list],
        "columns": [dict],
        "share": [Interval(Real, 0, 1, closed="neither")],
        "refit": [list, tuple],
        "device": [StrOptions({"auto", "cpu", "cuda"})],
        "random_state": [Interval(Integral, 0, None, closed="left")],
    }

    def __init__(
        self,
        members: Sequence[tuple[str, Pipeline]] = (),
        columns: Mapping[str, Sequence[str]] | None = None,
        share: float = 0.1,
        refit: Sequence[str] = (),
        device: str = "auto",
        random_state: int = 0,
    ) -> None:
        self.members = members
        self.columns = columns
        self.share = share
        self.refit = refit
        self.device = device
        self.random_state = random_state

    def fit(self, rows: pd.DataFrame, truths: NDArray[np.object_]) -> LateFusion:
        names = [name for name, _ in self.members]
        if unknown := set(self.refit) - set(names):
            raise InvalidParams(f"refit names {', '.join(sorted(unknown))}; the members are {', '.join(names)}.")
        truths = np.asarray(truths, dtype=object)
        self.classes_, counts = np.unique(truths, return_counts=True)
        self.prior_ = counts / counts.sum()
        seen = self._seen(rows)
        aside = _aside(rows, truths, self.share, self.random_state)
        self.members_ = {
            name: self._fitted(name, member, rows, truths, seen[:, place] & ~aside)
            for place, (name, member) in enumerate(self.members)
        }
        log_probabilities = self._log_probabilities(rows[aside], seen[aside])
        places = np.searchsorted(self.classes_, truths[aside])
        self.weights_ = {
            key: _weights(log_probabilities, seen[aside], places, members, np.log(self.prior_))
            for key, members in _patterns(len(names))
        }
        for place, (name, member) in enumerate(self.members):
            if name in self.refit:
                self.members_[name] = self._fitted(name, member, rows, truths, seen[:, place])
        return self

    def predict_proba(self, rows: pd.DataFrame) -> Numbers:
        seen = self._seen(rows)
        log_probabilities = self._log_probabilities(rows, seen)
        probabilities = np.tile(self.prior_, (len(rows), 1))
        for key, members in _patterns(seen.shape[1]):
            these = (seen == members).all(axis=1)
            if these.any():
                joined = _joined(log_probabilities[:, these], self.weights_[key], np.log(self.prior_))
                probabilities[these] = np.exp(joined)
        return probabilities

    def predict(self, rows: pd.DataFrame) -> NDArray[np.object_]:
        best: NDArray[np.object_] = self.classes_[self.predict_proba(rows).argmax(axis=1)]
        return best

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "weights_")

    def _seen(self, rows: pd.DataFrame) -> Mask:
        """Which member (second axis) has a value in which row (first axis)."""
        reads = self.columns or {}
        filled = {name: _filled(rows[name]) for name in {name for names in reads.values() for name in names}}
        seen: Mask = np.stack([np.any([filled[c] for c in reads[name]], axis=0) for name, _ in self.members], axis=1)
        return seen

    def _fitted(
        self, name: str, member: Pipeline, rows: pd.DataFrame, truths: NDArray[np.object_], mask: Mask
    ) -> Pipeline:
        """The member, fitted on these rows, without the steps that change training rows only."""
        fitted = self._placed(clone(member)).fit(self._columns_of(name, rows[mask]), truths[mask])
        return Pipeline([(step, made) for step, made in fitted.steps if not hasattr(made, "fit_resample")])

    def _placed(self, member: Pipeline) -> Pipeline:
        return member.set_params(**{name: self.device for name in member.get_params() if name.endswith("__device")})

    def _columns_of(self, name: str, rows: pd.DataFrame) -> pd.DataFrame:
        return rows[list((self.columns or {})[name])]

    def _log_probabilities(self, rows: pd.DataFrame, seen: Mask) -> Numbers:
        """Log-probabilities by member, row and label; zeros where a member has no value in any of its columns."""
        log_probabilities = np.zeros((len(self.members_), len(rows), len(self.classes_)))
        for place, (name, member) in enumerate(self.members_.items()):
            mask = seen[:, place]
            if mask.any():
                probabilities = self._placed(member).predict_proba(self._columns_of(name, rows[mask]))
                log_probabilities[place, mask] = self._in_all_labels(probabilities, member.classes_)
        return log_probabilities

    def _in_all_labels(self, probabilities: Numbers, labels: NDArray[np.object_]) -> Numbers:
        known = np.isin(self.classes_, labels)
        ours = np.tile(self.prior_, (len(probabilities), 1))
        ours[:, known] = probabilities * self.prior_[known].sum()
        logarithm: Numbers = np.log((1 - PRIOR_SHARE) * ours + PRIOR_SHARE * self.prior_)
        return logarithm


def _patterns(members: int) -> Iterable[tuple[str, Mask]]:
    """Every set of members that may have a value in a row, except the empty one."""
    for bits in product((True, False), repeat=members):
        if any(bits):
            yield "".join("1" if bit else "0" for bit in bits), np.array(bits)


def _filled(column: pd.Series) -> Mask:
    if column.dtype == np.float64:
        cells: Iterable[bool] = ~np.isnan(column.to_numpy())
    else:
        cells = (value.strip() != "" if isinstance(value, str) else value is not None for value in column)
    return np.fromiter(cells, dtype=bool, count=len(column))


def _aside(rows: pd.DataFrame, truths: NDArray[np.object_], share: float, seed: int) -> Mask:
    """Rows to set aside: about `share` of the groups of each label, never all; rows with the same texts are a group."""
    groups: dict[str, list[int]] = {}
    for place, row in enumerate(rows.to_dict("records")):
        texts = {name: value for name, value in row.items() if isinstance(value, str) and value.strip()}
        groups.setdefault(row_hash(texts or row), []).append(place)
    of_label: dict[object, list[list[int]]] = {}
    for _, places in sorted(groups.items()):
        of_label.setdefault(truths[places[0]], []).append(places)
    random = np.random.default_rng(seed)
    aside = np.zeros(len(rows), dtype=bool)
    for _, found in sorted(of_label.items(), key=lambda item: str(item[0])):
        wanted = min(len(found) - 1, int(share * len(found) + random.random()))
        for chosen in random.permutation(len(found))[:wanted]:
            aside[found[chosen]] = True
    return aside


def _weights(log_probabilities: Numbers, seen: Mask, truths: Places, members: Mask, prior: Numbers) -> Numbers:
    """The weights of these members (zero for the others) and of the frequencies that maximise the likelihood of the
    truths, over the rows in which all these members have a value. They start from the members' plain mean.
    """
    from scipy.optimize import minimize

    able = seen[:, members].all(axis=1)
    known, right = log_probabilities[:, able], truths[able]
    start = np.append(members / members.sum(), 0.0)

    def loss(free: Numbers) -> float:
        weights = start.copy()
        weights[moved] = free
        joined = _joined(known, weights, prior)
        return float(REGULARIZATION * ((weights - start) ** 2).sum() - joined[np.arange(len(right)), right].sum())

    moved = np.append(members, True)
    bounds = [*([(0.0, MAX_WEIGHT)] * int(members.sum())), (-MAX_WEIGHT, MAX_WEIGHT)]
    weights = start.copy()
    if able.any():
        weights[moved] = minimize(loss, start[moved], method="L-BFGS-B", bounds=bounds).x
    return weights


def _joined(log_probabilities: Numbers, weights: Numbers, prior: Numbers) -> Numbers:
    """Log-probabilities (row, label), from those of the members (member, row, label) and the labels' frequencies."""
    scores = np.tensordot(weights[:-1], log_probabilities, axes=1) + weights[-1] * prior
    scores -= scores.max(axis=1, keepdims=True)
    joined: Numbers = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    return joined
