"""A version: what is known of it, what its training leaves behind, and the version ready to answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from sklearn.pipeline import Pipeline

from ai_api.inference import ModelOutput, predict
from ai_api.task import Modality, Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Version:
    """One trained pipeline in the registry. `aliases` are as of the question; a cached version remembers none."""

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
    lineage: dict[str, str] = field(default_factory=dict)

    @property
    def trained_here(self) -> bool:
        """Whether one of our trainers made it: such a version carries the digest of its files."""
        return bool(self.digest)


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What a piece of work leaves in MLflow. `metrics` are the headline, and of a training the version's tag too;
    `details` stand in the run only. `history` is (name, value, step). `texts` are files by name.
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
    """What a training leaves behind, besides the pipeline. `sample` are held-out rows of the data set."""

    labels: tuple[str, ...] | None
    synthetic: bool
    row: type[Row]
    row_version: int
    sample: Sequence[dict[str, object]]
    description: str = ""


@dataclass(frozen=True)
class FinishedRun:
    """A run as MLflow tells it: a training or, by `kind`, other work."""

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
    """A version, ready to answer. Thread-safe; a row's answer does not depend on its neighbours (TOLERANCE)."""

    version: Version
    pipeline: Pipeline
    columns: dict[str, Modality]
    schema: dict[str, object]
    sample: list[tuple[dict[str, object], ModelOutput]]

    def predict(self, rows: Sequence[Mapping[str, object]]) -> list[ModelOutput]:
        return predict(self.pipeline, self.columns, self.version.labels, rows)
