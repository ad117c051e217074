"""The commands printed in README and docs work against a running stack. Only the ports differ from what is printed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.loop.typed import blocks, typed
from tests.loop.volant import Volant
from tests.waiting import until

README = blocks("README.md")
IMAGES = "/predict/products"
"""Blocks with this call need a stack that serves the task: see test_readme_images.py."""
TRAINING = "ai-api train"
DOCS = [block for page in ("docs/calls.md", "docs/operations.md", "docs/tasks.md") for block in blocks(page)]
ERROR_BODY = re.compile(r'(^|[}\]])\{"error":')


def documents(text: str) -> Iterator[Any]:
    """The JSON documents that several calls printed one after the other."""
    decoder, rest = json.JSONDecoder(), text.strip()
    while rest:
        found, end = decoder.raw_decode(rest)
        yield found
        rest = rest[end:].lstrip()


def test_readme_has_the_four_blocks_that_these_tests_type() -> None:
    assert len(README) == 4
    assert len(DOCS) >= 8


def test_a_first_prediction_works_as_printed(small: Volant) -> None:
    response = json.loads(typed(small, README[0]))
    assert response["predictions"][0]["label"] in ("negative", "neutral", "positive")


def test_a_first_correction_works_as_printed(small: Volant) -> None:
    assert json.loads(typed(small, README[1]))["checked"] is True


def test_a_retraining_works_as_printed_and_ends_with_a_result(small: Volant) -> None:
    small.idle()  # one job per task at a time: other tests may have left one
    events = typed(small, README[2])
    assert "event: result" in events
    assert "event: end" in events


def test_promoting_and_rolling_back_work_as_printed(small: Volant) -> None:
    retrain_until_two_versions(small)
    promoted, rolled_back = documents(typed(small, README[3]))
    assert (rolled_back["task"], rolled_back["previous"]) == ("tweets", promoted["version"])
    assert rolled_back["version"] != promoted["version"]


def retrain_until_two_versions(stack: Volant) -> None:
    """Returns when `tweets` has two versions or more, no job is left, and the champion serves."""
    with httpx.Client(base_url=stack.url, headers={"X-API-Key": stack.key}, timeout=60, trust_env=False) as http:
        stack.idle()
        if len(http.get("/models/tweets").json()["versions"]) < 2:
            assert http.post("/retrain", json={"task": "tweets"}).status_code == 202
            stack.idle()

        def champion_serves() -> bool:
            model = http.get("/models/tweets").json()
            champions = [version["number"] for version in model["versions"] if "champion" in version["aliases"]]
            return [model["serving"]["version"]] == champions

        until(champion_serves, "the champion to serve")


@pytest.mark.parametrize("block", [block for block in DOCS if IMAGES not in block and TRAINING not in block])
def test_a_block_of_the_docs_works_as_printed(small: Volant, block: str) -> None:
    assert not ERROR_BODY.search(typed(small, block))


@pytest.mark.slow
@pytest.mark.parametrize("block", [block for block in DOCS if TRAINING in block])
def test_training_on_the_command_line_works_as_printed(small: Volant, block: str) -> None:
    small.idle()
    assert "version" in typed(small, block)
