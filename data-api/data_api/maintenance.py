"""`data-api maintain`: what has to be done now and then, as the owner of the tables, in steps that fail alone."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import gettempdir

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from .crud import erasure, expiry, partition, retention
from .database import unavailable
from .erasure import run_pending
from .errors import DataAPIError, MaintenanceFailed
from .metrics import ERASURES_OLDEST, ERASURES_OPEN, STEP_DONE, STEP_FAILURES

log = logging.getLogger("data_api.maintenance")

ONE_AT_A_TIME = 0x6D61696E7461696E
"""Key of the advisory lock that lets one round work at a time; it spells "maintain"."""
ALIVE = Path(gettempdir()) / "data-api-maintain"
"""A file that is touched between rounds: how old it is says whether `--every` is still at it."""
ERASURE_SECONDS = 5
"""How often people who asked for their erasure are looked for between rounds."""


@dataclass(frozen=True)
class Plan:
    """What the settings say about it."""

    partitions_ahead: int
    pending_days: int
    token_lifetime: timedelta
    tombstones: Path | None = None
    """The file that keeps the tombstones beside the backups."""


Step = Callable[[Engine, Plan], int]


def forever(engine: Engine, plan: Plan, every_seconds: float) -> None:
    """A round, then erasures until it is time for the next. What fails is tried again; only a signal ends it."""
    while True:
        until = time.monotonic() + every_seconds
        for name in run(engine, plan):
            log.warning("to be tried again in the next round step=%s", name)
        while (left := until - time.monotonic()) > 0:
            ALIVE.touch()
            time.sleep(min(left, ERASURE_SECONDS))
            _try("erasures", erasures, engine, plan)


def once(engine: Engine, plan: Plan) -> None:
    """One round; MaintenanceFailed names the steps that failed."""
    if failed := run(engine, plan):
        raise MaintenanceFailed(f"These steps failed: {', '.join(failed)}. The log says why.")


def run(engine: Engine, plan: Plan) -> list[str]:
    """Every step, whatever became of those before; the names of those that failed. One round at a time per database."""
    try:
        with unavailable(), engine.begin() as turn:
            if not turn.scalar(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": ONE_AT_A_TIME}):
                log.info("another maintenance is at work")
                return []
            return [name for name, step in STEPS.items() if not _try(name, step, engine, plan)]
    except DataAPIError as error:
        log.error("no maintenance now: %s", error)
        return list(STEPS)


def partitions(engine: Engine, plan: Plan) -> int:
    """Months ahead, and months of rows that came to lie in the default partition."""
    with engine.begin() as connection:
        return len(partition.make(connection, datetime.now(UTC), plan.partitions_ahead))


def old_predictions(engine: Engine, _: Plan) -> int:
    """What is past its task's days: whole months at once where all tasks agree, else rows, some at a time."""
    with Session(engine) as session:
        before = retention.predictions_before(session, datetime.now(UTC))
    with engine.connect() as connection:
        expired = partition.expired(connection, before)
    dropped = 0
    for month in expired:
        with engine.begin() as connection:
            dropped += partition.drop(connection, month, before)
        log.info("dropped the predictions of %d-%02d", month.year, month.month)
    return dropped + _in_batches(engine, lambda session: retention.delete_predictions(session, before))


def old_words(engine: Engine, _: Plan) -> int:
    """Examples and feedback that are past their task's days."""
    with Session(engine) as session:
        before = retention.examples_before(session, datetime.now(UTC))
    return _in_batches(engine, lambda session: retention.delete_words(session, before))


def pending_feedback(engine: Engine, plan: Plan) -> int:
    """Feedback whose prediction never came."""
    now = datetime.now(UTC)
    return _in_batches(engine, lambda session: expiry.pending_feedback(session, now, plan.pending_days))


def expired_things(engine: Engine, plan: Plan) -> int:
    """Whatever else is of no use any more."""
    with Session(engine) as session, session.begin():
        return (
            expiry.deleted_users(session, plan.token_lifetime)
            + expiry.refresh_tokens(session)
            + expiry.sign_in_failures(session)
            + expiry.invitations(session)
            + expiry.assignments(session)
            + expiry.requests(session)
            + expiry.signing_keys(session)
        )


def answers_of_old_examples(engine: Engine, _: Plan) -> int:
    """What a migration left to be filled in."""
    return _in_batches(engine, expiry.answers_of_old_examples)


def erasures(engine: Engine, plan: Plan) -> int:
    """People who asked to be forgotten."""
    try:
        return run_pending(engine, plan.tombstones)
    finally:
        with Session(engine) as session:
            waits = erasure.open_for(session)
        ERASURES_OPEN.set(len(waits))
        ERASURES_OLDEST.set(max(waits, default=timedelta(0)).total_seconds())


STEPS: dict[str, Step] = {
    "partitions": partitions,
    "answers of old examples": answers_of_old_examples,
    "old predictions": old_predictions,
    "old words": old_words,
    "pending feedback": pending_feedback,
    "expired things": expired_things,
    "erasures": erasures,
}


def _in_batches(engine: Engine, work: Callable[[Session], int]) -> int:
    """Repeats some work, a transaction each time, until there is none left."""
    total = 0
    while True:
        with Session(engine) as session, session.begin():
            rows = work(session)
        if not rows:
            return total
        total += rows


def _try(name: str, step: Step, engine: Engine, plan: Plan) -> bool:
    started = time.monotonic()
    try:
        with unavailable():
            rows = step(engine, plan)
    except Exception as error:
        STEP_FAILURES.labels(name).inc()
        cause = error.__cause__ or error  # its words may hold a row: they are not written
        log.error("failed step=%s error=%s", name, type(getattr(cause, "orig", cause)).__name__)
        return False
    STEP_DONE.labels(name).set_to_current_time()
    if rows:
        log.info("done step=%s rows=%d seconds=%.1f", name, rows, time.monotonic() - started)
    return True
