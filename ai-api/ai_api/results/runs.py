"""Which runs in MLflow count as the result of a recipe: the page of results shows them, `--missing` skips them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ai_api.datasets import split, without_unseen
from ai_api.registry.run_log import RunLog
from ai_api.registry.versions import FinishedRun, RunRecord
from ai_api.sources import Source
from ai_api.task import Recipe, Task
from ai_api.tracking.environment import code_digest
from ai_api.training.record import params_of
from ai_api.training.request import TrainingContext, TrainingRequest

FINE_TUNED = "bert"
"""The estimator with a line of its own among the training times: it takes longer than all others together."""
NOT_TRAINED = "not trained"
"""Kind of a run that holds the reason why a recipe cannot be trained on this machine."""
ONLY_GENERATED = "trained on generated rows only, on which every figure means nothing"


@dataclass(frozen=True)
class TaskRuns:
    """The runs of a task. `trained` and `cross_validated` are by the name of the row in the table; `untrained` holds
    reasons by recipe.
    """

    task: Task
    trained: dict[str, FinishedRun]
    cross_validated: dict[str, FinishedRun]
    untrained: dict[str, str]


def find(task: Task, run_log: RunLog) -> TaskRuns:
    """The newest training and cross-validation of each recipe as its task states it, on all real rows, uncorrected."""
    runs = run_log.finished(task.name)
    trained = _newest(task, runs)
    reasons = {run.recipe: run.lineage.get("why", "") for run in reversed(run_log.finished(task.name, NOT_TRAINED))}
    reasons |= {run.recipe: ONLY_GENERATED for run in runs if run.lineage.get("synthetic") == "true"}
    missing = [recipe.name for recipe in task.recipes if recipe.name not in trained]
    return TaskRuns(
        task,
        trained,
        _newest(task, run_log.finished(task.name, "crossval")),
        {name: reasons.get(name, "not trained in these runs") for name in missing},
    )


def _newest(task: Task, runs: Sequence[FinishedRun]) -> dict[str, FinishedRun]:
    """The newest run of each recipe on all real rows; a run of `tune` has a row of its own, `<recipe>, tuned`."""
    newest: dict[str, FinishedRun] = {}
    for recipe in task.recipes:
        for run in runs:
            if run.recipe == recipe.name and _is_whole(run) and _is_as_stated(recipe, run):
                newest.setdefault(recipe.name + (", tuned" if "tune" in run.params and not recipe.tune else ""), run)
    return newest


def _is_whole(run: FinishedRun) -> bool:
    """Whether it trained on all real rows and on no correction."""
    lineage = run.lineage
    return (
        lineage.get("synthetic") == "false"
        and lineage.get("share", "1.0") == "1.0"
        and lineage.get("corrections_used", "0") == "0"
    )


def _is_as_stated(recipe: Recipe, run: FinishedRun) -> bool:
    """Whether its parameters are those of the task's recipe; a search may have replaced the estimator's."""
    stated = {name: str(value) for name, value in params_of(recipe).items()}
    if "tune" in run.params:
        stated = {name: value for name, value in stated.items() if name not in recipe.params}
    return stated.items() <= run.params.items()


def is_trained(request: TrainingRequest, context: TrainingContext) -> bool:
    """Whether this recipe was trained before on the same rows, by the same seed, with the same code."""
    task = request.task
    lineage = {"seed": str(request.seed), "share": str(request.share), "corrections_used": "0"}
    hashes = _hashes(task, request.recipe, context.registry.runs.finished(task.name), lineage)
    return bool(hashes) and split(task.load(context.source), share=request.share).train.digest() in hashes


def is_cross_validated(task: Task, recipe: Recipe, source: Source, folds: int, seed: int, run_log: RunLog) -> bool:
    """Whether this cross-validation was made before on the same rows, by the same seed, with the same code."""
    lineage = {"seed": str(seed), "folds": str(folds)}
    hashes = _hashes(task, recipe, run_log.finished(task.name, "crossval"), lineage)
    return bool(hashes) and without_unseen(task.load(source)).digest() in hashes


def _hashes(task: Task, recipe: Recipe, runs: Sequence[FinishedRun], lineage: Mapping[str, str]) -> set[str]:
    """Hashes of the rows on which a recipe ran with this lineage and the present code."""
    lineage = {**lineage, "code": code_digest(task.row)}
    return {
        run.lineage.get("data_hash", "")
        for run in runs
        if run.recipe == recipe.name and _is_as_stated(recipe, run) and lineage.items() <= run.lineage.items()
    }


def note_untrained(task: Task, recipe: Recipe, run_log: RunLog, why: str) -> None:
    """Logs the reason why a recipe cannot be trained on this machine, such as missing public weights."""
    run = RunRecord(recipe=recipe.name, params={}, metrics={}, data_hash="", lineage={"why": why})
    run_log.log_run(task.name, run, NOT_TRAINED)
