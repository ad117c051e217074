"""A search for parameters: Optuna's TPE over an estimator's space, by cross-validation on the training rows.

Held-out rows are not used, and near copies of a row are in one fold. The steps before the estimator do not depend on
its parameters, so they are fitted once for each fold and not for each trial.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.pipeline import Pipeline

from ai_api.datasets import Table, Truths, frame
from ai_api.evaluation.metrics import METRICS, Metric, Predictions
from ai_api.pipeline import build_pipeline, space_of
from ai_api.task import Kind, Recipe, Task
from ai_api.tracking.history import History

from .folds import in_folds
from .request import ProgressReport

if TYPE_CHECKING:
    from optuna import Study, Trial

FOLDS = 3
STARTUP_TRIALS, STARTUP_SHARE = 4, 0.25
"""Fewest random trials before TPE chooses, and the share of all trials that they are at least."""


def tuned(
    task: Task, recipe: Recipe, train: Table, seed: int, trials: int, report: ProgressReport
) -> tuple[Recipe, History]:
    """The recipe with the best parameters of `trials`, and the history: each trial's score and the best score so far.

    The first trial has the recipe's own parameters, so the result is never worse on these folds. The same seed and rows
    find the same parameters, if the estimator is deterministic.
    """
    metric, space = METRICS[task.metric], space_of(task, recipe)
    pipeline = build_pipeline(task, recipe, seed)
    prepared = list(_folds(task, pipeline, train, seed))
    log = TrialLog(recipe, metric, trials, report)
    log.note(recipe, float(np.mean([_score(task, pipeline[-1], fold) for fold in prepared])))
    study = _study(metric, seed, trials)
    for number in range(1, trials):
        trial = study.ask()
        variant = replace(recipe, params={**recipe.params, **space(trial)}, title=recipe.name)
        if number == 1:
            _add_known_trial(study, trial, pipeline[-1], log.best_score)
        log.note(variant, _run_trial(study, trial, task, build_pipeline(task, variant, seed)[-1], prepared))
    return log.best, log.history


@dataclass(frozen=True)
class Fold:
    """A fold for the estimator alone: features and truths to train on, and those to test."""

    inputs: Any
    truths: Truths
    test_inputs: Any
    test_truths: Truths


@dataclass
class TrialLog:
    """The trials so far and the best of them."""

    best: Recipe
    metric: Metric
    trials: int
    report: ProgressReport
    best_score: float = np.nan
    history: History = field(default_factory=list)
    tried: int = 0

    def note(self, recipe: Recipe, score: float | None) -> None:
        """Records and reports one trial; its score is None if it was pruned."""
        self.tried += 1
        name, sign = self.metric.name, self.metric.sign
        if score is not None:
            if not sign * score <= sign * self.best_score:
                self.best, self.best_score = recipe, score
            self.history += [(f"tune_{name}", score, self.tried), (f"tune_best_{name}", self.best_score, self.tried)]
        message = f"tuning: {self.tried} of {self.trials} trials, best {name} {self.best_score:.4f}"
        self.report("progress", {"step": self.tried, "total": self.trials, "message": message})


def _folds(task: Task, pipeline: Pipeline, train: Table, seed: int) -> Iterator[Fold]:
    inputs = frame(train.rows, task.row.modalities())
    for trained, tested in in_folds(task, train, FOLDS, seed):
        yield _prepared(clone(pipeline), inputs[trained], train.truths[trained], inputs[tested], train.truths[tested])


def _prepared(pipeline: Pipeline, inputs: Any, truths: Truths, test_inputs: Any, test_truths: Truths) -> Fold:
    for _, step in pipeline.steps[:-1]:
        if hasattr(step, "fit_resample"):
            inputs, truths = step.fit_resample(inputs, truths)
        else:
            inputs = step.fit_transform(inputs, truths)
            test_inputs = step.transform(test_inputs)
    return Fold(inputs, truths, test_inputs, test_truths)


def _score(task: Task, estimator: BaseEstimator, fold: Fold) -> float:
    import joblib

    with joblib.parallel_config("threading", n_jobs=-1):
        fitted = clone(estimator).fit(fold.inputs, fold.truths)
    predictions = _predict(task, fitted, fold.test_inputs)
    return METRICS[task.metric].score(fold.test_truths, predictions, np.ones(len(fold.test_truths)))


def _predict(task: Task, fitted: BaseEstimator, inputs: Any) -> Predictions:
    if task.kind is Kind.REGRESSION:
        return Predictions(np.asarray(fitted.predict(inputs), dtype=np.float64))
    scores = np.asarray(fitted.predict_proba(inputs), dtype=np.float64)
    labels = tuple(str(label) for label in fitted.classes_)
    return Predictions(np.array(labels, dtype=object)[scores.argmax(axis=1)], scores, labels, task.positive)


def _run_trial(
    study: Study, trial: Trial, task: Task, estimator: BaseEstimator, prepared: Sequence[Fold]
) -> float | None:
    """The mean score over the folds; None if the trial was pruned because most earlier ones were better."""
    from optuna.trial import TrialState

    scores: list[float] = []
    for step, fold in enumerate(prepared):
        scores.append(_score(task, estimator, fold))
        trial.report(float(np.mean(scores)), step)
        if step + 1 < len(prepared) and trial.should_prune():
            study.tell(trial, state=TrialState.PRUNED)
            return None
    study.tell(trial, float(np.mean(scores)))
    return float(np.mean(scores))


def _study(metric: Metric, seed: int, trials: int) -> Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    startup = max(STARTUP_TRIALS, round(STARTUP_SHARE * trials))
    return optuna.create_study(
        direction="maximize" if metric.sign > 0 else "minimize",
        sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=startup),
    )


def _add_known_trial(study: Study, trial: Trial, estimator: BaseEstimator, score: float) -> None:
    """Adds the recipe's own parameters and their score to the study, if they lie in the space of `trial`."""
    import optuna

    known = estimator.get_params()
    with contextlib.suppress(KeyError, ValueError, TypeError):
        params = {name: known[name] for name in trial.distributions}
        study.add_trial(optuna.create_trial(params=params, distributions=trial.distributions, value=score))
