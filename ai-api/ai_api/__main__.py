"""The command line of ai-api: `ai-api COMMAND`, or `python -m ai_api COMMAND`."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from .commands import champions, results, services, training, versions
from .errors import AIError
from .settings import Settings

COMMANDS = {
    command.name: command
    for module in (services, training, results, champions, versions)
    for command in module.COMMANDS
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. Returns 0, or 1 after a line on stderr with the name and the detail of the error."""
    parsed = _parser().parse_args(arguments)
    settings = Settings()
    logging.basicConfig(level=settings.log_level, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    for logger in ("procrastinate", "httpx", "optuna"):
        logging.getLogger(logger).setLevel(max(logging.WARNING, logging.getLogger().level))
    _prepare(settings, settings.threads if parsed.command == "serve" else None)
    try:
        return COMMANDS[parsed.command].run(settings, parsed) or 0
    except AIError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ai-api",
        description="Trains models, stores them in MLflow, and serves predictions of each task's champion.",
        epilog="Settings are environment variables AI_… or lines of .env; secrets are files in AI_SECRETS_DIR.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS.values():
        command.add_arguments(commands.add_parser(command.name, help=command.help, description=command.description))
    return parser


def _prepare(settings: Settings, threads: int | None) -> None:
    """Sets environment variables that libraries read when they are imported. `threads` None: one for each processor.

    OMP_WAIT_POLICY is passive because OpenMP's threads otherwise spin while they wait for each other: with one other
    busy process on the machine, a fit of one second took eighty.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ["AI_WEIGHTS_DIR"] = str(settings.weights_dir)
    if threads is not None:
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ.setdefault(name, str(threads))


if __name__ == "__main__":
    sys.exit(main())
