"""`ai-api versions`: versions of earlier releases are signed once, and keys are listed and revoked."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ai_api.__main__ import main
from ai_api.registry.registry import Registry
from ai_api.registry.signatures import PublicKeys, SigningKey
from tests.ai.conftest import open_registry
from tests.ai.support.logged import logged_version, small_house

Run = Callable[..., tuple[int, str, str]]
TASK = """
from dataclasses import replace
from ai_api.tasks.housing import TASK as HOUSING
TASK = replace(HOUSING, name="cottage")
"""


@pytest.fixture(scope="module")
def served(mlflow_url: str, secrets_dir: Path, open_folder: Callable[[str], Path]) -> Iterator[Registry]:
    """A registry in which an earlier release has promoted two versions of `cottage`: without signatures and records."""
    folder = open_folder("versions-command")
    (folder / "tasks").mkdir()
    (folder / "tasks" / "cottage.py").write_text(TASK)
    registry = open_registry(mlflow_url, secrets_dir, folder / "versions")
    first, second, _ = (logged_version(registry, "cottage", small_house()).number for _ in range(3))
    registry.promote("cottage", first, None)
    registry.promote("cottage", second, first)
    with registry._connection.client() as client:
        client.set_registered_model_tag("cottage", "volant.champion", "")
        for number in range(first, first + 3):
            client.delete_model_version_tag("cottage", str(number), "volant.signature")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AI_TASKS": "cottage",
            "AI_TASKS_DIR": folder / "tasks",
            "AI_MLFLOW_URL": mlflow_url,
            "AI_SECRETS_DIR": secrets_dir,
            "AI_STATE_DIR": folder / "state",
            "AI_VERSION_KEYS_DIR": folder / "version_keys",
        }.items():
            patch.setenv(name, str(value))
        yield registry


@pytest.fixture
def run(served: Registry, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `ai-api versions` with these words: its status, and what it prints on stdout and stderr."""

    def call(*words: str) -> tuple[int, str, str]:
        status = main(("versions", *words))
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return call


def test_what_serves_and_served_is_listed_and_signed_once(run: Run, served: Registry) -> None:
    one, two, three = reversed(served.versions("cottage"))
    assert not any(map(served.is_signed, (one, two, three)))
    status, listed, _ = run("sign")
    assert (status, listed.splitlines()[-1].endswith("Nothing was signed.")) == (1, True), "nobody could be asked"
    assert one.run_id in listed
    assert two.run_id in listed
    assert three.run_id not in listed, "it never served"
    assert run("sign", "--yes")[0] == 0
    one, two, three = reversed(served.versions("cottage"))
    assert [served.is_signed(version) for version in (one, two, three)] == [True, True, False]
    assert two.signature is not None
    assert two.signature.by == "command line"
    assert not served.alias("cottage").was_moved_in_mlflow, "an upgrade is no move in MLflow"
    assert run("sign")[1].startswith("Nothing to sign")


def test_a_version_that_fails_its_checks_is_not_signed(run: Run, served: Registry) -> None:
    _, two, _ = reversed(served.versions("cottage"))
    with served._connection.client() as client:
        client.delete_model_version_tag("cottage", str(two.number), "volant.signature")
        client.set_model_version_tag("cottage", str(two.number), "volant.digest", "0" * 64)
    status, _, errors = run("sign", "--yes", "--task", "cottage")
    assert (status, "digest" in errors) == (1, True)
    assert not served.is_signed(served.version("cottage", two.number))


def test_keys_are_listed_with_what_they_sign_and_an_old_one_is_revoked(run: Run, secrets_dir: Path) -> None:
    keys = PublicKeys(Path(os.environ["AI_VERSION_KEYS_DIR"]))
    current = SigningKey((secrets_dir / "version_signing_key").read_text().strip()).public["kid"]
    old = SigningKey("the key before")
    keys.publish([old])
    _, listed, _ = run("keys")
    lines = {line.split()[0]: line for line in listed.splitlines()[1:]}
    assert "versions of trainers" in lines[current]
    assert "nothing any more" in lines[old.public["kid"]]
    assert run("revoke", current)[0] == 1
    assert run("revoke", old.public["kid"])[0] == 0
    assert run("revoke", old.public["kid"])[0] == 1
    assert keys.known() == [current]
