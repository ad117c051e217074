"""The file of tombstones beside the backups: one JSON line for each person who was erased.

A database restored from a backup has no record of the people who were erased after it. `data-api setup` adds their
tombstones from this file, and they are erased again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from uuid import UUID

from data_api.crud.privacy.erasure import Tombstone
from data_api.errors import SetupFailed


def add(file: Path, tombstones: Iterable[Tombstone]) -> None:
    """Adds the tombstones that the file lacks, by replacing it as a whole. OSError when it cannot be written."""
    present = {tombstone.id: tombstone for tombstone in read(file)}
    wanted = present | {tombstone.id: tombstone for tombstone in tombstones}
    if wanted == present:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(f"{file.name}.{os.getpid()}")
    with new.open("w") as lines:
        lines.writelines(_line(wanted[key]) for key in sorted(wanted))
        lines.flush()
        os.fsync(lines.fileno())
    new.chmod(0o644)  # whatever the umask: `make dev` and `make up` read one file as two users; its folder is closed
    new.replace(file)


def read(file: Path) -> list[Tombstone]:
    """The tombstones in the file, none when it does not exist; SetupFailed when it cannot be parsed."""
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


def _line(tombstone: Tombstone) -> str:
    fields = {
        "id": str(tombstone.id),
        "user_id": str(tombstone.user_id),
        "requested_at": tombstone.requested_at.isoformat(),
    }
    return json.dumps(fields) + "\n"
