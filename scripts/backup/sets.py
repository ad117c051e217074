"""Backups: `make backup` makes a set while Volant runs, `make restore FROM=…` puts one into an empty Volant.

A set is consistent by the order in which it is made. What waits in the outboxes is copied first: whatever leaves them
meanwhile is in the databases by then. Models and pictures come last: they are only added to, so all that the databases
refer to is there. People who were erased since are erased again by their tombstones, which lie beside the sets.
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
"""A set is named by the moment at which it was begun."""
LONGEST_DAYS = 36_500
NEEDED_SECRETS = ("mlflow_admin_password", "signing_key")
"""Secrets without which a set is of no use: MLflow knows its users by them, tokens and their keys hang on them."""


class BackupError(Exception):
    """The set cannot be made or put back; the message says what to do."""


def save(stores: Stores, folder: Path) -> Path:
    """Makes a set in `folder`; its path. A set that is there is whole."""
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


def keep(stores: Stores, folder: Path, days: int | None, say: Callable[[str], None] = print) -> None:
    """Makes a set, then deletes those that are older than so many days (None: none)."""
    say(f"Kept in {save(stores, folder)}")
    say(f"It holds no secrets: keep a copy of {stores.secrets} in another place.")
    if days is None:
        return
    stuck = None
    for path in old_sets(folder, days):
        try:
            drop(path)
        except OSError as error:
            stuck = f"{path} is older than {days} days (VOLANT_BACKUPS_DAYS) and cannot be deleted: {error.strerror}."
        else:
            say(f"Deleted {path}, as it is older than {days} days (VOLANT_BACKUPS_DAYS).")
    if stuck:
        raise BackupError(stuck)


def old_sets(folder: Path, days: int) -> list[Path]:
    """The sets that are older, and what is left of unfinished ones. The newest whole set is never among them."""
    begun = {path: moment for path in folder.iterdir() if (moment := begun_at(path))}
    whole = [path for path in begun if not path.name.startswith(".") and (path / MANIFEST).is_file()]
    newest = max(whole, key=begun.__getitem__, default=None)
    before = datetime.now(UTC) - timedelta(days=days)
    return sorted(path for path, moment in begun.items() if moment < before and path != newest)


def begun_at(path: Path) -> datetime | None:
    """When a set was begun, as its name says; None for whatever else lies there, links to sets too."""
    if path.is_symlink() or not path.is_dir():
        return None
    try:
        return datetime.strptime(path.name.removeprefix("."), NAME).replace(tzinfo=UTC)
    except ValueError:
        return None


def drop(path: Path) -> None:
    """Deletes a set. It is hidden first: one that is half gone does not look like a whole one."""
    hidden = path.with_name(f".{path.name.removeprefix('.')}")
    path.rename(hidden)
    shutil.rmtree(hidden)


def restore(stores: Stores, path: Path) -> None:
    """Puts a set into an empty Volant. BackupError, and nothing is written, when the set or the secrets do not fit."""
    manifest = checked(path)
    if manifest["way"] != stores.way:
        raise BackupError(f"{path} was made of a Volant that `make {manifest['way']}` runs: restore it as such a one.")
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
    """The manifest of a set whose files are what they were; BackupError for any other."""
    try:
        manifest: dict[str, Any] = json.loads((path / MANIFEST).read_text())
        damaged = [part for part, expected in manifest["files"].items() if digest(path / part) != expected]
    except (OSError, ValueError, KeyError) as error:
        raise BackupError(f"{path} is no whole set of a backup: {error}") from error
    if damaged:
        raise BackupError(f"{path} is damaged: {', '.join(damaged)} changed since it was made.")
    return manifest


def digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def kept_days(setting: str) -> int | None:
    """The setting as a number; None: sets are kept for ever."""
    if not setting:
        return None
    if not setting.isdecimal() or not 1 <= int(setting) <= LONGEST_DAYS:
        raise BackupError(f"VOLANT_BACKUPS_DAYS must be a whole number of days from 1 to {LONGEST_DAYS}, or empty.")
    return int(setting)
