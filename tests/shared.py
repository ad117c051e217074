"""Stacks that several files of tests share: the files stand together, go to one worker, and begin first."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from xdist.scheduler import LoadScopeScheduling

STACKS = {
    "tests/loop/test_backup.py": "small",
    "tests/loop/test_calls.py": "small",
    "tests/loop/test_faults.py": "small",
    "tests/loop/test_readme.py": "small",
    "tests/loop/test_loop.py": "third",
    "tests/loop/test_pictures.py": "third",
    "tests/loop/test_readme_images.py": "third",
}
"""By file, the fixture."""
NAMES = list(dict.fromkeys(STACKS.values()))
ends: dict[str, Callable[[], None]] = {}
"""What ends a stack, once it was started: called after the last of its tests, as one that idles costs time."""


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist tells no types
    """A file stays whole, and so do those that share a stack."""

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)


def group(nodeid: str) -> str:
    """What a test stays together with."""
    file = nodeid.partition("::")[0]
    return STACKS.get(file, file)


def turn(item: pytest.Item) -> int:
    """Before whom a test comes."""
    name = group(item.nodeid)
    return NAMES.index(name) if name in NAMES else len(NAMES)


def end_others(item: pytest.Item) -> None:
    """Ends what this test and all after it do without."""
    for name in [name for name in ends if name != group(item.nodeid)]:
        ends.pop(name)()
