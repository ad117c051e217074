"""The page of results in Markdown: every recipe's figures side by side, one table a task, all from runs in MLflow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ai_api.evaluation.latency import BATCH_ROWS
from ai_api.registry.run_log import RunLog
from ai_api.registry.versions import FinishedRun
from ai_api.task import Task

from .runs import TaskRuns, find
from .tables import section
from .times import training_times

HEAD = f"""\
Made by `make results` (`ai-api compare --out docs/RESULTS.md`) from runs in MLflow; do not edit it. A line is the
newest training of a recipe as its task states it, on all real rows and without corrections, judged on held-out rows:
neither its fit nor its search nor its threshold saw one of them. Intervals are 95 % of bootstrap resamples of those
rows. "By folds" is the mean of a cross-validation and how much its folds differ. Latency is a median on one thread of
the machine below, of one row and of {BATCH_ROWS} at once."""


def results(tasks: Sequence[Task], runs: RunLog, earlier: str = "") -> str:
    """The whole page: the figures of the newest runs, the machines they were made on, and training times.

    Tables of the page `earlier` are kept, in its order, where these runs have no figures, with what it says of runs.
    """
    earlier_head, kept = _divided(earlier)
    found = {task.name: find(task, runs) for task in tasks}
    sections = dict(kept)
    for name, task_runs in found.items():
        if name not in kept or task_runs.trained or task_runs.cross_validated:
            sections[name] = "\n\n".join(section(task_runs))
            kept.pop(name, None)
    parts = ["# Results", *_head(list(found.values()))]
    if kept and earlier_head:
        parts += [f"Kept from an earlier page: {', '.join(kept)}. It said:", "\n".join(earlier_head)]
    return "\n\n".join([*parts, *sections.values()]) + "\n"


def _divided(page: str) -> tuple[list[str], dict[str, str]]:
    """A page's lines about its runs, and its sections by task."""
    head, *sections = page.split("\n## ")
    lines = [line for line in head.splitlines() if line.startswith("- ")]
    return lines, {part.partition("\n")[0].strip(): f"## {part.rstrip()}" for part in sections}


def _head(tasks: Sequence[TaskRuns]) -> Iterator[str]:
    runs = [run for task in tasks for run in (*task.trained.values(), *task.cross_validated.values())]
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
            *training_times(tasks),
        ]
    )


def _commit(run: FinishedRun) -> str:
    """Twelve digits of the commit, and whether the package differed from it."""
    commit, _, changed = run.lineage.get("git_commit", "unknown").partition("-")
    return commit[:12] + (" with changes that no commit holds" if changed else "")


def _machine(run: FinishedRun) -> str:
    """Processor, GPU, platform and Python of a run."""
    lineage = run.lineage
    device = lineage.get("device", "cpu")
    return (
        f"{lineage.get('processor', 'unknown processor')}, {lineage.get('cpus', '?')} CPUs, "
        + ("no GPU" if device == "cpu" else device)
        + f", {lineage.get('platform', '')}, Python {lineage.get('python', '')}"
    )
