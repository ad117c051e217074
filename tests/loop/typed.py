"""Types blocks of the documentation into a shell, as a reader of `make dev` would."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.loop.volant import Volant

REPOSITORY = Path(__file__).resolve().parents[2]


def blocks(page: str) -> list[str]:
    """The blocks marked `sh` of a page: those that can be typed while Volant runs."""
    return re.findall(r"```sh\n(.*?)```", (REPOSITORY / page).read_text(), re.DOTALL)


def typed(volant: Volant, block: str) -> str:
    """What the shell prints, in the stack's folder and with its settings; a block that fails is an AssertionError."""
    here = block.replace("http://127.0.0.1:8000", volant.url).replace("http://127.0.0.1:8001", volant.data_url)
    commands = str(Path(sys.executable).parent)  # as `. .venv/bin/activate` does
    environment = volant.settings | {"PATH": f"{commands}:{volant.settings['PATH']}"}
    done = subprocess.run(
        ["bash", "-euc", here],
        cwd=volant.root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
