"""Every request gets an id, a bound on its body, metrics, and an ErrorBody as response when the service fails."""

from __future__ import annotations

import asyncio
import logging
import re
import time
import traceback
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ai_api.metrics import IN_FLIGHT, REQUEST_SECONDS, REQUESTS

from .body.request_body import BodyLimits, RequestBody

log = logging.getLogger(__name__)

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


def error_body(name: str, detail: str, request_id: str) -> dict[str, str]:
    return {"error": name, "detail": detail, "request_id": request_id}


class RequestMiddleware:
    """The outermost ASGI layer. `X-Request-ID` is the caller's if it matches REQUEST_ID, else a new one."""

    def __init__(self, app: ASGIApp, body_limits: BodyLimits) -> None:
        self._app = app
        self._body_limits = body_limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = ObservedRequest(scope, receive, send, self._body_limits)
        IN_FLIGHT.inc()
        try:
            await self._app(scope, request.body.receive, request.send)
        except ClientDisconnect:
            return
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
            request.body.release()
            request.count()


class ObservedRequest:
    """One request: its id, its body and the status sent, 0 before there is one."""

    __slots__ = ("_receive", "_request_id", "_scope", "_send", "_started", "body", "status")

    def __init__(self, scope: Scope, receive: Receive, send: Send, body_limits: BodyLimits) -> None:
        sent = Headers(scope=scope).get("x-request-id", "")
        self._request_id = sent if REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex
        self.body = RequestBody(scope, receive, body_limits)
        scope.setdefault("state", {}).update(request_id=self._request_id, body=self.body)
        self._scope, self._receive, self._send = scope, receive, send
        self._started, self.status = time.perf_counter(), 0

    async def send(self, message: Message) -> None:
        """Sends a part of the response, with the request id in its headers. Before its end comes the end of a body
        that was not read: a client that gets the response while it is sending would see a broken connection.
        """
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-ID"] = self._request_id
            headers["X-Content-Type-Options"] = "nosniff"
            headers.setdefault("Cache-Control", "no-store")
        elif not self.body.ended and not message.get("more_body", False):
            await self._send({**message, "more_body": True})
            await self.body.discard()
            message = {"type": "http.response.body", "body": b""}
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
