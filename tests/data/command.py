"""Commands of data-api, run in the process of the test: starting one takes seconds."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from unittest import mock

from data_api import __main__ as program


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    returncode: int
    stdout: str
    stderr: str


def data_api(environment: Mapping[str, str], *words: str) -> Ended:
    """Runs `data-api WORDS` in this environment, with output, log and exit status of its own."""
    log, out, err = logging.getLogger(), StringIO(), StringIO()
    handlers, level = log.handlers[:], log.level
    log.handlers.clear()  # the command replaces and closes them
    try:
        with (
            mock.patch.dict(os.environ, environment, clear=True),
            mock.patch.object(program, "configure_malloc"),  # it changes the whole process
            mock.patch.object(program, "freeze_startup_objects"),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            status = program.main(list(words))
    except SystemExit as ended:
        status = int(ended.code or 0)
    finally:
        log.handlers[:] = handlers
        log.setLevel(level)
    return Ended(status, out.getvalue(), err.getvalue())
