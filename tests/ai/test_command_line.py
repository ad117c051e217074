"""The command line as an operator uses it: a trainer that brings its starters, and the versions moved by hand."""

from __future__ import annotations

import http.server
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from ai_api.__main__ import COMMANDS, main
from ai_api.outbox.outbox import Outbox
from ai_api.registry.registry import Registry
from scripts.dev.postgres import Postgres
from tests.ai.conftest import open_registry

SECONDS, STARTER_SECONDS = 120, 240
Run = Callable[..., "subprocess.CompletedProcess[str]"]
Here = Callable[..., list[str]]


class NoCorrections(http.server.BaseHTTPRequestHandler):
    """data-api before anybody corrected anything."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Quiet."""


@pytest.fixture(scope="module")
def data_api() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), NoCorrections) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def environment(
    service_environment: dict[str, str],
    databases: Postgres,
    mlflow_url: str,
    data_api: str,
    open_folder: Callable[[str], Path],
    free_port: Callable[[], int],
) -> Mapping[str, str]:
    """A machine without data sets and without a network: rows are generated, and trainings take a moment."""
    folder = open_folder("command-line")
    return {
        **service_environment,
        "AI_MLFLOW_URL": mlflow_url,
        "AI_DATA_API_URL": data_api,
        "AI_STATE_DIR": str(folder / "state"),
        "AI_RAW_DIR": str(folder / "raw"),
        "AI_DATA_MIRROR": str(folder / "nothing"),
        "AI_TASKS": "tweets,housing",
        "AI_TRAIN_SHARE": "0.2",
        "AI_WORK_METRICS_PORT": str(free_port()),
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "NO_PROXY": "127.0.0.1",
    }


@pytest.fixture(scope="module")
def run(environment: Mapping[str, str]) -> Run:
    def call(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
        command, env = [sys.executable, "-m", "ai_api", *words], {**environment, **more}
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=SECONDS, check=False)

    return call


@pytest.fixture
def here(environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """A command in this process, which fails: what it writes to stderr."""

    def call(*words: str, **more: str) -> list[str]:
        for name, value in {**environment, **more}.items():
            monkeypatch.setenv(name, value)
        assert main(words) == 1
        return capsys.readouterr().err.splitlines()

    return call


@pytest.fixture(scope="module")
def registry_of_all(mlflow_url: str, secrets_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Registry:
    return open_registry(mlflow_url, secrets_dir, tmp_path_factory.mktemp("versions"))


@pytest.fixture(scope="module")
def starters(environment: Mapping[str, str], registry_of_all: Registry) -> dict[str, int]:
    """The champions after a trainer was started, left alone, and stopped."""
    with subprocess.Popen([sys.executable, "-m", "ai_api", "work"], env=dict(environment)) as trainer:
        try:
            return trained(trainer, registry_of_all)
        finally:
            trainer.kill()


def trained(trainer: subprocess.Popen[bytes], registry: Registry) -> dict[str, int]:
    deadline = time.monotonic() + STARTER_SECONDS
    found: dict[str, int] = {}
    while len(found) < 2:
        assert time.monotonic() < deadline, "the starters were not trained"
        assert trainer.poll() is None, "the trainer ended"
        champions = {task: registry.champion(task) for task in ("tweets", "housing")}
        found = {task: number for task, number in champions.items() if number is not None}
        time.sleep(0.2)
    trainer.send_signal(signal.SIGTERM)
    assert trainer.wait(20) == 0
    return found


def test_a_trainer_trains_a_starter_of_every_task_and_stops_when_told(
    starters: dict[str, int], registry_of_all: Registry
) -> None:
    for task, number in starters.items():
        version = registry_of_all.version(task, number)
        assert version.synthetic
        assert version.lineage["reason"] == "first version"
        assert "job" in version.lineage


def test_a_training_by_hand_prints_a_table_and_may_be_promoted_and_rolled_back(
    run: Run, starters: dict[str, int], registry_of_all: Registry, environment: Mapping[str, str]
) -> None:
    trained = run("train", "housing", "--recipe", "forest", "--param", "n_estimators=5", "--seed", "4")
    assert trained.returncode == 0, trained.stderr
    assert "rmse" in trained.stdout
    assert "GENERATED ROWS" in trained.stderr
    newest = registry_of_all.versions("housing")[0]
    assert (newest.recipe, newest.lineage["seed"]) == ("forest", "4")

    before = registry_of_all.champion("housing")
    if before != newest.number:
        assert run("promote", "housing", str(newest.number)).returncode == 0
    assert registry_of_all.champion("housing") == newest.number
    assert f"Version {starters['housing']} of housing is champion now" in run("rollback", "housing").stdout
    assert registry_of_all.champion("housing") == starters["housing"]
    assert told(Path(environment["AI_STATE_DIR"]) / "outbox") >= 3


def told(folder: Path) -> int:
    """Events that ai-api finds when it takes over the files that trainers left."""
    outbox = Outbox(folder, max_rows=1_000)
    try:
        return len(outbox) + len(list(folder.glob("*.db"))) - 1
    finally:
        outbox.close()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train", "cats"], "There is no task 'cats'. There are housing, tweets."),
        (["train", "housing", "--recipe", "oracle"], "It has boosting, forest, xgboost, lightgbm, catboost."),
        (["train", "housing", "--param", "depth=3"], "boosting takes these parameters"),
        (["train", "housing", "--all", "--param", "depth=3"], "--param goes with one recipe"),
        (["tune", "housing", "--trials=-1"], "tune must be a whole number"),
        (["promote", "housing", "99999"], "This task has no such version."),
    ],
)
def test_a_wrong_word_is_answered_with_one_line(here: Here, words: list[str], said: str) -> None:
    [line] = here(*words)
    assert said in line


def test_a_missing_secret_is_named(here: Here, tmp_path: Path) -> None:
    [line] = here("rollback", "housing", AI_SECRETS_DIR=str(tmp_path))
    assert str(tmp_path / "mlflow_password") in line


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert f"ai-api {command}" in capsys.readouterr().out
