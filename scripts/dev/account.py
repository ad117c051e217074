"""The OS account that Postgres runs under. As root it needs another one, because Postgres refuses to be root.

Standard library only: `python -m scripts.dev.account` checks this before anything is installed.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

OS_USER = "volant-postgres"
SHARED_USER = "nobody"
"""Taken where no user can be made: it exists nearly everywhere."""
NAMESPACE = Path(__file__).with_name("namespace.py")


class PostgresError(Exception):
    """Postgres cannot run here; the message says what to change."""


class PopenOptions(TypedDict, total=False):
    """Arguments of subprocess.Popen that change the account."""

    user: int
    group: int
    extra_groups: list[str | int]


@dataclass(frozen=True)
class Account:
    """Which user a program of Postgres runs as."""

    uid: int
    gid: int
    """Who must own the data folder."""
    is_switched: bool = False
    """Whether these are others than the caller's."""
    prefix: tuple[str, ...] = ()
    """What goes before a command."""

    @property
    def options(self) -> PopenOptions:
        """Arguments for Popen that change the account."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.is_switched else {}


def account(*, create: bool = True) -> Account:
    """The account for Postgres, made if need be (and `create`). PostgresError when there is none on this machine.

    Not root: the caller's own. Root: `volant-postgres`, or where no user can be made, `nobody`. Root that may not
    change its user: a user namespace in which root's own user id has another number.
    """
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    user = own_user(create=create)
    switched = Account(user.pw_uid, user.pw_gid, is_switched=True)
    if works(switched):
        return switched
    namespace = (sys.executable, "-S", str(NAMESPACE), str(user.pw_uid), str(user.pw_gid))
    mapped = Account(os.geteuid(), os.getegid(), prefix=namespace)
    if works(mapped):
        return mapped
    raise PostgresError(
        "Postgres refuses to run as root, and this root may neither change its user (CAP_SETUID, CAP_SETGID) nor make "
        "a user namespace (CAP_SETFCAP): run this as another user than root, or give the container these capabilities."
    )


def own_user(*, create: bool) -> pwd.struct_passwd:
    """The user `volant-postgres`, made if need be; SHARED_USER where that is impossible."""
    found = user_named(OS_USER)
    if found is None and create and shutil.which("useradd"):
        useradd = ["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", OS_USER]
        subprocess.run(useradd, check=False, capture_output=True)  # another process may have made it meanwhile
        found = user_named(OS_USER)
    found = found or user_named(SHARED_USER)
    if found is None:
        raise PostgresError(
            f"Postgres refuses to run as root, and there is no user {SHARED_USER}: run this as another user."
        )
    return found


def user_named(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def works(candidate: Account) -> bool:
    """Whether a program can be started under this account."""
    try:
        done = subprocess.run(
            [*candidate.prefix, "true"], cwd="/", check=False, capture_output=True, **candidate.options
        )
    except (PermissionError, OSError):
        return False
    return done.returncode == 0


if __name__ == "__main__":
    try:
        account(create=False)
    except PostgresError as error:
        sys.exit(str(error))
