"""A copy of what the Makefile needs, in which a test types its targets, with a stand-in for Docker at the edge."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
FILES = ("Makefile", ".env", "docker-compose.yml", "docker-compose.gpu.yml", "docker-compose.mirror.yml")
DOCKER = """#!/bin/sh
# Writes down how it is called, reads nothing, and prints what the file named after the first known word holds.
printf '%s\\n' "$*" >>"$DOCKER_LOG"
case " $* " in
*" pg_restore "* | *" unpack "*) cat >/dev/null ;;
esac
case " $* " in
*" ps --services "*) printf '%s\\n' $DOCKER_RUNNING ;;
*" psql "*) echo 0 ;;
*" pg_dump "* | *" outbox "* | *" folder "*) echo content ;;
esac
"""
"""A `docker` for tests of the commands themselves; what the containers do is tested by `make test-stack`."""


class Checkout:
    """A folder with the Makefile, the scripts and the packages of this repository, and state of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in FILES:
            shutil.copy(REPOSITORY / name, folder / name)
        shutil.copytree(REPOSITORY / "scripts", folder / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
        (folder / ".venv").symlink_to(REPOSITORY / ".venv")
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
        """Types `make WORDS`. The packages are those of this repository, so the target `venv` is left out."""
        return subprocess.run(
            ["make", "--no-print-directory", "--old-file=venv", *words], cwd=self.folder,
            env={**self.environment, **(environment or {})}, input=answer, capture_output=True, text=True, check=False,
        )  # fmt: skip

    @property
    def docker_calls(self) -> list[str]:
        """Every call of `docker` so far, without the names of the compose files."""
        log = self.folder / "docker.log"
        calls = log.read_text().splitlines() if log.exists() else []
        return [call.replace(" -f docker-compose.yml", "") for call in calls]
