"""The migrations beside the package, and running them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

INI = Path(__file__).parents[1] / "alembic.ini"


def config(connection: Connection | None = None) -> Config:
    """Alembic's configuration, bound to a connection that it shall use."""
    made = Config(INI)
    made.attributes["connection"] = connection
    return made


def upgrade(connection: Connection, target: str = "head") -> None:
    """Applies what is missing."""
    command.upgrade(config(connection), target)


def downgrade(connection: Connection, target: str) -> None:
    """Takes back what is newer than `target`."""
    command.downgrade(config(connection), target)


@cache
def head() -> str | None:
    """The migration that this code expects."""
    return ScriptDirectory.from_config(config()).get_current_head()
