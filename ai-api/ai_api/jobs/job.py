"""A training job and its events, as the queue database keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal

Status = Literal["waiting", "running", "succeeded", "failed", "cancelled"]


@dataclass(frozen=True)
class Job:
    """A requested training. `result` holds the version that it made, whether that was promoted, and the reason."""

    id: int
    task: str
    recipe: str
    params: dict[str, object]
    status: Status
    attempts: int
    actor: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    progress: dict[str, object] | None
    result: dict[str, object] | None
    error: str | None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Job:
        """The job in a row of training_jobs."""
        return cls(**{field.name: row[field.name] for field in fields(cls)})


@dataclass(frozen=True)
class JobEvent:
    """Something that happened to a job. The last one is of kind "end" and carries the status."""

    id: int
    at: datetime
    kind: str
    data: dict[str, object]


class JobLost(Exception):
    """The job does not belong to this attempt any more: another trainer took it, or it has ended."""
