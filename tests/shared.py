"""Fixtures that take long to make: their tests stand together, go to one worker, and begin first."""

from __future__ import annotations

from collections.abc import Callable

import pytest

NAMES = ("small", "third")
ends: dict[str, Callable[[], None]] = {}
"""What ends such a fixture, once it is made: called after the last of its tests, as a stack that idles costs time."""


def group(item: pytest.Item) -> str:
    """The fixture, or else the file: what stays together where several workers share the tests."""
    names = getattr(item, "fixturenames", ())
    return next((name for name in NAMES if name in names), item.nodeid.partition("::")[0])


def turn(item: pytest.Item) -> int:
    """Before whom a test comes."""
    name = group(item)
    return NAMES.index(name) if name in NAMES else len(NAMES)


def end_others(item: pytest.Item) -> None:
    """Ends what this test and all after it do without."""
    for name in [name for name in ends if name != group(item)]:
        ends.pop(name)()
