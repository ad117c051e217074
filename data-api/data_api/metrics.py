"""Every Prometheus name and label of data-api."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from threading import Lock

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from .errors import DataAPIError

REQUESTS = Counter("volant_data_requests_total", "Requests answered.", ["method", "route", "status"])
REQUEST_SECONDS = Histogram(
    "volant_data_request_seconds",
    "Time from the whole request to the first byte of its answer.",
    ["method", "route"],
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
IN_FLIGHT = Gauge("volant_data_requests_in_flight", "Requests being answered.")
ROWS = Counter("volant_data_rows_total", "Rows that arrived in bulk, by what became of them.", ["kind", "status"])
JOINS = Counter(
    "volant_data_feedback_joined_total", "Feedback that met its prediction, by what became of it.", ["status"]
)
SIGN_INS = Counter("volant_data_sign_ins_total", "Sign-ins by password or refresh token.", ["outcome"])
PASSWORD_WAIT_SECONDS = Histogram(
    "volant_data_password_wait_seconds",
    "Time until a password had its turn to be hashed.",
    buckets=(0.001, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
PASSWORD_SECONDS = Histogram(
    "volant_data_password_seconds",
    "Time that a password took to be hashed.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1),
)
CONNECTIONS = Gauge("volant_data_pool_connections", "Connections to Postgres that are in use.", ["pool"])
POOL_SIZE = Gauge("volant_data_pool_size", "Connections to Postgres that may be in use at once.", ["pool"])
POOL_WAITING = Gauge("volant_data_pool_waiting", "Requests that wait for a connection to Postgres.", ["pool"])
POOL_WAIT_SECONDS = Histogram(
    "volant_data_pool_wait_seconds",
    "Time until a request had a connection to Postgres.",
    ["pool"],
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
STEP_FAILURES = Counter(
    "volant_data_maintenance_failures_total", "Steps of the maintenance that failed, to be tried again.", ["step"]
)
STEP_DONE = Gauge("volant_data_maintenance_done_timestamp_seconds", "When a step was done last.", ["step"])
ERASURES_OPEN = Gauge("volant_data_erasures_open", "People whose erasure is not finished.")
ERASURES_OLDEST = Gauge("volant_data_erasures_oldest_seconds", "How long the oldest of them has waited; 0 without any.")
UNAVAILABLE = Counter("volant_data_postgres_unavailable_total", "Requests that failed because Postgres did not answer.")


@dataclass(frozen=True)
class VersionAccuracy:
    """How right a version was of late, by one kind of feedback. Of numbers: the mean absolute error alone."""

    task: str
    version: int
    kind: str
    rows: int
    share: float | None
    low: float | None
    high: float | None
    mean_absolute_error: float | None


class RecentAccuracy(Collector):
    """Gauges that are asked of Postgres at a scrape, once in `seconds` at most. Postgres away: they are away too."""

    LABELS = ("task", "version", "kind")
    GAUGES = (
        (
            "rows",
            "volant_data_accuracy_rows",
            "Predictions of the last days whose truth is known, by kind of feedback.",
        ),
        ("share", "volant_data_accuracy", "Share of them that was right; kind=random is free of who noticed what."),
        ("low", "volant_data_accuracy_low", "Lower end of the 95 % interval of the accuracy."),
        ("high", "volant_data_accuracy_high", "Upper end of the 95 % interval of the accuracy."),
        ("mean_absolute_error", "volant_data_mean_absolute_error", "Of tasks whose answers are numbers."),
    )

    def __init__(self, ask: Callable[[], Sequence[VersionAccuracy]], seconds: float = 60) -> None:
        self._ask = ask
        self._seconds = seconds
        self._known: Sequence[VersionAccuracy] = ()
        self._until = 0.0
        self._turn = Lock()

    def describe(self) -> Iterable[Metric]:
        """Nothing is asked for before the first scrape."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """One family a gauge."""
        with self._turn:
            if time.monotonic() >= self._until:
                self._known = self._asked()
                self._until = time.monotonic() + self._seconds
            known = self._known
        for field, name, words in self.GAUGES:
            family = GaugeMetricFamily(name, words, labels=self.LABELS)
            for one in known:
                if (value := getattr(one, field)) is not None:
                    family.add_metric((one.task, str(one.version), one.kind), value)
            yield family

    def _asked(self) -> Sequence[VersionAccuracy]:
        try:
            return self._ask()
        except DataAPIError:
            return ()
