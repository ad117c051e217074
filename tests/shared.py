"""Stacks that several test files share: these files run one after the other, in one worker, before all others."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from xdist.scheduler import LoadScopeScheduling

STACKS = {
    "tests/loop/test_backup.py": "small",
    "tests/loop/test_faults.py": "small",
    "tests/loop/test_images.py": "small",
    "tests/loop/test_loop.py": "small",
    "tests/loop/test_readme.py": "small",
    "tests/loop/test_readme_images.py": "small",
    "tests/loop/test_sixth_task.py": "small",
    "tests/loop/test_two_services.py": "small",
}
"""By file, the fixture of the stack that it uses."""
NAMES = list(dict.fromkeys(STACKS.values()))
ends: dict[str, Callable[[], None]] = {}
"""How to stop each stack that was started: called after the last of its tests, because an idle stack takes time."""


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no type annotations
    """The tests of a file go to one worker, and so do the files that share a stack."""

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)


def group(nodeid: str) -> str:
    """The name of the stack that the test shares, or else its file."""
    file = nodeid.partition("::")[0]
    return STACKS.get(file, file)


def turn(item: pytest.Item) -> int:
    """Sort key: tests of shared stacks come first."""
    name = group(item.nodeid)
    return NAMES.index(name) if name in NAMES else len(NAMES)


def end_others(item: pytest.Item) -> None:
    """Stops the stacks that neither this test nor a later one uses."""
    for name in [name for name in ends if name != group(item.nodeid)]:
        ends.pop(name)()
