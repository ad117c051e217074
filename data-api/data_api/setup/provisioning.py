"""`data-api setup`: from an empty Postgres to one that data-api, the queue and MLflow can use. Safe to repeat."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime

from data_api.crud.predictions import partition
from data_api.database import address, owner_engine, transaction
from data_api.security import Passwords

from . import migrations
from .accounts import create_first_accounts
from .cluster import (
    APP,
    MLFLOW,
    OWNER,
    QUEUE,
    lock_setup,
    make_database,
    make_roles,
    restrict_functions,
    revoke_public_access,
    superuser,
)
from .grants import grant

log = logging.getLogger("data_api.setup")


def provision(
    host: str, port: int, database: str, secret: Callable[[str], str], *, wait_seconds: float, partitions_ahead: int
) -> None:
    """Makes roles, databases, tables, grants, partitions and the first two accounts, where they are missing."""
    passwords = {
        OWNER: secret("postgres_owner_password"),
        APP: secret("postgres_app_password"),
        QUEUE: secret("postgres_queue_password"),
        MLFLOW: secret("postgres_mlflow_password"),
    }
    password = secret("postgres_password")
    with superuser(host, port, password, wait_seconds) as cursor:
        lock_setup(cursor)
        make_roles(cursor, passwords)
        make_database(cursor, database, OWNER, APP)
        make_database(cursor, "queue", QUEUE)
        make_database(cursor, "mlflow", MLFLOW)
        revoke_public_access(cursor)
        for made_database in (database, "queue", "mlflow"):
            with superuser(host, port, password, wait_seconds, made_database) as inside:
                restrict_functions(inside)
        engine = owner_engine(address(host, port, database, OWNER, passwords[OWNER]))
        with transaction(engine) as session:
            migrations.upgrade(session.connection())
            grant(session)
        with transaction(engine) as session:
            made = partition.make(session.connection(), datetime.now(UTC), partitions_ahead)
        with transaction(engine) as session:
            create_first_accounts(session, Passwords(at_once=1), secret("admin_password"), secret("demo_api_key"))
    log.info("ready database=%s new_partitions=%d", database, len(made))
