"""The job that erases people, run by `data-api maintain` as the owner of the tables."""

from __future__ import annotations

import logging
from pathlib import Path
from uuid import UUID

from sqlalchemy import Engine

from data_api.crud import advisory_lock
from data_api.crud.privacy import erasure, instance
from data_api.database import transaction, unavailable
from data_api.errors import SetupFailed
from data_api.models.privacy.erasure import ErasureStatus

from . import statistics, tombstone_file

log = logging.getLogger("data_api.erasure")

BATCH = 1_000
"""Most rows of one table that are deleted in one transaction."""
JOB_LOCK = 0x6572617365
"""Key of the advisory lock under which one erasure job runs at a time: "erase" in ASCII."""


def run_pending(engine: Engine, file: Path | None = None) -> int:
    """Erases the people for whom it was requested, and finishes the erasures for which no instance is awaited. Returns
    how many erasures changed.

    An erasure is not finished before its tombstone is in the file, and before the statistics that Postgres keeps of the
    values of a table, such as e-mails, are made anew. A run that is cut off is completed by the next one.
    """
    with unavailable(), transaction(engine) as lock_session:
        if not advisory_lock.try_lock(lock_session, JOB_LOCK):
            return 0
        with transaction(engine) as session:
            requested = erasure.with_status(session, ErasureStatus.REQUESTED)
            awaiting = erasure.with_status(session, ErasureStatus.AWAITING)
        if not requested and not awaiting:
            return 0
        for erasure_id in requested:
            _erase(engine, erasure_id)
        reported = _reported(engine, [*awaiting, *requested]) if _tombstones_are_saved(engine, file) else []
        if reported:
            with transaction(engine) as session:
                tables = erasure.touched_tables(session, reported)
            statistics.renew(engine, tables)
        finished = [key for key in reported if _finish(engine, key)]
        return len({*requested, *finished})


def replay(engine: Engine, file: Path, *, repeat: bool = False) -> int:
    """Adds the tombstones that only the file has, as after a backup was restored, and erases those people before
    data-api serves. With `repeat` every person is erased again, as their rows may be back. Returns how many people.
    """
    with unavailable(), transaction(engine) as session:
        count = erasure.replay(session, tombstone_file.read(file))
        if repeat:
            count = erasure.repeat(session)
    if count:
        log.info("erasing %d people again", count)
        run_pending(engine, file)
    return count


def _erase(engine: Engine, erasure_id: UUID) -> None:
    more = True
    while more:
        with transaction(engine) as session:
            more = erasure.erase_some(session, erasure_id, BATCH)
    log.info("nothing of an erased person is left in Postgres erasure=%s", erasure_id)


def _tombstones_are_saved(engine: Engine, file: Path | None) -> bool:
    """Whether every tombstone is in the file; True when there is no file to save them in."""
    if file is None:
        return True
    with transaction(engine) as session:
        tombstones = erasure.tombstones(session)
    try:
        tombstone_file.add(file, tombstones)
    except (OSError, SetupFailed) as error:
        log.error("the tombstones cannot be kept beside the backups, so no erasure is finished: %s", error)
        return False
    return True


def _reported(engine: Engine, erasure_ids: list[UUID]) -> list[UUID]:
    """Those for which no instance is awaited."""
    with transaction(engine) as session:
        instance.prune(session)
        present = instance.present(session)
        return [key for key in erasure_ids if erasure.is_reported(session, key, present)]


def _finish(engine: Engine, erasure_id: UUID) -> bool:
    with transaction(engine) as session:
        return erasure.finish(session, erasure_id, instance.present(session))
