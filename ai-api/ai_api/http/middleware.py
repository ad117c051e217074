"""Every request gets an id, a bound on its body, metrics, and an ErrorBody as response when the service fails."""

from __future__ import annotations

import asyncio
import logging
import re
import time
import traceback
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ai_api.metrics import IN_FLIGHT, REQUEST_SECONDS, REQUESTS

log = logging.getLogger(__name__)

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
DISCARDED_BYTES = 64 * 2**20
"""How much of a body that is too large is still read, so that its sender gets the response and no broken pipe."""
TOO_LARGE = "The request body is larger than AI_MAX_BODY_BYTES."


def error_body(name: str, detail: str, request_id: str) -> dict[str, str]:
    return {"error": name, "detail": detail, "request_id": request_id}


class RequestMiddleware:
    """The outermost ASGI layer. `X-Request-ID` is the caller's if it matches REQUEST_ID, else a new one."""

    def __init__(self, app: ASGIApp, max_body_bytes: int) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = ObservedRequest(scope, receive, send, self._max_body_bytes)
        IN_FLIGHT.inc()
        try:
            await self._app(scope, request.receive, request.send)
        except asyncio.CancelledError:  # the service stops and does not wait for this request any longer
            request.log_stop()
            if not request.status:
                await request.respond_failure()
            raise
        except Exception as error:
            request.log_failure(error)
            if request.status:
                raise
            await request.respond_failure()
        finally:
            IN_FLIGHT.dec()
            request.count()


class ObservedRequest:
    """One request: its id, the bytes received and the status sent, 0 before there is one."""

    __slots__ = ("_max_body_bytes", "_receive", "_received", "_request_id", "_scope", "_send", "_started", "status")

    def __init__(self, scope: Scope, receive: Receive, send: Send, max_body_bytes: int) -> None:
        sent = Headers(scope=scope).get("x-request-id", "")
        self._request_id = sent if REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = self._request_id
        self._scope, self._receive, self._send = scope, receive, send
        self._max_body_bytes = max_body_bytes
        self._started, self._received, self.status = time.perf_counter(), 0, 0

    async def receive(self) -> Message:
        """The next part of the body; HTTPException 413 when the body is too large."""
        message = await self._receive()
        self._received += len(message.get("body", b""))
        if self._received > self._max_body_bytes:
            while message.get("more_body") and self._received < DISCARDED_BYTES:
                message = await self._receive()
                self._received += len(message.get("body", b""))
            raise HTTPException(413, TOO_LARGE)
        return message

    async def send(self, message: Message) -> None:
        """Sends a part of the response, with the request id in its headers."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-ID"] = self._request_id
            headers["X-Content-Type-Options"] = "nosniff"
            headers.setdefault("Cache-Control", "no-store")
        await self._send(message)

    def log_failure(self, error: Exception) -> None:
        """Logs the name of the error and its traceback; its message is left out, since it may repeat the input."""
        trace = "".join(traceback.format_tb(error.__traceback__))
        log.error("request %s failed: %s\n%s", self._request_id, type(error).__name__, trace)

    def log_stop(self) -> None:
        log.error("request %s was cut off because the service stops", self._request_id)

    async def respond_failure(self) -> None:
        """Sends a 500 in place of the response that failed."""
        detail = "The service failed. Its log has this request's id."
        body = error_body("InternalError", detail, self._request_id)
        await JSONResponse(body, 500)(self._scope, self._receive, self.send)

    def count(self) -> None:
        """Adds the request to the metrics."""
        route = getattr(self._scope.get("route"), "path", "unmatched")
        method = self._scope["method"] if self._scope["method"] in METHODS else "other"
        REQUESTS.labels(route, method, self.status).inc()
        REQUEST_SECONDS.labels(route).observe(time.perf_counter() - self._started)
