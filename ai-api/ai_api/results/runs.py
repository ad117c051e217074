"""Which runs of MLflow say how good a recipe is: the table of results shows them, and they need not be made again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ai_api.datasets import split, without_unseen
from ai_api.registry.registry import Registry
from ai_api.registry.versions import FinishedRun, RunRecord
from ai_api.sources import Source
from ai_api.task import Recipe, Task
from ai_api.tracking.environment import code_digest
from ai_api.training.record import params_of
from ai_api.training.request import TrainingContext, TrainingRequest

FINE_TUNED = "bert"
"""The estimator whose training is told apart, and comes last: it takes longer than all others together."""
NOT_TRAINED = "not trained"
"""Kind of the run that says why a recipe cannot be trained here."""
ONLY_GENERATED = "trained on generated rows only, on which every figure means nothing"


@dataclass(frozen=True)
class TaskRuns:
    """What MLflow has of a task. `trained` and `folded` are by the name of the row in the table."""

    task: Task
    trained: dict[str, FinishedRun]
    folded: dict[str, FinishedRun]
    untrained: dict[str, str]


def find(task: Task, registry: Registry) -> TaskRuns:
    """The newest training and cross-validation of each recipe as its task states it, on all real rows, uncorrected."""
    runs = registry.runs(task.name)
    trained = _newest(task, runs)
    said = {run.recipe: run.lineage.get("why", "") for run in reversed(registry.runs(task.name, NOT_TRAINED))}
    invented = {run.recipe: ONLY_GENERATED for run in runs if run.lineage.get("synthetic") == "true"}
    left = [recipe.name for recipe in task.recipes if recipe.name not in trained]
    return TaskRuns(
        task,
        trained,
        _newest(task, registry.runs(task.name, "crossval")),
        {name: {**said, **invented}.get(name, "not trained in these runs") for name in left},
    )


def _newest(task: Task, runs: Sequence[FinishedRun]) -> dict[str, FinishedRun]:
    """The newest run of each recipe on all real rows; one whose parameters were searched for on demand stands apart."""
    found: dict[str, FinishedRun] = {}
    for recipe in task.recipes:
        for run in runs:
            if run.recipe == recipe.name and _is_whole(run) and _is_as_stated(recipe, run):
                found.setdefault(recipe.name + (", tuned" if "tune" in run.params and not recipe.tune else ""), run)
    return found


def _is_whole(run: FinishedRun) -> bool:
    told = run.lineage
    return (
        told.get("synthetic") == "false"
        and told.get("share", "1.0") == "1.0"
        and told.get("corrections_used", "0") == "0"
    )


def _is_as_stated(recipe: Recipe, run: FinishedRun) -> bool:
    stated = {name: str(value) for name, value in params_of(recipe).items()}
    if "tune" in run.params:
        stated = {name: value for name, value in stated.items() if name not in recipe.params}
    return stated.items() <= run.params.items()


def is_trained(order: TrainingRequest, around: TrainingContext) -> bool:
    """Whether this recipe was trained before on the same rows, by the same seed, with the same code."""
    task = order.task
    told = {"seed": str(order.seed), "share": str(order.share), "corrections_used": "0"}
    hashes = _hashes(task, order.recipe, around.registry.runs(task.name), told)
    return bool(hashes) and split(task.load(around.source), share=order.share).train.digest() in hashes


def is_folded(task: Task, recipe: Recipe, source: Source, folds: int, seed: int, registry: Registry) -> bool:
    """The same of a cross-validation."""
    told = {"seed": str(seed), "folds": str(folds)}
    hashes = _hashes(task, recipe, registry.runs(task.name, "crossval"), told)
    return bool(hashes) and without_unseen(task.load(source)).digest() in hashes


def _hashes(task: Task, recipe: Recipe, runs: Sequence[FinishedRun], told: Mapping[str, str]) -> set[str]:
    """On which rows a recipe ran with today's code."""
    told = {**told, "code": code_digest(task.row)}
    return {
        run.lineage.get("data_hash", "")
        for run in runs
        if run.recipe == recipe.name and _is_as_stated(recipe, run) and told.items() <= run.lineage.items()
    }


def note_untrained(task: Task, recipe: Recipe, registry: Registry, why: str) -> None:
    """Leaves word in MLflow of a recipe that lacks something on this machine, such as public weights."""
    run = RunRecord(recipe=recipe.name, params={}, metrics={}, data_hash="", lineage={"why": why})
    registry.log_run(task.name, run, NOT_TRAINED)
