"""The real process over real HTTP, with failures of Postgres and recovery; and starts that end with an error."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from uuid import uuid4

import httpx
import psutil
import pytest
from fastapi.testclient import TestClient

from data_api.main import create_app
from scripts.dev.postgres import FAST, Postgres
from tests.data.api import prediction
from tests.data.command import data_api
from tests.data.conftest import settings_for
from tests.waiting import until

REPOSITORY = Path(__file__).resolve().parents[3]


def environment(secrets_dir: Path, postgres_port: int, **others: object) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY / "data-api"),
        "DATA_SECRETS_DIR": str(secrets_dir),
        "DATA_POSTGRES_PORT": str(postgres_port),
        **{f"DATA_{name.upper()}": str(value) for name, value in others.items()},
    }


@pytest.fixture(scope="module")
def server(secrets_dir: Path, open_folder: Callable[[str], Path], free_port: Callable[[], int]) -> Iterator[Postgres]:
    """A Postgres of this module, which tests kill, freeze and restart."""
    durable = {**FAST, "synchronous_commit": "on"}  # acknowledged rows survive a crash of Postgres
    server = Postgres(open_folder("fragile") / "data", free_port(), secrets_dir / "postgres_password", durable)
    server.start()
    done = data_api(environment(secrets_dir, server.port), "setup")
    assert done.returncode == 0, done.stderr
    assert "ready database=volant new_partitions=4" in done.stdout
    yield server
    server.stop()


@pytest.fixture(scope="module")
def ports(free_port: Callable[[], int]) -> tuple[int, int]:
    return free_port(), free_port()


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("log") / "data-api.log"


@pytest.fixture(scope="module")
def service(server: Postgres, secrets_dir: Path, ports: tuple[int, int], log: Path) -> Iterator[httpx.Client]:
    """`data-api serve` as a process."""
    env = environment(secrets_dir, server.port, port=ports[0], metrics_port=ports[1], statement_seconds=2)
    with log.open("wb") as out:
        process = subprocess.Popen([sys.executable, "-m", "data_api", "serve"], env=env, stdout=out, stderr=out)
    headers = {"X-API-Key": (secrets_dir / "service_key").read_text().strip()}
    with httpx.Client(base_url=f"http://127.0.0.1:{ports[0]}", headers=headers, timeout=15, trust_env=False) as client:
        until(lambda: is_ready(client), "data-api to be ready")
        yield client
    process.send_signal(signal.SIGTERM)
    assert process.wait(15) in (0, -signal.SIGTERM)


def is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/health/ready").status_code == 200
    except httpx.TransportError:
        return False


def test_a_row_goes_in_and_out_over_real_http(service: httpx.Client) -> None:
    row = prediction("tweets")
    results = service.post("/predictions", json={"rows": [row]}).json()["results"]
    assert results == [{"status": "stored", "reason": None}]
    assert service.get(f"/predictions/{row['id']}").json()["row"] == row["row"]


def test_a_body_of_many_megabytes_gets_a_response_and_no_broken_pipe(service: httpx.Client) -> None:
    response = service.post("/predictions", content=b"a" * 40_000_000)
    assert (response.status_code, response.json()["error"]) == (413, "TooLarge")


def test_metrics_have_a_port_of_their_own(service: httpx.Client, ports: tuple[int, int]) -> None:
    service.post("/predictions", json={"rows": [prediction("tweets")]})
    service.get("/predictions/x")
    route = 'method="GET",route="/predictions/{prediction_id}"'
    expected = [
        f'volant_data_requests_total{{{route},status="422"}}',
        'volant_data_pool_connections{pool="main"} 0.0',
        'volant_data_rows_total{kind="prediction",status="stored"}',
    ]

    def shown() -> bool:
        metrics = httpx.get(f"http://127.0.0.1:{ports[1]}/metrics", trust_env=False).text
        return all(line in metrics for line in expected)

    until(shown, "the metrics to show it")


def ask_many(service: httpx.Client, times: int) -> list[tuple[int, float]]:
    def ask(_: int) -> tuple[int, float]:
        start = time.monotonic()
        return service.get("/predictions").status_code, time.monotonic() - start

    with ThreadPoolExecutor(times) as threads:
        return list(threads.map(ask, range(times)))


@contextmanager
def frozen(server: Postgres) -> Iterator[None]:
    """A Postgres that keeps its connections open and does not respond."""
    assert server.process is not None
    postmaster = psutil.Process(server.process.pid)
    processes = [postmaster, *postmaster.children(recursive=True)]
    for process in processes:
        process.suspend()
    yield
    for process in processes:
        process.resume()


def test_a_frozen_postgres_is_a_503_in_bounded_time_and_recovers(service: httpx.Client, server: Postgres) -> None:
    with frozen(server):
        responses = ask_many(service, 4)
        assert {status for status, _ in responses} == {503}
        assert max(seconds for _, seconds in responses) < 10
        assert service.get("/health/live").status_code == 200
    until(lambda: service.get("/predictions").status_code == 200, "an answer with Postgres back")


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_a_stopped_postgres_is_a_quick_503_and_recovers_at_once(
    service: httpx.Client, server: Postgres, how: str
) -> None:
    assert [status for status, _ in ask_many(service, 8)] == [200] * 8  # so that the pool holds connections to lose
    getattr(server, how)()
    responses = ask_many(service, 8)
    assert {status for status, _ in responses} == {503}
    assert max(seconds for _, seconds in responses) < 2
    body = service.get("/health/ready")
    assert (body.status_code, body.json()["error"]) == (503, "DatabaseUnavailable")
    assert body.headers["retry-after"] == "1"
    server.start()
    assert [status for status, _ in ask_many(service, 8)] == [200] * 8


def test_a_postgres_restart_under_load_fails_some_calls_and_loses_no_row(
    service: httpx.Client, server: Postgres
) -> None:
    task, acknowledged, statuses, done = f"load-{uuid4().hex}", set[str](), Counter[int](), Event()

    def send(_: int) -> None:
        while not done.is_set():
            rows = [prediction(task) for _ in range(20)]
            response = service.post("/predictions", json={"rows": rows})
            statuses[response.status_code] += 1
            if response.status_code == 200:
                acknowledged.update(row["id"] for row in rows)

    with ThreadPoolExecutor(4) as threads:
        senders = threads.map(send, range(4))
        try:
            until(lambda: len(acknowledged) > 200, "200 inserts")
            server.kill()
            until(lambda: statuses[503] > 4, "refusals without Postgres")
            server.start()
            before = len(acknowledged)
            until(lambda: len(acknowledged) > before + 200, "200 more inserts")
        finally:
            done.set()
        list(senders)
    assert set(statuses) == {200, 503}
    assert acknowledged - set(stored(service, task)) == set()


def stored(service: httpx.Client, task: str) -> Iterator[str]:
    query: dict[str, str | int] = {"task": task, "limit": 500}
    while True:
        page = service.get("/predictions", params=query).json()
        yield from (item["id"] for item in page["items"])
        if page["next"] is None:
            return
        query["cursor"] = page["next"]


def test_the_log_is_plain_text_lines(service: httpx.Client, log: Path) -> None:
    service.get("/predictions", headers={"X-Request-ID": "look-here"})

    def lines() -> list[str]:
        return [line for line in log.read_text().splitlines() if line.endswith("request_id=look-here")]

    until(lambda: len(lines()) == 1, "the line of the log")
    assert "INFO data_api.requests answered method=GET route=/predictions status=200 ms=" in lines()[0]
    assert "Traceback" not in log.read_text()


def test_a_database_without_tables_is_not_ready(server: Postgres, secrets_dir: Path) -> None:
    settings = settings_for(secrets_dir, server.port, postgres_database="mlflow")
    with TestClient(create_app(settings)) as client:
        assert client.get("/health/live").status_code == 200
        assert client.get("/health/ready").status_code == 503


@pytest.mark.parametrize("command", ["setup", "serve"])
@pytest.mark.parametrize(
    ("content", "message"), [(None, "is missing"), ("changeme", "placeholder"), ("", "placeholder")]
)
def test_a_start_without_a_secret_names_it_in_one_line(
    secrets_dir: Path, tmp_path: Path, command: str, content: str | None, message: str
) -> None:
    for secret in secrets_dir.iterdir():
        (tmp_path / secret.name).write_text(secret.read_text())
    name = "postgres_app_password"
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_text(content)
    done = data_api(environment(tmp_path, 1), command)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert name in done.stderr
    assert message in done.stderr


def test_a_malformed_signing_key_stops_the_start(secrets_dir: Path, tmp_path: Path) -> None:
    for secret in secrets_dir.iterdir():
        (tmp_path / secret.name).write_text(secret.read_text())
    (tmp_path / "signing_key").write_text("not hex")
    arguments = [sys.executable, "-m", "data_api", "serve"]
    env = environment(tmp_path, 1)
    done = subprocess.run(arguments, env=env, cwd="/", capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "signing_key" in done.stderr


def test_setup_reports_an_unreachable_postgres_and_a_wrong_password(
    server: Postgres, secrets_dir: Path, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    away = data_api(environment(secrets_dir, free_port(), setup_wait_seconds=1), "setup")
    assert (away.returncode, len(away.stderr.splitlines())) == (1, 1)
    assert "does not take connections" in away.stderr
    for secret in secrets_dir.iterdir():
        (tmp_path / secret.name).write_text(secret.read_text())
    (tmp_path / "postgres_password").write_text("another")
    refused = data_api(environment(tmp_path, server.port), "setup")
    assert (refused.returncode, len(refused.stderr.splitlines())) == (1, 1)
    assert "postgres_password" in refused.stderr
    assert "another" not in refused.stderr.replace("another one", "")


def test_help_lists_the_commands() -> None:
    done = data_api(os.environ, "--help")
    assert done.returncode == 0
    assert "setup" in done.stdout
    assert "serve" in done.stdout


def test_alembic_on_the_command_line_finds_the_database_up_to_date(server: Postgres, secrets_dir: Path) -> None:
    arguments = [sys.executable, "-m", "alembic", "-c", str(REPOSITORY / "data-api/alembic.ini"), "check"]
    env = environment(secrets_dir, server.port)
    done = subprocess.run(arguments, env=env, cwd="/", capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "No new upgrade operations detected" in done.stdout
