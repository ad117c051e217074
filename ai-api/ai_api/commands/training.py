"""Commands that train in this process: train, tune, crossval. A job's child process is `train --pipe`."""

from __future__ import annotations

import json
import traceback
from argparse import SUPPRESS, ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ai_api.errors import AIError, InvalidParams, MissingExtra
from ai_api.settings import Settings

from . import Command
from .display import progress, table, text
from .wiring import find_task, open_registry, source, standalone_context, training_context

if TYPE_CHECKING:
    from ai_api.registry.run_log import RunLog
    from ai_api.sources import Source
    from ai_api.task import Recipe, Task
    from ai_api.training.crossval import CrossValidation
    from ai_api.training.request import TrainingContext, TrainingRequest
    from ai_api.training.train import TrainingResult

TRANSIENT = (OSError, MemoryError, RuntimeError)
"""Errors that another attempt may not meet. PyTorch raises RuntimeError when memory or the GPU fails."""
DONE_BEFORE = "done before, on these rows, with this code"


def train(settings: Settings, parsed: Namespace) -> int:
    """Trains one recipe and prints its metrics, or several and prints a line for each."""
    if parsed.pipe:
        return _train_for_parent(settings, parsed)
    task = find_task(settings, parsed.task)
    context = standalone_context(settings) if parsed.alone else training_context(settings)
    if not (parsed.all or parsed.all_recipes or parsed.recipes):
        _print(_train(task, _request(settings, task, parsed), context))
        return 0
    return _each_recipe(
        task, parsed, context.registry.runs, lambda task, recipe: _train_line(settings, task, recipe, parsed, context)
    )


def _train_line(
    settings: Settings, task: Task, recipe: Recipe, parsed: Namespace, context: TrainingContext
) -> Sequence[object]:
    from ai_api.results.runs import is_trained

    request = _request(settings, task, parsed, recipe)
    if parsed.missing and is_trained(request, context):
        return [None, "", DONE_BEFORE]
    result = _train(task, request, context)
    version = result.version
    remark = f"version {version.number}" + (f". {result.decision.reason}" if context.promotions else "")
    return [version.metrics[task.metric], f"{result.seconds:.0f} s", remark]


def _each_recipe(
    task: Task, parsed: Namespace, run_log: RunLog, line: Callable[[Task, Recipe], Sequence[object]]
) -> int:
    """Prints a line for each recipe, on rows that are read once. A recipe that fails does not stop the others."""
    from ai_api.results.runs import note_untrained

    if parsed.param:
        raise InvalidParams("--param goes with one recipe: name it with --recipe.")
    task, rows, failed = replace(task, load=cache(task.load)), [], 0
    chosen = [task.recipe(name) for name in parsed.recipes]
    for recipe in chosen or [recipe for recipe in task.recipes if parsed.all_recipes or recipe.is_default]:
        try:
            rows.append([recipe.name, *line(task, recipe)])
        except MissingExtra as error:
            note_untrained(task, recipe, run_log, str(error))
            rows.append([recipe.name, None, "", str(error)])
        except AIError as error:
            failed += 1
            rows.append([recipe.name, None, "", f"{type(error).__name__}: {error}"])
    print(table(["recipe", task.metric, "in", ""], rows))
    return 1 if failed else 0


def _train(task: Task, request: TrainingRequest, context: TrainingContext) -> TrainingResult:
    from ai_api.training.train import train

    with progress(f"{task.name} {request.recipe.name}") as report:
        return train(request, context, report)


def _print(result: TrainingResult) -> None:
    rows = {**result.report(), **result.version.metrics}
    rows.pop("metrics")
    width = max(map(len, rows))
    print("\n".join(f"{name:<{width}}  {text(value)}" for name, value in rows.items()))


def _train_for_parent(settings: Settings, parsed: Namespace) -> int:
    """The child process of a job: writes events to its parent. An error that would repeat becomes an "error" and ends
    the job; one of the machine (memory, files, connections) is a crash, and the job is tried again.
    """
    from ai_api.jobs.child import ChildOutput

    emit = ChildOutput()
    from ai_api.training.train import train

    try:
        request = _request(settings, find_task(settings, parsed.task), parsed)
        result = train(request, training_context(settings), emit)
    except AIError as error:
        emit("error", {"error": type(error).__name__, "detail": str(error)})
        return 1
    except TRANSIENT:
        raise
    except Exception as error:
        emit("error", {"error": type(error).__name__, "detail": unexpected(error)})
        return 1
    emit("result", result.report())
    return 0


def unexpected(error: Exception) -> str:
    """What happened, without the error's message, which may quote a row: the kind of error, and where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "ai_api" in Path(frame.filename).parts]
    where = [f"{Path(frame.filename).stem}.{frame.name}" for frame in (*own[-1:], *frames[-1:])]
    return f"The training stopped with {type(error).__name__} in {', called from '.join(dict.fromkeys(where[::-1]))}."


def _request(settings: Settings, task: Task, parsed: Namespace, recipe: Recipe | None = None) -> TrainingRequest:
    from ai_api.training.request import TrainingRequest

    recipe, seed = _checked(task, parsed, recipe)
    job = None if parsed.job is None else int(parsed.job)
    return TrainingRequest(
        task,
        recipe,
        seed,
        settings.train_share,
        settings.bootstrap_rounds,
        job,
        parsed.job_created_at,
        parsed.actor,
    )


def _checked(task: Task, parsed: Namespace, recipe: Recipe | None = None) -> tuple[Recipe, int]:
    from ai_api.pipeline import check_params

    recipe = recipe or (task.recipe(parsed.recipe) if parsed.recipe else task.recipes[0])
    return check_params(task, recipe, {**_params(parsed.param), "seed": parsed.seed})


def _params(pairs: Sequence[str]) -> Mapping[str, object]:
    """Values that are JSON are parsed, so `C=2` is a number; others, such as `penalty=l2`, are strings."""
    params: dict[str, object] = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        try:
            params[name] = json.loads(value)
        except ValueError:
            params[name] = value
    return params


def tune(settings: Settings, parsed: Namespace) -> int:
    """Trains with a search for parameters."""
    parsed.param = [*parsed.param, f"tune={parsed.trials}"]
    return train(settings, parsed)


def crossval(settings: Settings, parsed: Namespace) -> int:
    """Cross-validates one recipe and prints its metrics, or several and prints a line for each."""
    from ai_api.results.runs import is_cross_validated

    task, rows, run_log = find_task(settings, parsed.task), source(settings), open_registry(settings).runs

    def line(task: Task, recipe: Recipe) -> Sequence[object]:
        if parsed.missing and is_cross_validated(task, recipe, rows, parsed.folds, parsed.seed, run_log):
            return [None, "", DONE_BEFORE]
        result = _crossval(task, recipe, rows, parsed, run_log)
        return [result.mean[task.metric], f"{result.seconds:.0f} s", f"± {text(result.std[task.metric])}"]

    if parsed.all or parsed.all_recipes or parsed.recipes:
        return _each_recipe(task, parsed, run_log, line)
    result = _crossval(task, None, rows, parsed, run_log)
    lines = [[name, mean, result.std[name], result.pooled.get(name)] for name, mean in result.mean.items()]
    print(table(["metric", "mean", "std", "of all folds"], lines))
    return 0


def _crossval(task: Task, recipe: Recipe | None, rows: Source, parsed: Namespace, run_log: RunLog) -> CrossValidation:
    from ai_api.training.crossval import crossval

    checked, seed = _checked(task, parsed, recipe)
    with progress(f"{task.name} {checked.name} cross-validation") as report:
        return crossval(task, checked, rows, parsed.folds, seed, run_log, report)


def _one_recipe(parser: ArgumentParser) -> None:
    parser.add_argument("task", help="name of the task, such as tweets")
    parser.add_argument("--recipe", help="name of the recipe, such as tfidf+logreg (default: the task's first)")
    parser.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="parameter of the recipe's estimator, as JSON; those of its other steps by prefix, as text__; repeatable",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random (default: 0)")


def _training(parser: ArgumentParser) -> None:
    _one_recipe(parser)
    parser.add_argument(
        "--alone",
        action="store_true",
        help="use no service but MLflow: train without corrections, log the version, promote nothing",
    )
    parser.set_defaults(all=False, all_recipes=False, recipes=[], missing=False, job=None, job_created_at=None)
    parser.set_defaults(actor=None, pipe=False)


def _many_recipes(parser: ArgumentParser) -> None:
    many = parser.add_mutually_exclusive_group()
    many.add_argument("--all", action="store_true", help="all default recipes of the task, one after the other")
    many.add_argument("--all-recipes", action="store_true", help="all recipes of the task, one after the other")
    many.add_argument("--recipes", nargs="+", default=[], metavar="RECIPE", help="these recipes, one after the other")
    parser.add_argument(
        "--missing",
        action="store_true",
        help="with --all, --all-recipes or --recipes: skip what was done before on the same rows with the same code",
    )


def _train_arguments(parser: ArgumentParser) -> None:
    _training(parser)
    _many_recipes(parser)
    for hidden in ("--job", "--job-created-at", "--actor"):
        parser.add_argument(hidden, help=SUPPRESS)
    parser.add_argument("--pipe", action="store_true", help=SUPPRESS)


def _tune_arguments(parser: ArgumentParser) -> None:
    _training(parser)
    parser.add_argument("--trials", type=int, default=20, help="how many sets of parameters are tried (default: 20)")


def _crossval_arguments(parser: ArgumentParser) -> None:
    _one_recipe(parser)
    _many_recipes(parser)
    parser.add_argument("--folds", type=int, default=5, help="number of folds (default: 5)")


COMMANDS = (
    Command(
        "train",
        "train a task in this process",
        "Trains in this process, logs a version, promotes it if the gate decides so, and prints its metrics.",
        train,
        _train_arguments,
    ),
    Command(
        "tune",
        "search for better parameters, then train",
        "Searches the space of the recipe's estimator on folds of the training rows (Optuna), then trains with the"
        " best parameters as `train` does.",
        tune,
        _tune_arguments,
    ),
    Command(
        "crossval",
        "cross-validate a recipe",
        "Trains a recipe once for each fold of a task's rows, on the other folds, and prints each metric's mean and"
        " standard deviation over the folds. Logs a run to MLflow and makes no version.",
        crossval,
        _crossval_arguments,
    ),
)
