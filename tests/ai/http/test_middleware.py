"""Every request gets an id and a bounded body, and a failure of the service becomes a 500 that repeats nothing."""

from __future__ import annotations

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from ai_api.http.body.request_body import BodyLimits, BytesInFlight
from ai_api.http.middleware import RequestMiddleware

pytestmark = pytest.mark.anyio

MARK = "zebra-4711"


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Responds with the length of the body; the paths /fail and /late fail before and after the response's start."""
    if scope["path"] == "/fail":
        raise ValueError(MARK)
    length, more = 0, True
    while more:
        message = await receive()
        length, more = length + len(message.get("body", b"")), bool(message.get("more_body"))
    await PlainTextResponse(str(length))(scope, receive, send)
    if scope["path"] == "/late":
        raise ValueError(MARK)


def client(*, raises: bool = False) -> httpx.AsyncClient:
    limits = BodyLimits(max_bytes=100, seconds=60, in_flight=BytesInFlight(1_000))
    transport = httpx.ASGITransport(RequestMiddleware(echo, limits), raise_app_exceptions=raises)
    return httpx.AsyncClient(transport=transport, base_url="http://volant")


@pytest.mark.parametrize("sent", ["mine-1", "A.b_c-9", "x" * 64])
async def test_a_short_plain_request_id_is_kept(sent: str) -> None:
    response = await client().post("/", headers={"X-Request-ID": sent})
    assert response.headers["x-request-id"] == sent


@pytest.mark.parametrize("sent", ["", "x" * 65, "two words", "a;b"])
async def test_any_other_request_id_is_replaced(sent: str) -> None:
    response = await client().post("/", headers={"X-Request-ID": sent})
    assert response.headers["x-request-id"] != sent
    assert len(response.headers["x-request-id"]) == 32


async def test_a_body_at_the_bound_is_accepted() -> None:
    assert (await client().post("/", content=bytes(100))).text == "100"


async def test_a_failure_before_the_response_is_a_500_and_logged_without_its_message(
    caplog: pytest.LogCaptureFixture,
) -> None:
    response = await client().get("/fail", headers={"X-Request-ID": "mine-2"})
    assert response.status_code == 500
    assert response.headers["x-request-id"] == "mine-2"
    assert response.json() == {
        "error": "InternalError",
        "detail": "The service failed. Its log has this request's id.",
        "request_id": "mine-2",
    }
    assert "request mine-2 failed: ValueError" in caplog.text
    assert MARK not in caplog.text


async def test_a_failure_after_the_start_of_the_response_is_raised() -> None:
    with pytest.raises(ValueError, match=MARK):
        await client(raises=True).get("/late")
