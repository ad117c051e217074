"""A backup of the composed stack is restored into volumes of another project, which serves the same versions."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from scripts.backup.sets import restore, save
from scripts.backup.stores import ContainerStores
from scripts.dev.ports import free_port
from tests.e2e.composed import REPOSITORY, Composed
from tests.e2e.test_loop import TWEET, stored

pytestmark = pytest.mark.composed

PORTS = ("AI_PORT", "DATA_PORT", "MLFLOW_PORT")


@pytest.fixture
def elsewhere() -> Iterator[dict[str, str]]:
    """The environment of an empty project beside the running one, removed afterwards."""
    settings = {name: str(free_port()) for name in PORTS}
    settings["COMPOSE_PROJECT_NAME"] = f"{os.environ['COMPOSE_PROJECT_NAME']}-restored"
    yield settings
    down = [*compose(settings), "down", "--volumes", "--remove-orphans", "--timeout", "5"]
    subprocess.run(down, cwd=REPOSITORY, check=False, capture_output=True)


def compose(settings: dict[str, str]) -> list[str]:
    return ["env", *(f"{name}={value}" for name, value in settings.items()), "docker", "compose"]


def test_an_empty_project_serves_after_a_restore(
    composed: Composed, elsewhere: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    (before,) = composed.ai.post("/predict", json={"task": "tweets", "inputs": TWEET}).json()["predictions"]
    stored(composed, before["prediction_id"])
    environment = {"AI_SECRETS_DIR": str(composed.secrets)}
    backup = save(ContainerStores(compose({}), environment), tmp_path)
    restore(ContainerStores(compose(elsewhere), environment), backup)

    up = [*compose(elsewhere), "up", "--detach", "--wait", "ai-api"]
    done = subprocess.run(up, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2_000:]
    key = {"X-API-Key": composed.secret("demo_api_key")}
    address = f"http://127.0.0.1:{elsewhere['DATA_PORT']}/predictions/{before['prediction_id']}"
    assert httpx.get(address, headers=key, trust_env=False).json()["row"].items() >= TWEET.items()
    response = httpx.post(
        f"http://127.0.0.1:{elsewhere['AI_PORT']}/predict",
        json={"task": "tweets", "inputs": TWEET},
        headers=key,
        trust_env=False,
    )
    assert response.status_code == 200, response.text
    (after,) = response.json()["predictions"]
    assert after["label"] == before["label"]
