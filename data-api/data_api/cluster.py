"""Roles and databases of the Postgres cluster, made by its superuser. Every role has a database and enters no other."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import ISOLATION_LEVEL_AUTOCOMMIT, cursor

from .database import CONNECT_SECONDS
from .errors import SetupFailed

OWNER, APP, QUEUE, MLFLOW = "volant_owner", "volant_app", "volant_queue", "volant_mlflow"
SUPERUSER = "postgres"
QUIET = {"log_min_error_statement": "panic", "log_error_verbosity": "terse"}
"""Keeps statements and rows out of the log of Postgres when a row is refused: they hold inputs and e-mails."""
SETUP_LOCK = 0x766F6C616E74
"""Key of the advisory lock that lets one setup work at a time; it spells "volant"."""


@contextmanager
def superuser(host: str, port: int, password: str, wait_seconds: float) -> Iterator[cursor]:
    """A cursor of the superuser, alone among setups; waits for a Postgres that is still starting."""
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
        with connection.cursor() as commands:
            commands.execute("SELECT pg_advisory_lock(%s)", (SETUP_LOCK,))
            yield commands


def make_roles(commands: cursor, passwords: Mapping[str, str]) -> None:
    """Makes the roles that are missing and sets every password again, so that a changed secret takes effect."""
    for role, password in passwords.items():
        commands.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,))
        verb = "ALTER" if commands.fetchone() else "CREATE"
        commands.execute(
            sql.SQL("{} ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD {}").format(
                sql.SQL(verb), sql.Identifier(role), sql.Literal(password)
            )
        )
        for name, value in QUIET.items():
            commands.execute(
                sql.SQL("ALTER ROLE {} SET {} = {}").format(
                    sql.Identifier(role), sql.Identifier(name), sql.Literal(value)
                )
            )


def make_database(commands: cursor, name: str, owner: str, *guests: str) -> None:
    """Makes a database that its owner and the guests enter, and nobody else."""
    commands.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
    database, role = sql.Identifier(name), sql.Identifier(owner)
    if not commands.fetchone():
        commands.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, role))
    commands.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
    for guest in guests:
        commands.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, sql.Identifier(guest)))


def close_doors(commands: cursor) -> None:
    """Keeps our roles out of the databases that come with Postgres."""
    for name in ("postgres", "template1"):
        commands.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name)))
