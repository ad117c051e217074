"""The stack that `make test-stack` has started."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.composed import Composed


@pytest.fixture(scope="session")
def composed() -> Iterator[Composed]:
    """Every service healthy, every task serving."""
    composed = Composed()
    yield composed
    composed.close()
