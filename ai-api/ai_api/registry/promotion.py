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
IN_MLFLOW = "mlflow"
"""The actor of a change that somebody made in MLflow."""
MOVED = "The alias was moved in MLflow."
REMOVED = "The alias was removed in MLflow."


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

    def rollback(self, task: str, *, reason: str, actor: str) -> tuple[int | None, int]:
        """Back to the version that served before the champion: (from, to). Conflict when there is none."""
        with self.lock(task):
            before, now = self.registry.rollback(task)
            event = promotion_event(
                str(uuid7()), task, now, before, action="rollback", reason=reason, metrics={}, actor=actor
            )
            self.announce(event)
        return before, now

    def record_move(self, task: str) -> None:
        """Announces and records a champion that was moved or removed in MLflow since Volant's last record."""
        with self.lock(task):
            move = self.registry.moved(task)
            if move is None:
                return
            if move.version is not None:
                self.announce_promotion(move.version, move.before, reason=MOVED, actor=IN_MLFLOW)
            elif move.before is not None:
                event = promotion_event(
                    str(uuid7()), task, move.before, None, action="remove", reason=REMOVED, metrics={}, actor=IN_MLFLOW
                )
                self.announce(event)
            self.registry.record_move(task, move)


def promotion_event(
    id_: str,
    task: str,
    version: int,
    previous: int | None,
    *,
    action: Literal["promote", "rollback", "remove"],
    reason: str,
    metrics: Mapping[str, float],
    actor: str,
    run_id: str | None = None,
) -> dict[str, object]:
    """The body of data-api's POST /promotions. `id_` is a UUIDv7, `run_id` the MLflow run of the version.

    With the action "remove", `version` is the one that is not champion any more.
    """
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
