"""The connection that Alembic uses: from `data-api setup` or a test, else from the settings, as the tables' owner.

By hand, from the repository's root: `alembic -c data-api/alembic.ini revision --autogenerate -m "what changes"`.
"""

from __future__ import annotations

import re

from alembic import context
from sqlalchemy import Connection

from data_api.database import address, owner_engine, transaction
from data_api.models.people.user import User
from data_api.settings import Settings
from data_api.setup.cluster import OWNER

PARTITION = re.compile(r"predictions_(default|\d{4}_\d{2})")


def is_no_partition(name: str | None, kind: str, _: object) -> bool:
    """Leaves out the partitions: setup and maintenance make them month by month, so the models do not know them."""
    return not (kind == "table" and name and PARTITION.fullmatch(name))


def migrate(connection: Connection) -> None:
    """Runs the Alembic command in the caller's transaction."""
    context.configure(
        connection=connection, target_metadata=User.metadata, include_name=is_no_partition, compare_server_default=True
    )
    with context.begin_transaction():
        context.run_migrations()


connection = context.config.attributes.get("connection")
if connection is not None:
    migrate(connection)
else:
    settings = Settings()
    url = address(
        settings.postgres_host,
        settings.postgres_port,
        settings.postgres_database,
        OWNER,
        settings.secret("postgres_owner_password"),
    )
    with transaction(owner_engine(url)) as session:
        migrate(session.connection())
