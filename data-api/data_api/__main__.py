"""The command line: `data-api setup`, `serve`, `maintain`, `erase-again`, and the commands of commands.py."""

from __future__ import annotations

import argparse
import ctypes
import gc
import logging
import sys
from contextlib import suppress
from datetime import timedelta

import uvicorn
from fastapi import FastAPI
from prometheus_client import REGISTRY, start_http_server
from sqlalchemy import Engine

from .accuracy import recent as recent_accuracy
from .commands import add_commands
from .database import Database, address, owner_engine, set_wait_timeout
from .errors import DataAPIError
from .http.body.connection import DeadlineProtocol
from .main import create_app
from .maintenance.erasure import replay
from .maintenance.rounds import run_forever, run_once
from .maintenance.steps import MaintenancePlan
from .metrics import RecentAccuracy
from .settings import Settings
from .setup.cluster import OWNER
from .setup.provisioning import provision

DRAIN_SECONDS = 10
START_FAILED = 3
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
PASSWORD_BYTES = 20 * 2**20
"""Memory that hashing one password takes, rounded up."""
GC_THRESHOLDS = (50_000, 20, 100)
"""Thresholds of the garbage collector's generations: new objects before a collection of the youngest, then collections
of one generation before one of the next.
"""


def main(arguments: list[str] | None = None) -> int:
    """Runs one command. Errors of data-api are printed in one line, with exit status 1."""
    parser = argparse.ArgumentParser(
        prog="data-api", description="Stores accounts, predictions and feedback of Volant."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, run, help_text in (
        ("setup", setup, "make roles, databases, tables, the admin and the demo key; safe to repeat"),
        ("serve", serve, "serve HTTP until SIGTERM or Ctrl-C"),
        ("erase-again", erase_again, "erase again every person who was erased before; run it after restoring a backup"),
    ):
        commands.add_parser(name, help=help_text).set_defaults(run=run)
    maintenance = commands.add_parser("maintain", help="make partitions, delete expired rows, erase people")
    maintenance.add_argument("--every", type=interval_seconds, metavar="SECONDS", help="keep running, with rounds")
    maintenance.set_defaults(run=maintain)
    add_commands(commands)
    chosen = parser.parse_args(arguments)
    settings = Settings()
    logging.basicConfig(
        level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stdout, force=True
    )
    try:
        chosen.run(settings, chosen)
    except DataAPIError as error:
        print(f"data-api {chosen.command}: {error}", file=sys.stderr)
        return 1
    return 0


def setup(settings: Settings, _: argparse.Namespace) -> None:
    """Prepares Postgres, then erases people whose tombstones only the file has."""
    logging.getLogger("alembic").setLevel(logging.WARNING)
    provision(
        settings.postgres_host,
        settings.postgres_port,
        settings.postgres_database,
        settings.secret,
        wait_seconds=settings.setup_wait_seconds,
        partitions_ahead=settings.partitions_ahead,
    )
    replay(owner_of_tables(settings), settings.tombstones_file)


def erase_again(settings: Settings, _: argparse.Namespace) -> None:
    """Erases every person again who was erased before: a restored backup may have brought rows back."""
    print(f"{replay(owner_of_tables(settings), settings.tombstones_file, repeat=True)} people were erased again.")


def owner_of_tables(settings: Settings) -> Engine:
    """An engine that connects as the owner of the tables."""
    password = settings.secret("postgres_owner_password")
    where = address(settings.postgres_host, settings.postgres_port, settings.postgres_database, OWNER, password)
    return owner_engine(where)


def maintain(settings: Settings, chosen: argparse.Namespace) -> None:
    """One round of maintenance, or rounds until SIGTERM or Ctrl-C. A step that is cut off is rolled back and repeated
    in the next round.
    """
    plan = MaintenancePlan(
        partitions_ahead=settings.partitions_ahead,
        pending_days=settings.pending_days,
        token_lifetime=timedelta(seconds=settings.access_token_seconds),
        tombstones=settings.tombstones_file,
    )
    if chosen.every:
        start_http_server(settings.maintain_metrics_port, settings.metrics_host)
        run_forever(owner_of_tables(settings), plan, chosen.every)
    run_once(owner_of_tables(settings), plan)


def interval_seconds(value: str) -> float:
    """The number of seconds in an argument; ValueError unless it is at least 1 and finite."""
    number = float(value)
    if not 1 <= number < 1e9:
        raise ValueError
    return number


def serve(settings: Settings, _: argparse.Namespace) -> None:
    """Serves HTTP until SIGTERM or Ctrl-C, then waits up to `DRAIN_SECONDS` for requests in flight."""
    configure_malloc(settings.sign_ins_at_once)
    app = create_app(settings)
    set_wait_timeout(settings.statement_seconds + 1)
    database: Database = app.state.context.database
    REGISTRY.register(RecentAccuracy(lambda: recent_accuracy(database)))
    start_http_server(settings.metrics_port, settings.metrics_host)
    freeze_startup_objects()
    server = http_server(app, settings)
    with suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        sys.exit(START_FAILED)


def http_server(app: FastAPI, settings: Settings) -> uvicorn.Server:
    """The server of the app. When it is stopped it refuses connections and waits for requests in flight."""
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=DeadlineProtocol,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    return uvicorn.Server(config)


def configure_malloc(concurrent_hashes: int) -> None:
    """Makes glibc use one heap for all threads and return its free end to the system. By default each thread keeps the
    19 MiB of a password hash and the body of a large request. Memory for this many hashes is never returned: getting
    new pages for each hash would add half of its time. Does nothing with other C libraries.
    """
    options = {
        M_ARENA_MAX: 1,
        M_MMAP_THRESHOLD: 32 * 2**20,  # the most that glibc takes
        M_TRIM_THRESHOLD: concurrent_hashes * PASSWORD_BYTES,
    }
    with suppress(AttributeError, OSError, TypeError):
        libc = ctypes.CDLL(None)
        for option, value in options.items():
            libc.mallopt(option, value)


def freeze_startup_objects() -> None:
    """Excludes the objects that exist now from garbage collection, and collects less often. A request of 1,000 rows
    creates so many objects that full collections took half of its time in Python.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


if __name__ == "__main__":
    sys.exit(main())
