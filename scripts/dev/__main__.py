"""`make dev`: all of Volant on this machine without Docker, until Ctrl-C."""

from __future__ import annotations

import argparse
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from scripts.private import UMASK
from scripts.settings import REPOSITORY

from .stack import Stack, StackError, StartTimeout, StopRequested

COLOURS = {
    "dev": 1, "postgres": 34, "mlflow": 35, "data-setup": 36, "queue-setup": 36, "data-api": 32, "data-maintain": 36,
    "trainer": 33,
}  # fmt: skip
OTHER_COLOUR = 96


class Console:
    """Prints the lines of many threads, each complete and with the name of its service."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._colourful = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def print_line(self, name: str, line: str) -> None:
        tag = f"[{name}]"
        if self._colourful:
            tag = f"\033[{COLOURS.get(name, OTHER_COLOUR)}m{tag}\033[0m"
        with self._lock:
            print(tag, line, flush=True)


def main() -> int:
    """0 after Ctrl-C, 1 when the stack cannot start."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", nargs="?", type=Path, default=REPOSITORY, help="where data/, mlruns/ and secrets/ lie")
    root: Path = parser.parse_args().root.absolute()
    console = Console()
    (root / "data").mkdir(exist_ok=True)
    with (root / "data" / "dev.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            print(f"Volant runs already in {root} (process {lock.read().strip()}): stop that one with Ctrl-C first.")
            return 1
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        stack = Stack(root, print_line=console.print_line)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: setattr(stack, "stop_requested", True))
        try:
            start(stack, console)
            while not stack.stop_requested:
                time.sleep(0.1)
            console.print_line("dev", "stopping")
        except StopRequested:
            pass
        except StackError as error:
            console.print_line("dev", str(error))
            return 1
        finally:
            stack.stop()
        console.print_line("dev", "every process has ended")
        return 0


def start(stack: Stack, console: Console) -> None:
    """Starts everything and, when a first task serves, prints the addresses and which tasks are still trained."""
    begun = time.monotonic()
    stack.start()
    console.print_line(
        "dev", f"every service responds ({time.monotonic() - begun:.0f} s); waiting for a first champion"
    )
    try:
        stack.wait_ready()
        console.print_line("dev", f"ready in {time.monotonic() - begun:.0f} s")
        if missing := stack.health().get("missing"):
            console.print_line("dev", f"the trainer continues with a first version of {', '.join(missing)}")
    except StartTimeout as error:  # the services run, and what is trained may still serve later
        console.print_line("dev", str(error))
    subprocess.run(["sh", str(REPOSITORY / "scripts/addresses.sh"), "dev"], env=stack.settings, check=True)


if __name__ == "__main__":
    os.umask(UMASK)
    sys.exit(main())
