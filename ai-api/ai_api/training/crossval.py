"""A recipe on all rows of its data set: in each fold it learns anew from the others and answers those it never saw.

The unseen rows stay unseen. For figures that can be laid beside published ones: it makes no version, and nothing is
chosen by it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np

from ai_api.datasets import Table, without_unseen
from ai_api.evaluation.evaluate import answer, judge, measured, per_class
from ai_api.evaluation.metrics import Predictions
from ai_api.registry.run_log import RunLog
from ai_api.registry.versions import RunRecord
from ai_api.sources import Source
from ai_api.task import Recipe, Task
from ai_api.tracking.environment import code_digest, git_commit, machine
from ai_api.tracking.plots import plots

from .candidate import make_candidate
from .folds import RowMask, in_folds
from .record import params_of
from .request import ProgressReport, no_progress

FOLDS = 5


@dataclass(frozen=True)
class CrossValidation:
    """`by_fold` has the metrics of each fold; `pooled` those of all answers together, with their interval. `run_id` is
    None when it was not logged.
    """

    task: str
    recipe: str
    by_fold: Sequence[Mapping[str, float]]
    pooled: Mapping[str, float]
    rows: int
    data_hash: str
    seconds: float
    run_id: str | None = None

    @property
    def mean(self) -> dict[str, float]:
        return {name: float(np.mean([fold[name] for fold in self.by_fold])) for name in self.by_fold[0]}

    @property
    def std(self) -> dict[str, float]:
        """How much the folds differ from each other (of the sample, one degree of freedom less than folds)."""
        return {name: float(np.std([fold[name] for fold in self.by_fold], ddof=1)) for name in self.by_fold[0]}

    @property
    def figures(self) -> dict[str, float]:
        """All in one: means under the metrics' own names, `<name>_std`, `<name>_pooled`, and the pooled interval."""
        found = {**self.mean, **{f"{name}_std": value for name, value in self.std.items()}}
        for name, value in self.pooled.items():
            found[name if name.startswith("interval_") else f"{name}_pooled"] = value
        return found


def crossval(
    task: Task,
    recipe: Recipe,
    source: Source,
    folds: int = FOLDS,
    seed: int = 0,
    run_log: RunLog | None = None,
    report: ProgressReport = no_progress,
) -> CrossValidation:
    """Reads the task's rows; with a `run_log`, logs a run of the kind "crossval"."""
    started = time.monotonic()
    table = without_unseen(task.load(source))
    by_fold: list[dict[str, float]] = []
    parts: list[tuple[RowMask, Predictions]] = []
    for number, (learns, tested) in enumerate(in_folds(task, table, folds, seed)):
        report("progress", {"step": number, "total": folds, "message": f"fold {number + 1} of {folds}"})
        made = make_candidate(task, recipe, table.pick(learns), seed, report)
        answers = answer(made.pipeline, task, table.pick(tested))
        parts.append((tested, answers))
        by_fold.append({**measured(task, table.pick(tested), answers), "fit_seconds": made.fit_seconds})
        report("metric", {"name": task.metric, "value": by_fold[-1][task.metric]})
    report("progress", {"step": folds, "total": folds, "message": "done"})
    together = _pooled(table, parts)
    judged, seconds = judge(task, table, together, seed=seed), time.monotonic() - started
    result = CrossValidation(task.name, recipe.name, by_fold, judged, len(table), table.digest(), seconds)
    if run_log is None:
        return result
    run = _run(task, recipe, table, together, result, seed)
    return replace(result, run_id=run_log.log_run(task.name, run, "crossval"))


def _run(
    task: Task, recipe: Recipe, table: Table, together: Predictions, result: CrossValidation, seed: int
) -> RunRecord:
    folds = len(result.by_fold)
    lineage = {"folds": str(folds), "seed": str(seed), "rows": str(len(table))}
    lineage |= {"git_commit": git_commit(), "code": code_digest(task.row)}
    return RunRecord(
        recipe=recipe.name,
        params={**params_of(recipe), "folds": folds, "seed": seed},
        metrics={**result.figures, "train_seconds": result.seconds},
        details=per_class(table.truths, together) if together.labels else {},
        data_hash=result.data_hash,
        lineage={**lineage, **machine(), "synthetic": str(table.synthetic).lower()},
        history=[
            (f"{name}_by_fold", value, number)
            for number, fold in enumerate(result.by_fold, start=1)
            for name, value in fold.items()
        ],
        figures=plots(task, table.truths, together),
        report={"by_fold": [dict(fold) for fold in result.by_fold], "mean": result.mean, "std": result.std},
        started_at=datetime.fromtimestamp(time.time() - result.seconds, UTC),
    )


def _pooled(table: Table, parts: Sequence[tuple[RowMask, Predictions]]) -> Predictions:
    """The answers of all folds in the order of the table. A label that a fold never saw has probability 0 there."""
    said = np.empty_like(table.truths)
    for tested, answers in parts:
        said[tested] = answers.said
    labels = sorted({label for _, answers in parts for label in answers.labels or ()})
    if not labels:
        return Predictions(said)
    scores = np.zeros((len(table), len(labels)))
    for tested, answers in parts:
        for place, label in enumerate(answers.labels or ()):
            if answers.scores is not None:
                scores[tested, labels.index(label)] = answers.scores[:, place]
    return Predictions(said, scores, tuple(labels), parts[0][1].positive)
