"""One training from its rows and corrections to a version in the registry, promoted if the gate decides so."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pydantic import TypeAdapter, ValidationError

from ai_api.datasets import Table, split
from ai_api.errors import TrainingFailed
from ai_api.evaluation.evaluate import measure_with_interval, predict_table
from ai_api.evaluation.gate import GateDecision
from ai_api.evaluation.metrics import METRICS
from ai_api.pipeline import build_pipeline
from ai_api.registry.registry import Registry
from ai_api.registry.versions import Version
from ai_api.task import LabelName, Task

from .candidate import make_candidate
from .corrections import read_corrections
from .gate_promotion import ONLY_LOGGED, Challenger, pass_gate
from .record import record_of
from .request import ProgressReport, TrainingContext, TrainingRequest, no_progress
from .retry import Retry

STEPS = ("reading rows", "asking for corrections", "fitting", "evaluating", "logging", "comparing with the champion")


@dataclass(frozen=True)
class TrainingResult:
    """The logged version and the decision of the gate."""

    version: Version
    decision: GateDecision
    corrections_used: int
    seconds: float = field(compare=False)

    def report(self) -> dict[str, object]:
        """The result of a job, as plain values."""
        return {
            "version": self.version.number,
            "run_id": self.version.run_id,
            "recipe": self.version.recipe,
            "promoted": self.decision.promote,
            "reason": self.decision.reason,
            "metrics": self.version.metrics,
            "synthetic": self.version.synthetic,
            "corrections_used": self.corrections_used,
            "data_hash": self.version.data_hash,
            "seconds": round(self.seconds, 1),
        }


def train(request: TrainingRequest, context: TrainingContext, report: ProgressReport = no_progress) -> TrainingResult:
    """Trains, logs and, if the gate decides so, promotes. An interrupted job continues with the version it logged."""
    started = time.monotonic()
    task, retry = request.task, Retry(context.retry_seconds)
    build_pipeline(task, request.recipe, request.seed)  # raises for wrong parameters before any row is read
    step = _steps(report)

    next(step)
    table = task.load(context.source)
    check_labels(table)
    next(step)
    lines = retry(lambda: list(context.corrections(task.name)))
    corrections = retry(lambda: read_corrections(task, table, lines, context.blobs))
    parts = split(table, corrections, request.share)
    version, candidate = retry(lambda: _version_of_job(request, context.registry)), None
    next(step)
    if version:
        logged = version
        pipeline = retry(lambda: context.registry.load(logged)).pipeline
    else:
        candidate = make_candidate(task, request.recipe, parts.train, request.seed, report)
        pipeline = candidate.pipeline
    next(step)
    predictions = predict_table(pipeline, task, parts.held_out)
    measured = measure_with_interval(task, parts.held_out, predictions, request.rounds, request.seed)
    check_finite(task, measured)
    for name in METRICS.keys() & measured.keys():
        report("metric", {"name": name, "value": measured[name]})
    next(step)
    if candidate:
        record = record_of(request, candidate, parts, predictions, measured, time.monotonic() - started)
        version = retry(lambda: context.registry.runs.log_version(task.name, pipeline, record))
    next(step)
    assert version is not None  # noqa: S101
    challenger = Challenger(version, pipeline, parts, predictions)
    promotions = context.promotions
    decision = pass_gate(request, context, promotions, retry, challenger) if promotions else ONLY_LOGGED
    next(step, None)
    return TrainingResult(version, decision, parts.corrections_used, time.monotonic() - started)


def check_labels(table: Table) -> None:
    """TrainingFailed if data-api would refuse predictions with one of the labels."""
    try:
        TypeAdapter(set[LabelName]).validate_python(set(table.truths) if table.truths.dtype == object else set())
    except ValidationError:
        raise TrainingFailed(
            "Nothing was trained: a label of the data set is empty or blank, longer than 200 characters, or holds"
            " control characters."
        ) from None


def check_finite(task: Task, measured: Mapping[str, float]) -> None:
    """TrainingFailed if the task's metric or its interval is not finite: such a version cannot be compared."""
    if not all(math.isfinite(measured[name]) for name in (task.metric, "interval_low", "interval_high")):
        raise TrainingFailed(
            f"No version was made: its {task.metric} on the held-out rows is not a finite number."
            " The truths or predictions of some rows are too large."
        )


def _steps(report: ProgressReport) -> Iterator[None]:
    """Reports the next of STEPS each time it is advanced, and "done" at the end."""
    for number, message in enumerate(STEPS):
        report("progress", {"step": number, "total": len(STEPS), "message": message})
        yield
    report("progress", {"step": len(STEPS), "total": len(STEPS), "message": "done"})


def _version_of_job(request: TrainingRequest, registry: Registry) -> Version | None:
    """The version that an interrupted attempt of the same job has logged and signed, or None."""
    if request.job is None:
        return None
    of_job = {"job": str(request.job), "job_created_at": request.job_created_at}
    logged = (
        version
        for version in registry.versions(request.task.name)
        if {name: version.lineage.get(name) for name in of_job} == of_job
    )
    return next(filter(registry.is_signed, logged), None)
