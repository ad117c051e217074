"""Folders of state that other users of this machine cannot enter."""

from __future__ import annotations

from pathlib import Path

UMASK = 0o077
"""For every process of `make dev`, backups, restores and `make results`: only its owner can read a new file."""
OWNER_ONLY = 0o700


class NotPrivate(Exception):
    """A folder is open to other users and cannot be closed; the message says what to do."""


def keep_private(*folders: Path) -> None:
    """Makes the folders that are missing and closes the others, which protects files of earlier releases too."""
    for folder in folders:
        folder.mkdir(mode=OWNER_ONLY, parents=True, exist_ok=True)
        if folder.stat().st_mode & UMASK:
            try:
                folder.chmod(OWNER_ONLY)
            except PermissionError as error:
                raise NotPrivate(
                    f"{folder} is open to other users of this machine and belongs to one of them: let its owner run"
                    f" `chmod 700 {folder}` and give it to the account that runs Volant."
                ) from error
