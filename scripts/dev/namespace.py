"""Runs a program in a user namespace of its own: python namespace.py UID GID PROGRAM …

There the caller's user id is called UID, so that a program which refuses root runs; on the machine nothing changes,
and its files belong to the caller. Linux only. Standard library only.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

NEW_USER_NAMESPACE = 0x10000000


def main() -> None:
    uid, gid, *command = sys.argv[1:]
    outer_uid, outer_gid = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(NEW_USER_NAMESPACE):
        sys.exit(f"no user namespace: {os.strerror(ctypes.get_errno())}")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {outer_uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {outer_gid} 1")
    os.execvp(command[0], command)  # noqa: S606  # keeps the process id, which the caller signals


if __name__ == "__main__":
    main()
