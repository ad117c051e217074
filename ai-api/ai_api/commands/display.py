"""What a person sees: tables on stdout, and on stderr what a long command is doing now."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol, TextIO

LARGE = 1_000
"""From here on, what stands after a number's point says nothing."""


class ProgressReport(Protocol):
    """Told what happens, as a training tells it: "progress" with step, total and message among other kinds."""

    def __call__(self, kind: str, data: Mapping[str, object], /) -> None: ...


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Aligned columns; those of numbers to the right."""
    cells = [list(head), *([text(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    right = [all(isinstance(value, int | float) or value in ("", None) for value in c) for c in zip(*rows, strict=True)]
    lines = (
        "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(line, widths, right or [False] * len(head), strict=True)
        ).rstrip()
        for line in cells
    )
    return "\n".join(lines)


def text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4f}" if abs(value) < LARGE else f"{value:,.0f}"
    return str(value)


@contextmanager
def steps(what: str) -> Iterator[ProgressReport]:
    """A line that moves while `what` goes on, where stderr is a terminal; elsewhere one line a step."""
    if not sys.stderr.isatty():
        yield lambda kind, data: _print_step(what, kind, data)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(), TextColumn("{task.fields[what]}"), BarColumn(20), TextColumn("{task.description}"),
        TimeElapsedColumn(),
    )  # fmt: skip
    terminal = sys.stderr
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress, _logs_above(terminal):
        bar = progress.add_task("", total=None, what=what)

        def move(kind: str, data: Mapping[str, object]) -> None:
            if kind == "progress":
                progress.update(
                    bar,
                    completed=float(str(data["step"])),
                    total=float(str(data["total"])),
                    description=str(data["message"]),
                )

        yield move


def _print_step(what: str, kind: str, data: Mapping[str, object]) -> None:
    if kind == "progress":
        print(f"{what}: {data['message']}", file=sys.stderr, flush=True)


@contextmanager
def _logs_above(terminal: TextIO) -> Iterator[None]:
    """Log lines for the terminal go through the stderr of the moment, which knows of the moving line below them."""
    handlers = [
        found
        for found in logging.getLogger().handlers
        if isinstance(found, logging.StreamHandler) and found.stream is terminal
    ]
    for handler in handlers:
        handler.setStream(sys.stderr)
    try:
        yield
    finally:
        for handler in handlers:
            handler.setStream(terminal)
