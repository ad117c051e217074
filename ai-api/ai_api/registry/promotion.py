"""A change of champion: under the promotion lock of its task, with an event for data-api's history.

Written once for its three callers: the gate at the end of a training, the HTTP calls and the command line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

from uuid_utils.compat import uuid7

from .registry import Registry
from .versions import Version

Lock = Callable[[str], AbstractContextManager[None]]
"""The promotion lock of a task: at most one process at a time moves its champion."""
Announce = Callable[[Mapping[str, object]], None]
"""Puts a promotion event into an outbox, from which it reaches data-api."""


@dataclass(frozen=True)
class Promotions:
    """Moves champions. Every call blocks. The event is announced before the lock is released, so events of one task
    are in the order of its promotions.
    """

    registry: Registry
    lock: Lock
    announce: Announce

    def promote(
        self, version: Version, expected: int | None, *, reason: str, actor: str, event_id: str | None = None
    ) -> None:
        """Makes the version the champion; Conflict unless `expected` is it now. No event when it was it already.

        `event_id` is a UUIDv7; data-api stores events of the same id once.
        """
        with self.lock(version.task):
            self.registry.promote(version.task, version.number, expected)
            if version.number != expected:
                self.announce_promotion(version, expected, reason=reason, actor=actor, event_id=event_id)

    def announce_promotion(
        self, version: Version, previous: int | None, *, reason: str, actor: str, event_id: str | None = None
    ) -> None:
        """Only the event, for a promotion that happened before."""
        self.announce(
            promotion_event(
                event_id or str(uuid7()),
                version.task,
                version.number,
                previous,
                action="promote",
                reason=reason,
                metrics=version.metrics,
                actor=actor,
                run_id=version.run_id,
            )
        )

    def rollback(self, task: str, *, reason: str, actor: str) -> tuple[int, int]:
        """Back to the version that the champion replaced: (from, to). Conflict when there is none."""
        with self.lock(task):
            before, now = self.registry.rollback(task)
            self.announce(
                promotion_event(
                    str(uuid7()), task, now, before, action="rollback", reason=reason, metrics={}, actor=actor
                )
            )
        return before, now


def promotion_event(
    id_: str,
    task: str,
    version: int,
    previous: int | None,
    *,
    action: Literal["promote", "rollback"],
    reason: str,
    metrics: Mapping[str, float],
    actor: str,
    run_id: str | None = None,
) -> dict[str, object]:
    """The body of data-api's POST /promotions. `id_` is a UUIDv7, `run_id` the MLflow run of the version."""
    return {
        "id": id_,
        "task": task,
        "version": version,
        "previous": previous,
        "action": action,
        "reason": reason,
        "metrics": dict(metrics),
        "actor": actor,
        "run_id": run_id or None,
    }
