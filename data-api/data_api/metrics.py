"""Every Prometheus name and label of data-api."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

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
CONNECTIONS = Gauge("volant_data_pool_connections", "Connections to Postgres that are in use.")
UNAVAILABLE = Counter("volant_data_postgres_unavailable_total", "Requests that failed because Postgres did not answer.")
