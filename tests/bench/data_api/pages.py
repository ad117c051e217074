"""Pages of 100 predictions with each filter, and the query plans behind them."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, event
from sqlalchemy.orm import Session

from data_api.crud.predictions import prediction
from data_api.crud.predictions.prediction import PredictionFilter

from .environment import LABELS, TASKS, USERS, VERSIONS, Bench, ms

Wanted = Callable[[], dict[str, Any]]


def filters(chance: Random) -> dict[str, Wanted]:
    """The indexed filters of GET /predictions, with random values."""

    def task() -> dict[str, Any]:
        return {"task": f"task-{chance.randrange(TASKS)}"}

    return {
        "no filter": dict,
        "task": task,
        "task, version": lambda: task() | {"version": 1 + chance.randrange(VERSIONS)},
        "task, label": lambda: task() | {"label": f"label-{chance.randrange(LABELS)}"},
        "user": lambda: {"user_id": UUID(f"00000000-0000-4000-8000-{chance.randrange(USERS):012}")},
    }


def pages(bench: Bench, number: int, when: str = "at rest") -> None:
    """Reads pages of 100 rows at random depths."""
    chance = Random(0)
    span = datetime.now(UTC) - bench.start
    with bench.client() as client:
        for name, some in filters(chance).items():
            times = []
            for _ in range(number):
                query = some() | {"before": (bench.start + span * chance.random()).isoformat(), "limit": 100}
                began = time.monotonic()
                response = client.get("/predictions", params=query)
                times.append(time.monotonic() - began)
                if response.status_code != 200:
                    sys.exit(f"no page: {response.text[:200]}")
            bench.note(f"page of 100 by {name}, {when}", f"p50 {ms(times, 50)}, p99 {ms(times, 99)}")
        window: dict[str, Any] = {
            "after": (datetime.now(UTC) - timedelta(days=1)).isoformat(),
            "min_score": 0.99,
            "task": "task-1",
        }
        times = []
        for _ in range(max(number // 10, 2)):
            began = time.monotonic()
            client.get("/predictions", params=window).raise_for_status()
            times.append(time.monotonic() - began)
        bench.note(
            f"page of 100 by task and score, within a day, {when}",
            f"p50 {ms(times, 50)}, most {max(times) * 1e3:.0f} ms",
        )


def plans(bench: Bench) -> None:
    """Notes the EXPLAIN plan of each filter's query, in the middle of all rows."""
    middle = bench.start + (datetime.now(UTC) - bench.start) / 2
    window = {"after": middle - timedelta(days=30), "min_score": 0.99, "task": "task-1"}
    wanted = {name: some() for name, some in filters(Random(1)).items()} | {"task, score, within 30 days": window}
    for name, values in wanted.items():
        with Session(bench.engine) as session, session.begin():
            sent = statements(
                bench.engine, partial(prediction.find, session, PredictionFilter(**values, before=middle), 100, None)
            )
            connection = session.connection().connection.cursor()
            connection.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sent[0]}", sent[1])
            (((plan,),),) = connection.fetchall()
        scans = [node for node in nodes(plan["Plan"]) if "Scan" in node["Node Type"] and node["Actual Loops"]]
        how = ", ".join(sorted({shown(node) for node in scans}))
        read = plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]
        bench.note(f"plan of a page by {name}", f"{how}; {read} blocks, {plan['Execution Time']:.1f} ms")


def statements(engine: Engine, ask: Callable[[], object]) -> tuple[str, Any]:
    """The last statement that a function executes, with its parameters."""
    sent: list[tuple[str, Any]] = []

    def note(_c: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        sent.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    try:
        ask()
    finally:
        event.remove(engine, "before_cursor_execute", note)
    return sent[-1]


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def shown(node: dict[str, Any]) -> str:
    """A scan by its kind and its index, without its month."""
    index = re.sub(r"^predictions_|\d", "", node.get("Index Name", "")).strip("_").removesuffix("_idx")
    return f"{node['Node Type']} {index}".strip()
