"""`make clean` asks before it deletes, and deletes folders that the settings name elsewhere."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
STATE = (
    "data/postgres/PG_VERSION",
    "data/state/outbox/1.db",
    "data/mlflow.db",
    "mlruns/1/model",
    "secrets/service_key",
)
KEPT = ("data/raw/tweets.txt", "mlruns/.gitkeep", ".env")


@pytest.fixture
def volant(tmp_path: Path) -> Path:
    shutil.copytree(SCRIPTS, tmp_path / "scripts")
    for name in (*STATE, *KEPT):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / ".env").write_text("AI_SECRETS_DIR=secrets\nAI_STATE_DIR=data/state\n")
    return tmp_path


def clean(volant: Path, answer: str, **settings: str) -> subprocess.CompletedProcess[str]:
    command = ["sh", str(volant / "scripts/clean.sh"), "true"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AI_")} | settings
    return subprocess.run(command, input=answer, capture_output=True, text=True, check=False, env=environment)


def everything_is_there(volant: Path) -> bool:
    return all((volant / name).exists() for name in (*STATE, *KEPT))


@pytest.mark.parametrize("answer", ["", "\n", "no\n", "y\n"])
def test_without_a_yes_nothing_is_deleted(volant: Path, answer: str) -> None:
    done = clean(volant, answer)
    assert done.returncode == 1
    assert "Nothing was deleted." in done.stdout
    assert everything_is_there(volant)


def test_after_a_yes_all_state_is_gone_and_downloads_stay(volant: Path) -> None:
    assert clean(volant, "yes\n").returncode == 0
    assert [name for name in STATE if (volant / name).exists()] == []
    assert [name for name in KEPT if not (volant / name).exists()] == []


def test_folders_that_the_settings_name_are_deleted_and_other_files_among_the_secrets_stay(
    volant: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for name in ("state/outbox/1.db", "secrets/service_key", "secrets/of-another-program"):
        (elsewhere / name).parent.mkdir(parents=True, exist_ok=True)
        (elsewhere / name).touch()
    done = clean(volant, "yes\n", AI_SECRETS_DIR=str(elsewhere / "secrets"), AI_STATE_DIR=str(elsewhere / "state"))
    assert done.returncode == 0
    assert str(elsewhere / "secrets") in done.stdout
    assert str(elsewhere / "state") in done.stdout
    left = {str(path.relative_to(elsewhere)) for path in elsewhere.rglob("*")}
    assert left == {"secrets", "secrets/of-another-program"}


def test_nothing_is_deleted_while_make_dev_runs(volant: Path) -> None:
    with (volant / "data/dev.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("4711")
        lock.flush()
        done = clean(volant, "yes\n")
    assert done.returncode == 1
    assert done.stdout == "Nothing was deleted: `make dev` runs here (process 4711). Stop it with Ctrl-C first.\n"
    assert everything_is_there(volant)


@pytest.mark.parametrize("folder", ["data", "."])
def test_a_state_folder_that_holds_more_than_state_is_not_deleted(volant: Path, folder: str) -> None:
    done = clean(volant, "yes\n", AI_STATE_DIR=folder)
    assert done.returncode == 1
    assert done.stdout.startswith(f"Nothing was deleted: AI_STATE_DIR ({folder}) holds")
    assert everything_is_there(volant)
