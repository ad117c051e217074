"""Roles and databases of the Postgres cluster, made by its superuser. Each role may connect to one database."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import ISOLATION_LEVEL_AUTOCOMMIT
from psycopg2.extensions import cursor as PostgresCursor  # noqa: N812  a class

from data_api.database import CONNECT_SECONDS
from data_api.errors import SetupFailed

OWNER, APP, QUEUE, MLFLOW = "volant_owner", "volant_app", "volant_queue", "volant_mlflow"
SUPERUSER = "postgres"
LOG_SETTINGS = {"log_min_error_statement": "panic", "log_error_verbosity": "terse"}
"""Settings of each role: no statement and no row in the log of Postgres, as they hold inputs and e-mails."""
SETUP_LOCK = 0x766F6C616E74
"""Key of the advisory lock under which one setup runs at a time: "volant" in ASCII."""


@contextmanager
def superuser(host: str, port: int, password: str, wait_seconds: float) -> Iterator[PostgresCursor]:
    """A cursor of the superuser, under the lock of setups. Waits up to `wait_seconds` for Postgres to start."""
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            connection = psycopg2.connect(
                host=host,
                port=port,
                dbname="postgres",
                user=SUPERUSER,
                password=password,
                connect_timeout=CONNECT_SECONDS,
            )
            break
        except psycopg2.OperationalError as error:
            if "authentication failed" in str(error):
                raise SetupFailed(
                    "Postgres refuses the password in the secret postgres_password: its data was made with another one."
                ) from None
            if time.monotonic() > deadline:
                raise SetupFailed(f"Postgres does not take connections at {host}:{port}.") from None
            time.sleep(0.2)
    with closing(connection):
        connection.set_isolation_level(ISOLATION_LEVEL_AUTOCOMMIT)  # CREATE DATABASE refuses a transaction
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", (SETUP_LOCK,))
            yield cursor


def make_roles(cursor: PostgresCursor, passwords: Mapping[str, str]) -> None:
    """Makes the roles that are missing and sets every password again, so that a changed secret takes effect."""
    for role, password in passwords.items():
        cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,))
        verb = "ALTER" if cursor.fetchone() else "CREATE"
        cursor.execute(
            sql.SQL("{} ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD {}").format(
                sql.SQL(verb), sql.Identifier(role), sql.Literal(password)
            )
        )
        for name, value in LOG_SETTINGS.items():
            cursor.execute(
                sql.SQL("ALTER ROLE {} SET {} = {}").format(
                    sql.Identifier(role), sql.Identifier(name), sql.Literal(value)
                )
            )


def make_database(cursor: PostgresCursor, name: str, owner: str, *others: str) -> None:
    """Makes a database that only its owner and the other roles named here may connect to."""
    cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
    database, role = sql.Identifier(name), sql.Identifier(owner)
    if not cursor.fetchone():
        cursor.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, role))
    cursor.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
    for other in others:
        cursor.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, sql.Identifier(other)))


def revoke_public_access(cursor: PostgresCursor) -> None:
    """Keeps the roles out of the databases that come with Postgres."""
    for name in ("postgres", "template1"):
        cursor.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name)))
