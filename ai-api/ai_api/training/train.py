"""One training, top to bottom: rows and corrections in, a version in the registry out, champion if the gate says so."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from ai_api.datasets import split
from ai_api.evaluation.evaluate import answer, judge
from ai_api.evaluation.gate import GateDecision
from ai_api.evaluation.metrics import METRICS
from ai_api.pipeline import build_pipeline
from ai_api.registry.registry import Registry
from ai_api.registry.versions import Version

from .candidate import make_candidate
from .corrections import read_corrections
from .gate_promotion import ONLY_LOGGED, Challenger, pass_gate
from .record import record_of
from .request import ProgressReport, TrainingContext, TrainingRequest, no_progress
from .retry import Retry

STEPS = ("reading rows", "asking for corrections", "fitting", "evaluating", "logging", "comparing with the champion")


@dataclass(frozen=True)
class TrainingResult:
    version: Version
    decision: GateDecision
    corrections_used: int
    seconds: float = field(compare=False)

    def report(self) -> dict[str, object]:
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


def train(order: TrainingRequest, around: TrainingContext, report: ProgressReport = no_progress) -> TrainingResult:
    """Trains, logs and, if the gate says so, promotes. An interrupted job goes on from the version that it logged."""
    started = time.monotonic()
    task, retry = order.task, Retry(around.retry_seconds)
    build_pipeline(task, order.recipe, order.seed)  # says what is wrong with the order before any row is read
    step = _steps(report)

    next(step)
    table = task.load(around.source)
    next(step)
    lines = retry(lambda: list(around.corrections(task.name)))
    corrections = retry(lambda: read_corrections(task, table, lines, around.blobs))
    parts = split(table, corrections, order.share)
    version, made = retry(lambda: _made_by(order, around.registry)), None
    next(step)
    if version:
        earlier = version
        pipeline = retry(lambda: around.registry.load(task.name, earlier.number)).pipeline
    else:
        made = make_candidate(task, order.recipe, parts.train, order.seed, report)
        pipeline = made.pipeline
    next(step)
    answers = answer(pipeline, task, parts.held_out)
    judged = judge(task, parts.held_out, answers, order.rounds, order.seed)
    for name in METRICS.keys() & judged.keys():
        report("metric", {"name": name, "value": judged[name]})
    next(step)
    if made:
        record = record_of(order, made, parts, answers, judged, time.monotonic() - started)
        version = retry(lambda: around.registry.runs.log_version(task.name, pipeline, record))
    next(step)
    assert version is not None  # noqa: S101
    challenger = Challenger(version, pipeline, parts, answers)
    promotions = around.promotions
    decision = pass_gate(order, around, promotions, retry, challenger) if promotions else ONLY_LOGGED
    next(step, None)
    return TrainingResult(version, decision, parts.corrections_used, time.monotonic() - started)


def _steps(report: ProgressReport) -> Iterator[None]:
    for number, message in enumerate(STEPS):
        report("progress", {"step": number, "total": len(STEPS), "message": message})
        yield
    report("progress", {"step": len(STEPS), "total": len(STEPS), "message": "done"})


def _made_by(order: TrainingRequest, registry: Registry) -> Version | None:
    """The version that an earlier attempt of the same job logged before it was interrupted."""
    if order.job is None:
        return None
    return next((v for v in registry.versions(order.task.name) if v.lineage.get("job") == str(order.job)), None)
