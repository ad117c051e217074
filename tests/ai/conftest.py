"""Shared by the tests of ai-api: a real MLflow, a real queue database, and tables small enough to train on at once."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as __main__ does, and for the same reason
os.environ.setdefault("OMP_NUM_THREADS", "1")  # `make test` has a process for each core

if TYPE_CHECKING:
    from ai_api.registry.registry import Registry
    from scripts.dev.postgres import Postgres

REPOSITORY = Path(__file__).resolve().parents[2]
START_SECONDS = 300


@pytest.fixture
def anyio_backend() -> str:
    """Async tests run on asyncio, as the service does."""
    return "asyncio"


@pytest.fixture(scope="session")
def quick_records() -> Iterator[None]:
    """Trainings measure latency with few calls, and list the installed packages once for all versions."""
    from ai_api.evaluation import latency
    from ai_api.tracking import environment

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(latency, "MOST_CALLS", latency.LEAST_CALLS)
        patch.setattr("ai_api.training.record.packages", cache(environment.packages))
        yield


@pytest.fixture(scope="session")
def mlflow_url(
    secrets_dir: Path, open_folder: Callable[[str], Path], free_port: Callable[[], int], quick_records: None
) -> Iterator[str]:
    """MLflow as `make dev` runs it, with credentials, on SQLite."""
    folder, port = open_folder("mlflow"), free_port()
    command = [
        *(sys.executable, str(REPOSITORY / "scripts/mlflow_server.py"), "--port", str(port)),
        *("--secrets", str(secrets_dir), "--sqlite", str(folder), "--artifacts", str(folder / "mlruns")),
    ]
    log = folder / "server.log"
    with log.open("w") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output)
    url, auth = f"http://127.0.0.1:{port}", ("volant", (secrets_dir / "mlflow_password").read_text().strip())
    deadline = time.monotonic() + START_SECONDS
    try:
        with httpx.Client(base_url=url, auth=auth, timeout=1, trust_env=False) as client:
            while not responds(client, "/api/2.0/mlflow/users/get?username=volant"):
                assert time.monotonic() < deadline, f"MLflow did not start: {log.read_text()}"
                assert server.poll() is None, f"MLflow ended: {log.read_text()}"
                time.sleep(0.2)
        yield url
    finally:
        server.terminate()
        server.wait(START_SECONDS)


def responds(client: httpx.Client, path: str) -> bool:
    try:
        return client.get(path).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture
def registry(mlflow_url: str, secrets_dir: Path, tmp_path: Path) -> Registry:
    """The registry as trainers and serving have it, with an empty cache."""
    return open_registry(mlflow_url, secrets_dir, tmp_path / "versions")


def open_registry(url: str, secrets_dir: Path, cache: Path) -> Registry:
    """The registry with the trainers' key. Its public key lies beside the cache."""
    from ai_api.registry.registry import Registry
    from ai_api.registry.signatures import PublicKeys, SigningKey

    keys, signer = (
        PublicKeys(cache.parent / "version_keys"),
        SigningKey((secrets_dir / "version_signing_key").read_text().strip()),
    )
    keys.publish([signer])
    password = (secrets_dir / "mlflow_password").read_text().strip()
    return Registry(url, "volant", password, cache, keys=keys, signer=signer, timeout_seconds=10)


@pytest.fixture(scope="session")
def queue_conninfo(databases: Postgres, secrets_dir: Path) -> str:
    """libpq words for the `queue` database, as the role that ai-api has."""
    password = (secrets_dir / "postgres_queue_password").read_text().strip()
    return f"host=127.0.0.1 port={databases.port} dbname=queue user=volant_queue password={password} connect_timeout=5"
