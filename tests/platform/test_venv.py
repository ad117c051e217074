"""The first step of `make dev` on machines that lack something: one clear line, soon."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("requirements.txt", "requirements-dev.txt", "constraints.txt")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A checkout without packages."""
    for name in (*PACKAGES, "ai-api", "data-api", "Makefile", ".env"):
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
        else:
            shutil.copy(source, tmp_path / name)
    shutil.copytree(REPOSITORY / "scripts", tmp_path / "scripts")
    return tmp_path


def make_venv(copy: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--no-print-directory", "venv"],
        cwd=copy,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_machine_without_a_new_python_is_told_so(copy: Path) -> None:
    old = copy / "python3"
    old.write_text("#!/bin/sh\nexit 1  # what the question for 3.11 gives an older one\n")
    old.chmod(0o755)
    done = make_venv(copy, PYTHON=str(old))
    assert done.returncode != 0
    first, *rest = done.stderr.splitlines()
    assert first.startswith("Volant needs Python 3.11 or newer; none is on the path")
    assert [line for line in rest if not line.startswith("make")] == []


def test_a_machine_without_a_network_is_told_so_within_seconds(copy: Path) -> None:
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}
    started = time.monotonic()
    done = make_venv(copy, PYTHON=sys.executable, **nowhere)
    assert done.returncode != 0
    first, *rest = done.stderr.splitlines()
    assert first.startswith("Packages cannot be downloaded: no network")
    assert [line for line in rest if not line.startswith("make")] == []
    assert time.monotonic() - started < 30
