"""Repeats calls to an unavailable service, so that a restart of MLflow does not fail a training of an hour."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from ai_api.errors import BlobsUnavailable, DataUnavailable, QueueUnavailable, RegistryUnavailable

log = logging.getLogger(__name__)

T = TypeVar("T")


class Retry:
    """Repeats a call every second while another service is unavailable, for up to `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __call__(self, call: Callable[[], T]) -> T:
        deadline = time.monotonic() + self._seconds
        while True:
            try:
                return call()
            except (RegistryUnavailable, DataUnavailable, QueueUnavailable, BlobsUnavailable) as error:
                if time.monotonic() > deadline:
                    raise
                log.warning("retrying: %s", error)
                time.sleep(1)
