"""A connection whose headers do not arrive is closed, and so is one whose body goes on after the response."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from starlette.responses import PlainTextResponse
from uvicorn.config import Config
from uvicorn.server import ServerState

from ai_api.http.body import connection
from ai_api.http.body.connection import DeadlineProtocol
from tests.waiting import eventually

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.02)


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter, ServerState]]:
    """A connection to an app that responds "ok" without reading the body."""
    config = Config(PlainTextResponse("ok"), log_config=None, access_log=False, timeout_keep_alive=60)
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(lambda: DeadlineProtocol(config, state, {}), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    yield reader, writer, state
    writer.close()
    await eventually(lambda: not state.connections)
    server.close()


REQUEST = b"GET / HTTP/1.1\r\nHost: volant\r\n\r\n"


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("sent", [b"", b"GET", REQUEST[:-2]])
async def test_half_sent_headers_end_the_connection(sent: bytes) -> None:
    async with connected() as (reader, writer, _):
        writer.write(sent)
        assert await reader.read() == b""


@pytest.mark.usefixtures("short")
async def test_half_sent_headers_of_a_later_request_end_the_connection_and_a_slow_client_between_does_not() -> None:
    async with connected() as (reader, writer, state):
        for _ in range(2):
            writer.write(REQUEST)
            assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
            (protocol,) = state.connections
            assert isinstance(protocol, DeadlineProtocol)
            assert protocol._head_timer is None
        writer.write(REQUEST[:-2])
        assert await reader.read() == b""


async def test_the_connection_of_a_body_that_goes_on_after_the_response_is_closed() -> None:
    async with connected() as (reader, writer, _):
        writer.write(REQUEST.replace(b"GET", b"POST").replace(b"\r\n\r\n", b"\r\nContent-Length: 9\r\n\r\nabc"))
        assert (await reader.read()).endswith(b"ok")


@pytest.mark.parametrize(
    "sent", [b"\x16\x03\x01\x00", b"GET /\xff HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\n : secret\r\n\r\n"]
)
async def test_what_is_no_http_gets_an_error_body_that_does_not_repeat_it(sent: bytes) -> None:
    async with connected() as (reader, writer, _):
        writer.write(sent + b"\r\n\r\n")
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400")
        assert b"nosniff" in head
        assert b"no-store" in head
        assert json.loads(body)["error"] == "InvalidRequest"
        assert b"secret" not in body
