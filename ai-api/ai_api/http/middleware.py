"""Every request gets an id, a bound on its body, metrics, and an ErrorBody as response when the service fails."""

from __future__ import annotations

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
        sent = Headers(scope=scope).get("x-request-id", "")
        request_id = sent if REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        started, status, received = time.perf_counter(), 0, 0

        async def bounded_receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_body_bytes:
                while message.get("more_body") and received < DISCARDED_BYTES:
                    message = await receive()
                    received += len(message.get("body", b""))
                raise HTTPException(413, TOO_LARGE)
            return message

        async def tagged_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        IN_FLIGHT.inc()
        try:
            await self._app(scope, bounded_receive, tagged_send)
        except Exception as error:
            # the message of an exception may repeat the input, so only its name and its traceback are logged
            trace = "".join(traceback.format_tb(error.__traceback__))
            log.error("request %s failed: %s\n%s", request_id, type(error).__name__, trace)
            if status:
                raise
            detail = "The service failed. Its log has this request's id."
            await JSONResponse(error_body("InternalError", detail, request_id), 500)(scope, receive, tagged_send)
        finally:
            IN_FLIGHT.dec()
            route = getattr(scope.get("route"), "path", "unmatched")
            method = scope["method"] if scope["method"] in METHODS else "other"
            REQUESTS.labels(route, method, status).inc()
            REQUEST_SECONDS.labels(route).observe(time.perf_counter() - started)
