"""Training here and now: train, tune, crossval. A job's child process is `train` too, with a pipe to its trainer."""

from __future__ import annotations

import json
from argparse import SUPPRESS, ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from ai_api.errors import AIError, InvalidParams, MissingExtra
from ai_api.settings import Settings

from . import Command
from .display import steps, table, text
from .wiring import find_task, open_registry, source, standalone_context, training_context

if TYPE_CHECKING:
    from ai_api.registry.run_log import RunLog
    from ai_api.sources import Source
    from ai_api.task import Recipe, Task
    from ai_api.training.crossval import CrossValidation
    from ai_api.training.request import TrainingContext, TrainingRequest
    from ai_api.training.train import TrainingResult

KNOWN = "done before, on these rows, with this code"


def train(settings: Settings, parsed: Namespace) -> int:
    if parsed.pipe:
        return _train_for_parent(settings, parsed)
    task = find_task(settings, parsed.task)
    around = standalone_context(settings) if parsed.alone else training_context(settings)
    if not (parsed.all or parsed.all_recipes or parsed.recipes):
        _print(_train(task, _order(settings, task, parsed), around))
        return 0
    return _each_recipe(
        task, parsed, around.registry.runs, lambda task, recipe: _train_line(settings, task, recipe, parsed, around)
    )


def _train_line(
    settings: Settings, task: Task, recipe: Recipe, parsed: Namespace, around: TrainingContext
) -> Sequence[object]:
    from ai_api.results.runs import is_trained

    order = _order(settings, task, parsed, recipe)
    if parsed.missing and is_trained(order, around):
        return [None, "", KNOWN]
    outcome = _train(task, order, around)
    version = outcome.version
    said = f"version {version.number}" + (f". {outcome.decision.reason}" if around.promotions else "")
    return [version.metrics[task.metric], f"{outcome.seconds:.0f} s", said]


def _each_recipe(
    task: Task, parsed: Namespace, run_log: RunLog, line: Callable[[Task, Recipe], Sequence[object]]
) -> int:
    """One recipe after the other, on rows that are read once. What fails is told, and the others go on."""
    from ai_api.results.runs import note_untrained

    if parsed.param:
        raise InvalidParams("--param goes with one recipe: name it with --recipe.")
    task, rows, failed = replace(task, load=cache(task.load)), [], 0
    named = [task.recipe(name) for name in parsed.recipes]
    for recipe in named or [one for one in task.recipes if parsed.all_recipes or one.is_default]:
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


def _train(task: Task, order: TrainingRequest, around: TrainingContext) -> TrainingResult:
    from ai_api.training.train import train

    with steps(f"{task.name} {order.recipe.name}") as report:
        return train(order, around, report)


def _print(outcome: TrainingResult) -> None:
    rows = {**outcome.report(), **outcome.version.metrics}
    rows.pop("metrics")
    width = max(map(len, rows))
    print("\n".join(f"{name:<{width}}  {text(value)}" for name, value in rows.items()))


def _train_for_parent(settings: Settings, parsed: Namespace) -> int:
    """A job's child: all it says goes through the pipe. What went wrong for a reason is an error, the rest a crash."""
    from ai_api.jobs.child import ChildOutput

    pipe = ChildOutput()
    from ai_api.training.train import train

    try:
        order = _order(settings, find_task(settings, parsed.task), parsed)
        outcome = train(order, training_context(settings), pipe)
    except AIError as error:
        pipe("error", {"error": type(error).__name__, "detail": str(error)})
        return 1
    pipe("result", outcome.report())
    return 0


def _order(settings: Settings, task: Task, parsed: Namespace, recipe: Recipe | None = None) -> TrainingRequest:
    from ai_api.training.request import TrainingRequest

    recipe, seed = _checked(task, parsed, recipe)
    job = None if parsed.job is None else int(parsed.job)
    return TrainingRequest(task, recipe, seed, settings.train_share, settings.bootstrap_rounds, job, parsed.actor)


def _checked(task: Task, parsed: Namespace, recipe: Recipe | None = None) -> tuple[Recipe, int]:
    from ai_api.pipeline import check_params

    recipe = recipe or (task.recipe(parsed.recipe) if parsed.recipe else task.recipes[0])
    return check_params(task, recipe, {**_params(parsed.param), "seed": parsed.seed})


def _params(given: Sequence[str]) -> Mapping[str, object]:
    """`C=2` is a number, `penalty=l2` a word: JSON where it is JSON."""
    params: dict[str, object] = {}
    for pair in given:
        name, _, value = pair.partition("=")
        try:
            params[name] = json.loads(value)
        except ValueError:
            params[name] = value
    return params


def tune(settings: Settings, parsed: Namespace) -> int:
    parsed.param = [*parsed.param, f"tune={parsed.trials}"]
    return train(settings, parsed)


def crossval(settings: Settings, parsed: Namespace) -> int:
    from ai_api.results.runs import is_cross_validated

    task, rows, run_log = find_task(settings, parsed.task), source(settings), open_registry(settings).runs

    def line(task: Task, recipe: Recipe) -> Sequence[object]:
        if parsed.missing and is_cross_validated(task, recipe, rows, parsed.folds, parsed.seed, run_log):
            return [None, "", KNOWN]
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
    with steps(f"{task.name} {checked.name} by folds") as report:
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
        help="needs nothing but MLflow: without corrections, and the version is only logged, not promoted",
    )
    parser.set_defaults(all=False, all_recipes=False, recipes=[], missing=False, job=None, actor=None, pipe=False)


def _many_recipes(parser: ArgumentParser) -> None:
    many = parser.add_mutually_exclusive_group()
    many.add_argument("--all", action="store_true", help="every default recipe of the task, one after the other")
    many.add_argument("--all-recipes", action="store_true", help="every recipe of the task, one after the other")
    many.add_argument("--recipes", nargs="+", default=[], metavar="RECIPE", help="these, one after the other")
    parser.add_argument(
        "--missing",
        action="store_true",
        help="with those three: leave out what was done before on the same rows with the same code",
    )


def _train_arguments(parser: ArgumentParser) -> None:
    _training(parser)
    _many_recipes(parser)
    for hidden in ("--job", "--actor"):
        parser.add_argument(hidden, help=SUPPRESS)
    parser.add_argument("--pipe", action="store_true", help=SUPPRESS)


def _tune_arguments(parser: ArgumentParser) -> None:
    _training(parser)
    parser.add_argument("--trials", type=int, default=20, help="how many parameters are tried (default: 20)")


def _crossval_arguments(parser: ArgumentParser) -> None:
    _one_recipe(parser)
    _many_recipes(parser)
    parser.add_argument("--folds", type=int, default=5, help="parts of the rows, each held out once (default: 5)")


COMMANDS = (
    Command(
        "train",
        "train a task here and now",
        "Trains in this process, logs a version, promotes it if the gate says so, and prints a table.",
        train,
        _train_arguments,
    ),
    Command(
        "tune",
        "look for better parameters, then train",
        "Searches the space of the recipe's estimator on folds of the training rows (Optuna), then trains with the"
        " best parameters as `train` does.",
        tune,
        _tune_arguments,
    ),
    Command(
        "crossval",
        "say how good a recipe is, by folds",
        "Trains a recipe on all folds of a task's rows but one, for each of them, and prints each metric's mean and"
        " spread over the folds. Keeps a run in MLflow, and no version.",
        crossval,
        _crossval_arguments,
    ),
)
