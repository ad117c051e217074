"""The commands of ai-api: one module for each subject, with its `COMMANDS`. Their imports happen when they run."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass

from ai_api.settings import Settings


def _no_arguments(_: ArgumentParser) -> None:
    pass


@dataclass(frozen=True)
class Command:
    """One command of `ai-api`. `run` returns the exit status, or None for 0."""

    name: str
    help: str
    description: str
    run: Callable[[Settings, Namespace], int | None]
    add_arguments: Callable[[ArgumentParser], None] = _no_arguments
