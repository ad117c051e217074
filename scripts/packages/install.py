"""Installs packages with uv, or with pip where uv cannot be installed. Needs nothing but Python's standard library.

    python -m scripts.packages.install requirements.txt
    python -m scripts.packages.install --into /opt/venv/bin/python --compile ai-api[boost,image,text]

A folder with a pyproject.toml stands for what the package there depends on, without the package itself.
Every version comes from constraints.txt.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from .pip_settings import uv_environment

UV = "uv==0.13.9"
CONSTRAINTS = "constraints.txt"
ONE_RETRY = ("--retries", "1", "--timeout", "5")
"""For the first package: without a network the error comes within seconds."""
PROJECT = re.compile(r"^(?P<folder>[^\[\]]+)(\[(?P<extras>[\w,-]+)\])?$")


NO_NETWORK = 3
"""Exit status when no package could be downloaded at all."""


class InstallError(Exception):
    """Nothing, or not everything, was installed; the message says why."""

    status = 1


class NoNetwork(InstallError):
    """Packages cannot be downloaded: no network, or no way to the package index."""

    status = NO_NETWORK


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="+", help="files of requirements, or folders of packages with extras")
    parser.add_argument("--into", default=sys.executable, metavar="PYTHON", help="environment to install into")
    parser.add_argument("--compile", action="store_true", help="write bytecode too, for images")
    parser.add_argument("--installer", choices=["uv", "pip"], help="take this one (default: uv, else pip)")
    arguments = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as folder:
            files = [requirements(what, Path(folder)) for what in arguments.what]
            install(files, arguments.into, arguments.installer or installer(), compile_all=arguments.compile)
    except InstallError as error:
        print(str(error) or error.__doc__, file=sys.stderr)
        return error.status
    return 0


def installer() -> str:
    """uv, installed beside the pip of this Python. NoNetwork when no package can be downloaded at all."""
    if pip("install", *ONE_RETRY, UV) == 0:
        return "uv"
    with tempfile.TemporaryDirectory() as folder:
        if pip("download", "--no-deps", "--no-cache-dir", *ONE_RETRY, "--dest", folder, "idna") != 0:
            raise NoNetwork
    print(f"{UV} cannot be installed here; pip is used instead, which takes longer.", flush=True)
    return "pip"


def pip(*words: str) -> int:
    """The status of one pip command."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *words]
    return subprocess.run(command, check=False).returncode


def install(files: list[Path], into: str, program: str, *, compile_all: bool) -> None:
    """Installs what the files ask for into the environment of the Python `into`."""
    wanted = [word for file in files for word in ("-r", str(file))]
    if program == "uv":
        command = [str(Path(sys.executable).with_name("uv")), "pip", "install", "--python", into, "-c", CONSTRAINTS]
        command += ["--build-constraint", CONSTRAINTS, *(["--compile-bytecode"] if compile_all else []), *wanted]
        status = subprocess.run(command, env=uv_environment(), check=False).returncode
    else:
        status = pip("--python", into, "install", "-c", CONSTRAINTS, *wanted)
    if status:
        raise InstallError(f"The installation with {program} failed.")


def requirements(what: str, folder: Path) -> Path:
    """The file of requirements that `what` stands for; one made in `folder` where it names a package's folder."""
    match = PROJECT.match(what)
    project = Path(match["folder"]) / "pyproject.toml" if match else None
    if match is None or project is None or not project.is_file():
        return Path(what)
    described = tomllib.loads(project.read_text())["project"]
    extras = match["extras"].split(",") if match["extras"] else []
    optional = [line for name in extras for line in described["optional-dependencies"][name]]
    path = folder / f"{described['name']}.txt"
    path.write_text("\n".join([*described["dependencies"], *optional]) + "\n")
    return path


if __name__ == "__main__":
    os.chdir(Path(__file__).resolve().parents[2])
    sys.exit(main())
