"""Sets of backups: saved while Volant runs, restored into an empty Volant.

The order in which a set is made keeps it consistent. Outboxes are copied first: a row that leaves them later is in the
databases before those are dumped. Models and images are copied last: files are only added there, so every file that
the databases refer to exists. People who were erased after the backup are erased again by their tombstones, which lie
beside the sets.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from .stores import Stores

MANIFEST = "manifest.json"
NAME = "%Y-%m-%dT%H-%M-%S.%fZ"
"""The name of a set is the time at which it was begun."""
LONGEST_DAYS = 36_500
NEEDED_SECRETS = ("mlflow_admin_password", "signing_key")
"""Secrets that a set depends on: the password of MLflow's admin, and the key that signs tokens."""


class BackupError(Exception):
    """The set cannot be saved or restored; the message says what to do."""


def save(stores: Stores, folder: Path) -> Path:
    """Saves a set in `folder` and returns its path. A set that exists is complete."""
    made_at = datetime.now(UTC)
    path = folder / made_at.strftime(NAME)
    unfinished = path.with_name(f".{path.name}")
    unfinished.mkdir(mode=0o700, parents=True)
    try:
        for part in stores.parts:
            stores.save(part, unfinished / part)
        manifest = {
            "made_at": made_at.isoformat(),
            "way": stores.way,
            "files": {part: digest(unfinished / part) for part in stores.parts},
            "secrets": {name: digest(stores.secrets / name) for name in NEEDED_SECRETS},
        }
        (unfinished / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
        unfinished.rename(path)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return path


def save_and_prune(stores: Stores, folder: Path, days: int | None, report: Callable[[str], None] = print) -> None:
    """Saves a set, then deletes the sets that are older than `days` (None: none)."""
    report(f"Kept in {save(stores, folder)}")
    report(f"It holds no secrets: keep a copy of {stores.secrets} in another place.")
    if days is None:
        return
    failed = None
    for path in old_sets(folder, days):
        try:
            delete(path)
        except OSError as error:
            failed = f"{path} is older than {days} days (VOLANT_BACKUPS_DAYS) and cannot be deleted: {error.strerror}."
        else:
            report(f"Deleted {path}, as it is older than {days} days (VOLANT_BACKUPS_DAYS).")
    if failed:
        raise BackupError(failed)


def old_sets(folder: Path, days: int) -> list[Path]:
    """The sets that are older than `days`, unfinished ones too. The newest complete set is never among them."""
    begun = {path: moment for path in folder.iterdir() if (moment := begun_at(path))}
    whole = [path for path in begun if not path.name.startswith(".") and (path / MANIFEST).is_file()]
    newest = max(whole, key=begun.__getitem__, default=None)
    before = datetime.now(UTC) - timedelta(days=days)
    return sorted(path for path, moment in begun.items() if moment < before and path != newest)


def begun_at(path: Path) -> datetime | None:
    """When a set was begun, by its name; None for anything else in the folder, also for links to sets."""
    if path.is_symlink() or not path.is_dir():
        return None
    try:
        return datetime.strptime(path.name.removeprefix("."), NAME).replace(tzinfo=UTC)
    except ValueError:
        return None


def delete(path: Path) -> None:
    """Deletes a set. It is renamed first, so that a set that is deleted in part is never taken for a complete one."""
    hidden = path.with_name(f".{path.name.removeprefix('.')}")
    path.rename(hidden)
    shutil.rmtree(hidden)


def restore(stores: Stores, path: Path) -> None:
    """Restores a set into an empty Volant. BackupError, before anything is written, when set or secrets do not fit."""
    manifest = checked(path)
    if manifest["way"] != stores.way:
        raise BackupError(
            f"{path} was saved from a Volant of `make {manifest['way']}`: restore it into one of the same kind."
        )
    for name, expected in manifest["secrets"].items():
        secret = stores.secrets / name
        if not secret.exists() or digest(secret) != expected:
            raise BackupError(
                f"{secret} is not the secret of this set, which holds none itself: put your copy of that folder there."
            )
    parts = [part for part in stores.parts if part in manifest["files"]]
    with stores.restoring():
        for part in parts:
            stores.load(part, path / part)


def checked(path: Path) -> dict[str, Any]:
    """The manifest of a set whose files have not changed; BackupError for any other."""
    try:
        manifest: dict[str, Any] = json.loads((path / MANIFEST).read_text())
        damaged = [part for part, expected in manifest["files"].items() if digest(path / part) != expected]
    except (OSError, ValueError, KeyError) as error:
        raise BackupError(f"{path} is no complete set of a backup: {error}") from error
    if damaged:
        raise BackupError(f"{path} is damaged: {', '.join(damaged)} changed since it was saved.")
    return manifest


def digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def retention_days(setting: str) -> int | None:
    """The setting as a number of days; None: sets are never deleted."""
    if not setting:
        return None
    if not setting.isdecimal() or not 1 <= int(setting) <= LONGEST_DAYS:
        raise BackupError(f"VOLANT_BACKUPS_DAYS must be a whole number of days from 1 to {LONGEST_DAYS}, or empty.")
    return int(setting)
