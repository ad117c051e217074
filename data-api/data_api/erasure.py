"""The job that erases people, run by `data-api maintain` as the owner of the tables; and the file of tombstones.

The file lies beside the backups. A database that is restored from one of them knows nothing of people who were erased
since: `data-api setup` puts their tombstones up again, and they are erased anew.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from uuid import UUID

from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from .crud import erasure, replica
from .crud.erasure import Tombstone
from .database import unavailable
from .errors import SetupFailed
from .models import ErasureStatus

log = logging.getLogger(__name__)

BATCH = 1_000
ONE_AT_A_TIME = 0x6572617365
"""Key of the advisory lock that lets one job work at a time; it spells "erase"."""


def run_pending(engine: Engine, file: Path | None = None) -> int:
    """Erases whoever it was asked for and closes what nobody is awaited for; how many erasures got further.

    An erasure is not closed before its tombstone stands in the file. What dies midway is finished by the next run.
    """
    with unavailable(), Session(engine) as turn:
        if not turn.scalar(select(func.pg_try_advisory_xact_lock(ONE_AT_A_TIME))):
            return 0
        with Session(engine) as session:
            requested = erasure.standing(session, ErasureStatus.REQUESTED)
            awaiting = erasure.standing(session, ErasureStatus.AWAITING)
        if not requested and not awaiting:
            return 0
        for key in requested:
            _erase(engine, key)
        is_kept = _is_kept(engine, file)
        closed = [key for key in [*awaiting, *requested] if is_kept and _close(engine, key)]
        return len({*requested, *closed})


def replay(engine: Engine, file: Path, *, repeat: bool = False) -> int:
    """Puts up the tombstones that only the file knows, as after a backup was restored, and erases those people before
    anything is served. With `repeat` everybody is erased anew, as their rows may be back. How many.
    """
    with unavailable(), Session(engine) as session, session.begin():
        count = erasure.replay(session, read(file))
        if repeat:
            count = erasure.repeat(session)
    if count:
        log.info("erasing %d people again", count)
        run_pending(engine, file)
    return count


def keep(file: Path, tombstones: Iterable[Tombstone]) -> None:
    """Adds what the file lacks, so that it is whole at any moment. OSError when it cannot be written."""
    there = {one.id: one for one in read(file)}
    wanted = there | {one.id: one for one in tombstones}
    if wanted == there:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f"{file.name}.{os.getpid()}")
    with beside.open("w") as lines:
        lines.writelines(_line(wanted[key]) for key in sorted(wanted))
        lines.flush()
        os.fsync(lines.fileno())
    beside.replace(file)


def read(file: Path) -> list[Tombstone]:
    """The tombstones in the file, none when there is no file; SetupFailed when it is no such file."""
    try:
        found = [json.loads(line) for line in file.read_text().splitlines()]
        return [
            Tombstone(UUID(one["id"]), UUID(one["user_id"]), datetime.fromisoformat(one["requested_at"]))
            for one in found
        ]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError) as error:
        raise SetupFailed(f"The file of tombstones {file} is damaged: {type(error).__name__}.") from error


def _erase(engine: Engine, key: UUID) -> None:
    more = True
    while more:
        with Session(engine) as session, session.begin():
            more = erasure.erase_some(session, key, BATCH)
    log.info("nothing of an erased person is left in Postgres erasure=%s", key)


def _is_kept(engine: Engine, file: Path | None) -> bool:
    if file is None:
        return True
    with Session(engine) as session:
        tombstones = erasure.tombstones(session)
    try:
        keep(file, tombstones)
    except (OSError, SetupFailed) as error:
        log.error("the tombstones cannot be kept beside the backups, so no erasure is finished: %s", error)
        return False
    return True


def _close(engine: Engine, key: UUID) -> bool:
    with Session(engine) as session, session.begin():
        replica.prune(session)
        return erasure.finish(session, key, replica.present(session))


def _line(one: Tombstone) -> str:
    whole = {"id": str(one.id), "user_id": str(one.user_id), "requested_at": one.requested_at.isoformat()}
    return json.dumps(whole) + "\n"
