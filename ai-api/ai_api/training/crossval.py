"""Cross-validation of a recipe on its data set, for metrics that can be compared with published ones.

Each fold is predicted by a candidate that was tuned and fitted on the other folds. Unseen rows take no part. No version
is made, and no decision depends on the result.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np

from ai_api.datasets import Table, without_unseen
from ai_api.evaluation.evaluate import measure_table, measure_with_interval, per_class, predict_table
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
    """`by_fold` holds the metrics of each fold; `pooled` those of the predictions of all folds together, with interval.
    `run_id` is None when it was not logged.
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
        """The mean of each metric over the folds."""
        return {name: float(np.mean([fold[name] for fold in self.by_fold])) for name in self.by_fold[0]}

    @property
    def std(self) -> dict[str, float]:
        """The sample standard deviation of each metric over the folds."""
        return {name: float(np.std([fold[name] for fold in self.by_fold], ddof=1)) for name in self.by_fold[0]}

    @property
    def figures(self) -> dict[str, float]:
        """Means under the metrics' own names, `<name>_std`, `<name>_pooled`, and the pooled interval."""
        figures = {**self.mean, **{f"{name}_std": value for name, value in self.std.items()}}
        for name, value in self.pooled.items():
            figures[name if name.startswith("interval_") else f"{name}_pooled"] = value
        return figures


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
    for number, (trained, tested) in enumerate(in_folds(task, table, folds, seed)):
        report("progress", {"step": number, "total": folds, "message": f"fold {number + 1} of {folds}"})
        candidate = make_candidate(task, recipe, table.pick(trained), seed, report)
        predictions = predict_table(candidate.pipeline, task, table.pick(tested))
        parts.append((tested, predictions))
        by_fold.append({**measure_table(task, table.pick(tested), predictions), "fit_seconds": candidate.fit_seconds})
        report("metric", {"name": task.metric, "value": by_fold[-1][task.metric]})
    report("progress", {"step": folds, "total": folds, "message": "done"})
    pooled = _pooled(table, parts)
    metrics, seconds = measure_with_interval(task, table, pooled, seed=seed), time.monotonic() - started
    result = CrossValidation(task.name, recipe.name, by_fold, metrics, len(table), table.digest(), seconds)
    if run_log is None:
        return result
    run = _run(task, recipe, table, pooled, result, seed)
    return replace(result, run_id=run_log.log_run(task.name, run, "crossval"))


def _run(
    task: Task, recipe: Recipe, table: Table, pooled: Predictions, result: CrossValidation, seed: int
) -> RunRecord:
    folds = len(result.by_fold)
    lineage = {"folds": str(folds), "seed": str(seed), "rows": str(len(table))}
    lineage |= {"git_commit": git_commit(), "code": code_digest(task.row)}
    return RunRecord(
        recipe=recipe.name,
        params={**params_of(recipe), "folds": folds, "seed": seed},
        metrics={**result.figures, "train_seconds": result.seconds},
        details=per_class(table.truths, pooled) if pooled.labels else {},
        data_hash=result.data_hash,
        lineage={**lineage, **machine(), "synthetic": str(table.synthetic).lower()},
        history=[
            (f"{name}_by_fold", value, number)
            for number, fold in enumerate(result.by_fold, start=1)
            for name, value in fold.items()
        ],
        figures=plots(task, table.truths, pooled),
        report={"by_fold": [dict(fold) for fold in result.by_fold], "mean": result.mean, "std": result.std},
        started_at=datetime.fromtimestamp(time.time() - result.seconds, UTC),
    )


def _pooled(table: Table, parts: Sequence[tuple[RowMask, Predictions]]) -> Predictions:
    """The predictions of all folds in the order of the table. A label unknown to a candidate has probability 0."""
    predicted = np.empty_like(table.truths)
    for tested, predictions in parts:
        predicted[tested] = predictions.predicted
    labels = sorted({label for _, predictions in parts for label in predictions.labels or ()})
    if not labels:
        return Predictions(predicted)
    scores = np.zeros((len(table), len(labels)))
    for tested, predictions in parts:
        for column, label in enumerate(predictions.labels or ()):
            if predictions.scores is not None:
                scores[tested, labels.index(label)] = predictions.scores[:, column]
    return Predictions(predicted, scores, tuple(labels), parts[0][1].positive)
