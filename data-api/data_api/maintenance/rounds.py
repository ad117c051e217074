"""Rounds of maintenance: every step once, one round at a time per database."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from tempfile import gettempdir

from sqlalchemy import Engine

from data_api.crud import advisory_lock
from data_api.database import transaction, unavailable
from data_api.errors import DataAPIError, MaintenanceFailed
from data_api.metrics import STEP_DONE, STEP_FAILURES

from .steps import STEPS, MaintenancePlan, Step, erasures

log = logging.getLogger("data_api.maintenance")

ROUND_LOCK = 0x6D61696E7461696E
"""Key of the advisory lock under which one round runs at a time: "maintain" in ASCII."""
HEARTBEAT = Path(gettempdir()) / "data-api-maintain"
"""A file that is touched between rounds: its age shows whether `--every` still runs."""
ERASURE_SECONDS = 5
"""Seconds between two runs of the erasure job, between rounds."""


def run_forever(engine: Engine, plan: MaintenancePlan, every_seconds: float) -> None:
    """A round every `every_seconds`, with erasures in between. Failed steps are repeated in the next round; only a
    signal ends it.
    """
    while True:
        until = time.monotonic() + every_seconds
        for name in run(engine, plan):
            log.warning("to be tried again in the next round step=%s", name)
        while (left := until - time.monotonic()) > 0:
            HEARTBEAT.touch()
            time.sleep(min(left, ERASURE_SECONDS))
            _succeeds("erasures", erasures, engine, plan)


def run_once(engine: Engine, plan: MaintenancePlan) -> None:
    """One round; MaintenanceFailed names the steps that failed."""
    if failed := run(engine, plan):
        raise MaintenanceFailed(f"These steps failed: {', '.join(failed)}. The log says why.")


def run(engine: Engine, plan: MaintenancePlan) -> list[str]:
    """Runs every step, also after one failed; the names of those that failed. Does nothing while another round runs."""
    try:
        with unavailable(), transaction(engine) as session:
            if not advisory_lock.try_lock(session, ROUND_LOCK):
                log.info("another maintenance is at work")
                return []
            return [name for name, step in STEPS.items() if not _succeeds(name, step, engine, plan)]
    except DataAPIError as error:
        log.error("no maintenance now: %s", error)
        return list(STEPS)


def _succeeds(name: str, step: Step, engine: Engine, plan: MaintenancePlan) -> bool:
    started = time.monotonic()
    try:
        with unavailable():
            rows = step(engine, plan)
    except Exception as error:
        STEP_FAILURES.labels(name).inc()
        cause = error.__cause__ or error  # its message may hold a row, so it is not logged
        log.error("failed step=%s error=%s", name, type(getattr(cause, "orig", cause)).__name__)
        return False
    STEP_DONE.labels(name).set_to_current_time()
    if rows:
        log.info("done step=%s rows=%d seconds=%.1f", name, rows, time.monotonic() - started)
    return True
