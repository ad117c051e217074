"""The stack that `make test-stack` started."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.composed import Composed
from tests.waiting import until


@pytest.fixture(scope="session")
def composed() -> Iterator[Composed]:
    """The stack, once every task serves."""
    composed = Composed()
    until(lambda: composed.ai.get("/health/ready").json()["missing"] == [], "every task to serve", 600)
    yield composed
    composed.close()
