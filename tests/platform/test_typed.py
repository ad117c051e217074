"""The commands of `data-api` as a user types them: the installed program, in processes of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from scripts.dev.postgres import Postgres
from tests.platform.checkout import REPOSITORY

pytestmark = pytest.mark.process


def typed(environment: Mapping[str, str], program: str, *words: str) -> str:
    """The output of a command, which must succeed."""
    command = [str(Path(sys.executable).with_name(program)), *words]
    done = subprocess.run(command, env=dict(environment), cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{program} {' '.join(words)}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_every_command_of_data_api_that_ends(
    databases: Postgres, service_environment: dict[str, str], tmp_path: Path
) -> None:
    environment = service_environment | {
        "DATA_TOMBSTONES_FILE": str(tmp_path / "erased.jsonl"),
        "DATA_LOG_LEVEL": "WARNING",
    }
    typed(environment, "data-api", "setup")
    typed(environment, "data-api", "maintain")
    typed(environment, "data-api", "erase-again")
    assert "/invitation" in typed(environment, "data-api", "admin", "create", "--email", "typed@example.org")
    before = typed(environment, "data-api", "keys", "list").splitlines()
    after = typed(environment, "data-api", "keys", "rotate").splitlines()
    assert len(after) > len(before)
    at_once = typed(environment, "data-api", "keys", "rotate", "--at-once")
    assert at_once == typed(environment, "data-api", "keys", "list")
