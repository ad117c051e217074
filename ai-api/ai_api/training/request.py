"""What a training is told: what to train, and what it talks to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ai_api.registry.registry import Registry
from ai_api.sources import Source
from ai_api.task import Recipe, Task

if TYPE_CHECKING:
    from ai_api.blobs import Blobs

ProgressReport = Callable[[str, Mapping[str, object]], None]
"""Told what happens: "progress" with step, total and message; "metric" with name and value."""

RETRY_SECONDS = 120


@dataclass(frozen=True)
class TrainingRequest:
    """What to train. The same order on the same rows gives the same version."""

    task: Task
    recipe: Recipe
    seed: int = 0
    share: float = 1.0
    rounds: int = 1_000
    job: int | None = None
    actor: str | None = None


@dataclass(frozen=True)
class TrainingContext:
    """What a training talks to. `announce` gets the promotion that data-api should hear of. `blobs` has the pictures
    of corrections. Without `promotes` the version is only logged.
    """

    source: Source
    registry: Registry
    corrections: Callable[[str], Iterable[Mapping[str, object]]]
    lock: Callable[[str], AbstractContextManager[None]]
    announce: Callable[[Mapping[str, object]], None]
    retry_seconds: float = RETRY_SECONDS
    blobs: Blobs | None = None
    promotes: bool = True


def no_progress(_: str, __: Mapping[str, object]) -> None:
    """The report of who does not listen."""
