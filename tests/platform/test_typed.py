"""Every command of `data-api` that ends, by its whole command line. Tests of the stack and of the pages type the
installed program.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from scripts.dev.postgres import Postgres
from tests.data.command import data_api


def typed(environment: Mapping[str, str], *words: str) -> str:
    """The output of a command, which must succeed."""
    done = data_api(environment, *words)
    assert done.returncode == 0, f"{' '.join(words)}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_every_command_of_data_api_that_ends(
    databases: Postgres, service_environment: dict[str, str], tmp_path: Path
) -> None:
    environment = service_environment | {
        "DATA_TOMBSTONES_FILE": str(tmp_path / "erased.jsonl"),
        "DATA_LOG_LEVEL": "WARNING",
    }
    typed(environment, "setup")
    typed(environment, "maintain")
    typed(environment, "erase-again")
    assert "/invitation" in typed(environment, "admin", "create", "--email", "typed@example.org")
    before = typed(environment, "keys", "list").splitlines()
    after = typed(environment, "keys", "rotate").splitlines()
    assert len(after) > len(before)
    at_once = typed(environment, "keys", "rotate", "--at-once")
    assert at_once == typed(environment, "keys", "list")
