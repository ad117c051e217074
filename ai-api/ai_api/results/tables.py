"""The tables of one task on the page of results."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from ai_api.evaluation.evaluate import REAL
from ai_api.evaluation.latency import BATCH_ROWS
from ai_api.evaluation.member_gains import OVER
from ai_api.evaluation.metrics import METRICS
from ai_api.registry.versions import FinishedRun
from ai_api.task import Task

from .runs import TaskRuns
from .times import duration

FOLDER = re.compile(r"(?<=\s)/\S*/(?=[^/\s]+ \(AI_WEIGHTS_DIR\))")
"""A folder of the machine in the reason why a recipe was not trained: left out, the page is for other machines."""


def section(runs: TaskRuns) -> Iterator[str]:
    """The parts of the page for one task: its recipes from best to worst, and tables of what else is known."""
    task = runs.task
    sign = METRICS[task.metric].sign
    yield f"## {task.name}"
    rows = next((run.lineage for run in runs.trained.values()), {})
    yield (
        (f"{task.about[:1].upper()}{task.about[1:].rstrip('.')}. " if task.about else "")
        + f"`{task.metric}` decides, {'more' if sign > 0 else 'less'} is better."
        + (f" {int(rows['train_rows']):,} rows train, {int(rows['held_out_rows']):,} are held out." if rows else "")
    )
    ranked = sorted(runs.trained, key=lambda name: -sign * runs.trained[name].metrics[task.metric])
    if ranked:
        yield _figures(runs, ranked)
    if weighted := _weighted(runs, ranked):
        yield weighted
    yield from _gains(runs, ranked)
    if untrained := [name for name in runs.cross_validated if name not in runs.trained]:
        yield markdown(
            ["cross-validated only", task.metric], [[name, _mean_of_folds(runs, name)] for name in untrained]
        )
    if task.published:
        yield markdown(
            ["published", "metric", "value", "on"],
            [
                [published.source, published.metric, f"{published.value:g}", published.rows]
                for published in task.published
            ],
        )
    if runs.untrained:
        yield "\n".join(f"- `{name}`: {FOLDER.sub('', why)}" for name, why in runs.untrained.items())


def _figures(runs: TaskRuns, ranked: Sequence[str]) -> str:
    """The main table: each recipe's metrics on held-out rows, fit time, latency and size."""
    task = runs.task
    others = [name for name in task.metrics if name != task.metric] if task.metrics else _others(runs, ranked)
    folds = ["by folds"] if runs.cross_validated else []
    head = ["recipe", task.metric, *folds, *others, "fit", "1 row", f"{BATCH_ROWS} rows", "size"]
    return markdown(head, [_figures_of(runs, name, others) for name in ranked])


def _figures_of(runs: TaskRuns, name: str, others: Sequence[str]) -> list[str]:
    """A recipe's row of the main table; `others` are metrics beside the deciding one."""
    run = runs.trained[name]
    return [
        f"`{name}`",
        _with_interval(runs.task, run),
        *([_mean_of_folds(runs, name)] if runs.cross_validated else []),
        *(_number(run.metrics.get(other)) for other in others),
        duration(run.metrics.get("fit_seconds")),
        _unit(run.metrics.get("latency_single_ms"), 1, "ms"),
        _unit(run.metrics.get("latency_batch_ms"), 1, "ms"),
        _unit(run.metrics.get("size_bytes"), 1e6, "MB"),
    ]


def _others(runs: TaskRuns, ranked: Sequence[str]) -> list[str]:
    return [name for name in METRICS if name != runs.task.metric and name in runs.trained[ranked[0]].metrics]


def _weighted(runs: TaskRuns, ranked: Sequence[str]) -> str:
    """The same runs weighted to the real shares of the labels, where the data set's differ; and the cost of errors."""
    names = dict.fromkeys(
        name
        for run in runs.trained.values()
        for name in run.metrics
        if name.startswith(REAL) or name in ("threshold", "cost_per_1000", "cost_per_1000_at_half")
    )
    if not any(name.startswith(REAL) for name in names):
        return ""
    headings = [name.removeprefix(REAL).replace("_", " ") for name in names]
    rows = [[f"`{name}`", *(_number(runs.trained[name].metrics.get(of)) for of in names)] for name in ranked]
    costs = runs.task.costs
    unit = f" Costs are in {costs.unit}, of 1,000 real rows." if costs else ""
    return f"The same, weighted to the real share of the labels.{unit}\n\n" + markdown(["recipe", *headings], rows)


def _gains(runs: TaskRuns, ranked: Sequence[str]) -> Iterator[str]:
    """The difference between each fusion and its members on the same rows."""
    rows = [
        [f"`{name}`", f"`{member}`", "{:+.4f} [{:+.4f}, {:+.4f}]".format(*gain)]
        for name in ranked
        for member, gain in _gain_by_member(runs.trained[name].metrics)
    ]
    if rows:
        yield markdown(["fusion", "against its member", f"{runs.task.metric}, paired, more is better"], rows)


def _gain_by_member(metrics: Mapping[str, float]) -> Iterator[tuple[str, tuple[float, float, float]]]:
    for name, gain in metrics.items():
        if name.startswith(OVER) and f"{name} low" in metrics:
            yield name.removeprefix(OVER).replace(" ", "+"), (gain, metrics[f"{name} low"], metrics[f"{name} high"])


def _with_interval(task: Task, run: FinishedRun) -> str:
    """The deciding metric in bold, followed by its interval."""
    low, high = run.metrics.get("interval_low"), run.metrics.get("interval_high")
    interval = "" if low is None or high is None else f" [{_number(low)}, {_number(high)}]"
    return f"**{_number(run.metrics[task.metric])}**{interval}"


def _mean_of_folds(runs: TaskRuns, name: str) -> str:
    """The cross-validated metric as mean ± standard deviation."""
    run, metric = runs.cross_validated.get(name), runs.task.metric
    if run is None:
        return ""
    spread = run.metrics.get(f"{metric}_std")
    return _number(run.metrics[metric]) + ("" if spread is None else f" ± {_number(spread)}")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _unit(value: float | None, divisor: float, unit: str) -> str:
    return "" if value is None else f"{value / divisor:.3g} {unit}"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; a | inside a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
