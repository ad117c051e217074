"""MLflow as Compose runs it: records in Postgres, allowed host names, no password on a command line."""

from __future__ import annotations

import os
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import psycopg2
import pytest

from scripts.dev.postgres import Postgres
from scripts.mlflow_server import allowed_hosts, is_ready, pass_file, reachable_host
from tests.waiting import until

pytestmark = pytest.mark.process

REPOSITORY = Path(__file__).resolve().parents[3]
FLASK_KEY = "mlflow_flask_key"


@pytest.fixture(scope="module")
def server(
    databases: Postgres, secrets_dir: Path, open_folder: Callable[[str], Path], free_port: Callable[[], int]
) -> Iterator[tuple[psutil.Process, str]]:
    """The running process and its URL."""
    port, log = free_port(), open_folder("mlflow-postgres") / "log"
    with log.open("w") as words:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "scripts.mlflow_server", "--port", str(port), "--names", "volant.example.org"),
                *("--published-port", "15000", "--secrets", str(secrets_dir), "--artifacts", str(log.parent)),
                *("--postgres", f"127.0.0.1:{databases.port}"),
            ],
            cwd=REPOSITORY,
            # other tests of this process may have made it a client of MLflow, which takes credentials by environment
            env={name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")},
            stdout=words,
            stderr=words,
        )
    url, password = f"http://127.0.0.1:{port}", (secrets_dir / "mlflow_password").read_text().strip()
    try:
        until(lambda: process.poll() is not None or is_ready(url, password), "MLflow to be ready", 120)
        assert process.poll() is None, log.read_text()
        yield psutil.Process(process.pid), url
    finally:
        process.terminate()
        process.wait(20)


def test_no_password_stands_on_a_command_line_or_in_an_environment(
    server: tuple[psutil.Process, str], secrets_dir: Path
) -> None:
    secrets = {path.name: path.read_text().strip() for path in secrets_dir.iterdir()}
    processes = [server[0], *server[0].children(recursive=True)]
    assert len(processes) > 1
    for process in processes:
        words = " ".join([*process.cmdline(), *process.environ().values()])
        assert {name for name, secret in secrets.items() if secret in words} <= {FLASK_KEY}


def test_requests_with_an_unknown_host_header_are_refused(
    server: tuple[psutil.Process, str], secrets_dir: Path
) -> None:
    auth = ("volant", (secrets_dir / "mlflow_password").read_text().strip())
    where = f"{server[1]}/api/2.0/mlflow/users/get?username=volant"

    def status(host: str) -> int:
        return httpx.get(where, headers={"Host": host}, auth=auth, trust_env=False).status_code

    assert [status(host) for host in ("volant.example.org", "volant.example.org:15000")] == [200, 200]
    assert [status(host) for host in ("evil.example.org", "volant.example.org:1")] == [403, 403]


def test_a_name_is_allowed_with_each_port_and_alone() -> None:
    arguments = Namespace(names="a,,192.168.1.5", port=5000, published_port=None)
    assert allowed_hosts(arguments).split(",") == [
        *(
            "127.0.0.1:5000",
            "127.0.0.1",
            "localhost:5000",
            "localhost",
            "a:5000",
            "a",
            "192.168.1.5:5000",
            "192.168.1.5",
        )
    ]


@pytest.mark.parametrize("password", ["plain", "with:colon", "with\\backslash:and\\:both"])
def test_postgres_reads_any_password_from_the_file(
    databases: Postgres, secrets_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    admin = psycopg2.connect(
        host="127.0.0.1",
        port=databases.port,
        user="postgres",
        password=(secrets_dir / "postgres_password").read_text().strip(),
    )
    admin.autocommit = True
    path = tmp_path / "pgpass"
    path.write_text(pass_file(password))
    path.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(path))
    old_password = (secrets_dir / "postgres_mlflow_password").read_text().strip()
    try:
        admin.cursor().execute("ALTER ROLE volant_mlflow PASSWORD %s", (password,))
        psycopg2.connect(host="127.0.0.1", port=databases.port, user="volant_mlflow", dbname="mlflow").close()
    finally:
        admin.cursor().execute("ALTER ROLE volant_mlflow PASSWORD %s", (old_password,))
        admin.close()


@pytest.mark.parametrize(("host", "reached"), [("0.0.0.0", "127.0.0.1"), ("192.168.1.5", "192.168.1.5")])
def test_a_server_on_every_address_is_reached_on_the_loopback(host: str, reached: str) -> None:
    assert reachable_host(host) == reached
