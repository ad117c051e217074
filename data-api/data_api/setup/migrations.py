"""Alembic migrations: they lie beside the package, not in it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

INI = Path(__file__).parents[2] / "alembic.ini"


def config(connection: Connection | None = None) -> Config:
    """Alembic's configuration, bound to a connection to migrate; None: one from the settings."""
    made = Config(INI)
    made.attributes["connection"] = connection
    return made


def upgrade(connection: Connection, target: str = "head") -> None:
    """Applies every migration up to `target` that is missing."""
    command.upgrade(config(connection), target)


def downgrade(connection: Connection, target: str) -> None:
    """Reverts every migration after `target`."""
    command.downgrade(config(connection), target)


@cache
def head() -> str | None:
    """The id of the newest migration, which this code expects in the database."""
    return ScriptDirectory.from_config(config()).get_current_head()
