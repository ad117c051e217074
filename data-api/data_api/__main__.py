"""The command line: `data-api setup`, `data-api serve` and what operators do by hand."""

from __future__ import annotations

import argparse
import ctypes
import gc
import logging
import sys
from contextlib import suppress
from datetime import timedelta

import uvicorn
from prometheus_client import REGISTRY, start_http_server
from sqlalchemy import Engine

from .accuracy import recent as recent_accuracy
from .commands import add_to as add_people_and_keys
from .database import Database, address, give_up_on_silence, owner_engine
from .errors import DataAPIError
from .main import create_app
from .maintenance.erasure import replay
from .maintenance.rounds import run_forever, run_once
from .maintenance.steps import MaintenancePlan
from .metrics import RecentAccuracy
from .settings import Settings
from .setup.cluster import OWNER
from .setup.provisioning import provision

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
PASSWORD_BYTES = 20 * 2**20
"""What a password needs while it is hashed, and a little more."""
BETWEEN_COLLECTIONS = (50_000, 20, 100)
"""New objects before the youngest are looked through, and such looks before older ones are."""


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; a start that cannot succeed says why in one line."""
    parser = argparse.ArgumentParser(prog="data-api", description="Keeps the people and predictions of Volant.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, run, words in (
        ("setup", setup, "make roles, databases, tables, the admin and the demo key; safe to repeat"),
        ("serve", serve, "answer HTTP until told to stop"),
        ("erase-again", erase_again, "erase anew whoever was erased before; after a backup was restored"),
    ):
        commands.add_parser(name, help=words).set_defaults(run=run)
    maintenance = commands.add_parser("maintain", help="make partitions, delete what is past its days, erase people")
    maintenance.add_argument("--every", type=seconds, metavar="SECONDS", help="go on, with a round every so often")
    maintenance.set_defaults(run=maintain)
    add_people_and_keys(commands)
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
    """From an empty Postgres to one that is ready."""
    logging.getLogger("alembic").setLevel(logging.WARNING)
    provision(
        settings.postgres_host,
        settings.postgres_port,
        settings.postgres_database,
        settings.secret,
        wait_seconds=settings.setup_wait_seconds,
        partitions_ahead=settings.partitions_ahead,
    )
    replay(as_owner(settings), settings.tombstones_file)


def erase_again(settings: Settings, _: argparse.Namespace) -> None:
    """Whatever a restored backup brought back of erased people goes."""
    print(f"{replay(as_owner(settings), settings.tombstones_file, repeat=True)} people were erased again.")


def as_owner(settings: Settings) -> Engine:
    """Postgres as the owner of the tables."""
    password = settings.secret("postgres_owner_password")
    where = address(settings.postgres_host, settings.postgres_port, settings.postgres_database, OWNER, password)
    return owner_engine(where)


def maintain(settings: Settings, chosen: argparse.Namespace) -> None:
    """One round, or rounds until SIGTERM or Ctrl-C: what is cut off is rolled back and done the next time."""
    plan = MaintenancePlan(
        partitions_ahead=settings.partitions_ahead,
        pending_days=settings.pending_days,
        token_lifetime=timedelta(seconds=settings.access_token_seconds),
        tombstones=settings.tombstones_file,
    )
    if chosen.every:
        start_http_server(settings.maintain_metrics_port, settings.metrics_host)
        run_forever(as_owner(settings), plan, chosen.every)
    run_once(as_owner(settings), plan)


def seconds(value: str) -> float:
    """A span for the command line."""
    number = float(value)
    if not 1 <= number < 1e9:
        raise ValueError
    return number


def serve(settings: Settings, _: argparse.Namespace) -> None:
    """Answers until SIGTERM or Ctrl-C; requests in flight are ended first."""
    give_memory_back(settings.sign_ins_at_once)
    app = create_app(settings)
    give_up_on_silence(settings.statement_seconds + 1)
    database: Database = app.state.context.database
    REGISTRY.register(RecentAccuracy(lambda: recent_accuracy(database)))
    start_http_server(settings.metrics_port, settings.metrics_host)
    leave_out_of_collections()
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies,
        timeout_graceful_shutdown=10,
    )


def give_memory_back(passwords: int) -> None:
    """Has glibc share one heap among all threads and give its end back. Else each thread keeps the 19 MiB of a password
    that it hashed, and the body of a large call. What this many passwords need at once stays: fresh pages for each,
    from the heap or by a mapping of its own, would take half as long again as its hash. Other C libraries have no such
    switch.
    """
    options = {
        M_ARENA_MAX: 1,
        M_MMAP_THRESHOLD: 32 * 2**20,  # the most that glibc takes
        M_TRIM_THRESHOLD: passwords * PASSWORD_BYTES,
    }
    with suppress(AttributeError, OSError, TypeError):
        libc = ctypes.CDLL(None)
        for option, value in options.items():
            libc.mallopt(option, value)


def leave_out_of_collections() -> None:
    """Has the garbage collector look no more at what is there by now, which stays. A call of 1,000 rows makes so many
    objects that it looked at everything several times, for half of the call's time in Python. It waits for more, too.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*BETWEEN_COLLECTIONS)


if __name__ == "__main__":
    sys.exit(main())
