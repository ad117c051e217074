"""What a second start of `make dev` costs on this machine: seconds until it is ready, and CPU seconds of all processes.

    python -m tests.bench.start

The first start trains two small tasks; the second finds its models and its data. CPU seconds depend less on what else
the machine does than the time on the clock. It is no test: nothing here fails because of a slow machine.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil

from scripts.dev.stack import Stack
from tests.stack import QUICK, own_ports


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=3, help="starts after the first one (default: %(default)s)")
    starts: int = parser.parse_args().starts
    with tempfile.TemporaryDirectory(prefix="volant-start-") as folder:
        settings = {**own_ports(), **QUICK}
        print("first start: {:.1f} s, {:.1f} CPU seconds".format(*start(Path(folder), settings)), flush=True)
        for _ in range(starts):
            print("later start: {:.1f} s, {:.1f} CPU seconds".format(*start(Path(folder), settings)), flush=True)


def start(root: Path, settings: dict[str, str]) -> tuple[float, float]:
    """Starts and stops a Volant; seconds and CPU seconds until it was ready."""
    begun, used_before = time.monotonic(), cpu_seconds()
    stack = Stack(root, settings)
    stack.start()
    try:
        stack.wait_ready()
        return time.monotonic() - begun, cpu_seconds() - used_before
    finally:
        stack.stop()


def cpu_seconds() -> float:
    """CPU seconds of all processes under this one, those that have ended too."""
    parent = psutil.Process()
    ended = parent.cpu_times()
    used = float(ended.children_user + ended.children_system)
    for process in parent.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            used += sum(process.cpu_times()[:4])  # its own, and that of its children that have ended
    return used


if __name__ == "__main__":
    main()
