"""The champion changed by hand: promote and rollback."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from ai_api.settings import Settings

from . import Command
from .wiring import find_task, open_promotions

REASON, ACTOR = "asked for on the command line", "command line"


def promote(settings: Settings, parsed: Namespace) -> None:
    """Makes the version the champion, whichever version is it now."""
    promotions, task = open_promotions(settings), find_task(settings, parsed.task).name
    before = promotions.registry.champion(task)
    version = promotions.registry.version(task, parsed.version)
    promotions.promote(version, before, reason=REASON, actor=ACTOR)
    _print(task, version.number, before)


def rollback(settings: Settings, parsed: Namespace) -> None:
    """Makes the version that the champion replaced the champion again."""
    promotions, task = open_promotions(settings), find_task(settings, parsed.task).name
    before, now = promotions.rollback(task, reason=REASON, actor=ACTOR)
    _print(task, now, before)


def _print(task: str, version: int, before: int | None) -> None:
    print(f"Version {version} of {task} is champion now, after {before}.")


def _task(parser: ArgumentParser) -> None:
    parser.add_argument("task", help="name of the task")


def _task_and_version(parser: ArgumentParser) -> None:
    _task(parser)
    parser.add_argument("version", type=int, help="number of the version")


COMMANDS = (
    Command(
        "promote",
        "make a version the champion",
        "Makes a version the champion of its task, which serves its predictions.",
        promote,
        _task_and_version,
    ),
    Command(
        "rollback",
        "make the previous champion the champion again",
        "Undoes the last promotion of a task: the version that the champion replaced becomes the champion again.",
        rollback,
        _task,
    ),
)
