"""Waiting for a service that is away: a training of an hour should survive a restart of MLflow."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from ai_api.errors import BlobsUnavailable, DataUnavailable, QueueUnavailable, RegistryUnavailable

log = logging.getLogger(__name__)

T = TypeVar("T")


class Retry:
    """Repeats a call while another service is away, for so many seconds."""

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
                log.warning("waiting: %s", error)
                time.sleep(1)
