"""The targets of the Makefile as a user types them, with real processes, and Docker replaced at the edge."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
import yaml

from tests.platform.checkout import REPOSITORY, Checkout

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
    backup = only_set(checkout.folder / "backups")
    assert sorted(path.name for path in backup.iterdir()) == [
        "artifacts.tar", "blobs.tar", "manifest.json", "mlflow.dump", "outbox.tar", "queue.dump", "version_keys.tar",
        "volant.dump",
    ]  # fmt: skip
    begun = len(checkout.docker_calls)

    done = checkout.make("restore", f"FROM={backup.relative_to(checkout.folder)}")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "Restored. Start it with `make up`.\n"
    calls = checkout.docker_calls[begun:]
    assert calls[0] == "compose build --quiet data-setup queue-setup"
    assert calls[1] == "compose up --detach --wait postgres"
    assert calls[3] == "compose run --rm -T data-setup setup"
    assert calls[-1] == "compose run --rm -T data-setup erase-again"
    assert len([call for call in calls if " pg_restore " in call]) == 3
    unpacked = [call.split()[1] for call in calls if call.startswith(" unpack /")]  # the end of a call of many lines
    assert unpacked == ["/state/outbox", "/version-keys", "/artifacts", "/state/blobs"]


def test_make_restore_asks_for_a_set_and_refuses_one_that_is_not_there(checkout: Checkout) -> None:
    done = checkout.make("restore")
    assert done.stderr.splitlines()[0] == "Name a set: make restore FROM=backups/…"
    done = checkout.make("restore", "FROM=backups/none")
    assert done.returncode != 0
    assert done.stderr.startswith("backups/none is no complete set of a backup")


def test_make_backup_says_that_nothing_runs(checkout: Checkout) -> None:
    done = checkout.make("backup", environment={"DOCKER_RUNNING": ""})
    assert done.returncode != 0
    assert done.stderr.splitlines()[0] == "Start Volant first: make dev, or make up."


def test_make_alone_lists_every_documented_target(checkout: Checkout) -> None:
    listed = [line.split()[1] for line in checkout.make().stdout.splitlines()]
    assert listed == [line.split()[1] for line in checkout.make("help").stdout.splitlines()]
    text = (checkout.folder / "Makefile").read_text()
    assert listed == re.findall(r"^([a-z-]+):.*## ", text, re.MULTILINE)
    phony = " ".join(re.findall(r"^\.PHONY: ((?:.*\\\n)*.*)", text, re.MULTILINE)).replace("\\\n", " ").split()
    assert set(listed) == set(phony) - {"venv", "venv-dev"}


def test_make_up_creates_secrets_builds_starts_and_prints_a_first_call(checkout: Checkout) -> None:
    done = checkout.make("up")
    assert done.returncode == 0, done.stderr
    assert checkout.docker_calls[:4] == [
        "compose version", "info", "compose build", "compose up --detach --wait",
    ]  # fmt: skip
    assert (checkout.folder / "secrets" / "demo_api_key").read_text().startswith("vk_")
    assert "http://127.0.0.1:8000/predict" in done.stdout


def test_make_up_starts_the_services_that_are_named_with_the_compose_files_that_the_settings_need(
    checkout: Checkout,
) -> None:
    done = checkout.make("up", "SERVICES=data-api mlflow", "GPU=1", environment={"AI_DATA_MIRROR": "/mirror"})
    assert done.returncode == 0, done.stderr
    files = "-f docker-compose.gpu.yml -f docker-compose.mirror.yml"
    assert checkout.docker_calls[-1] == f"compose {files} up --detach --wait data-api mlflow"


@pytest.mark.parametrize(
    ("words", "call"),
    [
        (["down"], "compose down"),
        (["ps"], "compose ps --all"),
        (["logs"], "compose logs --follow --tail 100"),
        (["logs", "SERVICES=ai-api trainer"], "compose logs --follow --tail 100 ai-api trainer"),
    ],
)
def test_targets_that_compose_carries_out(checkout: Checkout, words: list[str], call: str) -> None:
    assert checkout.make(*words).returncode == 0
    assert checkout.docker_calls == [call]


def test_make_clean_deletes_the_state_of_both_ways_to_run_after_a_yes(checkout: Checkout) -> None:
    checkout.make("up")
    assert checkout.make("clean", answer="no\n").returncode != 0
    assert (checkout.folder / "secrets" / "demo_api_key").exists()
    done = checkout.make("clean", answer="yes\n")
    assert done.returncode == 0, done.stderr
    assert checkout.docker_calls[-1] == "compose down --volumes --remove-orphans"
    assert not (checkout.folder / "secrets").exists()


def test_make_format_formats_the_code(checkout: Checkout) -> None:
    (checkout.folder / "scripts" / "untidy.py").write_text("import sys\nimport os\nprint( os,sys )\n")
    assert checkout.make("format").returncode == 0
    assert (checkout.folder / "scripts" / "untidy.py").read_text() == "import os\nimport sys\n\nprint(os, sys)\n"


def test_make_campaign_refuses_an_unknown_part(checkout: Checkout) -> None:
    done = checkout.make("campaign", "PART=everything")
    assert done.returncode != 0
    assert done.stderr.splitlines()[0] == "PART must be one of: faults load loops fuzz training"


TESTS = """\
import pytest

def test_a_quick_one(): pass

@pytest.mark.process
def test_a_process(): pass

@pytest.mark.training
def test_a_training(): pass

@pytest.mark.slow
def test_a_slow_one(): pass

@pytest.mark.composed
def test_a_composed_one(): pass

@pytest.mark.campaign(part="faults")
def test_a_fault(): pass

@pytest.mark.campaign(part="loops")
def test_a_loop(): pass
"""
ONLY_NEEDED_PLUGINS = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "xdist.plugin,pytest_cov.plugin"}
"""Those whose options the Makefile uses. Loading all that are installed takes seconds in each of pytest's processes."""


@pytest.mark.parametrize(
    ("words", "passed"),
    [
        (["quick"], 1),
        (["test"], 3),
        (["test-slow"], 1),
        (["campaign"], 2),
        (["campaign", "PART=faults"], 1),
        (["coverage"], 3),
    ],
    ids=str,
)
def test_each_target_of_tests_runs_the_tests_with_its_markers(
    checkout: Checkout, words: list[str], passed: int
) -> None:
    (checkout.folder / "tests").mkdir()
    (checkout.folder / "tests" / "test_selection.py").write_text(TESTS)
    settings = checkout.folder / "pyproject.toml"
    settings.write_text(re.sub(r"^pytest_alembic_.*\n", "", settings.read_text(), flags=re.MULTILINE))
    environment = {name: "" for name in os.environ if name.startswith("PYTEST_")} | ONLY_NEEDED_PLUGINS
    done = checkout.make(*words, environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{passed} passed" in done.stdout


@pytest.mark.slow
def test_make_lock_changes_nothing_that_is_up_to_date(checkout: Checkout) -> None:
    for service in ("ai-api", "data-api"):
        package = service.replace("-", "_")
        for name in ("pyproject.toml", f"{package}/__init__.py"):
            (checkout.folder / service / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / service / name, checkout.folder / service / name)
    done = checkout.make("lock")
    assert done.returncode == 0, done.stderr
    assert (checkout.folder / "constraints.txt").read_text() == (REPOSITORY / "constraints.txt").read_text()


def test_make_pin_writes_the_digest_of_every_public_image_and_make_up_uses_it(checkout: Checkout) -> None:
    digest = f"sha256:{'ab' * 32}"
    done = checkout.make("pin", environment={"DOCKER_DIGEST": digest})
    assert (done.returncode, done.stderr) == (0, "")
    services = yaml.safe_load((checkout.folder / "docker-compose.yml").read_text())["services"]
    python = re.search(r"^ARG PYTHON=(.+)$", (checkout.folder / "ai-api" / "Dockerfile").read_text(), re.MULTILINE)
    assert python
    build = {"build": {"args": {"PYTHON": f"{python[1]}@{digest}"}}}
    pinned = yaml.safe_load((checkout.folder / "docker-compose.digests.yml").read_text())["services"]
    assert pinned == {
        name: build if "build" in service else {"image": f"{service['image']}@{digest}"}
        for name, service in services.items()
    }
    checkout.make("ps")
    assert checkout.docker_calls[-1] == "compose -f docker-compose.digests.yml ps --all"
    assert checkout.make("up").returncode == 0


def test_make_up_refuses_digests_of_another_release(checkout: Checkout) -> None:
    checkout.make("pin", environment={"DOCKER_DIGEST": f"sha256:{'ab' * 32}"})
    file = checkout.folder / "docker-compose.digests.yml"
    file.write_text(file.read_text().replace("prometheus:v3", "prometheus:v2"))
    done = checkout.make("up")
    assert done.returncode != 0
    assert "docker-compose.digests.yml is of other images than this release: make pin writes it anew." in done.stderr
    assert not [call for call in checkout.docker_calls if call.startswith("compose ") and " up " in call]


def test_make_pin_without_a_registry_says_so_and_writes_nothing(checkout: Checkout) -> None:
    done = checkout.make("pin")
    assert done.returncode != 0
    assert re.search(r"No registry gave the digest of \S+\. Nothing was written\.", done.stderr)
    assert not (checkout.folder / "docker-compose.digests.yml").exists()
