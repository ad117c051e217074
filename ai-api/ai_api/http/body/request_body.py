"""The body of one request: read whole and once, within bounds of size, time and the memory of all bodies together."""

from __future__ import annotations

import asyncio
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Receive, Scope

from ai_api.errors import BodyTimeout, InvalidRequest, Overloaded, TooLarge, UnsupportedEncoding

ANONYMOUS_BYTES = 16 * 2**10
"""Largest body of a caller who is not known."""
SMALL_BYTES = 64 * 2**10
"""A body of at most this size is not counted among the bytes in flight, so large ones never keep small ones out."""
DISCARDED_BYTES = 64 * 2**20
"""How much of a body that is not read is received after the response, so that its sender gets the response."""
GZIP = 16 + zlib.MAX_WBITS
"""The window argument of zlib that reads the gzip format only."""


class BytesInFlight:
    """Counts the bytes of the larger bodies of all requests in progress. `capacity`: the most of all callers together;
    one caller may hold half of it. A single body is always admitted, as its own limit bounds it.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._total = 0
        self._by_owner: Counter[str] = Counter()

    def take(self, owner: str, count: int, held: int) -> None:
        """Counts `count` bytes of a request that holds `held` already; Overloaded when there is no room for them."""
        own = self._by_owner[owner]
        others_fit = self._total == held or self._total + count <= self._capacity
        own_fit = own == held or own + count <= self._capacity // 2
        if not (others_fit and own_fit):
            raise Overloaded("The request bodies in progress are too large together. Try again in a moment.")
        self._total += count
        self._by_owner[owner] = own + count

    def give_back(self, owner: str, count: int) -> None:
        """Ends the count of these bytes."""
        self._total -= count
        self._by_owner[owner] -= count
        if not self._by_owner[owner]:
            del self._by_owner[owner]


@dataclass(frozen=True)
class BodyLimits:
    """The bounds of every body: `max_bytes` on the wire and decompressed, `seconds` to arrive."""

    max_bytes: int
    seconds: float
    in_flight: BytesInFlight


class RequestBody:
    """The body of one request. Until `admit` names the caller it may have ANONYMOUS_BYTES."""

    __slots__ = (
        "_content", "_declared", "_encoding", "_ended", "_expects_continue", "_held", "_limits", "_max_bytes", "_owner",
        "_receive", "_started",
    )  # fmt: skip

    def __init__(self, scope: Scope, receive: Receive, limits: BodyLimits) -> None:
        headers = Headers(scope=scope)
        length = headers.get("content-length")
        self._declared = int(length) if length is not None and length.isdecimal() else None
        self._encoding = headers.get("content-encoding", "").strip().lower()
        self._expects_continue = "expect" in headers
        self._ended = not self._declared and "transfer-encoding" not in headers
        self._receive, self._limits = receive, limits
        self._max_bytes, self._owner = min(ANONYMOUS_BYTES, limits.max_bytes), ""
        self._content: bytearray | None = None
        self._held, self._started = 0, False

    def admit(self, owner: str) -> None:
        """The caller is known and may make this call: its body may have the size that the settings allow."""
        self._owner, self._max_bytes = owner, self._limits.max_bytes

    @property
    def is_admitted(self) -> bool:
        """Whether a caller is known."""
        return bool(self._owner)

    async def read(self, inspect: Callable[[bytes], None] | None = None) -> bytearray:
        """The whole body, decompressed. `inspect` sees each part when it arrives and may raise to stop reading.

        TooLarge, BodyTimeout, Overloaded, UnsupportedEncoding; InvalidRequest when it is no complete gzip.
        """
        if self._content is None:
            try:
                self._content = await self._read(inspect)
            except BaseException:
                self._give_back()  # what is left of the body is discarded
                raise
        return self._content

    def add_memory(self, count: int) -> None:
        """Counts bytes that the value of the body takes besides those of the body; Overloaded without room for them."""
        if count > SMALL_BYTES:
            self._limits.in_flight.take(self._owner, count, self._held)
            self._held += count

    async def receive(self) -> Message:
        """ASGI's `receive` for the app: the whole body as one message, then the messages after it."""
        if self._content is not None:
            return await self._receive()
        return {"type": "http.request", "body": bytes(await self.read()), "more_body": False}

    async def discard(self) -> None:
        """Receives what is left of a body that was not read, up to DISCARDED_BYTES and the deadline, without keeping
        it. A client that waits for `100 Continue` has sent nothing and will not.
        """
        left = 0 if self._expects_continue and not self._started else DISCARDED_BYTES
        try:
            async with asyncio.timeout(self._limits.seconds):
                while not self._ended and left > 0:
                    left -= len(await self._next_part())
        except (TimeoutError, ClientDisconnect):
            self._ended = True

    @property
    def ended(self) -> bool:
        """Whether nothing more of the body can come."""
        return self._ended

    def release(self) -> None:
        """Frees what is held of the body, at the end of the request."""
        self._give_back()
        self._content = bytearray()

    async def _read(self, inspect: Callable[[bytes], None] | None) -> bytearray:
        decode = self._decoder()
        if self._declared is not None and self._declared > self._max_bytes:
            raise self._too_large()
        content, received = bytearray(), 0
        try:
            async with asyncio.timeout(self._limits.seconds):
                while not self._ended:
                    part = await self._next_part()
                    received += len(part)
                    if received > self._max_bytes:
                        raise self._too_large()
                    for decoded in decode(part):
                        self._hold(len(content) + len(decoded))
                        if inspect is not None:
                            inspect(decoded)
                        content += decoded
                        if len(decoded) > SMALL_BYTES // 2:
                            await asyncio.sleep(0)  # between the parts of a large body others have their turn
        except TimeoutError:
            self._ended = True  # its sender is too slow to be waited for
            raise BodyTimeout from None
        if received:
            for _ in decode(b""):
                pass
        return content

    async def _next_part(self) -> bytes:
        self._started = True
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._ended = True
            raise ClientDisconnect
        self._ended = not message.get("more_body", False)
        return cast("bytes", message.get("body", b""))

    def _hold(self, size: int) -> None:
        """Counts a body that has grown to `size` bytes."""
        if size > self._max_bytes:
            raise self._too_large()
        if size > SMALL_BYTES:
            self._limits.in_flight.take(self._owner, size - self._held, self._held)
            self._held = size

    def _give_back(self) -> None:
        if self._held:
            self._limits.in_flight.give_back(self._owner, self._held)
            self._held = 0

    def _decoder(self) -> Callable[[bytes], Iterator[bytes]]:
        """What turns received parts into decompressed ones. Called with nothing, it checks that nothing is missing."""
        if self._encoding in ("", "identity"):
            return lambda part: iter((part,) if part else ())
        if self._encoding in ("gzip", "x-gzip"):
            return Gunzip().parts
        raise UnsupportedEncoding

    def _too_large(self) -> TooLarge:
        if self._max_bytes < self._limits.max_bytes:
            return TooLarge(f"A body without authentication may have at most {ANONYMOUS_BYTES // 2**10} KiB.")
        return TooLarge("The request body is larger than AI_MAX_BODY_BYTES.")


class Gunzip:
    """Decompresses one gzip member in parts of at most SMALL_BYTES, so that a small body cannot become a large one
    before it is counted.
    """

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(GZIP)

    def parts(self, received: bytes) -> Iterator[bytes]:
        """The decompressed parts of `received`; with nothing received, the check of the end."""
        if not received and not self._inflate.eof:
            raise InvalidRequest("body: the gzip is cut off")
        pending = received
        while pending:
            try:
                part = self._inflate.decompress(pending, SMALL_BYTES)
            except zlib.error:
                raise InvalidRequest("body: not valid gzip") from None
            if self._inflate.unused_data:
                raise InvalidRequest("body: there is something after the end of the gzip")
            pending = self._inflate.unconsumed_tail
            if part:
                yield part


def body_of(request: Request) -> RequestBody:
    """The body of a request, as the middleware bounds it."""
    return cast("RequestBody", request.scope["state"]["body"])
