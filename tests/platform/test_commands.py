"""The targets of the Makefile as a user types them, with real processes, and Docker replaced at the edge."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.platform.checkout import Checkout

pytestmark = pytest.mark.process

SET = r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d+Z"


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def only_set(folder: Path) -> Path:
    """The one set in a folder of backups."""
    (found,) = [path for path in folder.iterdir() if re.fullmatch(SET, path.name)]
    return found


def test_make_backup_and_make_restore_keep_the_state_of_containers_and_put_it_back(checkout: Checkout) -> None:
    (checkout.folder / "secrets").mkdir()
    for name in ("mlflow_admin_password", "signing_key"):
        (checkout.folder / "secrets" / name).write_text(name)
    done = checkout.make("backup", environment={"DOCKER_RUNNING": "postgres"})
    assert done.returncode == 0, done.stderr
    kept = only_set(checkout.folder / "backups")
    assert sorted(path.name for path in kept.iterdir()) == [
        "artifacts.tar", "blobs.tar", "manifest.json", "mlflow.dump", "outbox.tar", "queue.dump", "volant.dump",
    ]  # fmt: skip
    begun = len(checkout.docker_calls)

    done = checkout.make("restore", f"FROM={kept.relative_to(checkout.folder)}")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "Restored. Start it with `make up`.\n"
    calls = checkout.docker_calls[begun:]
    assert calls[0] == "compose up --detach --wait postgres"
    assert calls[2] == "compose run --rm -T data-setup setup"
    assert calls[-1] == "compose run --rm -T data-setup erase-again"
    assert len([call for call in calls if " pg_restore " in call]) == 3
    unpacked = [call.split()[1] for call in calls if call.startswith(" unpack /")]  # the end of a call of many lines
    assert unpacked == ["/state/outbox", "/artifacts", "/state/blobs"]


def test_make_restore_asks_for_a_set_and_refuses_one_that_is_not_there(checkout: Checkout) -> None:
    done = checkout.make("restore")
    assert done.stderr.splitlines()[0] == "Say which set: make restore FROM=backups/…"
    done = checkout.make("restore", "FROM=backups/none")
    assert done.returncode != 0
    assert done.stderr.startswith("backups/none is no whole set of a backup")


def test_make_backup_says_that_nothing_runs(checkout: Checkout) -> None:
    done = checkout.make("backup", environment={"DOCKER_RUNNING": ""})
    assert done.returncode != 0
    assert done.stderr.splitlines()[0] == "Start Volant first: make dev, or make up."
