"""What every request passes first and last: its id, the limit of its body, its metrics and log line, its last word."""

from __future__ import annotations

import logging
import re
import time
import traceback
from pathlib import Path
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from data_api.errors import TooLarge
from data_api.metrics import IN_FLIGHT, REQUEST_SECONDS, REQUESTS

log = logging.getLogger("data_api.requests")

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
QUIET = {"/health/live", "/health/ready", "/auth/snapshot"}
READ_AND_FORGOTTEN = 64 * 2**20
"""Bytes of a body over the limit that are still read, so that its sender sees the answer and not a broken pipe."""


class RequestMiddleware:
    """Wraps the whole application."""

    def __init__(self, app: ASGIApp, max_body_bytes: int) -> None:
        self.app = app
        self.max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request, whatever happens inside."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        answer = Answer(scope, send)
        with IN_FLIGHT.track_inprogress():
            try:
                body = await read(receive, Headers(scope=scope), self.max_body_bytes)
                if body is None:
                    await fail(answer, 413, "TooLarge", str(TooLarge(f"The most is {self.max_body_bytes} bytes.")))
                else:
                    await self.app(scope, replay(body, receive), answer.send)
            except ClientDisconnect:
                return
            except Exception as error:
                where = " ".join(
                    f"{Path(frame.filename).name}:{frame.lineno}"
                    for frame in traceback.extract_tb(error.__traceback__)[-8:]
                )
                log.error("unhandled error=%s at=%s request_id=%s", type(error).__name__, where, answer.request_id)
                if not answer.status:  # else the connection is cut, so that half an answer is not taken for a whole one
                    await fail(
                        answer, 500, "InternalError", "Something went wrong here. The log has it by its request id."
                    )
        answer.count()


class Answer:
    """What goes back: it carries the request id and is counted and logged once."""

    def __init__(self, scope: Scope, send: Send) -> None:
        asked = Headers(scope=scope).get("x-request-id", "")
        self.request_id = asked if REQUEST_ID.fullmatch(asked) else str(uuid4())
        scope.setdefault("state", {})["request_id"] = self.request_id
        self.status = 0
        self._scope = scope
        self._send = send
        self._start = time.perf_counter()

    async def send(self, message: Message) -> None:
        """Passes a message on."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._seconds = time.perf_counter() - self._start
            MutableHeaders(scope=message)["X-Request-ID"] = self.request_id
        await self._send(message)

    def count(self) -> None:
        """Metrics and the log line: the route's template, never the path itself."""
        if not self.status:
            return
        method = self._scope["method"] if self._scope["method"] in METHODS else "OTHER"
        route = getattr(self._scope.get("route"), "path", "none")
        REQUESTS.labels(method, route, self.status).inc()
        REQUEST_SECONDS.labels(method, route).observe(self._seconds)
        log.log(
            logging.DEBUG if route in QUIET and self.status < 400 else logging.INFO,
            "answered method=%s route=%s status=%d ms=%.1f request_id=%s",
            method, route, self.status, self._seconds * 1000, self.request_id,
        )  # fmt: skip


async def read(receive: Receive, headers: Headers, most: int) -> bytes | None:
    """The whole body, or None when it is larger than `most`; ClientDisconnect when its sender left before the end."""
    declared = headers.get("content-length", "0")
    fits = not declared.isdecimal() or int(declared) <= most
    chunks: list[bytes] = []
    size, more = 0, True
    while more and size <= READ_AND_FORGOTTEN:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk = message.get("body", b"")
        size += len(chunk)
        more = message.get("more_body", False)
        fits = fits and size <= most
        if fits:
            chunks.append(chunk)
        else:
            chunks.clear()
    return b"".join(chunks) if fits else None


def replay(body: bytes, receive: Receive) -> Receive:
    """Hands the body on as one message, then whatever comes after it."""
    handed_on = False

    async def again() -> Message:
        nonlocal handed_on
        if handed_on:
            return await receive()
        handed_on = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def fail(answer: Answer, status: int, error: str, detail: str) -> None:
    """An error in the shape that all have."""
    response = JSONResponse({"error": error, "detail": detail, "request_id": answer.request_id}, status)
    await response({"type": "http"}, _nothing, answer.send)


async def _nothing() -> Message:
    return {"type": "http.disconnect"}
