"""Output for people: tables on stdout, and the progress of long commands on stderr."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from ai_api.training.request import ProgressReport

LARGE = 1_000
"""Floats from here on are shown without decimals."""


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """The rows as text in aligned columns; columns of numbers are aligned to the right."""
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
    """The value as a cell of a table: numbers with thousands separators, floats rounded, None empty."""
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4f}" if abs(value) < LARGE else f"{value:,.0f}"
    return str(value)


@contextmanager
def progress(title: str) -> Iterator[ProgressReport]:
    """Shows progress events on stderr: a progress bar if it is a terminal, otherwise a line for each event."""
    if not sys.stderr.isatty():
        yield lambda kind, data: _print_event(title, kind, data)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(), TextColumn("{task.fields[title]}"), BarColumn(20), TextColumn("{task.description}"),
        TimeElapsedColumn(),
    )  # fmt: skip
    terminal = sys.stderr
    with Progress(*columns, console=Console(stderr=True), transient=True) as display, _logs_above(terminal):
        bar = display.add_task("", total=None, title=title)

        def show(kind: str, data: Mapping[str, object]) -> None:
            if kind == "progress":
                display.update(
                    bar,
                    completed=float(str(data["step"])),
                    total=float(str(data["total"])),
                    description=str(data["message"]),
                )

        yield show


def _print_event(title: str, kind: str, data: Mapping[str, object]) -> None:
    if kind == "progress":
        print(f"{title}: {data['message']}", file=sys.stderr, flush=True)


@contextmanager
def _logs_above(terminal: TextIO) -> Iterator[None]:
    """Log handlers of the terminal write to the stderr that rich replaces, so that log lines appear above the bar."""
    handlers = [
        handler
        for handler in logging.getLogger().handlers
        if isinstance(handler, logging.StreamHandler) and handler.stream is terminal
    ]
    for handler in handlers:
        handler.setStream(sys.stderr)
    try:
        yield
    finally:
        for handler in handlers:
            handler.setStream(terminal)
