"""What README.md says can be typed and works as printed."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from scripts.settings_table import with_table
from tests.loop.volant import Volant

README = Path(__file__).resolve().parents[2] / "README.md"
BLOCKS = re.findall(r"```sh\n(.*?)```", README.read_text(), re.DOTALL)
COMMANDS = [
    line
    for block in re.findall(r"```console\n(.*?)```", README.read_text(), re.DOTALL)
    for line in block.split("\n")
    if line
]


def typed(volant: Volant, block: str) -> str:
    """What the shell prints; only the port differs from what a reader types."""
    here = block.replace("http://127.0.0.1:8000", volant.url)
    done = subprocess.run(
        ["bash", "-euc", here], cwd=volant.root, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_there_are_blocks_to_type() -> None:
    assert len(BLOCKS) == 3
    assert "make dev" in COMMANDS


def test_a_first_prediction_works_as_printed(small: Volant) -> None:
    answer = json.loads(typed(small, BLOCKS[0]))
    assert answer["predictions"][0]["label"] in ("negative", "neutral", "positive")


def test_a_first_correction_works_as_printed(small: Volant) -> None:
    assert json.loads(typed(small, BLOCKS[1]))["checked"] is True


def test_a_retraining_works_as_printed_and_ends_with_a_result(small: Volant) -> None:
    small.idle()  # one job per task at a time: other tests may have left one
    events = typed(small, BLOCKS[2])
    assert "event: result" in events
    assert "event: end" in events


@pytest.mark.parametrize("command", COMMANDS)
def test_every_make_target_of_the_readme_exists(command: str) -> None:
    subprocess.run(["make", "--dry-run", *command.split()[1:]], cwd=README.parent, check=True, capture_output=True)


def test_the_settings_table_says_what_the_settings_say() -> None:
    text = README.read_text()
    assert with_table(text) == text, "run: python -m scripts.settings_table"
