"""A copy of what the Makefile needs, in which a test types its targets, with a program in the place of `docker`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
FILES = (
    "Makefile", ".env", "pyproject.toml", "requirements.txt", "requirements-dev.txt", "constraints.txt",
    "docker-compose.yml", "docker-compose.gpu.yml", "docker-compose.mirror.yml", "ai-api/Dockerfile",
)  # fmt: skip
DOCKER = """#!/bin/sh
# Logs how it is called, and prints what the scripts expect of some calls.
printf '%s\\n' "$*" >>"$DOCKER_LOG"
case " $* " in
*" pg_restore "* | *" unpack "*) cat >/dev/null ;;
esac
case " $* " in
*" ps --services "*) printf '%s\\n' $DOCKER_RUNNING ;;
*" psql "*) echo 0 ;;
*" imagetools inspect "*) printf '%s' "${DOCKER_DIGEST:-}" ;;
*" pg_dump "* | *" outbox "* | *" folder "*) echo content ;;
esac
"""
"""A `docker` for tests of the commands themselves; what the containers do is tested by `make test-stack`."""


class Checkout:
    """A folder with the Makefile, the scripts and the packages of this repository, and state of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in FILES:
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copy(REPOSITORY / name, folder / name)
        shutil.copytree(REPOSITORY / "scripts", folder / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
        (folder / ".venv").symlink_to(sys.prefix)
        programs = folder / "programs"
        programs.mkdir()
        (programs / "docker").write_text(DOCKER)
        (programs / "docker").chmod(0o755)
        self.environment = {
            **os.environ,
            "PATH": f"{programs}:{os.environ['PATH']}",
            "DOCKER_LOG": str(folder / "docker.log"),
            "AI_DATA_MIRROR": "",
        }

    def make(
        self, *words: str, answer: str = "", environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Types `make WORDS`. The packages are those of this repository, so nothing is installed."""
        return subprocess.run(
            ["make", "--no-print-directory", "--old-file=venv", "--old-file=venv-dev", *words], cwd=self.folder,
            env={**self.environment, **(environment or {})}, input=answer, capture_output=True, text=True, check=False,
        )  # fmt: skip

    @property
    def docker_calls(self) -> list[str]:
        """Every call of `docker` so far, without the names of the compose files."""
        log = self.folder / "docker.log"
        calls = log.read_text().splitlines() if log.exists() else []
        return [call.replace(" -f docker-compose.yml", "") for call in calls]
