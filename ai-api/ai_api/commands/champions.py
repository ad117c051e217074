"""Which version serves, moved by hand: promote and rollback."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from typing import Literal

from ai_api.settings import Settings

from . import Command
from .wiring import find_task, open_registry, promotion_lock, training_context


def promote(settings: Settings, parsed: Namespace) -> None:
    registry, task = open_registry(settings), find_task(settings, parsed.task).name
    before = registry.champion(task)
    version = registry.version(task, parsed.version)
    with promotion_lock(settings, task):
        registry.promote(task, parsed.version, expected=before)
    _tell(settings, task, parsed.version, before, "promote", version.metrics, version.run_id)


def rollback(settings: Settings, parsed: Namespace) -> None:
    registry, task = open_registry(settings), find_task(settings, parsed.task).name
    with promotion_lock(settings, task):
        before, now = registry.rollback(task)
    _tell(settings, task, now, before, "rollback", {})


def _tell(
    settings: Settings,
    task: str,
    version: int,
    before: int | None,
    action: Literal["promote", "rollback"],
    metrics: Mapping[str, float],
    run_id: str | None = None,
) -> None:
    from uuid_utils.compat import uuid7

    from ai_api.data_client import promotion

    event = promotion(
        str(uuid7()),
        task,
        version,
        before,
        action=action,
        reason="asked for on the command line",
        metrics=metrics,
        actor="command line",
        run_id=run_id,
    )
    training_context(settings).announce(event)
    print(f"Version {version} of {task} is champion now, after {before}.")


def _task(parser: ArgumentParser) -> None:
    parser.add_argument("task", help="name of the task")


def _task_and_version(parser: ArgumentParser) -> None:
    _task(parser)
    parser.add_argument("version", type=int, help="number of the version")


COMMANDS = (
    Command("promote", "let a version serve", "Makes a version the champion of its task.", promote, _task_and_version),
    Command("rollback", "let the version before serve", "Brings back the champion before this one.", rollback, _task),
)
