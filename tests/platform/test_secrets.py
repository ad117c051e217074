"""The secrets that the first start creates."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

REPOSITORY = Path(__file__).resolve().parents[2]
NAMES = {
    "postgres_password", "postgres_owner_password", "postgres_app_password", "postgres_queue_password",
    "postgres_mlflow_password", "mlflow_admin_password", "mlflow_password", "mlflow_flask_key", "signing_key",
    "version_signing_key", "approval_signing_key", "service_key", "admin_password",
    "demo_api_key", "grafana_password", "kuma_password",
}  # fmt: skip


def make(folder: Path) -> dict[str, str]:
    subprocess.run(["sh", str(REPOSITORY / "scripts/secrets.sh"), str(folder)], check=True)
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_each_secret_is_a_file_of_its_own_with_32_random_bytes(tmp_path: Path) -> None:
    made = make(tmp_path / "secrets")
    assert set(made) == NAMES
    assert all(re.fullmatch(r"(vk_)?[0-9a-f]{64}\n", value) for value in made.values())
    assert made["demo_api_key"].startswith("vk_")
    assert len(set(made.values())) == len(NAMES)


def test_only_the_owner_may_enter_the_folder_of_secrets(tmp_path: Path) -> None:
    make(tmp_path / "secrets")
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "secrets").iterdir()} == {0o644}


def test_existing_secrets_are_kept_and_missing_ones_are_created(tmp_path: Path) -> None:
    first = make(tmp_path)
    (tmp_path / "service_key").unlink()
    (tmp_path / "signing_key").write_text("")
    second = make(tmp_path)
    changed = {name for name in NAMES if first[name] != second[name]}
    assert changed == {"service_key", "signing_key"}
    assert second["signing_key"]


def test_no_secret_is_in_git() -> None:
    ignored = ["secrets/postgres_password", "data/postgres/PG_VERSION", "data/mlflow.db", "data/state/x", "mlruns/1/a"]
    done = subprocess.run(
        ["git", "check-ignore", *ignored], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ignored
