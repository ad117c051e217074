"""How long trainings took."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .runs import FINE_TUNED, TaskRuns


def training_times(tasks: Sequence[TaskRuns]) -> Iterator[str]:
    """A line each for fine-tuned transformers and all other default recipes: the sum of their training times, and the
    time during which at least one of them ran.
    """
    runs: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    for task_runs in tasks:
        for recipe in task_runs.task.recipes:
            if recipe.is_default and (run := task_runs.trained.get(recipe.name)):
                start = run.started_at.timestamp()
                seconds = run.metrics.get("train_seconds", 0)
                runs[recipe.estimator == FINE_TUNED].append((start, start + seconds))
    for is_fine_tuned, recipes in ((False, "all other default recipes"), (True, "the fine-tuned transformers")):
        if spans := runs[is_fine_tuned]:
            total = sum(end - start for start, end in spans)
            yield f"- Training of {recipes}: {duration(total)} added up, {duration(covered(spans))} side by side"


def covered(spans: Sequence[tuple[float, float]]) -> float:
    """Seconds covered by at least one of the spans (start, end)."""
    total, until = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total


def duration(seconds: float | None) -> str:
    """In seconds below 100 s, else in minutes; empty for None."""
    if seconds is None:
        return ""
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.1f} min"
