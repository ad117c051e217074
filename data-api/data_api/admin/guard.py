"""What every request to the page passes: a change must come from the page itself, and no other page may frame it.

The cookie is SameSite=Strict, but a site is a host: what listens on another port of this machine belongs to it. So a
change has to name our own origin, which a browser does by itself and no page can forge.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from data_api.http.error_body import ErrorBody

SAFE = {"GET", "HEAD", "OPTIONS"}
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Guard:
    """Wraps the page."""

    def __init__(self, app: ASGIApp, path: str) -> None:
        self.app = app
        self.path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuses a change from elsewhere, and says how the answer may be used."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                if "/statics/" not in scope["path"]:
                    headers["Cache-Control"] = "no-store"
            await send(message)

        try:
            if scope["method"] in SAFE or is_from_here(Headers(scope=scope)):
                await self.app(scope, receive, with_headers)
            else:
                await refusal(scope["state"]["request_id"])(scope, receive, with_headers)
        finally:
            scope["route"] = self  # metrics and log know the page as one route, by `path`


def is_from_here(headers: Headers) -> bool:
    """Whether the browser says that our own page sent this. Plain HTTP to another machine lacks Sec-Fetch-Site."""
    if site := headers.get("sec-fetch-site"):
        return site == "same-origin"
    return bool(headers.get("host")) and urlsplit(headers.get("origin", "")).netloc == headers["host"]


def refusal(request_id: str) -> JSONResponse:
    """The answer to a change from elsewhere."""
    detail = "This change does not come from the admin page itself."
    return JSONResponse(ErrorBody(error="NotAllowed", detail=detail, request_id=request_id).model_dump(), 403)
