"""What is known of the data and of the models: data, compare."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ai_api.settings import Settings

from . import Command
from .display import table
from .wiring import all_tasks, find_task, open_registry, source

if TYPE_CHECKING:
    from ai_api.datasets import Table
    from ai_api.task import Task


def compare(settings: Settings, parsed: Namespace) -> None:
    from ai_api.results.page import results

    tasks = _tasks(settings, parsed)
    page = results(tasks, open_registry(settings).runs)
    if parsed.out is None:
        print(page)
        return
    parsed.out.parent.mkdir(parents=True, exist_ok=True)
    parsed.out.write_text(page)
    print(f"{parsed.out} is written.")


def data(settings: Settings, parsed: Namespace) -> None:
    from ai_api.datasets import split

    lines: list[list[object]] = []
    for task in _tasks(settings, parsed):
        found = task.load(source(settings))
        parts = split(found)
        labels = len(set(found.truths)) if found.truths.dtype == object else None
        kept = parsed.unseen / f"{task.name}.ndjson"
        write_unseen(parts.unseen, kept)
        made = "generated" if found.synthetic else "real"
        lines.append([task.name, len(parts.train), len(parts.held_out), len(parts.unseen), labels, made, str(kept)])
    print(table(["task", "train", "held out", "unseen", "labels", "rows are", "unseen rows are in"], lines))


def write_unseen(unseen: Table, path: Path) -> None:
    """Rows with their truths, one JSON object a line: `{"inputs": {…}, "truth": …}`, as `/predict` takes the inputs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        for row, truth in zip(unseen.rows, unseen.truths.tolist(), strict=True):
            file.write(json.dumps({"inputs": as_sent(row), "truth": truth}) + "\n")


def as_sent(row: Mapping[str, object]) -> dict[str, object]:
    """The row as a caller sends it: pictures in base64, gaps left out."""
    from ai_api.images import ImageRef

    return {
        name: value.base64 if isinstance(value, ImageRef) else value
        for name, value in row.items()
        if value is not None and value == value
    }


def _tasks(settings: Settings, parsed: Namespace) -> list[Task]:
    names = parsed.tasks or list(all_tasks(settings))
    return [find_task(settings, name) for name in names]


def _compare_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("tasks", nargs="*", metavar="TASK", help="names of tasks (default: all)")
    parser.add_argument("--out", type=Path, help="file to write, such as docs/RESULTS.md (default: to stdout)")


def _data_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("tasks", nargs="*", metavar="TASK", help="names of tasks (default: all)")
    parser.add_argument(
        "--unseen", type=Path, default=Path("data/unseen"), help="folder for the unseen rows (default: data/unseen)"
    )


COMMANDS = (
    Command(
        "compare",
        "put every recipe's figures side by side",
        "Reads the newest run of each recipe from MLflow and writes one table a task in Markdown: metrics with their"
        " interval, cross-validation, training time, latency, size, and what others have published.",
        compare,
        _compare_arguments,
    ),
    Command(
        "data",
        "fetch the data sets and count their rows",
        "Fetches each task's data set, prints how many rows train, are held out and are kept unseen, and writes the"
        " unseen ones, with their truths, as data/unseen/TASK.ndjson: inputs for simulations of real use.",
        data,
        _data_arguments,
    ),
)
