"""Measures the speed of data-api on this machine: the real process on its own Postgres; prints a table of figures.

    python -m tests.bench.data_api --rows 10000000 --sustained 600

This is not a test: nothing here fails because of a slow machine.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from .environment import fill, megabytes, memory_of_an_idle_process, running
from .inserts import insert
from .pages import pages, plans
from .sign_ins import sign_ins


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--rows", type=int, default=100_000, help="predictions in the table before anything is measured"
    )
    parser.add_argument("--burst", type=float, default=10, help="seconds of inserting as fast as it goes")
    parser.add_argument(
        "--sustained", type=float, default=0, help="seconds of the same, with a checkpoint at its start"
    )
    parser.add_argument("--clients", type=int, default=5, help="connections that insert at once")
    parser.add_argument("--pages", type=int, default=200, help="pages read with each filter")
    parser.add_argument("--folder", type=Path, help="where Postgres keeps its data (default: a temporary folder)")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of Postgres")
    chosen = parser.parse_args()
    settings = dict(pair.split("=", 1) for pair in chosen.set)
    with tempfile.TemporaryDirectory(prefix="volant-bench-", dir=chosen.folder) as folder:
        Path(folder).chmod(0o755)
        with running(Path(folder), settings) as bench:
            fill(bench, chosen.rows)
            memory_of_an_idle_process(bench)
            pages(bench, chosen.pages)
            plans(bench)
            sign_ins(bench, 10)
            insert(bench, "insert, burst", chosen.burst, chosen.clients)
            if chosen.sustained:
                insert(bench, "insert, sustained", chosen.sustained, chosen.clients)
            pages(bench, chosen.pages, "right after the inserts")
            bench.note("memory of data-api at the end", megabytes(bench.process))
            print("\n| what | figure |\n| --- | --- |")
            for what, figure in bench.table:
                print(f"| {what} | {figure} |")


if __name__ == "__main__":
    main()
