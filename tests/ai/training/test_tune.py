"""A search for parameters is never worse than the recipe, reproducible, and uses training rows only."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from ai_api.datasets import Table, split
from ai_api.errors import InvalidParams
from ai_api.estimators import find_estimators
from ai_api.pipeline import build_pipeline, check_params
from ai_api.sources import Source
from ai_api.task import Kind, Recipe, Task
from ai_api.training.candidate import make_candidate
from ai_api.training.request import no_progress
from ai_api.training.tune import _folds, tuned
from tests.ai.support.small import small_task

pytestmark = pytest.mark.training

SEARCHED = sorted((name, kind) for (name, kind), entry in find_estimators().items() if entry.space)
TASK = small_task("housing")
RECIPE = Recipe("forest", params={"n_estimators": 5, "min_samples_leaf": 30})


def rows(task: Task = TASK) -> Table:
    return split(task.load(Source(None))).train  # type: ignore[arg-type]


def test_the_result_is_the_best_of_all_trials_and_each_is_reported() -> None:
    events: list[Mapping[str, object]] = []
    found, history = tuned(TASK, RECIPE, rows(), 0, 8, lambda kind, data: events.append({"kind": kind, **data}))
    scores = [value for name, value, _ in history if name == "tune_rmse"]
    best = [value for name, value, _ in history if name == "tune_best_rmse"]
    assert len(scores) <= 8
    assert best[-1] == min(scores)
    assert best == [min(scores[: number + 1]) for number in range(len(scores))]
    assert min(scores) < scores[0], "eight trials find something better than such large leaves"
    assert found.name == RECIPE.name
    assert [data["step"] for data in events] == list(range(1, 9))
    assert {data["kind"] for data in events} == {"progress"}


def test_a_search_is_never_worse_than_the_parameters_of_the_recipe() -> None:
    strong = Recipe("forest", params={"n_estimators": 20, "min_samples_leaf": 1})
    found, history = tuned(TASK, strong, rows(), 0, 3, no_progress)
    first, last = history[0][1], history[-1][1]
    assert last <= first
    assert dict(found.params) == dict(strong.params) or last < first


def test_the_same_seed_and_rows_find_the_same_parameters() -> None:
    one, other = (tuned(TASK, RECIPE, rows(), 5, 6, no_progress) for _ in range(2))
    assert (dict(one[0].params), one[1]) == (dict(other[0].params), other[1])


def test_near_copies_of_a_row_are_never_in_both_parts_of_a_fold() -> None:
    table = rows()
    twin = Table([*table.rows, *table.rows], np.concatenate([table.truths, table.truths]))
    pipeline = build_pipeline(TASK, RECIPE)
    for fold in _folds(TASK, pipeline, twin, 0):
        trained = {line.tobytes() for line in np.asarray(fold.inputs)}
        assert not trained & {line.tobytes() for line in np.asarray(fold.test_inputs)}


def test_resampling_changes_the_training_rows_of_a_fold_only() -> None:
    task = small_task("fraud")
    table = rows(task)
    pipeline = build_pipeline(task, Recipe("logreg", resample="undersample"))
    folds = list(_folds(task, pipeline, table, 0))
    assert sum(len(fold.test_truths) for fold in folds) == len(table)
    assert all(len(fold.truths) < len(table) - len(fold.test_truths) for fold in folds)


def test_the_parameters_found_are_those_of_the_trained_pipeline() -> None:
    recipe, _ = check_params(TASK, RECIPE, {"tune": 4})
    candidate = make_candidate(TASK, recipe, rows(), 0)
    params = candidate.pipeline[-1].get_params()
    assert recipe.tune == 4
    assert {name: params[name] for name in candidate.recipe.params} == dict(candidate.recipe.params)
    assert candidate.history


@pytest.mark.parametrize(("name", "kind"), SEARCHED)
def test_every_point_of_a_search_space_is_accepted_by_the_estimator(name: str, kind: Kind) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    task, space = small_task("housing" if kind is Kind.REGRESSION else "churn"), find_estimators()[name, kind].space
    assert space is not None
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(20):
        build_pipeline(task, Recipe(name, params=space(study.ask())))


@pytest.mark.parametrize("tune", [-1, 1.5, "many", True, 10**6])
def test_trials_are_a_whole_number(tune: object) -> None:
    with pytest.raises(InvalidParams, match="tune must be a whole number"):
        check_params(TASK, RECIPE, {"tune": tune})


def test_an_estimator_without_a_search_space_is_refused_before_any_row_is_read() -> None:
    task = small_task("products")
    with pytest.raises(InvalidParams, match="fusion has no search space"):
        check_params(task, task.recipe("fusion"), {"tune": 2})
