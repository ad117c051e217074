"""Every Prometheus name and label of data-api."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from threading import Lock

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

log = logging.getLogger(__name__)

REQUESTS = Counter("volant_data_requests_total", "Requests with a response.", ["method", "route", "status"])
REQUEST_SECONDS = Histogram(
    "volant_data_request_seconds",
    "Time from the whole request to the first byte of its response.",
    ["method", "route"],
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
IN_FLIGHT = Gauge("volant_data_requests_in_flight", "Requests being handled.")
ROWS = Counter("volant_data_rows_total", "Rows of bulk requests, by outcome.", ["kind", "status"])
JOINS = Counter("volant_data_feedback_joined_total", "Feedback joined with its prediction, by status.", ["status"])
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
UNAVAILABLE = Counter(
    "volant_data_postgres_unavailable_total", "Requests that failed because Postgres did not respond."
)
COLLECT_FAILURES = Counter(
    "volant_data_collect_failures_total",
    "Figures that could not be read at a scrape, which shows all others.",
    ["what"],
)


@dataclass(frozen=True)
class VersionAccuracy:
    """Recent accuracy of one version, over one population (label `kind`). Of numbers: only the mean absolute error."""

    task: str
    version: int
    kind: str
    rows: int
    share: float | None
    low: float | None
    high: float | None
    mean_absolute_error: float | None


class RecentAccuracy(Collector):
    """Gauges read from Postgres at a scrape, at most once in `seconds`. When they cannot be read, they are
    absent until the next try, the failure is counted, and all other metrics are shown.
    """

    LABELS = ("task", "version", "kind")
    GAUGES = (
        (
            "rows",
            "volant_data_accuracy_rows",
            "Predictions of the last days whose truth is known, by kind of feedback.",
        ),
        ("share", "volant_data_accuracy", "Share of them that was right; kind=random is unbiased."),
        ("low", "volant_data_accuracy_low", "Lower end of the 95 % interval of the accuracy."),
        ("high", "volant_data_accuracy_high", "Upper end of the 95 % interval of the accuracy."),
        (
            "mean_absolute_error",
            "volant_data_mean_absolute_error",
            "Mean absolute error of tasks that predict numbers.",
        ),
    )

    def __init__(self, query: Callable[[], Sequence[VersionAccuracy]], seconds: float = 60) -> None:
        self._query = query
        self._seconds = seconds
        self._cached: Sequence[VersionAccuracy] = ()
        self._until = 0.0
        self._lock = Lock()

    def describe(self) -> Iterable[Metric]:
        """Empty, so that nothing is read from Postgres before the first scrape."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """One metric family per gauge."""
        with self._lock:
            if time.monotonic() >= self._until:
                self._cached = self._fetch()
                self._until = time.monotonic() + self._seconds
            cached = self._cached
        for field, name, help_text in self.GAUGES:
            family = GaugeMetricFamily(name, help_text, labels=self.LABELS)
            for one in cached:
                if (value := getattr(one, field)) is not None:
                    family.add_metric((one.task, str(one.version), one.kind), value)
            yield family

    def _fetch(self) -> Sequence[VersionAccuracy]:
        try:
            return self._query()
        except Exception as error:
            COLLECT_FAILURES.labels("accuracy").inc()
            log.error("the accuracy could not be read for the metrics: %s", type(error).__name__)
            return ()
