"""The model card of a version in Markdown: description, training data, metrics, limits, and a call to it.

After Mitchell et al., "Model Cards for Model Reporting" (FAT* 2019).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ai_api.evaluation.evaluate import REAL
from ai_api.evaluation.metrics import METRICS
from ai_api.task import Kind, Modality, Recipe, Task


@dataclass(frozen=True)
class CardFacts:
    """The facts of one version that task and recipe do not hold. `details` are the metrics by class."""

    metrics: Mapping[str, float]
    details: Mapping[str, float]
    lineage: Mapping[str, str]
    data_hash: str
    synthetic: bool


def card(task: Task, recipe: Recipe, facts: CardFacts, *, by_class: bool = True) -> str:
    """The card; without the table by class it fits the description of an MLflow model version."""
    lines = [
        *_description(task, recipe, facts),
        *_figures(task, facts),
        *(_by_class(facts.details) if by_class and facts.details else ()),
        *_limits(task, facts),
        *_call(task),
    ]
    return "\n".join(lines)


def _description(task: Task, recipe: Recipe, facts: CardFacts) -> Iterator[str]:
    lineage = facts.lineage
    yield f"# {task.name}: {recipe.name}"
    yield ""
    if facts.synthetic:
        yield "**Trained on generated rows: every figure below means nothing.**"
        yield ""
    about = task.about or f"A {task.kind}"
    yield f"{about.removesuffix('.')}. It reads {', '.join(f'`{name}`' for name in task.row.model_fields)}."
    yield ""
    yield (
        f"Data: {lineage.get('train_rows', '?')} training rows, {lineage.get('corrections_used', '0')} of them"
        f" corrections by people (hash `{facts.data_hash}`), and {lineage.get('held_out_rows', '?')} held out."
    )
    yield f"Licence: {task.licence or 'not stated'}."
    yield f"Made with seed {lineage.get('seed', '0')} at commit `{lineage.get('git_commit') or 'unknown'}`."
    yield ""


def _figures(task: Task, facts: CardFacts) -> Iterator[str]:
    metrics = facts.metrics
    has_real = any(name.startswith(REAL) for name in metrics)
    yield "## How good it is"
    yield ""
    yield f"On held-out rows; `{task.metric}` decides."
    yield ""
    yield "| metric | value | constant prediction |" + (" at the real shares |" if has_real else "")
    yield "| --- | --- | --- |" + (" --- |" if has_real else "")
    for name in metrics:
        if name in METRICS:
            cells = [metrics[name], metrics.get(f"baseline_{name}"), *([metrics.get(REAL + name)] if has_real else [])]
            yield f"| {name} | {' | '.join('' if cell is None else f'{cell:.4f}' for cell in cells)} |"
    yield ""
    if "interval_low" in metrics:
        low, high = metrics["interval_low"], metrics["interval_high"]
        yield f"95 % bootstrap interval of `{task.metric}`: {low:.4f} to {high:.4f}."
        yield ""
    if task.costs and "threshold" in metrics:
        yield (
            f"Predicts `{task.positive}` from a probability of {metrics['threshold']:.4g} on. A missed one costs"
            f" {task.costs.missed:g} {task.costs.unit}, a false alarm {task.costs.false_alarm:g}: 1,000 rows cost"
            f" {metrics['cost_per_1000']:.2f}, at a threshold of 0.5 {metrics['cost_per_1000_at_half']:.2f}."
        )
        yield ""
    for published in task.published:
        yield f"Published: {published.metric} {published.value:g} by {published.source} ({published.rows})."
    if task.published:
        yield ""


def _by_class(details: Mapping[str, float]) -> Iterator[str]:
    yield "## By class"
    yield ""
    yield "| class | precision | recall | F1 |"
    yield "| --- | --- | --- | --- |"
    for label in labels_in(details):
        figures = (details[f"{name}.{label}"] for name in ("precision", "recall", "f1"))
        yield f"| {label} | {' | '.join(f'{value:.3f}' for value in figures)} |"
    yield ""


def labels_in(details: Mapping[str, float]) -> list[str]:
    """The labels that `details` has metrics for."""
    return [name.removeprefix("recall.") for name in details if name.startswith("recall.")]


def _limits(task: Task, facts: CardFacts) -> Iterator[str]:
    yield "## Limits"
    yield ""
    if facts.synthetic:
        yield "- It was trained on generated rows, so its predictions for real rows mean nothing."
    yield "- It predicts well for rows like those it was trained on; watch the drift reports for when yours differ."
    if task.kind is Kind.CLASSIFICATION:
        yield "- It always predicts one of its labels, whatever the input. A low score means that it is uncertain."
    else:
        yield "- It predicts a value without an interval."
    if any(name.startswith(REAL) for name in facts.metrics):
        yield "- The data set does not have the real shares of the labels: see the metrics at the real shares."
    yield ""


def _call(task: Task) -> Iterator[str]:
    row = {
        name: _example(modality, task.row.model_fields[name].examples)
        for name, modality in task.row.modalities().items()
        if task.row.model_fields[name].is_required()
        or task.row.model_fields[name].examples
        or modality is Modality.IMAGE
    }
    yield "## Call"
    yield ""
    yield "    POST /predict"
    yield f"    {json.dumps({'task': task.name, 'inputs': row}, ensure_ascii=False)}"
    yield ""


def _example(modality: Modality, examples: Sequence[object] | None) -> object:
    if modality is Modality.IMAGE:
        return "<base64 of a picture>"
    return examples[0] if examples else (0 if modality is Modality.NUMBER else "…")
