"""The stack that the tests of one folder share: they run one after the other, in one worker, before all others."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from xdist.scheduler import LoadScopeScheduling

FOLDER = "tests/loop/"
"""The tests below share the stack."""
ends: list[Callable[[], None]] = []
"""How to stop what was started: called after the last of its tests, because an idle stack takes time."""


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no type annotations
    """The tests of a file go to one worker, and so do the files that share the stack."""

    def _split_scope(self, nodeid: str) -> str:
        return FOLDER if nodeid.startswith(FOLDER) else nodeid.partition("::")[0]


def turn(item: pytest.Item) -> int:
    """Sort key: tests of the shared stack come first."""
    return 0 if item.nodeid.startswith(FOLDER) else 1


def end_unused(item: pytest.Item) -> None:
    """Stops the stack before the first test that does not use it."""
    while ends and not item.nodeid.startswith(FOLDER):
        ends.pop()()
