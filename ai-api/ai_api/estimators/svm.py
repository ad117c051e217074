"""A linear support vector machine with probabilities from its margins, for many classes, some of them rare."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils._param_validation import Interval, StrOptions

from ai_api.task import Kind

from . import estimator

if TYPE_CHECKING:
    from optuna import Trial
    from scipy.sparse import csr_matrix
    from sklearn.svm import LinearSVC

STEEPEST = 100.0
ROUNDS = 100
"""Most passes over the rows for one class. A class of a single row, weighted like thousands, never converges."""


def space(trial: Trial) -> dict[str, object]:
    return {"C": trial.suggest_float("C", 0.03, 10, log=True)}


@estimator("svm", kinds=[Kind.CLASSIFICATION], table="scaled", space=space)
def svm(**params: object) -> LinearSvm:
    """A margin for each class against the others; better than logistic regression on texts with many labels."""
    return LinearSvm(**params)  # type: ignore[arg-type]


class LinearSvm(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """LinearSVC with softmax(steepness x margins) as probabilities.

    The steepness is one number, so that a class of one row cannot distort it (unlike Platt's two numbers for each
    class, which also need rows of every class in every fold). It makes the rows that were set aside most
    likely: margins of training rows are too wide. Then all rows are fitted.

    Parameters
    ----------
    C : the cost of a row on the wrong side of the margin; higher values fit the training rows more closely.
    class_weight : None, or "balanced".
    share : the share of the rows that is set aside.

    Attributes
    ----------
    classes_ : the labels, sorted. steepness_ : what margins are multiplied by. svc_ : the LinearSVC of all rows.

    """

    _parameter_constraints: ClassVar[dict[str, list[object]]] = {
        "C": [Interval(Real, 0, None, closed="neither")],
        "class_weight": [StrOptions({"balanced"}), None],
        "share": [Interval(Real, 0, 1, closed="neither")],
        "random_state": [Interval(Integral, 0, None, closed="left")],
    }

    def __init__(
        self,
        C: float = 1.0,  # noqa: N803
        class_weight: str | None = None,
        share: float = 0.1,
        random_state: int = 0,
    ) -> None:
        self.C = C
        self.class_weight = class_weight
        self.share = share
        self.random_state = random_state

    def fit(self, inputs: csr_matrix | NDArray[np.float64], truths: NDArray[np.object_]) -> LinearSvm:
        truths = np.asarray(truths)
        aside = np.random.default_rng(self.random_state).random(len(truths)) < self.share
        self.steepness_ = 1.0
        if aside.any() and len(np.unique(truths[~aside])) > 1:
            part = self._fitted(inputs[~aside], truths[~aside])
            self.steepness_ = _steepness(_margins(part, inputs[aside]), truths[aside], part.classes_)
        self.svc_ = self._fitted(inputs, truths)
        self.classes_ = self.svc_.classes_
        return self

    def predict_proba(self, inputs: csr_matrix | NDArray[np.float64]) -> NDArray[np.float64]:
        return np.exp(_log_softmax(self.steepness_ * _margins(self.svc_, inputs)))

    def predict(self, inputs: csr_matrix | NDArray[np.float64]) -> NDArray[np.object_]:
        labels: NDArray[np.object_] = self.classes_[_margins(self.svc_, inputs).argmax(axis=1)]
        return labels

    def _fitted(self, inputs: csr_matrix | NDArray[np.float64], truths: NDArray[np.object_]) -> LinearSVC:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.svm import LinearSVC

        svc = LinearSVC(
            C=self.C, class_weight=self.class_weight, dual=True, max_iter=ROUNDS, random_state=self.random_state
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            svc.fit(inputs, truths)
        return svc


def _margins(svc: LinearSVC, inputs: csr_matrix | NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = svc.decision_function(inputs)
    return np.stack([-found, found], axis=1) if found.ndim == 1 else found


def _log_softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    raised = scores - scores.max(axis=1, keepdims=True)
    lowered: NDArray[np.float64] = raised - np.log(np.exp(raised).sum(axis=1, keepdims=True))
    return lowered


def _steepness(margins: NDArray[np.float64], truths: NDArray[np.object_], classes: NDArray[np.object_]) -> float:
    """The steepness with which these truths are most likely. Rows with labels of no class are left out."""
    from scipy.optimize import minimize_scalar

    known = np.isin(truths, classes)
    if not known.any():
        return 1.0
    lines, places = margins[known], np.searchsorted(classes, truths[known])

    def loss(logarithm: float) -> float:
        return -float(_log_softmax(np.exp(logarithm) * lines)[np.arange(len(places)), places].mean())

    found = minimize_scalar(loss, bounds=(np.log(0.1), np.log(STEEPEST)), method="bounded")
    return float(np.exp(found.x))
