"""Which tests a make target runs. Markers stand in pyproject.toml; `process` is set here, by the fixtures of a test."""

from __future__ import annotations

import pytest

PROCESS_FIXTURES = frozenset({"postgres_server", "mlflow_url"})
"""Fixtures that start a process. What uses them, through other fixtures too, is not for `make quick`."""
PROCESS_FOLDERS = ("tests/loop/", "tests/e2e/")
CAMPAIGNS = frozenset({"faults", "load", "loops", "fuzz", "training"})
"""Parts of `make campaign`, as in the Makefile."""


def mark(item: pytest.Item) -> None:
    """Sets `process` where it follows from fixtures or folder. UsageError for a campaign that names no known part."""
    fixtures = getattr(item, "fixturenames", ())
    if PROCESS_FIXTURES.intersection(fixtures) or item.nodeid.startswith(PROCESS_FOLDERS):
        item.add_marker(pytest.mark.process)
    for marker in item.iter_markers("campaign"):
        if marker.kwargs.get("part") not in CAMPAIGNS:
            raise pytest.UsageError(f'{item.nodeid}: write campaign(part="…"), one of {", ".join(sorted(CAMPAIGNS))}')
