"""The record that a training logs to MLflow: parameters, metrics, plots, environment, lineage and model card."""

from __future__ import annotations

import csv
import io
import json
import math
import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime

from ai_api.datasets import Split
from ai_api.evaluation.evaluate import baseline, per_class
from ai_api.evaluation.latency import latency
from ai_api.evaluation.member_gains import gains
from ai_api.evaluation.metrics import Predictions
from ai_api.inference import estimator_of, labels_of
from ai_api.registry.versions import TrainingRecord
from ai_api.task import Kind, Recipe
from ai_api.tracking.card import CardFacts, card, labels_in
from ai_api.tracking.environment import code_digest, git_commit, machine, packages
from ai_api.tracking.history import history_of
from ai_api.tracking.plots import plots

from .candidate import Candidate
from .request import TrainingRequest
from .threshold import costs_of


def record_of(
    request: TrainingRequest,
    candidate: Candidate,
    parts: Split,
    predictions: Predictions,
    measured: Mapping[str, float],
    seconds: float,
) -> TrainingRecord:
    """`measured` are the metrics on the held-out rows; `seconds` the duration of the training so far."""
    task, held_out = request.task, parts.held_out
    sample = [row for _, row in sorted(zip(held_out.hashes, held_out.rows, strict=True), key=lambda pair: pair[0])]
    figures = {
        **measured,
        **_metrics(request, candidate, parts, predictions),
        **latency(task, candidate.pipeline, sample),
        "train_seconds": seconds,
    }
    metrics = {name: value for name, value in figures.items() if math.isfinite(value)}  # others are no JSON
    details = per_class(held_out.truths, predictions) if task.kind is Kind.CLASSIFICATION else {}
    facts = CardFacts(metrics, details, lineage_of(request, parts), parts.train.digest(), parts.train.synthetic)
    threshold = candidate.threshold.value if candidate.threshold else None
    return TrainingRecord(
        recipe=request.recipe.name,
        params={**params_of(candidate.recipe), **_plain(estimator_of(candidate.pipeline).get_params())},
        metrics=metrics,
        details=details,
        labels=labels_of(candidate.pipeline),
        synthetic=facts.synthetic,
        row=task.row,
        row_version=task.row_version,
        data_hash=facts.data_hash,
        lineage=facts.lineage,
        sample=sample,
        history=[*candidate.history, *history_of(candidate.pipeline, task, held_out)],
        figures=plots(task, held_out.truths, predictions, threshold),
        texts=_texts(request, candidate, facts, parts),
        description=card(task, candidate.recipe, facts, by_class=False),
        report=_report(request, candidate, facts, len(parts.train)),
        started_at=datetime.fromtimestamp(time.time() - seconds, UTC),
    )


def _metrics(
    request: TrainingRequest, candidate: Candidate, parts: Split, predictions: Predictions
) -> dict[str, float]:
    """Metrics beside those of the held-out rows: costs, baseline, gains over members, fit time."""
    task, held_out = request.task, parts.held_out
    return {
        **_costs(request, candidate, parts, predictions),
        **baseline(task, parts.train, held_out),
        **gains(task, candidate.pipeline, held_out, predictions, request.rounds, request.seed),
        "fit_seconds": candidate.fit_seconds,
    }


def _texts(request: TrainingRequest, candidate: Candidate, facts: CardFacts, parts: Split) -> dict[str, str]:
    """The text files of the run by name."""
    files = {
        "model_card.md": card(request.task, candidate.recipe, facts),
        "environment.json": json.dumps({**machine(), "packages": packages()}, indent=1),
    }
    if facts.details:
        files["per_class.csv"] = _by_class(facts.details, parts.held_out.truths.tolist())
    return files


def _report(request: TrainingRequest, candidate: Candidate, facts: CardFacts, rows: int) -> dict[str, object]:
    """The content of report.json."""
    return {
        "task": request.task.name,
        "recipe": request.recipe.name,
        "params": dict(candidate.recipe.params),
        "metrics": facts.metrics,
        "per_class": facts.details,
        "threshold": vars(candidate.threshold) if candidate.threshold else None,
        "rows": rows,
        **facts.lineage,
    }


def lineage_of(request: TrainingRequest, parts: Split) -> dict[str, str]:
    """Where a version comes from, as tags; empty values are left out. Who asked for it is in the record of its job
    only, where an erasure clears it.
    """
    lineage = {
        "seed": str(request.seed),
        "share": str(request.share),
        "train_rows": str(len(parts.train)),
        "held_out_rows": str(len(parts.held_out)),
        "corrections_used": str(parts.corrections_used),
        "live_rows": str(len(parts.live.table)),
        "job": "" if request.job is None else str(request.job),
        "job_created_at": request.job_created_at or "",
        "synthetic": str(parts.train.synthetic).lower(),
        "git_commit": git_commit(),
        "code": code_digest(request.task.row),
        **machine(),
    }
    return {name: value for name, value in lineage.items() if value}


def params_of(recipe: Recipe) -> dict[str, object]:
    """The parts of a recipe that are set, and the parameters of its steps."""
    parts = {
        "estimator": recipe.estimator,
        "text": recipe.text,
        "image": recipe.image,
        "table": recipe.table,
        "augment": recipe.augment,
        "resample": recipe.resample,
        "members": ", ".join(member.name for member in recipe.members) or None,
        "tune": recipe.tune or None,
    }
    return {name: value for name, value in parts.items() if value is not None} | _plain(recipe.params)


def _plain(params: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in params.items() if isinstance(value, str | int | float)}


def _costs(request: TrainingRequest, candidate: Candidate, parts: Split, predictions: Predictions) -> dict[str, float]:
    if candidate.threshold is None:
        return {}
    _, scores = predictions.of_positive()
    return costs_of(request.task, parts.held_out, predictions.predicted, scores, candidate.threshold.value)


def _by_class(details: Mapping[str, float], truths: list[object]) -> str:
    counts = Counter(map(str, truths))
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(("class", "rows", "precision", "recall", "f1"))
    for label in labels_in(details):
        figures = (round(details[f"{name}.{label}"], 6) for name in ("precision", "recall", "f1"))
        writer.writerow((label, counts[label], *figures))
    return table.getvalue()
