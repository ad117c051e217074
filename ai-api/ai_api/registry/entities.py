"""MLflow's entities as our own dataclasses. Our tags all begin with `volant.`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from .signatures import Signature
from .versions import FinishedRun, TrainingRecord, Version

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

PREFIX = "volant."


def version_of(entry: ModelVersion, model: RegisteredModel) -> Version:
    """The version from its tags; `aliases` are those that the registered model has now."""
    tags = _own_tags(entry.tags)
    labels = json.loads(tags.get("labels", "null"))
    return Version(
        task=entry.name,
        number=int(entry.version),
        run_id=entry.run_id or "",
        recipe=tags.get("recipe", ""),
        created_at=datetime.fromtimestamp(entry.creation_timestamp / 1000, UTC),
        aliases=tuple(sorted(alias for alias, number in model.aliases.items() if str(number) == str(entry.version))),
        metrics=json.loads(tags.get("metrics", "{}")),
        labels=None if labels is None else tuple(labels),
        synthetic=tags.get("synthetic") == "true",
        row_version=int(tags.get("row_version", "1")),
        data_hash=tags.get("data_hash", ""),
        digest=tags.get("digest", ""),
        registered_at=created(model),
        signature=Signature.parse(tags.get("signature", "")),
        lineage=json.loads(tags.get("lineage", "{}"))
        | {name: tags[name] for name in ("promoted", "reason") if name in tags},
    )


def created(model: RegisteredModel) -> datetime:
    """When the registered model was created: it tells models of one name apart."""
    return datetime.fromtimestamp(model.creation_timestamp / 1000, UTC)


def version_tags(record: TrainingRecord) -> dict[str, str]:
    """The tags from which `version_of` reads a version back, but for those of `signature_tags`."""
    tags = {
        "recipe": record.recipe,
        "metrics": json.dumps(dict(record.metrics)),
        "labels": json.dumps(record.labels),
        "synthetic": json.dumps(record.synthetic),
        "row_version": str(record.row_version),
        "data_hash": record.data_hash,
        "lineage": json.dumps(dict(record.lineage)),
    }
    return {f"{PREFIX}{name}": value for name, value in tags.items()}


def signature_tags(digest: str, signature: Signature) -> dict[str, str]:
    """The tags of a version's digest and signature."""
    return {f"{PREFIX}digest": digest, f"{PREFIX}signature": signature.text()}


def finished_run_of(run: Run, task: str, kind: str) -> FinishedRun:
    """The run with its parameters and last metrics; `lineage` holds our tags."""
    return FinishedRun(
        run_id=run.info.run_id,
        task=task,
        kind=kind,
        recipe=run.data.params.get("recipe", ""),
        started_at=datetime.fromtimestamp(run.info.start_time / 1000, UTC),
        params=dict(run.data.params),
        metrics=dict(run.data.metrics),
        lineage=_own_tags(run.data.tags),
    )


def _own_tags(tags: Mapping[str, str]) -> dict[str, str]:
    return {name.removeprefix(PREFIX): value for name, value in tags.items() if name.startswith(PREFIX)}
