"""What to train (TrainingRequest), and the services that a training uses (TrainingContext)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ai_api.registry.promotion import Promotions
from ai_api.registry.registry import Registry
from ai_api.sources import Source
from ai_api.task import Recipe, Task

if TYPE_CHECKING:
    from ai_api.images.blobs import Blobs

ProgressReport = Callable[[str, Mapping[str, object]], None]
"""Called with a kind of event and its data: "progress" with step, total and message; "metric" with name and value."""

RETRY_SECONDS = 120


@dataclass(frozen=True)
class TrainingRequest:
    """What to train. The same request on the same rows makes the same version.

    `share`: share of the base training rows; `rounds`: bootstrap resamples; `job`: id of the job, if a job trains, and
    `job_created_at` its time, as a queue that was made anew counts from 1 again.
    """

    task: Task
    recipe: Recipe
    seed: int = 0
    share: float = 1.0
    rounds: int = 1_000
    job: int | None = None
    job_created_at: str | None = None
    actor: str | None = None


@dataclass(frozen=True)
class TrainingContext:
    """The services that a training uses. `corrections` are read by task name, `blobs` holds their images. Without
    `promotions` the version is only logged and not compared with the champion.
    """

    source: Source
    registry: Registry
    corrections: Callable[[str], Iterable[Mapping[str, object]]]
    promotions: Promotions | None = None
    retry_seconds: float = RETRY_SECONDS
    blobs: Blobs | None = None


def no_progress(_: str, __: Mapping[str, object]) -> None:
    """A report that does nothing."""
