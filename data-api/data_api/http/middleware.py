"""The outermost middleware: request id, limit of the body, metrics, log line, and the response to unexpected errors."""

from __future__ import annotations

import asyncio
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

from data_api.metrics import IN_FLIGHT, REQUEST_SECONDS, REQUESTS

from .body.request_body import BodyLimits, RequestBody

log = logging.getLogger("data_api.requests")

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
QUIET = {"/health/live", "/health/ready", "/auth/snapshot"}
INTERNAL_ERROR = "Something went wrong here. The log has it by its request id."


class RequestMiddleware:
    """Wraps the whole application."""

    def __init__(self, app: ASGIApp, body_limits: BodyLimits) -> None:
        self.app = app
        self.body_limits = body_limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request. An unexpected error becomes a 500."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body = RequestBody(scope, receive, self.body_limits)
        recorder = ResponseRecorder(scope, send, body)
        with IN_FLIGHT.track_inprogress():
            try:
                await self.app(scope, body.receive, recorder.send)
            except ClientDisconnect:
                return
            except asyncio.CancelledError:  # the service stops and does not wait for this request any longer
                log.error("cut off because the service stops request_id=%s", recorder.request_id)
                if not recorder.status:
                    await send_error(recorder, 500, "InternalError", INTERNAL_ERROR)
                raise
            except Exception as error:
                where = " ".join(
                    f"{Path(frame.filename).name}:{frame.lineno}"
                    for frame in traceback.extract_tb(error.__traceback__)[-8:]
                )
                log.error("unhandled error=%s at=%s request_id=%s", type(error).__name__, where, recorder.request_id)
                if not recorder.status:  # else the connection is closed, so that the client sees it is incomplete
                    await send_error(recorder, 500, "InternalError", INTERNAL_ERROR)
            finally:
                body.release()
        recorder.count()


class ResponseRecorder:
    """Passes a response on with its request id, and records it once in metrics and log."""

    def __init__(self, scope: Scope, send: Send, body: RequestBody) -> None:
        sent_id = Headers(scope=scope).get("x-request-id", "")
        self.request_id = sent_id if REQUEST_ID.fullmatch(sent_id) else str(uuid4())
        scope.setdefault("state", {}).update(request_id=self.request_id, body=body)
        self.status = 0
        self._body = body
        self._scope = scope
        self._send = send
        self._start = time.perf_counter()

    async def send(self, message: Message) -> None:
        """Passes a message on. Before the end of the response comes the end of a body that was not read: a client that
        gets the response while it is sending would see a broken connection.
        """
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._seconds = time.perf_counter() - self._start
            headers = MutableHeaders(scope=message)
            headers["X-Request-ID"] = self.request_id
            headers["X-Content-Type-Options"] = "nosniff"
            headers.setdefault("Cache-Control", "no-store")
        elif not self._body.ended and not message.get("more_body", False):
            await self._send({**message, "more_body": True})
            await self._body.discard()
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)

    def count(self) -> None:
        """Counts and logs the response by the template of its route; the path itself may hold personal data."""
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


async def send_error(recorder: ResponseRecorder, status: int, error: str, detail: str) -> None:
    """Sends an error with the JSON that every error has."""
    response = JSONResponse({"error": error, "detail": detail, "request_id": recorder.request_id}, status)
    await response({"type": "http"}, _nothing, recorder.send)


async def _nothing() -> Message:
    return {"type": "http.disconnect"}
