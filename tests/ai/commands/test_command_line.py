"""The commands of ai-api as an operator types them: a trainer that trains first versions, trainings, promotions."""

from __future__ import annotations

import http.server
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import httpx
import pytest

from ai_api.__main__ import COMMANDS, main
from ai_api.outbox.outbox import Outbox
from ai_api.registry.registry import Registry
from scripts.dev.postgres import Postgres
from tests.ai.conftest import open_registry

SECONDS, STARTER_SECONDS = 300, 600
Run = Callable[..., "subprocess.CompletedProcess[str]"]
Failing = Callable[..., list[str]]


class NoCorrections(http.server.BaseHTTPRequestHandler):
    """data-api without corrections."""

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
    """The settings of a machine without data sets and network: rows are generated, and trainings are short."""
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
def failing(
    environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Failing:
    """Runs a command in this process, which must fail. Returns the lines that it writes to stderr."""

    def call(*words: str, **more: str) -> list[str]:
        for name, value in {**environment, **more}.items():
            monkeypatch.setenv(name, value)
        assert main(words) == 1
        return capsys.readouterr().err.splitlines()

    return call


@pytest.fixture(scope="module")
def module_registry(mlflow_url: str, secrets_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Registry:
    return open_registry(mlflow_url, secrets_dir, tmp_path_factory.mktemp("versions"))


@pytest.fixture(scope="module")
def starters(environment: Mapping[str, str], module_registry: Registry) -> dict[str, int]:
    """The champions that a trainer has made from its start to its stop."""
    with subprocess.Popen([sys.executable, "-m", "ai_api", "work"], env=dict(environment)) as trainer:
        try:
            return trained(trainer, module_registry)
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
    assert trainer.wait(SECONDS) == 0
    return found


@pytest.mark.slow
def test_a_trainer_trains_a_first_version_of_every_task_and_stops_on_sigterm(
    starters: dict[str, int], module_registry: Registry
) -> None:
    for task, number in starters.items():
        version = module_registry.version(task, number)
        assert version.synthetic
        assert version.lineage["reason"] == "first version"
        assert "job" in version.lineage


def test_serve_responds_until_sigterm(environment: Mapping[str, str], free_port: Callable[[], int]) -> None:
    port = free_port()
    more = {"AI_PORT": str(port), "AI_METRICS_PORT": str(free_port())}
    with subprocess.Popen([sys.executable, "-m", "ai_api", "serve"], env={**environment, **more}) as server:
        try:
            deadline = time.monotonic() + STARTER_SECONDS
            while not is_live(port):
                assert time.monotonic() < deadline, "ai-api did not start"
                assert server.poll() is None, "ai-api ended"
                time.sleep(0.2)
            server.send_signal(signal.SIGTERM)
            assert server.wait(SECONDS) == -signal.SIGTERM  # uvicorn raises it again after a graceful shutdown
        finally:
            server.kill()


def is_live(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health/live", timeout=5, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def test_migrate_can_be_repeated(run: Run) -> None:
    migrated = run("migrate")
    assert (migrated.returncode, migrated.stdout) == (
        0,
        "The queue database is up to date, and the public keys of versions are published.\n",
    )


@pytest.mark.slow
def test_a_version_trained_by_hand_is_promoted_and_rolled_back(
    run: Run, starters: dict[str, int], module_registry: Registry, environment: Mapping[str, str]
) -> None:
    trained = run("train", "housing", "--recipe", "forest", "--param", "n_estimators=5", "--seed", "4")
    assert trained.returncode == 0, trained.stderr
    assert "rmse" in trained.stdout
    assert "GENERATED ROWS" in trained.stderr
    newest = module_registry.versions("housing")[0]
    assert (newest.recipe, newest.lineage["seed"]) == ("forest", "4")

    before = module_registry.champion("housing")
    if before != newest.number:
        assert run("promote", "housing", str(newest.number)).returncode == 0
    assert module_registry.champion("housing") == newest.number
    assert f"Version {starters['housing']} of housing is champion now" in run("rollback", "housing").stdout
    assert module_registry.champion("housing") == starters["housing"]
    assert promotions_in(Path(environment["AI_STATE_DIR"]) / "outbox") >= 3


def promotions_in(folder: Path) -> int:
    """How many events ai-api finds in the files that trainers and commands have written."""
    outbox = Outbox(folder, max_rows=1_000)
    try:
        return len(outbox) + len(list(folder.glob("*.db"))) - 1
    finally:
        outbox.close()


@pytest.mark.parametrize(
    ("words", "detail"),
    [
        (["train", "cats"], "There is no task 'cats'. There are housing, tweets."),
        (["train", "housing", "--recipe", "oracle"], "It has boosting, forest, xgboost, lightgbm, catboost."),
        (["train", "housing", "--param", "depth=3"], "boosting takes these parameters"),
        (["train", "housing", "--all", "--param", "depth=3"], "--param goes with one recipe"),
        (["tune", "housing", "--trials=-1"], "tune must be a whole number"),
        (["promote", "housing", "99999"], "This task has no such version."),
    ],
)
def test_a_wrong_argument_is_one_line_on_stderr(failing: Failing, words: list[str], detail: str) -> None:
    [line] = failing(*words)
    assert detail in line


def test_a_missing_secret_file_is_one_line_on_stderr(failing: Failing, tmp_path: Path) -> None:
    [line] = failing("rollback", "housing", AI_SECRETS_DIR=str(tmp_path))
    assert str(tmp_path / "mlflow_password") in line


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert f"ai-api {command}" in capsys.readouterr().out
