"""Backups: `make backup` makes a set while Volant runs, `make restore FROM=…` puts one into an empty Volant.

A set is consistent by the order in which it is made. What waits in the outboxes is copied first: whatever leaves them
meanwhile is in the databases by then. Models and pictures come last: they are only added to, so all that the databases
refer to is there. People who were erased since are erased again by their tombstones, which lie beside the sets.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from .settings import REPOSITORY
from .stack import Stack
from .stores import Containers, Processes, StoreError, Stores, run

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


def is_dev_running(root: Path) -> bool:
    """Whether `make dev` runs there."""
    try:
        with (root / "data" / "dev.lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def is_composed_running(compose: Sequence[str]) -> bool:
    """Whether `make up` runs here."""
    if not compose or shutil.which(compose[0]) is None:
        return False
    command = [*compose, "ps", "--services", "--status", "running"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "postgres" in done.stdout.split()


def divided(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Our own arguments, and the command of the composed stack: what follows the first `--`.

    Not left to argparse: beside `verb`, a second positional takes its (no) values before any option is read.
    """
    end = words.index("--") if "--" in words else len(words)
    return list(words[:end]), list(words[end + 1 :])


def main(words: Sequence[str] | None = None) -> int:
    """Status 0 when it is done, 1 with one line that says what to do."""
    parser = argparse.ArgumentParser(
        description=__doc__, usage="%(prog)s {save,restore} [--set SET] [--root ROOT] [-- docker compose …]"
    )
    parser.add_argument("verb", choices=["save", "restore"])
    parser.add_argument("--set", type=Path, help="the set to restore")
    parser.add_argument("--root", type=Path, default=REPOSITORY, help="where data/, mlruns/ and secrets/ lie")
    own, compose = divided(sys.argv[1:] if words is None else words)
    arguments = parser.parse_args(own)
    root: Path = arguments.root.absolute()
    stack = Stack(root)
    folder = Path(stack.settings["VOLANT_BACKUPS_DIR"])
    try:
        run(["sh", str(REPOSITORY / "scripts/backups_dir.sh"), str(folder)])
        if arguments.verb == "save":
            keep(running(stack, compose), folder, kept_days(stack.settings["VOLANT_BACKUPS_DAYS"]))
        elif arguments.set is None:
            raise BackupError("Say which set: make restore FROM=backups/…")
        else:
            stores = of_way(str(checked(arguments.set)["way"]), stack, compose)
            if is_dev_running(root):
                raise BackupError("`make dev` runs here. Stop it with Ctrl-C first.")
            restore(stores, arguments.set)
            print(f"Restored. Start it with `make {stores.way}`.")
    except (BackupError, StoreError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def running(stack: Stack, compose: Sequence[str]) -> Stores:
    """What runs here; BackupError when that is nothing or both."""
    ways = [name for name, runs in (("dev", is_dev_running(stack.root)), ("up", is_composed_running(compose))) if runs]
    if len(ways) != 1:
        told = (
            "Both `make dev` and `make up` run here: stop one." if ways else "Start Volant first: make dev, or make up."
        )
        raise BackupError(told)
    return of_way(ways[0], stack, compose)


def of_way(way: str, stack: Stack, compose: Sequence[str]) -> Stores:
    return Processes(stack) if way == "dev" else Containers(compose, stack.settings)


if __name__ == "__main__":
    sys.exit(main())
