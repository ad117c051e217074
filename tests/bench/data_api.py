"""Measures the speed of data-api on this machine: the real process on its own Postgres; prints a table of figures.

    python -m tests.bench.data_api --rows 10000000 --sustained 600

This is not a test: nothing here fails because of a slow machine.
"""

from __future__ import annotations

import argparse
import os
import queue
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import httpx
import psutil
import uuid_utils
from sqlalchemy import Engine, event, text
from sqlalchemy.orm import Session

from data_api.crud.predictions import partition, prediction
from data_api.crud.predictions.prediction import PredictionFilter
from data_api.database import address, owner_engine
from data_api.ids import floor
from data_api.security import Passwords
from data_api.setup.cluster import OWNER
from scripts.dev.ports import free_port
from scripts.dev.postgres import Postgres

REPOSITORY = Path(__file__).resolve().parents[2]
TASKS, VERSIONS, LABELS, USERS = 5, 40, 20, 10_000
MONTHS = 6
SIGN_INS_AT_ONCE = 2
"""The default of data-api."""
SIGNING_IN = 8
"""Clients that sign in concurrently: while some wait for Postgres, others need a hash."""
CALL_ROWS = 1_000
AHEAD = 1_500
"""Bodies that are prepared before the first is sent."""
LOW = 50
"""Number of prepared bodies at which more are made."""
FILL_ROWS = 250_000
PASSWORD = "correct horse battery staple"
WORDS = ("late", "again", "thanks", "for", "nothing", "what", "a", "lovely", "crew", "never", "mind", "the", "weather")

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--rows", type=int, default=100_000, help="predictions in the table before anything is measured"
    )
    parser.add_argument("--burst", type=float, default=10, help="seconds of inserting as fast as it goes")
    parser.add_argument(
        "--sustained", type=float, default=0, help="seconds of the same, with a checkpoint at its start"
    )
    parser.add_argument("--clients", type=int, default=5, help="connections that insert at once")
    parser.add_argument("--pages", type=int, default=200, help="pages read with each filter")
    parser.add_argument("--folder", type=Path, help="where Postgres keeps its data (default: a temporary folder)")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of Postgres")
    chosen = parser.parse_args()
    settings = dict(pair.split("=", 1) for pair in chosen.set)
    with tempfile.TemporaryDirectory(prefix="volant-bench-", dir=chosen.folder) as folder:
        Path(folder).chmod(0o755)
        with running(Path(folder), settings) as bench:
            fill(bench, chosen.rows)
            memory_of_an_idle_process(bench)
            pages(bench, chosen.pages)
            plans(bench)
            sign_ins(bench, 10)
            insert(bench, "insert, burst", chosen.burst, chosen.clients)
            if chosen.sustained:
                insert(bench, "insert, sustained", chosen.sustained, chosen.clients)
            pages(bench, chosen.pages, "right after the inserts")
            bench.note("memory of data-api at the end", megabytes(bench.process))
            print("\n| what | figure |\n| --- | --- |")
            for what, figure in bench.table:
                print(f"| {what} | {figure} |")


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


def insert(bench: Bench, what: str, seconds: float, clients: int) -> None:
    """Sends requests of 1,000 rows over several connections, each waiting for its response before the next. Bodies are
    prepared ahead, as far as memory allows: a client on another machine would not use this processor.
    """
    bodies: queue.Queue[bytes] = queue.Queue(AHEAD)
    times: list[float] = []
    sending, stop = threading.Event(), threading.Event()

    def make() -> None:
        templates = [template(Random(seed)) for seed in range(20)]
        while not stop.is_set():
            for one in templates:
                ids = tuple(str(uuid_utils.uuid7()) for _ in range(CALL_ROWS))
                bodies.put((one % ids).encode())
                while bodies.full() or (sending.is_set() and bodies.qsize() > LOW):
                    if stop.wait(0.1):
                        return

    def send() -> None:
        headers = {"Content-Type": "application/json"}
        with bench.client() as client:
            while not stop.is_set():
                body = bodies.get()
                began = time.monotonic()
                response = client.post("/predictions", content=body, headers=headers)
                if response.status_code != 200 or response.content.count(b'"stored"') != CALL_ROWS:
                    sys.exit(f"not everything was stored: {response.status_code} {response.text[:200]}")
                times.append(time.monotonic() - began)

    threading.Thread(target=make, daemon=True).start()
    while not bodies.full():
        time.sleep(0.1)
    sending.set()
    before, then = background(bench.engine), worked(bench)
    senders = [threading.Thread(target=send) for _ in range(clients)]
    began = time.monotonic()
    for sender in senders:
        sender.start()
    peak = 0
    while time.monotonic() - began < seconds:
        time.sleep(0.2)
        peak = max(peak, bench.process.memory_info().rss)
    stop.set()
    for sender in senders:
        sender.join()
    rate = len(times) * CALL_ROWS / (time.monotonic() - began)
    bench.note(what, f"{rate:,.0f} rows/s over {seconds:.0f} s, a call p50 {ms(times, 50)}, p99 {ms(times, 99)}")
    mine, theirs = (
        (now - start) / len(times) / CALL_ROWS * 1e6 for now, start in zip(worked(bench), then, strict=True)
    )
    bench.note(f"{what}: processor time a row", f"data-api {mine:.0f} µs, Postgres {theirs:.0f} µs")
    bench.note(f"{what}: beside it", since(before, background(bench.engine)))
    bench.note(f"{what}: most memory of data-api", f"{peak / 1e6:.0f} MB")


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


def template(chance: Random) -> str:
    """A request body with a placeholder for every id."""
    rows = []
    for _ in range(CALL_ROWS):
        label, text = f"label-{chance.randrange(LABELS)}", " ".join(chance.choices(WORDS, k=18))
        score = round(chance.random(), 4)
        rows.append(
            f'{{"id":"%s","task":"task-{chance.randrange(TASKS)}","version":{1 + chance.randrange(VERSIONS)},'
            f'"row":{{"text":"{text}"}},"row_schema":1,"answer":{{"label":"{label}","score":{score},'
            f'"probabilities":{{"{label}":{score},"other":{round(1 - score, 4)}}}}},'
            f'"user_id":"00000000-0000-4000-8000-{chance.randrange(USERS):012}","role":"champion","rollout":null,'
            '"request_id":"0192f0c1-7a5e-4b7e-9d0a-2f6f3c1b8d11","timing":{"queue_ms":0.4,"compute_ms":2.5}}'
        )
    return '{"rows":[' + ",".join(rows) + "]}"


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


def sign_ins(bench: Bench, seconds: float) -> None:
    """Sign-ins per second, compared with argon2 alone at the same concurrency."""
    passwords = Passwords(at_once=SIGN_INS_AT_ONCE)
    kept = passwords.hash(PASSWORD)

    def verify() -> int:
        count, until = 0, time.monotonic() + seconds
        while time.monotonic() < until:
            passwords.verify(PASSWORD, kept)
            count += 1
        return count

    with ThreadPoolExecutor(SIGN_INS_AT_ONCE) as pool:
        alone = sum(future.result() for future in [pool.submit(verify) for _ in range(SIGN_INS_AT_ONCE)]) / seconds
    form = {"username": "admin@volant.local", "password": bench.admin_password}
    times: list[float] = []

    def sign_in() -> None:
        with httpx.Client(base_url=bench.url, timeout=60, trust_env=False) as client:
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                began = time.monotonic()
                client.post("/auth/token", data=form).raise_for_status()
                times.append(time.monotonic() - began)

    then, hashed = [*worked(bench), time.process_time()], hashing(bench)
    threads = [threading.Thread(target=sign_in) for _ in range(SIGNING_IN)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    now, busy = [*worked(bench), time.process_time()], (hashing(bench) - hashed) / seconds / SIGN_INS_AT_ONCE
    mine, theirs, clients = ((end - start) / len(times) * 1e3 for end, start in zip(now, then, strict=True))
    bench.note(
        "sign-ins", f"{len(times) / seconds:.0f}/s, p50 {ms(times, 50)}; argon2 alone, two at once: {alone:.0f}/s"
    )
    bench.note(
        "processor time a sign-in",
        f"data-api {mine:.1f} ms (argon2 alone: {SIGN_INS_AT_ONCE / alone * 1e3:.1f} ms),"
        f" Postgres {theirs:.1f} ms, clients {clients:.1f} ms",
    )
    bench.note("places to hash passwords", f"{SIGN_INS_AT_ONCE}, {busy:.0%} of the time in use")


def hashing(bench: Bench) -> float:
    """Seconds that data-api has spent on password hashes so far, over all slots."""
    metrics = httpx.get(bench.metrics, trust_env=False).text
    found = re.search(r"^volant_data_password_seconds_sum (\S+)$", metrics, re.MULTILINE)
    assert found
    return float(found[1])


def ms(times: list[float], percent: int) -> str:
    return f"{statistics.quantiles(times, n=100, method='inclusive')[percent - 1] * 1e3:.1f} ms"


def megabytes(process: psutil.Process) -> str:
    return f"{process.memory_info().rss / 1e6:.0f} MB"


if __name__ == "__main__":
    main()
