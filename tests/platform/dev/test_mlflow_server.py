"""MLflow as Compose runs it: records in Postgres, allowed host names, no password on a command line."""

from __future__ import annotations

import os
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import ExitStack
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


@pytest.fixture(scope="module")
def accounts(server: tuple[psutil.Process, str], secrets_dir: Path) -> Iterator[dict[str, httpx.Client]]:
    """Clients of the administrator, of Volant's account, and of one that the administrator has made."""
    passwords = {
        "admin": (secrets_dir / "mlflow_admin_password").read_text().strip(),
        "volant": (secrets_dir / "mlflow_password").read_text().strip(),
        "stranger": "a long password 1",
    }
    base = f"{server[1]}/api/2.0/mlflow/"
    with ExitStack() as stack:
        clients = {
            name: stack.enter_context(httpx.Client(base_url=base, auth=(name, password), trust_env=False, timeout=30))
            for name, password in passwords.items()
        }
        stranger = {"username": "stranger", "password": passwords["stranger"]}
        assert clients["admin"].post("users/create", json=stranger).status_code == 200
        for kind in ("registered-models", "experiments"):
            assert clients["volant"].post(f"{kind}/create", json={"name": "tweets"}).status_code == 200
        yield clients


def test_another_account_reads_and_creates_nothing_under_our_names(accounts: dict[str, httpx.Client]) -> None:
    stranger = accounts["stranger"]
    assert stranger.get("registered-models/get?name=tweets").status_code == 200
    refused = [
        ("POST", "registered-models/create", {"name": "housing"}),
        ("POST", "registered-models/rename", {"name": "tweets", "new_name": "housing"}),
        ("DELETE", "registered-models/delete", {"name": "tweets"}),
        ("POST", "registered-models/alias", {"name": "tweets", "alias": "champion", "version": "1"}),
        ("POST", "registered-models/set-tag", {"name": "tweets", "key": "volant.champion", "value": "1"}),
        ("POST", "model-versions/create", {"name": "tweets", "source": "runs:/1/model"}),
        ("POST", "model-versions/create", {"name": "housing", "source": "runs:/1/model"}),
        ("POST", "experiments/create", {"name": "housing"}),
        ("POST", "experiments/update", {"experiment_id": "1", "new_name": "housing"}),
        ("POST", "runs/create", {"experiment_id": "1"}),
    ]
    for prefix in ("/api/2.0/mlflow/", "/ajax-api/2.0/mlflow/"):
        for method, path, body in refused:
            url = stranger.base_url.join(prefix + path)
            assert stranger.request(method, url, json=body).status_code == 403, path
    assert accounts["volant"].get("registered-models/get?name=housing").status_code == 404


def test_an_account_that_may_edit_a_model_moves_its_alias_and_makes_no_version(
    accounts: dict[str, httpx.Client],
) -> None:
    own, stranger = accounts["volant"], accounts["stranger"]
    experiment = own.post("experiments/create", json={"name": "moved"}).json()["experiment_id"]
    run = own.post("runs/create", json={"experiment_id": experiment}).json()["run"]["info"]
    own.post("registered-models/create", json={"name": "moved"})
    version = {"name": "moved", "source": run["artifact_uri"], "run_id": run["run_id"]}
    assert own.post("model-versions/create", json=version).status_code == 200
    grant = {"username": "stranger", "resource_type": "registered_model", "resource_id": "moved", "permission": "EDIT"}
    granting = own.base_url.join("/api/3.0/mlflow/users/permissions/grant")
    assert accounts["admin"].post(granting, json=grant).status_code == 200
    alias = {"name": "moved", "alias": "champion", "version": "1"}
    assert stranger.post("registered-models/alias", json=alias).status_code == 200
    assert stranger.post("model-versions/create", json=version).status_code == 403
