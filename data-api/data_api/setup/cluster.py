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
CONNECTION_SHARES = {OWNER: 0.08, APP: 0.4, QUEUE: 0.3, MLFLOW: 0.2}
"""Most connections of each role, as a share of those that Postgres has for others than superusers: a role that takes
all of its own leaves the others theirs. Of 200 (as we start Postgres) 15, 78, 59 and 39: room for six data-api with
`DATA_POOL_SIZE` of 10, and for ten instances of ai-api and trainers.
"""
SETUP_LOCK = 0x766F6C616E74
"""Key of the advisory lock under which one setup runs at a time: "volant" in ASCII."""


@contextmanager
def superuser(
    host: str, port: int, password: str, wait_seconds: float, database: str = "postgres"
) -> Iterator[PostgresCursor]:
    """A cursor of the superuser. Waits up to `wait_seconds` for Postgres to start."""
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            connection = psycopg2.connect(
                host=host,
                port=port,
                dbname=database,
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
            yield cursor


def lock_setup(cursor: PostgresCursor) -> None:
    """Waits until no other setup runs, and keeps others out until the connection ends."""
    cursor.execute("SELECT pg_advisory_lock(%s)", (SETUP_LOCK,))


def make_roles(cursor: PostgresCursor, passwords: Mapping[str, str]) -> None:
    """Makes the roles that are missing, and sets password, connection limit and settings of each again: a changed
    secret takes effect, and what a role has changed of itself, which Postgres cannot forbid, does not last.
    """
    cursor.execute(
        "SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int"
    )
    (available,) = cursor.fetchone() or (0,)
    for role, password in passwords.items():
        cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,))
        verb = "ALTER" if cursor.fetchone() else "CREATE"
        cursor.execute(
            sql.SQL(
                "{} ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
                " CONNECTION LIMIT {} PASSWORD {}"
            ).format(
                sql.SQL(verb),
                sql.Identifier(role),
                sql.Literal(max(1, int(available * CONNECTION_SHARES[role]))),
                sql.Literal(password),
            )
        )
        _reset_settings(cursor, role)
        for name, value in LOG_SETTINGS.items():
            cursor.execute(
                sql.SQL("ALTER ROLE {} SET {} = {}").format(
                    sql.Identifier(role), sql.Identifier(name), sql.Literal(value)
                )
            )


def _reset_settings(cursor: PostgresCursor, role: str) -> None:
    """Removes every setting of a role, in all databases and in each."""
    cursor.execute(sql.SQL("ALTER ROLE {} RESET ALL").format(sql.Identifier(role)))
    cursor.execute(
        "SELECT datname FROM pg_db_role_setting JOIN pg_database d ON d.oid = setdatabase"
        " JOIN pg_roles r ON r.oid = setrole WHERE rolname = %s",
        (role,),
    )
    for (database,) in cursor.fetchall():
        reset = sql.SQL("ALTER ROLE {} IN DATABASE {} RESET ALL")
        cursor.execute(reset.format(sql.Identifier(role), sql.Identifier(database)))


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


def restrict_functions(cursor: PostgresCursor) -> None:
    """Takes from every role, in the database of the cursor, what Postgres allows by default: large objects, which no
    grant on tables covers, and, in databases made before Postgres 15, new tables in the schema `public`.
    """
    cursor.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    cursor.execute(
        "SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace"
        " AND proname ~ '^lo(_|read$|write$)' AND has_function_privilege('public', oid, 'EXECUTE')"
    )
    for (signature,) in cursor.fetchall():
        cursor.execute(sql.SQL("REVOKE EXECUTE ON FUNCTION {} FROM PUBLIC").format(sql.SQL(signature)))
