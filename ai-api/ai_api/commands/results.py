"""Commands about data sets and results: data, compare."""

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
    """Prints or writes the page of results."""
    from ai_api.results.page import results

    tasks = _tasks(settings, parsed)
    earlier = parsed.out.read_text() if parsed.out and parsed.out.exists() else ""
    page = results(tasks, open_registry(settings).runs, earlier)
    if parsed.out is None:
        print(page)
        return
    parsed.out.parent.mkdir(parents=True, exist_ok=True)
    parsed.out.write_text(page)
    print(f"{parsed.out} is written.")


def data(settings: Settings, parsed: Namespace) -> None:
    """Prints the sizes of each task's parts and writes its unseen rows to a file."""
    from ai_api.datasets import split

    lines: list[list[object]] = []
    for task in _tasks(settings, parsed):
        rows = task.load(source(settings))
        parts = split(rows)
        labels = len(set(rows.truths)) if rows.truths.dtype == object else None
        file = parsed.unseen / f"{task.name}.ndjson"
        write_unseen(parts.unseen, file)
        origin = "generated" if rows.synthetic else "real"
        lines.append([task.name, len(parts.train), len(parts.held_out), len(parts.unseen), labels, origin, str(file)])
    print(table(["task", "train", "held out", "unseen", "labels", "rows are", "unseen rows are in"], lines))


def write_unseen(unseen: Table, path: Path) -> None:
    """Writes a JSON object a line, `{"inputs": {…}, "truth": …}`, with the inputs as `/predict` takes them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        for row, truth in zip(unseen.rows, unseen.truths.tolist(), strict=True):
            file.write(json.dumps({"inputs": as_inputs(row), "truth": truth}) + "\n")


def as_inputs(row: Mapping[str, object]) -> dict[str, object]:
    """The row as inputs of `/predict`: images in base64, missing values left out."""
    from ai_api.images.reference import ImageRef

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
    parser.add_argument(
        "--out",
        type=Path,
        help="file to write, such as docs/RESULTS.md (default: to stdout); its other tables are kept",
    )


def _data_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("tasks", nargs="*", metavar="TASK", help="names of tasks (default: all)")
    parser.add_argument(
        "--unseen", type=Path, default=Path("data/unseen"), help="folder for the unseen rows (default: data/unseen)"
    )


COMMANDS = (
    Command(
        "compare",
        "compare the metrics of all recipes",
        "Reads the newest run of each recipe from MLflow and writes a table for each task in Markdown: metrics with"
        " intervals, cross-validation, training time, latency, size, and published metrics.",
        compare,
        _compare_arguments,
    ),
    Command(
        "data",
        "download the data sets and count their rows",
        "Downloads each task's data set, prints how many rows train, are held out and are unseen, and writes the unseen"
        " rows with their truths to data/unseen/TASK.ndjson, as inputs for simulations of use.",
        data,
        _data_arguments,
    ),
)
