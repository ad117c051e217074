"""The steps of a round of maintenance. Each returns how many rows it changed, and may fail without the others."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from data_api.crud.predictions import partition
from data_api.crud.privacy import erasure, expiry, retention
from data_api.database import transaction
from data_api.metrics import ERASURES_OLDEST, ERASURES_OPEN

from .erasure import run_pending

log = logging.getLogger("data_api.maintenance")


@dataclass(frozen=True)
class MaintenancePlan:
    """The settings of maintenance."""

    partitions_ahead: int
    pending_days: int
    token_lifetime: timedelta
    tombstones: Path | None = None
    """The file of tombstones beside the backups."""


Step = Callable[[Engine, MaintenancePlan], int]


def partitions(engine: Engine, plan: MaintenancePlan) -> int:
    """Makes partitions of the months ahead, and of past months whose rows are in the default partition."""
    with transaction(engine) as session:
        return len(partition.make(session.connection(), datetime.now(UTC), plan.partitions_ahead))


def expired_predictions(engine: Engine, _: MaintenancePlan) -> int:
    """Deletes predictions past their task's retention: drops months that are past it for every task, then deletes rows
    in batches.
    """
    with transaction(engine) as session:
        before = retention.predictions_before(session, datetime.now(UTC))
    with transaction(engine) as session:
        expired = partition.expired(session.connection(), before)
    dropped = 0
    for month in expired:
        with transaction(engine) as session:
            dropped += partition.drop(session.connection(), month, before)
        log.info("dropped the predictions of %d-%02d", month.year, month.month)
    return dropped + _in_batches(engine, lambda session: retention.delete_predictions(session, before))


def expired_feedback(engine: Engine, _: MaintenancePlan) -> int:
    """Deletes examples, feedback and samples past their task's retention."""
    with transaction(engine) as session:
        before = retention.examples_before(session, datetime.now(UTC))
    return _in_batches(engine, lambda session: retention.delete_feedback(session, before))


def pending_feedback(engine: Engine, plan: MaintenancePlan) -> int:
    """Deletes feedback whose prediction has not arrived within `pending_days`."""
    now = datetime.now(UTC)
    return _in_batches(engine, lambda session: expiry.pending_feedback(session, now, plan.pending_days))


def expired_records(engine: Engine, plan: MaintenancePlan) -> int:
    """Deletes expired tokens, counts, invitations, assignments, saved responses and signing keys."""
    with transaction(engine) as session:
        return (
            expiry.deleted_users(session, plan.token_lifetime)
            + expiry.refresh_tokens(session)
            + expiry.sign_in_failures(session)
            + expiry.known_addresses(session)
            + expiry.invitations(session)
            + expiry.assignments(session)
            + expiry.requests(session)
            + expiry.signing_keys(session)
        )


def predictions_of_old_examples(engine: Engine, _: MaintenancePlan) -> int:
    """Fills in the columns that a migration added to `examples`."""
    return _in_batches(engine, expiry.predictions_of_old_examples)


def erasures(engine: Engine, plan: MaintenancePlan) -> int:
    """Erases people and sets the gauges of open erasures."""
    try:
        return run_pending(engine, plan.tombstones)
    finally:
        with transaction(engine) as session:
            ages = erasure.open_ages(session)
        ERASURES_OPEN.set(len(ages))
        ERASURES_OLDEST.set(max(ages, default=timedelta(0)).total_seconds())


STEPS: dict[str, Step] = {
    "partitions": partitions,
    "answers of old examples": predictions_of_old_examples,
    "old predictions": expired_predictions,
    "old words": expired_feedback,
    "pending feedback": pending_feedback,
    "expired things": expired_records,
    "erasures": erasures,
}
"""By the name in the log and in the label `step` of the metrics, in the order of a round."""


def _in_batches(engine: Engine, work: Callable[[Session], int]) -> int:
    """Repeats `work`, one transaction each time, until it changes no row; how many rows in all."""
    total = 0
    while True:
        with transaction(engine) as session:
            rows = work(session)
        if not rows:
            return total
        total += rows
