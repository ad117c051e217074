"""What runs on GitHub: actions pinned by commit, few rights, the same targets as on a developer's machine."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((REPOSITORY / ".github/workflows").glob("*.yml"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_action_is_pinned_by_its_commit_with_the_version_beside_it(path: Path) -> None:
    uses = [line.strip() for line in path.read_text().splitlines() if "uses:" in line]
    assert uses
    for line in uses:
        assert re.fullmatch(r"- uses: [\w-]+/[\w-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", line), line


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_only_read(path: Path) -> None:
    assert yaml.safe_load(path.read_text())["permissions"] == {"contents": "read"}


def test_github_and_the_script_for_a_bare_machine_make_the_same_targets() -> None:
    checks: dict[str, Any] = yaml.safe_load((REPOSITORY / ".github/workflows/ci.yml").read_text())["jobs"]["checks"]
    targets = checks["strategy"]["matrix"]["target"]
    assert f"for target in {' '.join(targets)};" in (REPOSITORY / ".ci/run").read_text()
    assert targets == ["check", "test", "test-slow", "test-stack"]


def test_known_vulnerabilities_are_looked_for_in_the_versions_that_are_installed() -> None:
    jobs = yaml.safe_load((REPOSITORY / ".github/workflows/ci.yml").read_text())["jobs"]
    assert any("--requirement constraints.txt" in step.get("run", "") for step in jobs["audit"]["steps"])


def test_a_commit_is_checked_by_the_programs_of_make_check() -> None:
    hooks = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    dry_run = ["make", "--dry-run", "--old-file=venv-dev", "check"]
    checks = subprocess.run(dry_run, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.splitlines()
    commands = [hook["entry"].replace(" --force-exclude", "") for hook in hooks]
    assert commands == [line.removesuffix(" .") for line in checks]
