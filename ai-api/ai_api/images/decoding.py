"""Decode callers' images in a few threads of their own, of which no caller occupies all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from .reference import PixelBudget

P = ParamSpec("P")
T = TypeVar("T")


class Decoder:
    """`threads` decode at a time for one caller; one more thread is left for the others."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._executor = ThreadPoolExecutor(threads + 1, thread_name_prefix="images")
        self._callers: dict[str, tuple[asyncio.Semaphore, int]] = {}

    def call(self, caller: str) -> Decoding:
        """For one call of this caller."""
        return Decoding(self, caller)

    async def run(self, caller: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of the function, which runs in a thread when it is this caller's turn."""
        places, users = self._callers.get(caller, (asyncio.Semaphore(self._threads), 0))
        self._callers[caller] = places, users + 1
        try:
            async with places:
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(self._executor, lambda: function(*args, **kwargs))
        finally:
            places, users = self._callers.pop(caller)
            if users > 1:
                self._callers[caller] = places, users - 1

    def close(self) -> None:
        """Ends the threads; what waits is not decoded."""
        self._executor.shutdown(wait=False, cancel_futures=True)


class Decoding:
    """The images of one call: who sent them, and the pixels that may still be decoded."""

    def __init__(self, decoder: Decoder, caller: str) -> None:
        self.budget = PixelBudget()
        self._decoder = decoder
        self._caller = caller

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of the function, which runs in a thread when it is this caller's turn."""
        return await self._decoder.run(self._caller, function, *args, **kwargs)
