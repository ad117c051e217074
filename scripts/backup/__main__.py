"""`make backup` and `make restore FROM=…`: finds out what runs here, and saves or restores its state."""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from scripts.attached import ENDING, exit_by_signal
from scripts.dev.stack import Stack
from scripts.private import UMASK
from scripts.settings import REPOSITORY

from .sets import BackupError, checked, restore, retention_days, save_and_prune
from .stores import ContainerStores, ProcessStores, StoreError, Stores, run


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
    for number in ENDING:
        signal.signal(number, exit_by_signal)
    own, compose = divided(sys.argv[1:] if words is None else words)
    arguments = parser.parse_args(own)
    root: Path = arguments.root.absolute()
    stack = Stack(root)
    folder = Path(stack.settings["VOLANT_BACKUPS_DIR"])
    try:
        run(["sh", str(REPOSITORY / "scripts/backup/folder.sh"), str(folder)])
        if arguments.verb == "save":
            save_and_prune(running(stack, compose), folder, retention_days(stack.settings["VOLANT_BACKUPS_DAYS"]))
        elif arguments.set is None:
            raise BackupError("Name a set: make restore FROM=backups/…")
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
    """The state of what runs here; BackupError when nothing runs, or both ways do."""
    ways = [name for name, runs in (("dev", is_dev_running(stack.root)), ("up", is_composed_running(compose))) if runs]
    if len(ways) != 1:
        message = (
            "Both `make dev` and `make up` run here: stop one." if ways else "Start Volant first: make dev, or make up."
        )
        raise BackupError(message)
    return of_way(ways[0], stack, compose)


def of_way(way: str, stack: Stack, compose: Sequence[str]) -> Stores:
    return ProcessStores(stack) if way == "dev" else ContainerStores(compose, stack.settings)


if __name__ == "__main__":
    os.umask(UMASK)
    sys.exit(main())
