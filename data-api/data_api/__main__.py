"""The command line: `data-api setup` and `data-api serve`."""

from __future__ import annotations

import argparse
import logging
import sys

import uvicorn
from prometheus_client import start_http_server

from .database import give_up_on_silence
from .errors import DataAPIError
from .main import create_app
from .provisioning import provision
from .settings import Settings


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; a start that cannot succeed says why in one line."""
    parser = argparse.ArgumentParser(prog="data-api", description="Keeps the people and predictions of Volant.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("setup", help="make roles, databases, tables, the admin and the demo key; safe to repeat")
    commands.add_parser("serve", help="answer HTTP until told to stop")
    chosen = parser.parse_args(arguments)
    settings = Settings()
    logging.basicConfig(
        level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stdout, force=True
    )
    try:
        {"setup": setup, "serve": serve}[chosen.command](settings)
    except DataAPIError as error:
        print(f"data-api {chosen.command}: {error}", file=sys.stderr)
        return 1
    return 0


def setup(settings: Settings) -> None:
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


def serve(settings: Settings) -> None:
    """Answers until SIGTERM or Ctrl-C; requests in flight are ended first."""
    app = create_app(settings)
    give_up_on_silence(settings.statement_seconds + 1)
    start_http_server(settings.metrics_port, settings.metrics_host)
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=10,
    )


if __name__ == "__main__":
    sys.exit(main())
