"""`make lock`: writes constraints.txt, the one list of every version that pip, uv, CI and both images install.

Versions that are there stay; --upgrade takes the newest that the packages allow.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

from .install import CONSTRAINTS, UV, pip
from .pip_settings import uv_environment

HEADER = "# Every version that is installed, direct or not. Made by `make lock` from requirements-dev.txt.\n"
LEFT_OUT = re.compile(r"^(-e|nvidia-|cuda-|triton\b)")
"""Our own packages, and what torch's CUDA build brings: those must fit torch's wheel, which differs by machine."""
LOCAL_PART = re.compile(r"^([\w.-]+==[^+\s;]+)\+[\w.]+")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--upgrade", action="store_true", help="the newest versions that the packages allow")
    upgrade = ["--upgrade"] if parser.parse_args().upgrade else []
    if pip("install", UV):
        return 1
    command = [
        str(Path(sys.executable).with_name("uv")), "pip", "compile", "--quiet", "--universal",
        "--python-version", "3.11", "--no-annotate", "--no-header", "--no-emit-index-url", *upgrade,
        "--output-file", CONSTRAINTS, "requirements-dev.txt",
    ]  # fmt: skip
    done = subprocess.run(command, env=uv_environment(), check=False)
    if done.returncode == 0:
        Path(CONSTRAINTS).write_text(HEADER + portable(Path(CONSTRAINTS).read_text()))
    return done.returncode


def portable(compiled: str) -> str:
    """The lines of uv without what holds for one machine alone."""
    lines = [LOCAL_PART.sub(r"\1", line) for line in compiled.splitlines() if not line.startswith(("#", " "))]
    return "".join(f"{line}\n" for line in lines if not LEFT_OUT.match(line))


if __name__ == "__main__":
    os.chdir(Path(__file__).resolve().parents[2])
    sys.exit(main())
