"""A running data-api on its own Postgres, filled with predictions, and the units of the figures."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import psutil
from sqlalchemy import Engine, text

from data_api.crud.predictions import partition
from data_api.database import address, owner_engine
from data_api.ids import floor
from data_api.setup.cluster import OWNER
from scripts.dev.ports import free_port
from scripts.dev.postgres import Postgres

REPOSITORY = Path(__file__).resolve().parents[3]
TASKS, VERSIONS, LABELS, USERS = 5, 40, 20, 10_000
MONTHS = 6
FILL_ROWS = 250_000
FILL = """
    INSERT INTO predictions
        (id, created_at, task, version, row, row_schema, answer, label, score, user_id, role, request_id, queue_ms,
         compute_ms)
    SELECT (lpad(to_hex(ms), 12, '0') || '7' || lpad(to_hex(n % 4096), 3, '0')
            || '8' || lpad(to_hex(n), 15, '0'))::uuid,
           to_timestamp(ms / 1000.0), 'task-' || n % :tasks, 1 + (n / 7) % :versions,
           jsonb_build_object('text', 'late again, thanks for nothing, number ' || n), 1,
           jsonb_build_object('label', 'label-' || n % :labels, 'score', 0.7,
                              'probabilities', jsonb_build_object('label-' || n % :labels, 0.7, 'other', 0.3)),
           'label-' || n % :labels, (n % 1000) / 1000.0,
           ('00000000-0000-4000-8000-' || lpad((n % :users)::text, 12, '0'))::uuid, 'champion', 'r-' || n, 0.4, 2.5
    FROM generate_series(cast(:first AS bigint), :last) AS n,
         LATERAL (SELECT :start + (n * cast(:step AS float8))::bigint AS ms) AS moment
"""
SIZE = "SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent = 'predictions'::regclass"


@dataclass
class Bench:
    """A running data-api, and the figures measured so far."""

    engine: Engine
    url: str
    metrics: str
    process: psutil.Process
    postgres: psutil.Process
    service: dict[str, str]
    admin_password: str
    start: datetime
    table: list[tuple[str, str]] = field(default_factory=list)

    def note(self, what: str, figure: str) -> None:
        self.table.append((what, figure))
        print(f"{what}: {figure}", flush=True)

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers=self.service, timeout=60, trust_env=False)


@contextmanager
def running(folder: Path, settings: dict[str, str]) -> Iterator[Bench]:
    """Postgres with durable commits, and `data-api serve` as a process."""
    secrets = folder / "secrets"
    subprocess.run(["sh", str(REPOSITORY / "scripts/secrets.sh"), str(secrets)], check=True)
    server = Postgres(folder / "data", free_port(), secrets / "postgres_password", settings)
    server.start()
    port, metrics_port = free_port(), free_port()
    env = os.environ | {
        "PYTHONPATH": str(REPOSITORY / "data-api"),
        "DATA_SECRETS_DIR": str(secrets),
        "DATA_POSTGRES_PORT": str(server.port),
        "DATA_PORT": str(port),
        "DATA_METRICS_PORT": str(metrics_port),
        "DATA_TOMBSTONES_FILE": str(folder / "erased.jsonl"),
        "DATA_LOG_LEVEL": "WARNING",
    }
    command = [sys.executable, "-m", "data_api"]

    def secret(name: str) -> str:
        return (secrets / name).read_text().strip()

    engine = owner_engine(address("127.0.0.1", server.port, "volant", OWNER, secret("postgres_owner_password")))
    try:
        subprocess.run([*command, "setup"], env=env, check=True, cwd=folder)
        with subprocess.Popen([*command, "serve"], env=env, cwd=folder) as service:
            try:
                start = datetime.now(UTC) - timedelta(days=30 * MONTHS)
                headers = {"X-API-Key": secret("service_key")}
                url, metrics = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{metrics_port}/metrics"
                wait_for(url)
                assert server.process
                processes = psutil.Process(service.pid), psutil.Process(server.process.pid)
                yield Bench(engine, url, metrics, *processes, headers, secret("admin_password"), start)
            finally:
                service.terminate()
    finally:
        server.stop()


def wait_for(url: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            if httpx.get(f"{url}/health/ready", trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        if time.monotonic() > deadline:
            sys.exit("data-api does not get ready")
        time.sleep(0.1)


def fill(bench: Bench, rows: int) -> None:
    """Inserts predictions spread evenly over the last months."""
    began = time.monotonic()
    with bench.engine.begin() as connection:
        partition.make(connection, bench.start, MONTHS)
    span = (datetime.now(UTC) - bench.start) / timedelta(milliseconds=1)
    shape = {"tasks": TASKS, "versions": VERSIONS, "labels": LABELS, "users": USERS}
    for first in range(1, rows + 1, FILL_ROWS):
        part = {"first": first, "last": min(first + FILL_ROWS - 1, rows), "step": span / rows}
        with bench.engine.begin() as connection:
            connection.execute(text(FILL), {**shape, **part, "start": floor(bench.start).int >> 80})
    with bench.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM (ANALYZE) predictions"))
        size = connection.scalar(text(SIZE))
    bench.note(
        "rows in the table", f"{rows:,}, {float(size or 0) / 1e9:.2f} GB, made in {time.monotonic() - began:.0f} s"
    )


def memory_of_an_idle_process(bench: Bench) -> None:
    bench.note("memory of data-api before", megabytes(bench.process))


def worked(bench: Bench) -> tuple[float, float]:
    """Processor seconds of data-api and of all Postgres processes so far. Unlike rates, they are comparable on a busy
    machine.
    """

    def seconds(process: psutil.Process) -> float:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:  # a Postgres process that has just ended
            return 0.0
        return float(times.user + times.system)

    return seconds(bench.process), sum(map(seconds, [bench.postgres, *bench.postgres.children()]))


def background(engine: Engine) -> dict[str, float]:
    """Background work of Postgres so far."""
    query = (
        "SELECT (SELECT num_timed + num_requested FROM pg_stat_checkpointer) AS checkpoints,"
        " (SELECT sum(autovacuum_count + autoanalyze_count) FROM pg_stat_user_tables) AS autovacuums,"
        " (SELECT wal_bytes / 1e6 FROM pg_stat_wal) AS wal"
    )
    with engine.connect() as connection:
        return {name: float(value or 0) for name, value in connection.execute(text(query)).one()._mapping.items()}


def since(before: dict[str, float], after: dict[str, float]) -> str:
    gone = {name: after[name] - before[name] for name in before}
    return f"{gone['checkpoints']:.0f} checkpoints, {gone['autovacuums']:.0f} autovacuums, {gone['wal']:,.0f} MB of WAL"


def ms(times: list[float], percent: int) -> str:
    return f"{statistics.quantiles(times, n=100, method='inclusive')[percent - 1] * 1e3:.1f} ms"


def megabytes(process: psutil.Process) -> str:
    return f"{process.memory_info().rss / 1e6:.0f} MB"
