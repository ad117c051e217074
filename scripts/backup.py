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
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .settings import REPOSITORY
from .stack import Stack
from .stores import Containers, Processes, StoreError, Stores, run

MANIFEST = "manifest.json"
NEEDED_SECRETS = ("mlflow_admin_password", "signing_key")
"""Secrets without which a set is of no use: MLflow knows its users by them, tokens and their keys hang on them."""


class BackupError(Exception):
    """The set cannot be made or put back; the message says what to do."""


def save(stores: Stores, folder: Path) -> Path:
    """Makes a set in `folder`; its path. A set that is there is whole."""
    made_at = datetime.now(UTC)
    path = folder / made_at.strftime("%Y-%m-%dT%H-%M-%S.%fZ")
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


def main() -> int:
    """0 when it is done, 1 with one line that says what to do."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("verb", choices=["save", "restore"])
    parser.add_argument("--set", type=Path, help="the set to restore")
    parser.add_argument("--root", type=Path, default=REPOSITORY, help="where data/, mlruns/ and secrets/ lie")
    parser.add_argument("compose", nargs="*", help="after --, the command of the composed stack")
    arguments = parser.parse_args()
    root: Path = arguments.root.absolute()
    stack = Stack(root)
    folder = Path(stack.settings["VOLANT_BACKUPS_DIR"])
    try:
        run(["sh", str(REPOSITORY / "scripts/backups_dir.sh"), str(folder)])
        if arguments.verb == "save":
            print(f"Kept in {save(running(stack, arguments.compose), folder)}")
            print(f"It holds no secrets: keep a copy of {stack.secrets} in another place.")
        elif arguments.set is None:
            raise BackupError("Say which set: make restore FROM=backups/…")
        else:
            stores = of_way(str(checked(arguments.set)["way"]), stack, arguments.compose)
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
