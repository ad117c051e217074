"""The latency of a version on this machine with one thread, from rows as callers send them to plain predictions."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle, islice
from typing import TYPE_CHECKING

import numpy as np

from ai_api.inference import labels_of, predict
from ai_api.task import Task

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

BATCH_ROWS = 32
LEAST_CALLS, MOST_CALLS, SECONDS = 3, 50, 0.5


def latency(task: Task, pipeline: Pipeline, rows: Sequence[dict[str, object]]) -> dict[str, float]:
    """Median milliseconds for one row and for a batch of BATCH_ROWS rows; empty without rows."""
    if not rows:
        return {}
    columns, labels = task.row.modalities(), labels_of(pipeline)
    sample = list(islice(cycle(rows), BATCH_ROWS))
    with _one_thread():
        single = _median(lambda number: predict(pipeline, columns, labels, [sample[number % BATCH_ROWS]]))
        batch = _median(lambda _: predict(pipeline, columns, labels, sample))
    return {"latency_single_ms": single, "latency_batch_ms": batch}


def _median(call: Callable[[int], object]) -> float:
    call(0)
    times: list[float] = []
    deadline = time.monotonic() + SECONDS
    while len(times) < LEAST_CALLS or (len(times) < MOST_CALLS and time.monotonic() < deadline):
        started = time.perf_counter()
        call(len(times))
        times.append(time.perf_counter() - started)
    return 1_000 * float(np.median(times))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Limits BLAS, OpenMP and torch to one thread. Libraries that choose their threads at each call are not limited."""
    from threadpoolctl import threadpool_limits

    torch = sys.modules.get("torch")
    threads = torch.get_num_threads() if torch else 1
    with threadpool_limits(1):
        if torch:
            torch.set_num_threads(1)
        try:
            yield
        finally:
            if torch:
                torch.set_num_threads(threads)
