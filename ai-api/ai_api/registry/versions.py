"""A version, the record that its training writes, and the version loaded for predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from sklearn.pipeline import Pipeline

from ai_api.inference import ModelOutput, predict
from ai_api.task import Modality, Row

from .signatures import Signature, Statement

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Version:
    """One trained pipeline in the registry. `aliases` are those at the time of the call; a cached version has none.

    Its identity is the digest of its files. A number is unique only within one registered model, which `registered_at`,
    the creation time of that model, tells apart from one that was deleted and made anew.
    """

    task: str
    number: int
    run_id: str
    recipe: str
    created_at: datetime
    aliases: tuple[str, ...]
    metrics: dict[str, float]
    labels: tuple[str, ...] | None
    synthetic: bool
    row_version: int
    data_hash: str
    digest: str
    registered_at: datetime
    signature: Signature | None = None
    lineage: dict[str, str] = field(default_factory=dict)

    @property
    def statement(self) -> Statement:
        """What its signature covers."""
        return Statement.of(self.task, self.digest, self.run_id, self)


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What is logged to MLflow as one run. `metrics` are the main figures; those of a training become a tag of its
    version too. `details` are further metrics of the run. `history` is (name, value, step). `texts` are files by name.
    """

    recipe: str
    params: Mapping[str, object]
    metrics: Mapping[str, float]
    data_hash: str
    lineage: Mapping[str, str]
    details: Mapping[str, float] = field(default_factory=dict)
    history: Sequence[tuple[str, float, int]] = ()
    figures: Mapping[str, Figure] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    report: Mapping[str, object] = field(default_factory=dict)
    started_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class TrainingRecord(RunRecord):
    """What a training logs beside the pipeline. `sample` are held-out rows of the data set."""

    labels: tuple[str, ...] | None
    synthetic: bool
    row: type[Row]
    row_version: int
    sample: Sequence[dict[str, object]]
    description: str = ""


@dataclass(frozen=True)
class FinishedRun:
    """A finished run read from MLflow: a training or, by `kind`, other work."""

    run_id: str
    task: str
    kind: str
    recipe: str
    started_at: datetime
    params: dict[str, str]
    metrics: dict[str, float]
    lineage: dict[str, str]


@dataclass(frozen=True)
class LoadedModel:
    """A version ready to predict. Thread-safe. A row's prediction is the same alone and in a batch, up to TOLERANCE."""

    version: Version
    pipeline: Pipeline
    columns: dict[str, Modality]
    schema: dict[str, object]
    sample: list[tuple[dict[str, object], ModelOutput]]

    def predict(self, rows: Sequence[Mapping[str, object]]) -> list[ModelOutput]:
        return predict(self.pipeline, self.columns, self.version.labels, rows)
