"""Parameters found by trying: Optuna's TPE over an estimator's space, on folds of the training part alone.

Nothing that is held out is looked at, and near copies of a row stay in one fold. What comes before the estimator does
not depend on its parameters, so it is fitted once for each fold and not for each trial.
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

from .folds import in_folds
from .request import ProgressReport

if TYPE_CHECKING:
    from optuna import Study, Trial

History = list[tuple[str, float, int]]

FOLDS = 3
STARTUP_TRIALS, STARTUP_SHARE = 4, 0.25
"""Trials, at least, and their share that are drawn at random before TPE has seen enough to choose."""


def tuned(
    task: Task, recipe: Recipe, train: Table, seed: int, trials: int, report: ProgressReport
) -> tuple[Recipe, History]:
    """The recipe with the best parameters of `trials`; and the score of each trial, and the best so far, by trial.

    The first trial is the recipe as it stands: what comes out is never worse on these folds. The same seed and rows
    give the same parameters, as far as the estimator gives the same answers.
    """
    metric, space = METRICS[task.metric], space_of(task, recipe)
    pipeline = build_pipeline(task, recipe, seed)
    prepared = list(_folds(task, pipeline, train, seed))
    diary = TrialLog(recipe, metric, trials, report)
    diary.note(recipe, float(np.mean([_score(task, pipeline[-1], fold) for fold in prepared])))
    study = _study(metric, seed, trials)
    for number in range(1, trials):
        trial = study.ask()
        candidate = replace(recipe, params={**recipe.params, **space(trial)}, title=recipe.name)
        if number == 1:
            _teach(study, trial, pipeline[-1], diary.best_score)
        diary.note(candidate, _try(study, trial, task, build_pipeline(task, candidate, seed)[-1], prepared))
    return diary.best, diary.history


@dataclass(frozen=True)
class Fold:
    """A fold as the estimator meets it: features, and the truths beside them."""

    inputs: Any
    truths: Truths
    test_inputs: Any
    test_truths: Truths


@dataclass
class TrialLog:
    """What has been tried so far, and the best of it."""

    best: Recipe
    metric: Metric
    trials: int
    report: ProgressReport
    best_score: float = np.nan
    history: History = field(default_factory=list)
    tried: int = 0

    def note(self, recipe: Recipe, score: float | None) -> None:
        """Takes down one trial; None is the score of one that was given up."""
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
    for learns, answers in in_folds(task, train, FOLDS, seed):
        yield _prepared(clone(pipeline), inputs[learns], train.truths[learns], inputs[answers], train.truths[answers])


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
    answers = _answers(task, fitted, fold.test_inputs)
    return METRICS[task.metric].score(fold.test_truths, answers, np.ones(len(fold.test_truths)))


def _answers(task: Task, fitted: BaseEstimator, inputs: Any) -> Predictions:
    if task.kind is Kind.REGRESSION:
        return Predictions(np.asarray(fitted.predict(inputs), dtype=np.float64))
    scores = np.asarray(fitted.predict_proba(inputs), dtype=np.float64)
    labels = tuple(str(label) for label in fitted.classes_)
    return Predictions(np.array(labels, dtype=object)[scores.argmax(axis=1)], scores, labels, task.positive)


def _try(study: Study, trial: Trial, task: Task, estimator: BaseEstimator, prepared: Sequence[Fold]) -> float | None:
    """The mean over the folds; None when the first ones show that most earlier trials were better."""
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


def _teach(study: Study, trial: Trial, own: BaseEstimator, score: float) -> None:
    """Tells TPE of the recipe's own parameters and their score, where they lie in the space of `trial`."""
    import optuna

    known = own.get_params()
    with contextlib.suppress(KeyError, ValueError, TypeError):
        params = {name: known[name] for name in trial.distributions}
        study.add_trial(optuna.create_trial(params=params, distributions=trial.distributions, value=score))
