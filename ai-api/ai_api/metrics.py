"""Every Prometheus name and label of ai-api. Labels have closed values only: task, version, route, status, outcome."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SLOW = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0, 7_200.0)

REQUESTS = Counter("volant_requests_total", "HTTP responses", ["route", "method", "status"])
REQUEST_SECONDS = Histogram("volant_request_seconds", "Time from request to response", ["route"], buckets=FAST)
IN_FLIGHT = Gauge("volant_requests_in_flight", "HTTP requests in progress")

PREDICTIONS = Counter("volant_predictions_total", "Rows predicted", ["task", "version"])
FEEDBACK = Counter("volant_feedback_total", "Feedback stored", ["outcome"])
QUEUE_SECONDS = Histogram("volant_queue_seconds", "Time that a row waited for its model", ["task"], buckets=FAST)
COMPUTE_SECONDS = Histogram("volant_compute_seconds", "Time of one model call", ["task"], buckets=FAST)
BATCH_ROWS = Histogram(
    "volant_batch_rows", "Rows in one model call", ["task"], buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
)
QUEUED_ROWS = Gauge("volant_queued_rows", "Rows that wait for a model now", ["task"])
REFUSED = Counter(
    "volant_refused_total", "Rows refused because the queue, or one caller's share of it, was full", ["task", "reason"]
)
LIMITED = Counter("volant_limited_total", "Requests refused because of a limit of their caller", ["limit"])

OUTBOX_ROWS = Gauge("volant_outbox_rows", "Predictions, feedback and promotions that data-api does not have yet")
OUTBOX_SHIPPED = Counter("volant_outbox_shipped_total", "Rows that data-api has received", ["kind", "status"])
OUTBOX_DEAD = Gauge(
    "volant_outbox_dead_letters", "Rows that data-api refused for good, kept in the outbox for an operator"
)
OUTBOX_FAILURES = Counter("volant_outbox_failed_calls_total", "Calls to data-api that failed and are repeated")

CHAMPION = Gauge("volant_champion_version", "Number of the version that serves", ["task"])
LOADS = Counter("volant_model_loads_total", "Versions loaded, by outcome", ["task", "outcome"])
LOAD_SECONDS = Histogram(
    "volant_model_load_seconds", "Time to load, warm and compare a version", ["task"], buckets=SLOW
)
REGISTRY_FAILURES = Counter("volant_registry_failures_total", "Calls to MLflow that failed")
ERASURES = Counter("volant_erasures_total", "People of whom this process has erased everything")
SNAPSHOT_AGE = Gauge("volant_identity_snapshot_age_seconds", "Age of the snapshot of keys, roles and revocations")

JOBS = Counter("volant_jobs_total", "Training jobs ended", ["task", "status"])
JOB_SECONDS = Histogram("volant_job_seconds", "Duration of a training job", ["task"], buckets=SLOW)
JOBS_TAKEN_UP = Counter(
    "volant_jobs_taken_up_again_total", "Jobs started again after their trainer stopped sending heartbeats", ["task"]
)
GATE = Counter("volant_gate_decisions_total", "Decisions of the promotion gate", ["task", "outcome"])
