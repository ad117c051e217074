"""The page of results: every recipe's figures side by side as MLflow has them, one table a task, nothing by hand."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from ai_api.evaluation.evaluate import REAL
from ai_api.evaluation.latency import BATCH_ROWS
from ai_api.evaluation.member_gains import OVER
from ai_api.evaluation.metrics import METRICS
from ai_api.registry.registry import Registry
from ai_api.registry.versions import FinishedRun
from ai_api.task import Task

from .runs import FINE_TUNED, TaskRuns, find

FOLDER = re.compile(r"(?<=\s)/\S*/(?=[^/\s]+ \(AI_WEIGHTS_DIR\))")
"""Of the machine where something was not found: the page is for others."""
HEAD = f"""\
Made by `make results` (`ai-api compare --out docs/RESULTS.md`) from runs in MLflow; do not edit it. A line is the
newest training of a recipe as its task states it, on all real rows and without corrections, judged on held-out rows:
neither its fit nor its search nor its threshold saw one of them. Intervals are 95 % of bootstrap resamples of those
rows. "By folds" is the mean of a cross-validation and how much its folds differ. Latency is a median on one thread of
the machine below, of one row and of {BATCH_ROWS} at once."""


def results(tasks: Sequence[Task], registry: Registry) -> str:
    """The page of all results: figures of the newest runs, where they were made, and what took how long."""
    found = [find(task, registry) for task in tasks]
    return "\n\n".join(["# Results", *_head(found), *(part for one in found for part in _section(one))]) + "\n"


def _head(found: Sequence[TaskRuns]) -> Iterator[str]:
    runs = [run for one in found for run in (*one.trained.values(), *one.folded.values())]
    yield HEAD
    if not runs:
        yield "MLflow has no such run yet."
        return
    days = sorted({run.started_at.date().isoformat() for run in runs})
    yield "\n".join(
        [
            f"- When: {days[0]}" + (f" to {days[-1]}" if len(days) > 1 else ""),
            f"- Commit: {', '.join(sorted({_commit(run) for run in runs}))}",
            *(f"- Machine: {machine}" for machine in sorted({_machine(run) for run in runs})),
            *_times(found),
        ]
    )


def _commit(run: FinishedRun) -> str:
    commit, _, changed = run.lineage.get("git_commit", "unknown").partition("-")
    return commit[:12] + (" with changes that no commit holds" if changed else "")


def _machine(run: FinishedRun) -> str:
    told = run.lineage
    device = told.get("device", "cpu")
    return (
        f"{told.get('processor', 'unknown processor')}, {told.get('cpus', '?')} CPUs, "
        + ("no GPU" if device == "cpu" else device)
        + f", {told.get('platform', '')}, Python {told.get('python', '')}"
    )


def _times(found: Sequence[TaskRuns]) -> Iterator[str]:
    """How long the trainings of the default recipes took, one by one and side by side."""
    runs: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    for one in found:
        for recipe in one.task.recipes:
            if recipe.is_default and (run := one.trained.get(recipe.name)):
                begun = run.started_at.timestamp()
                taken = run.metrics.get("train_seconds", 0)
                runs[recipe.estimator == FINE_TUNED].append((begun, begun + taken))
    for is_slow, what in ((False, "all other default recipes"), (True, "the fine-tuned transformers")):
        if spans := runs[is_slow]:
            added = sum(end - begun for begun, end in spans)
            yield f"- Training of {what}: {_duration(added)} added up, {_duration(covered(spans))} side by side"


def covered(spans: Sequence[tuple[float, float]]) -> float:
    """How long at least one of the spans (begin, end) lasted."""
    total, until = 0.0, float("-inf")
    for begun, end in sorted(spans):
        total += max(0.0, end - max(begun, until))
        until = max(until, end)
    return total


def _section(found: TaskRuns) -> Iterator[str]:
    task = found.task
    sign = METRICS[task.metric].sign
    yield f"## {task.name}"
    rows = next((run.lineage for run in found.trained.values()), {})
    yield (
        (f"{task.about[:1].upper()}{task.about[1:].rstrip('.')}. " if task.about else "")
        + f"`{task.metric}` decides, {'more' if sign > 0 else 'less'} is better."
        + (f" {int(rows['train_rows']):,} rows train, {int(rows['held_out_rows']):,} are held out." if rows else "")
    )
    ranked = sorted(found.trained, key=lambda name: -sign * found.trained[name].metrics[task.metric])
    if ranked:
        yield _figures(found, ranked)
    if weighted := _weighted(found, ranked):
        yield weighted
    yield from _gains(found, ranked)
    if only := [name for name in found.folded if name not in found.trained]:
        yield markdown(["cross-validated only", task.metric], [[name, _spread(found, name)] for name in only])
    if task.published:
        yield markdown(
            ["published", "metric", "value", "on"],
            [[one.who, one.metric, f"{one.value:g}", one.rows] for one in task.published],
        )
    if found.untrained:
        yield "\n".join(f"- `{name}`: {FOLDER.sub('', why)}" for name, why in found.untrained.items())


def _figures(found: TaskRuns, ranked: Sequence[str]) -> str:
    task = found.task
    others = [name for name in task.metrics if name != task.metric] if task.metrics else _others(found, ranked)
    folds = bool(found.folded)
    head = [
        "recipe",
        task.metric,
        *(["by folds"] if folds else []),
        *others,
        "fit",
        "1 row",
        f"{BATCH_ROWS} rows",
        "size",
    ]
    return markdown(
        head,
        [
            [
                f"`{name}`",
                _with_interval(task, found.trained[name]),
                *([_spread(found, name)] if folds else []),
                *(_number(found.trained[name].metrics.get(other)) for other in others),
                _duration(found.trained[name].metrics.get("fit_seconds")),
                _unit(found.trained[name].metrics.get("latency_single_ms"), 1, "ms"),
                _unit(found.trained[name].metrics.get("latency_batch_ms"), 1, "ms"),
                _unit(found.trained[name].metrics.get("size_bytes"), 1e6, "MB"),
            ]
            for name in ranked
        ],
    )


def _others(found: TaskRuns, ranked: Sequence[str]) -> list[str]:
    return [name for name in METRICS if name != found.task.metric and name in found.trained[ranked[0]].metrics]


def _weighted(found: TaskRuns, ranked: Sequence[str]) -> str:
    """The same runs under the labels' real shares, where the rows are not in them; and what wrong answers cost."""
    names = dict.fromkeys(
        name
        for run in found.trained.values()
        for name in run.metrics
        if name.startswith(REAL) or name in ("threshold", "cost_per_1000", "cost_per_1000_at_half")
    )
    if not any(name.startswith(REAL) for name in names):
        return ""
    words = [name.removeprefix(REAL).replace("_", " ") for name in names]
    rows = [[f"`{name}`", *(_number(found.trained[name].metrics.get(of)) for of in names)] for name in ranked]
    costs = found.task.costs
    unit = f" Costs are in {costs.unit}, of 1,000 real rows." if costs else ""
    return f"The same, weighted to the real share of the labels.{unit}\n\n" + markdown(["recipe", *words], rows)


def _gains(found: TaskRuns, ranked: Sequence[str]) -> Iterator[str]:
    """What each fusion gains over its members, on the same rows."""
    rows = [
        [f"`{name}`", f"`{member}`", "{:+.4f} [{:+.4f}, {:+.4f}]".format(*gain)]
        for name in ranked
        for member, gain in _gain_by_member(found.trained[name].metrics)
    ]
    if rows:
        yield markdown(["fusion", "against its member", f"{found.task.metric}, paired, more is better"], rows)


def _gain_by_member(metrics: Mapping[str, float]) -> Iterator[tuple[str, tuple[float, float, float]]]:
    for name, gain in metrics.items():
        if name.startswith(OVER) and f"{name} low" in metrics:
            yield name.removeprefix(OVER).replace(" ", "+"), (gain, metrics[f"{name} low"], metrics[f"{name} high"])


def _with_interval(task: Task, run: FinishedRun) -> str:
    low, high = run.metrics.get("interval_low"), run.metrics.get("interval_high")
    between = "" if low is None or high is None else f" [{_number(low)}, {_number(high)}]"
    return f"**{_number(run.metrics[task.metric])}**{between}"


def _spread(found: TaskRuns, name: str) -> str:
    run, metric = found.folded.get(name), found.task.metric
    if run is None:
        return ""
    spread = run.metrics.get(f"{metric}_std")
    return _number(run.metrics[metric]) + ("" if spread is None else f" ± {_number(spread)}")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.1f} min"


def _unit(value: float | None, divisor: float, unit: str) -> str:
    return "" if value is None else f"{value / divisor:.3g} {unit}"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; a | in a cell is kept from parting it."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
