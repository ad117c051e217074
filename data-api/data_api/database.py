"""Engines and sessions of Postgres. No other module commits or rolls back."""

from __future__ import annotations

import json
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import cast

import psycopg2
from psycopg2 import extensions
from psycopg2.extensions import POLL_OK, POLL_READ, POLL_WRITE, STATUS_SETUP, set_wait_callback
from pydantic_core import from_json
from sqlalchemy import URL, Engine, MetaData, create_engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.pool import ConnectionPoolEntry, NullPool, QueuePool

from .errors import ConfigurationError, DataAPIError, DatabaseUnavailable
from .metrics import CONNECTIONS, POOL_SIZE, POOL_WAIT_SECONDS, POOL_WAITING, UNAVAILABLE

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
CONNECT_SECONDS = 3
MALFORMED = "DATA_REPLICA_URL must read postgresql://host:port/database"


class Base(DeclarativeBase):
    """Base class of every table."""

    metadata = MetaData(naming_convention=NAMES)


class MeasuredPool(QueuePool):
    """A pool that measures how many requests wait for a connection, and how long. Its name is a label of the
    metrics.
    """

    def _do_get(self) -> ConnectionPoolEntry:
        with (
            POOL_WAITING.labels(self.logging_name).track_inprogress(),
            POOL_WAIT_SECONDS.labels(self.logging_name).time(),
        ):
            return super()._do_get()


class Database:
    """A pool of connections that are checked before use; its sessions are one transaction each."""

    def __init__(
        self, url: URL, *, pool_size: int, pool_wait_seconds: float, statement_seconds: int, name: str = "main"
    ) -> None:
        self.engine = create_engine(
            url,
            poolclass=MeasuredPool,
            pool_logging_name=name,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=pool_wait_seconds,
            pool_use_lifo=True,  # keeps few connections in use, so that idle ones can be closed
            pool_pre_ping=True,
            hide_parameters=True,  # an error that is logged must not carry a row
            json_deserializer=from_json,  # four times as fast as json.loads
            json_serializer=partial(json.dumps, ensure_ascii=False, allow_nan=False),
            connect_args={
                "connect_timeout": CONNECT_SECONDS,
                "application_name": "data-api",
                "tcp_user_timeout": statement_seconds * 1000,
                "keepalives_idle": statement_seconds,
                "options": f"-c timezone=UTC -c statement_timeout={statement_seconds}s"
                f" -c idle_in_transaction_session_timeout=60s",
            },
        )
        CONNECTIONS.labels(name).set_function(cast("QueuePool", self.engine.pool).checkedout)
        POOL_SIZE.labels(name).set(pool_size)

    @contextmanager
    def session(self) -> Iterator[Session]:
        """One transaction: committed at the end, rolled back when anything is raised, unless the error has
        `keeps_changes`.
        """
        with unavailable(), Session(self.engine, expire_on_commit=False) as session:
            try:
                yield session
            except DataAPIError as error:
                if error.keeps_changes:
                    session.commit()
                raise
            session.commit()

    def close(self) -> None:
        """Closes every connection."""
        self.engine.dispose()


def commit_early(session: Session) -> None:
    """Commits what a request has changed so far, before its end, and gives its connection and its locks back."""
    session.commit()


def release(session: Session) -> None:
    """Gives a request's connection back through a rollback, so that none is held during a long wait."""
    session.rollback()


@contextmanager
def transaction(engine: Engine) -> Iterator[Session]:
    """One transaction of a job or of the setup: committed at the end, rolled back when anything is raised."""
    with Session(engine) as session, session.begin():
        yield session


@contextmanager
def unavailable() -> Iterator[None]:
    """Turns errors that mean that Postgres is unreachable or too slow into DatabaseUnavailable."""
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeout) as error:
        UNAVAILABLE.inc()
        raise DatabaseUnavailable from error
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
        UNAVAILABLE.inc()
        raise DatabaseUnavailable from error


def replica_address(url: str, user: str, password: str) -> URL:
    """The address in the setting `DATA_REPLICA_URL`, for one of the roles; ConfigurationError when it is malformed or
    holds a password.
    """
    try:
        found = make_url(url)
    except ArgumentError:
        raise ConfigurationError(f"{MALFORMED}.") from None
    if found.get_backend_name() != "postgresql" or not found.host or not found.database:
        raise ConfigurationError(f"{MALFORMED}.")
    if found.username or found.password:
        raise ConfigurationError(f"{MALFORMED}, without user and password: data-api has its own.")
    return address(found.host, found.port or 5432, found.database, user, password)


def address(host: str, port: int, database: str, user: str, password: str) -> URL:
    """The URL by which a role connects to a database."""
    return URL.create("postgresql+psycopg2", user, password, host, port, database)


def owner_engine(url: URL) -> Engine:
    """An engine for setup and maintenance. It waits at most 10 seconds for a lock, so that it does not block the
    service.
    """
    return create_engine(
        url,
        poolclass=NullPool,
        hide_parameters=True,
        connect_args={
            "connect_timeout": CONNECT_SECONDS,
            "application_name": "data-api setup",
            "options": "-c timezone=UTC -c lock_timeout=10s",
        },
    )


def set_wait_timeout(seconds: float) -> None:
    """Sets, for the whole process, how long psycopg2 waits for Postgres before it raises OperationalError.

    Without it libpq waits without limit for a server that is frozen or cut off: the server's own statement timeout does
    not reach the client then.
    """

    def wait(connection: extensions.connection) -> None:
        connecting = connection.status == STATUS_SETUP
        deadline = time.monotonic() + (CONNECT_SECONDS if connecting else seconds)
        events = {POLL_READ: select.POLLIN, POLL_WRITE: select.POLLOUT}
        while (state := connection.poll()) != POLL_OK:
            sockets = select.poll()
            sockets.register(connection.fileno(), events[state])
            if not sockets.poll(max(0, deadline - time.monotonic()) * 1000):
                raise psycopg2.OperationalError("Postgres is silent")

    set_wait_callback(wait)
