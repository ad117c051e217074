"""What a training leaves behind in MLflow: parameters, figures, pictures, where it ran, and its card."""

from __future__ import annotations

import csv
import io
import json
import time
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
    order: TrainingRequest,
    made: Candidate,
    parts: Split,
    answers: Predictions,
    judged: Mapping[str, float],
    seconds: float,
) -> TrainingRecord:
    """`judged` are the metrics on the held-out rows; `seconds` what the training took so far."""
    task, held_out = order.task, parts.held_out
    sample = [row for _, row in sorted(zip(held_out.hashes, held_out.rows, strict=True), key=lambda pair: pair[0])]
    metrics = {
        **judged,
        **_costs(order, made, parts, answers),
        **baseline(task, parts.train, held_out),
        **latency(task, made.pipeline, sample),
        **gains(task, made.pipeline, held_out, answers, order.rounds, order.seed),
        "fit_seconds": made.fit_seconds,
        "train_seconds": seconds,
    }
    details = per_class(held_out.truths, answers) if task.kind is Kind.CLASSIFICATION else {}
    lineage = lineage_of(order, parts)
    data_hash = parts.train.digest()
    facts = CardFacts(metrics, details, lineage, data_hash, parts.train.synthetic)
    threshold = made.threshold.value if made.threshold else None
    return TrainingRecord(
        recipe=order.recipe.name,
        params={**params_of(made.recipe), **_plain(estimator_of(made.pipeline).get_params())},
        metrics=metrics,
        details=details,
        labels=labels_of(made.pipeline),
        synthetic=parts.train.synthetic,
        row=task.row,
        row_version=task.row_version,
        data_hash=data_hash,
        lineage=lineage,
        sample=sample,
        history=[*made.history, *history_of(made.pipeline, task, held_out)],
        figures=plots(task, held_out.truths, answers, threshold),
        texts={
            "model_card.md": card(task, made.recipe, facts),
            "environment.json": json.dumps({**machine(), "packages": packages()}, indent=1),
            **({"per_class.csv": _by_class(details, held_out.truths.tolist())} if details else {}),
        },
        description=card(task, made.recipe, facts, by_class=False),
        report={
            "task": task.name,
            "recipe": order.recipe.name,
            "params": dict(made.recipe.params),
            "metrics": metrics,
            "per_class": details,
            "threshold": vars(made.threshold) if made.threshold else None,
            "rows": len(parts.train),
            **lineage,
        },
        started_at=datetime.fromtimestamp(time.time() - seconds, UTC),
    )


def lineage_of(order: TrainingRequest, parts: Split) -> dict[str, str]:
    """Where a version comes from, in words that fit its tags."""
    found = {
        "seed": str(order.seed),
        "share": str(order.share),
        "train_rows": str(len(parts.train)),
        "held_out_rows": str(len(parts.held_out)),
        "corrections_used": str(parts.corrections_used),
        "live_rows": str(len(parts.live.table)),
        "job": "" if order.job is None else str(order.job),
        "actor": order.actor or "",
        "synthetic": str(parts.train.synthetic).lower(),
        "git_commit": git_commit(),
        "code": code_digest(order.task.row),
        **machine(),
    }
    return {name: value for name, value in found.items() if value}


def params_of(recipe: Recipe) -> dict[str, object]:
    """The parts of a recipe that it has, and the parameters of its steps."""
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


def _costs(order: TrainingRequest, made: Candidate, parts: Split, answers: Predictions) -> dict[str, float]:
    if made.threshold is None:
        return {}
    _, scores = answers.of_positive()
    return costs_of(order.task, parts.held_out, answers.said, scores, made.threshold.value)


def _by_class(details: Mapping[str, float], truths: list[object]) -> str:
    said = [str(truth) for truth in truths]
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(("class", "rows", "precision", "recall", "f1"))
    for label in labels_in(details):
        figures = (round(details[f"{name}.{label}"], 6) for name in ("precision", "recall", "f1"))
        writer.writerow((label, said.count(label), *figures))
    return table.getvalue()
