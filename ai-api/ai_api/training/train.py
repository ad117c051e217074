"""One training, top to bottom: rows and corrections in, a version in the registry out, champion if the gate says so."""

from __future__ import annotations

import hashlib
import logging
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from ai_api.data_client import promotion
from ai_api.datasets import Correction, Source, Split, Table, Truths, frame, split
from ai_api.errors import (
    Conflict,
    DataUnavailable,
    InvalidParams,
    QueueUnavailable,
    RegistryUnavailable,
    TrainingFailed,
)
from ai_api.pipeline import build_pipeline
from ai_api.registry import Record, Registry, Version, labels_of
from ai_api.task import Recipe, Task

from .evaluate import answer, baseline, measure, plots
from .gate import FIRST, Decision, Rows, decide

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

log = logging.getLogger(__name__)

T = TypeVar("T")
Report = Callable[[str, Mapping[str, object]], None]
"""Told what happens: "progress" with step, total and message; "metric" with name and value."""

STEPS = ("reading rows", "asking for corrections", "fitting", "evaluating", "logging", "comparing with the champion")
PATIENCE_SECONDS = 120
CURVE_POINTS = 20


@dataclass(frozen=True)
class Order:
    """What to train. The same order on the same rows gives the same version."""

    task: Task
    recipe: Recipe
    seed: int = 0
    share: float = 1.0
    rounds: int = 1_000
    job: int | None = None
    actor: str | None = None


@dataclass(frozen=True)
class Surroundings:
    """What a training talks to. `announce` gets the promotion that data-api should hear of."""

    source: Source
    registry: Registry
    corrections: Callable[[str], Iterable[Mapping[str, object]]]
    lock: Callable[[str], AbstractContextManager[None]]
    announce: Callable[[Mapping[str, object]], None]
    patience_seconds: float = PATIENCE_SECONDS


@dataclass(frozen=True)
class Outcome:
    version: Version
    decision: Decision
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


def _say_nothing(_: str, __: Mapping[str, object]) -> None:
    pass


def train(order: Order, around: Surroundings, report: Report = _say_nothing) -> Outcome:
    """Trains, logs and, if the gate says so, promotes. An interrupted job goes on from the version that it logged."""
    started = time.monotonic()
    task, patiently = order.task, Patience(around.patience_seconds)
    pipeline = build_pipeline(task, order.recipe, order.seed)
    step = _steps(report)

    next(step)
    table = task.load(around.source)
    next(step)
    lines = patiently(lambda: list(around.corrections(task.name)))
    parts = split(table, read_corrections(task, table, lines), order.share)
    version = patiently(lambda: _made_by(order, around.registry))
    next(step)
    if version:
        earlier = version
        pipeline = patiently(lambda: around.registry.load(task.name, earlier.number)).pipeline
    else:
        _fit(pipeline, task, parts.train)
    next(step)
    answers = answer(pipeline, task, parts.held_out)
    metrics = measure(task, parts.held_out.truths, answers)
    for name, value in metrics.items():
        report("metric", {"name": name, "value": value})
    next(step)
    if version is None:
        record = _record(
            order, pipeline, parts, answers, metrics | baseline(task, parts.train, parts.held_out), started
        )
        version = patiently(lambda: around.registry.log(task.name, pipeline, record))
    next(step)
    decision = _pass_gate(order, around, patiently, version, pipeline, parts, answers)
    next(step, None)
    return Outcome(version, decision, parts.corrections_used, time.monotonic() - started)


def _steps(report: Report) -> Iterator[None]:
    for number, message in enumerate(STEPS):
        report("progress", {"step": number, "total": len(STEPS), "message": message})
        yield
    report("progress", {"step": len(STEPS), "total": len(STEPS), "message": "done"})


class Patience:
    """Repeats a call while another service is away: a training of an hour should survive a restart of MLflow."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __call__(self, call: Callable[[], T]) -> T:
        deadline = time.monotonic() + self._seconds
        while True:
            try:
                return call()
            except (RegistryUnavailable, DataUnavailable, QueueUnavailable) as error:
                if time.monotonic() > deadline:
                    raise
                log.warning("waiting: %s", error)
                time.sleep(1)


def read_corrections(task: Task, table: Table, lines: Iterable[Mapping[str, object]]) -> list[Correction]:
    """Corrections as rows of today's shape. What fits neither the row nor the labels is left out, aloud."""
    labels = set(table.truths) if table.truths.dtype == object else None
    read = [_correction(task, labels, line) for line in lines]
    kept = [correction for correction in read if correction]
    if len(kept) < len(read):
        log.warning(
            "%d of %d corrections do not fit today's rows or labels and are left out", len(read) - len(kept), len(read)
        )
    return kept


def _correction(task: Task, labels: set[object] | None, line: Mapping[str, object]) -> Correction | None:
    row, version = line["row"], int(str(line.get("row_schema") or 1))
    try:
        upgraded = task.upgrade(dict(row), version) if version < task.row_version else row  # type: ignore[call-overload]
        valid = task.row.model_validate(upgraded).model_dump()
        truth: str | float = float(str(line["value"])) if labels is None else str(line["label"])
    except (ValidationError, ValueError, KeyError, TypeError):
        return None
    if labels is not None and truth not in labels:
        return None
    trusted = line.get("user_role") in ("trainer", "admin")
    return Correction(valid, truth, str(line.get("user_id")), trusted, str(line.get("created_at") or line.get("id")))


def _fit(pipeline: Pipeline, task: Task, train_rows: Table) -> None:
    import joblib

    try:
        with joblib.parallel_config("threading", n_jobs=-1):
            pipeline.fit(frame(train_rows.rows, task.row.modalities()), train_rows.truths)
    except (ValueError, TypeError) as error:
        if type(error).__name__ == "InvalidParameterError":
            raise InvalidParams(str(error).partition(" Got ")[0]) from error
        raise TrainingFailed(f"The pipeline could not be fitted: {type(error).__name__}.") from error


def _record(
    order: Order, pipeline: Pipeline, parts: Split, answers: Truths, metrics: Mapping[str, float], started: float
) -> Record:
    task, labels = order.task, labels_of(pipeline)
    seconds = time.monotonic() - started
    lineage = {
        "seed": str(order.seed),
        "share": str(order.share),
        "train_rows": str(len(parts.train)),
        "corrections_used": str(parts.corrections_used),
        "live_rows": str(len(parts.live.table)),
        "job": "" if order.job is None else str(order.job),
        "actor": order.actor or "",
        "git_commit": _git_commit(),
    }
    return Record(
        recipe=order.recipe.name,
        params={name: value for name, value in pipeline[-1].get_params().items() if value is not None},
        metrics={**metrics, "train_seconds": seconds},
        labels=labels,
        synthetic=parts.train.synthetic,
        row=task.row,
        row_version=task.row_version,
        data_hash=parts.train.digest(),
        lineage={name: value for name, value in lineage.items() if value},
        sample=[
            row
            for _, row in sorted(zip(parts.held_out.hashes, parts.held_out.rows, strict=True), key=lambda pair: pair[0])
        ],
        history=_curve(pipeline, task, parts.held_out),
        figures=plots(task, parts.held_out.truths, answers, labels),
        report={
            "task": task.name,
            "recipe": order.recipe.name,
            "metrics": dict(metrics),
            "rows": len(parts.train),
            **lineage,
        },
        started_at=datetime.fromtimestamp(time.time() - seconds, UTC),
    )


def _curve(pipeline: Pipeline, task: Task, held_out: Table) -> list[tuple[str, float, int]]:
    """The task's metric after some of the steps, for estimators that learn in steps."""
    if not hasattr(pipeline[-1], "staged_predict"):
        return []
    rounds = int(pipeline[-1].n_iter_)
    every = max(1, rounds // CURVE_POINTS)
    inputs = pipeline[:-1].transform(frame(held_out.rows, task.row.modalities()))
    curve = []
    for step, staged in enumerate(pipeline[-1].staged_predict(inputs), start=1):
        if step % every == 0:
            curve.append(
                (
                    f"{task.metric}_by_step",
                    measure(task, held_out.truths, staged.astype(held_out.truths.dtype))[task.metric],
                    step,
                )
            )
    return curve


def _git_commit() -> str:
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _made_by(order: Order, registry: Registry) -> Version | None:
    """The version that an earlier attempt of the same job logged before it was interrupted."""
    if order.job is None:
        return None
    return next((v for v in registry.versions(order.task.name) if v.lineage.get("job") == str(order.job)), None)


def _pass_gate(
    order: Order,
    around: Surroundings,
    patiently: Patience,
    version: Version,
    pipeline: Pipeline,
    parts: Split,
    answers: Truths,
) -> Decision:
    """Compares, and promotes while the champion is still the one that was compared with; else compares again."""
    name = order.task.name
    while True:
        champion = patiently(lambda: around.registry.champion(name))
        if champion == version.number:  # an earlier attempt was interrupted right after its promotion
            decision = Decision(True, version.lineage.get("reason", "Promoted."))
            before = patiently(lambda: around.registry.previous(name))
            break
        decision, before = _compare(order, around, patiently, champion, pipeline, parts, answers), champion
        tags = {"promoted": str(decision.promote).lower(), "reason": decision.reason}
        patiently(partial(around.registry.note, version, "gate.json", decision.report(), tags))
        if not decision.promote:
            return decision
        try:
            patiently(partial(_move, around, name, version.number, before))
            break
        except Conflict:  # somebody else's promotion, or ours, whose lock was lost after the alias had moved
            log.info("the champion of %s changed during the comparison; comparing with the new one", name)
    event = promotion(
        promotion_id(version),
        name,
        version.number,
        before,
        action="promote",
        reason=decision.reason,
        metrics=version.metrics,
        actor=order.actor or "gate",
    )
    around.announce(event)
    return decision


def _move(around: Surroundings, task: str, number: int, expected: int | None) -> None:
    with around.lock(task):
        around.registry.promote(task, number, expected)


def _compare(
    order: Order,
    around: Surroundings,
    patiently: Patience,
    number: int | None,
    pipeline: Pipeline,
    parts: Split,
    answers: Truths,
) -> Decision:
    if number is None:
        return FIRST
    task = order.task
    champion = patiently(lambda: around.registry.load(task.name, number))
    if champion.version.synthetic and not parts.train.synthetic:
        return Decision(True, "Promoted: the champion was trained on generated rows, this version on real ones.")
    if parts.train.synthetic and not champion.version.synthetic:
        return Decision(False, "Not promoted: it was trained on generated rows, the champion on real ones.")
    fixed = Rows(parts.held_out.truths, answer(champion.pipeline, task, parts.held_out), answers)
    live_rows = parts.live.table
    live = Rows(live_rows.truths, answer(champion.pipeline, task, live_rows), answer(pipeline, task, live_rows))
    return decide(task, fixed, live, parts.live, order.rounds, order.seed)


def promotion_id(version: Version) -> str:
    """A UUIDv7 that is the same for every attempt to announce this promotion, so that data-api stores it once."""
    milliseconds = int(version.created_at.timestamp() * 1000)
    rest = int.from_bytes(hashlib.sha256(f"{version.task} {version.run_id}".encode()).digest()[:10], "big")
    number = (milliseconds << 80) | (0x7 << 76) | ((rest >> 64 & 0xFFF) << 64) | (0b10 << 62) | (rest & (2**62 - 1))
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
