"""Both services read bodies by the same code: they share none, so this test compares the two."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
FOLDER = "http/body"
DIFFERENT = {"guarded_route.py"}
"""data-api counts requests and takes a form there."""
BOUNDS = re.compile(r'^MAX_(DEPTH|VALUES|WIDE_BYTES) = .*\n""".*"""\n', re.MULTILINE)


def code(service: str, package: str, name: str) -> str:
    text = (REPOSITORY / service / package / FOLDER / name).read_text()
    return BOUNDS.sub("", text.replace(package, "service").replace(service[:-4].upper() + "_", "SERVICE_"))


def names(service: str, package: str) -> set[str]:
    return {path.name for path in (REPOSITORY / service / package / FOLDER).glob("*.py")}


def test_both_services_have_the_same_modules() -> None:
    assert names("ai-api", "ai_api") == names("data-api", "data_api")


@pytest.mark.parametrize("name", sorted(names("ai-api", "ai_api") - DIFFERENT))
def test_a_module_is_the_same_in_both_services(name: str) -> None:
    assert code("ai-api", "ai_api", name) == code("data-api", "data_api", name)
