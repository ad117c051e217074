"""The environment of a training: commit, interpreter, packages, processor or GPU, threads."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from importlib.metadata import distributions
from inspect import getfile
from pathlib import Path

from ai_api.task import Row

PACKAGE = Path(__file__).resolve().parents[1]
CODE = (
    "corrections.py", "datasets.py", "inference.py", "pipeline.py", "sources.py", "task.py", "estimators/*.py",
    "evaluation/*.py", "features/*.py", "images/*.py", "tasks/*.py", "tracking/*.py", "training/*.py",
)  # fmt: skip
"""The files that can change a training's result; serving, the calls and the command line cannot."""


def git_commit() -> str:
    """The commit of the repository in this folder, with `-dirty` where this package differs from it; "" without one."""
    commit = _git("rev-parse", "HEAD")
    return f"{commit}-dirty" if commit and _git("status", "--porcelain", "--", str(PACKAGE)) else commit


def _git(*words: str) -> str:
    try:
        done = subprocess.run(["git", *words], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def code_digest(row: type[Row]) -> str:
    """A digest of the files that can change a training's result: this package's, and the file of the task's row."""
    files = sorted({Path(getfile(row)), *(path for name in CODE for path in PACKAGE.glob(name))})
    digest = hashlib.sha256(b"".join(path.name.encode() + path.read_bytes() for path in files))
    return digest.hexdigest()[:16]


def machine() -> dict[str, str]:
    """python, platform, processor, cpus, threads and device, each as a short text."""
    cpus = len(os.sched_getaffinity(0))
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cpus": str(cpus),
        "threads": os.environ.get("OMP_NUM_THREADS") or str(cpus),
        "device": _device(),
    }


def packages() -> dict[str, str]:
    """Every installed package with its version."""
    return dict(sorted({str(package.metadata["Name"]): package.version for package in distributions()}.items()))


def _processor() -> str:
    """The model of the processor, or that of Python's `platform` without /proc/cpuinfo."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _device() -> str:
    """The name of the GPU that torch sees, if the training imported torch; otherwise "cpu"."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    return "cpu"
