"""Middleware of the admin page: cross-origin changes are refused, other pages cannot frame it, redirects stay on it.

The cookie is SameSite=Strict, but a site is a host: pages on other ports of this machine belong to the same site. So a
change needs our own origin in its headers, which browsers set and pages cannot forge.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from data_api.http.body.form_reading import parse_form
from data_api.http.error_body import ErrorBody

SAFE = {"GET", "HEAD", "OPTIONS"}
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:;"
    " object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}


class SameOriginGuard:
    """Wraps the admin page. Every form is read by our reader first: sqladmin's guesses encodings and accepts forms that
    are cut off.
    """

    def __init__(self, app: ASGIApp, path: str) -> None:
        self.app = app
        self.path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuses changes from other origins and adds the security headers."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                if "/statics/" in scope["path"] and message["status"] < 400:
                    headers["Cache-Control"] = "max-age=3600"
                if "location" in headers:
                    headers["Location"] = own_path(headers["location"])
            await send(message)

        async def checked() -> Message:
            message = await receive()
            if message.get("body"):
                parse_form(Headers(scope=scope).get("content-type", ""), message["body"])
            return message

        try:
            if scope["method"] in SAFE or is_same_origin(Headers(scope=scope)):
                await self.app(scope, checked, with_headers)
            else:
                await refusal(scope["state"]["request_id"])(scope, receive, with_headers)
        finally:
            scope["route"] = self  # metrics and log use `path` as the route of all admin requests


def own_path(address: str) -> str:
    """The path and query of an address of this page. sqladmin makes addresses from the Host header of the request."""
    parts = urlsplit(address)
    return f"/{parts.path.lstrip('/')}{'?' if parts.query else ''}{parts.query}"


def is_same_origin(headers: Headers) -> bool:
    """Whether the headers name our own origin. Browsers omit Sec-Fetch-Site over plain HTTP to other machines."""
    if site := headers.get("sec-fetch-site"):
        return site == "same-origin"
    return bool(headers.get("host")) and urlsplit(headers.get("origin", "")).netloc == headers["host"]


def refusal(request_id: str) -> JSONResponse:
    """The response to a change from another origin."""
    detail = "This change does not come from the admin page itself."
    return JSONResponse(ErrorBody(error="NotAllowed", detail=detail, request_id=request_id).model_dump(), 403)
