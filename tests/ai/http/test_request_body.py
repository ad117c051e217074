"""A body is bounded in size, time and memory; gzip is read within the same bounds; what is not read is discarded."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator, Iterator

import pytest
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from ai_api.errors import AIError, BodyTimeout, InvalidRequest, Overloaded, TooLarge, UnsupportedEncoding
from ai_api.http.body.request_body import ANONYMOUS_BYTES, SMALL_BYTES, BodyLimits, BytesInFlight, RequestBody
from ai_api.http.middleware import RequestMiddleware
from tests.asgi import exchange

pytestmark = pytest.mark.anyio

MIB = 2**20


class Sender:
    """A client that sends a body in parts, and then leaves."""

    def __init__(self, *parts: bytes, ends: bool = True) -> None:
        self._parts, self._ends = list(parts), ends
        self.received = 0

    async def receive(self) -> Message:
        if not self._parts:
            if self._ends:
                return {"type": "http.disconnect"}
            await asyncio.Event().wait()
        self.received += 1
        return {"type": "http.request", "body": self._parts.pop(0), "more_body": bool(self._parts) or not self._ends}


def body(sender: Sender, *, seconds: float = 60, room: BytesInFlight | None = None, **headers: object) -> RequestBody:
    sent = {"transfer-encoding": "chunked", **headers}
    raw = [(name.replace("_", "-").encode(), str(value).encode()) for name, value in sent.items()]
    limits = BodyLimits(MIB, seconds, room or BytesInFlight(2 * MIB))
    return RequestBody({"type": "http", "headers": raw}, sender.receive, limits)


async def test_without_a_caller_a_body_may_have_16_kib_and_with_one_what_the_settings_say() -> None:
    assert len(await body(Sender(bytes(ANONYMOUS_BYTES))).read()) == ANONYMOUS_BYTES
    with pytest.raises(TooLarge, match="16 KiB"):
        await body(Sender(bytes(ANONYMOUS_BYTES), b"x")).read()
    admitted = body(Sender(bytes(MIB)))
    admitted.admit("ann")
    assert len(await admitted.read()) == MIB
    too_large = body(Sender(bytes(MIB), b"x"))
    too_large.admit("ann")
    with pytest.raises(TooLarge, match="AI_MAX_BODY_BYTES"):
        await too_large.read()


async def test_a_declared_length_over_the_limit_is_refused_before_anything_is_received() -> None:
    sender = Sender(b"x")
    with pytest.raises(TooLarge):
        await body(sender, content_length=ANONYMOUS_BYTES + 1).read()
    assert sender.received == 0


async def test_a_body_that_does_not_end_is_refused_at_its_deadline() -> None:
    stalled = body(Sender(b"{", ends=False), seconds=0.01)
    with pytest.raises(BodyTimeout):
        await stalled.read()
    assert stalled.ended


async def test_a_client_that_leaves_ends_the_reading() -> None:
    with pytest.raises(ClientDisconnect):
        await body(Sender(ends=True)).read()


async def test_large_bodies_share_a_bound_and_small_ones_do_not_count() -> None:
    room = BytesInFlight(MIB)

    def sent(owner: str, size: int) -> RequestBody:
        made = body(Sender(bytes(size)), room=room)
        made.admit(owner)
        return made

    first = sent("ann", MIB)
    assert len(await first.read()) == MIB  # alone, it may have all there is
    for other in (sent("ann", SMALL_BYTES + 1), sent("bob", SMALL_BYTES + 1)):
        with pytest.raises(Overloaded):
            await other.read()
    assert len(await sent("bob", SMALL_BYTES).read()) == SMALL_BYTES
    first.release()
    held = sent("ann", MIB // 2)
    await held.read()
    with pytest.raises(Overloaded):  # one caller has half of it
        await sent("ann", SMALL_BYTES + 1).read()
    others = sent("bob", MIB // 2)
    await others.read()
    held.release()
    others.release()
    await sent("ann", MIB).read()


async def test_memory_of_the_value_of_a_body_counts_like_the_body() -> None:
    room = BytesInFlight(MIB)
    first, second = (body(Sender(bytes(SMALL_BYTES + 1)), room=room) for _ in range(2))
    for one, owner in ((first, "ann"), (second, "bob")):
        one.admit(owner)
        await one.read()
    with pytest.raises(Overloaded):
        second.add_memory(MIB)
    first.release()
    second.add_memory(MIB)
    second.release()
    third = body(Sender(bytes(MIB)), room=room)
    third.admit("ann")
    await third.read()


async def test_gzip_is_read_in_one_part_and_in_many() -> None:
    content = b'{"text": "late again"}' * 500
    packed = gzip.compress(content, mtime=0)
    for parts in ([packed], [packed[place : place + 1] for place in range(len(packed))]):
        assert await body(Sender(*parts), content_encoding="gzip").read() == content


@pytest.mark.parametrize(
    ("encoding", "sent", "error"),
    [
        ("gzip", gzip.compress(bytes(ANONYMOUS_BYTES + 1), mtime=0), TooLarge),
        ("gzip", gzip.compress(b"{}", mtime=0)[:-1], InvalidRequest),
        ("gzip", gzip.compress(b"{}", mtime=0) + b"x", InvalidRequest),
        ("gzip", gzip.compress(b"{}", mtime=0) * 2, InvalidRequest),
        ("gzip", b"{}", InvalidRequest),
        ("gzip", zlib.compress(b"{}"), InvalidRequest),
        ("br", b"{}", UnsupportedEncoding),
        ("deflate", zlib.compress(b"{}"), UnsupportedEncoding),
        ("gzip, gzip", gzip.compress(gzip.compress(b"{}", mtime=0), mtime=0), UnsupportedEncoding),
    ],
)
async def test_what_is_no_gzip_and_what_is_a_bomb_is_refused(encoding: str, sent: bytes, error: type[AIError]) -> None:
    with pytest.raises(error):
        await body(Sender(sent), content_encoding=encoding).read()


async def test_a_bomb_is_refused_when_it_passes_the_limit_and_not_after_it_was_decompressed() -> None:
    seen: list[int] = []
    bomb = body(Sender(gzip.compress(bytes(50 * MIB), mtime=0)), content_encoding="gzip")
    bomb.admit("ann")
    with pytest.raises(TooLarge):
        await bomb.read(lambda part: seen.append(len(part)))
    assert max(seen) <= SMALL_BYTES
    assert sum(seen) <= MIB


async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """Responds without reading the body."""
    await PlainTextResponse("no", 401)(scope, receive, send)


def refusing(seconds: float = 60) -> RequestMiddleware:
    return RequestMiddleware(refuse, BodyLimits(MIB, seconds, BytesInFlight(MIB)))


async def parts(content: Iterator[bytes], *, stalls: bool = False) -> AsyncIterator[bytes]:
    for part in content:
        yield part
    if stalls:
        await asyncio.Event().wait()


async def test_the_response_is_sent_before_a_body_that_is_not_read_is_discarded() -> None:
    rest = iter([b"a", b"b", b"c"])
    result = await exchange(refusing(), "POST", "/", {"content-length": "3"}, parts(rest))
    assert (result.status, result.content, result.sent_before_reading) == (401, b"no", 2)
    assert list(rest) == []
    assert [message.get("more_body", False) for message in result.sent[1:]] == [True, False]


async def test_discarding_ends_at_its_deadline() -> None:
    stalled = parts(iter([b"a"]), stalls=True)
    result = await exchange(refusing(seconds=0.01), "POST", "/", {"content-length": "3"}, stalled)
    assert result.sent[-1] == {"type": "http.response.body", "body": b""}


async def test_a_client_that_waits_for_100_continue_is_not_waited_for() -> None:
    headers = {"content-length": "3", "expect": "100-continue"}
    result = await exchange(refusing(), "POST", "/", headers, parts(iter([]), stalls=True))
    assert (result.status, result.sent_before_reading) == (401, None)
