"""Where Alembic gets its connection: from `data-api setup` or a test, else from the settings, as the tables' owner.

By hand, from the repository's root: `alembic -c data-api/alembic.ini revision --autogenerate -m "what changes"`.
"""

from __future__ import annotations

import re

from alembic import context
from sqlalchemy import Connection

from data_api.cluster import OWNER
from data_api.database import address, owner_engine
from data_api.models import User
from data_api.settings import Settings

PARTITION = re.compile(r"predictions_(default|\d{4}_\d{2})")


def ours(name: str | None, kind: str, _: object) -> bool:
    """Partitions are made by setup as months go by, so the models do not know them."""
    return not (kind == "table" and name and PARTITION.fullmatch(name))


def migrate(connection: Connection) -> None:
    """Runs what was asked for in the caller's transaction."""
    context.configure(
        connection=connection, target_metadata=User.metadata, include_name=ours, compare_server_default=True
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    migrate(given)
else:
    settings = Settings()
    url = address(
        settings.postgres_host,
        settings.postgres_port,
        settings.postgres_database,
        OWNER,
        settings.secret("postgres_owner_password"),
    )
    with owner_engine(url).begin() as connection:
        migrate(connection)
