"""`make clean` asks before it deletes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

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
    return tmp_path


def clean(volant: Path, answer: str) -> subprocess.CompletedProcess[str]:
    command = ["sh", str(volant / "scripts/clean.sh"), "true"]
    return subprocess.run(command, input=answer, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("answer", ["", "\n", "no\n", "y\n"])
def test_without_a_yes_nothing_is_deleted(volant: Path, answer: str) -> None:
    done = clean(volant, answer)
    assert done.returncode == 1
    assert "Nothing was deleted." in done.stdout
    assert all((volant / name).exists() for name in (*STATE, *KEPT))


def test_after_a_yes_all_state_is_gone_and_downloads_stay(volant: Path) -> None:
    assert clean(volant, "yes\n").returncode == 0
    assert [name for name in STATE if (volant / name).exists()] == []
    assert [name for name in KEPT if not (volant / name).exists()] == []
