"""The target of a request, before it is routed: the host must be known, a trailing slash is ignored, HEAD is answered
as GET without its body. And query parameters that a call does not have are refused.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from fastapi import Request
from fastapi.dependencies.utils import get_flat_params
from fastapi.params import Query
from fastapi.routing import APIRoute
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from data_api.errors import InvalidRequest, UnknownHost

from .error_body import ErrorBody

HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]@/]+?)\.?(?::[0-9]*)?")
"""A Host header in lower case: name or address, then perhaps a port."""
ANY = "*"
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


class RequestTarget:
    """An ASGI layer inside RequestMiddleware. `hosts`: names and addresses that callers may use besides those of the
    loopback; `*` accepts all. `mount`: the
    path of a mounted app, whose root has the trailing slash.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str], mount: str) -> None:
        self._app = app
        self._hosts = {*LOOPBACK, *map(host_name, hosts)}
        self._mount = mount

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if not self._knows(Headers(scope=scope).getlist("host")):
            await refusal(scope["state"]["request_id"])(scope, receive, send)
            return
        if scope["path"] == self._mount:
            scope["path"], scope["raw_path"] = f"{self._mount}/", f"{self._mount}/".encode()
        elif scope["path"] != f"{self._mount}/":
            drop_trailing_slash(scope)
        if scope["method"] == "HEAD":
            scope["method"], send = "GET", without_body(scope, send)
        await self._app(scope, receive, send)

    def _knows(self, sent: list[str]) -> bool:
        return ANY in self._hosts or (len(sent) == 1 and host_name(sent[0]) in self._hosts)


def host_name(value: str) -> str:
    """The name or address in a Host header or in a setting, in lower case and without the port. An IPv6 address has
    brackets. What cannot be read comes back as it is.
    """
    value = value.strip().lower()
    if value.count(":") > 1 and not value.startswith("["):
        value = f"[{value}]"
    found = HOST.fullmatch(value)
    return found[1] if found else value


def refusal(request_id: str) -> JSONResponse:
    """The response to a request for a host that is not known."""
    body = ErrorBody(error=UnknownHost.__name__, detail=str(UnknownHost()), request_id=request_id)
    return JSONResponse(body.model_dump(), 421)


def drop_trailing_slash(scope: Scope) -> None:
    """An encoded slash at the end belongs to a parameter and stays."""
    raw = scope.get("raw_path") or scope["path"].encode()
    if scope["path"] != "/" and raw.endswith(b"/"):
        scope["path"], scope["raw_path"] = scope["path"].removesuffix("/"), raw.removesuffix(b"/")


def without_body(scope: Scope, send: Send) -> Send:
    """Sends the start of a response to HEAD and the end of its body; what comes after is dropped."""
    has_ended = False

    async def send_start(message: Message) -> None:
        nonlocal has_ended
        if message["type"] == "http.response.start":
            scope["method"] = "HEAD"  # the server decides by it whether a body has to follow
            await send(message)
        elif message["type"] == "http.response.body" and not has_ended:
            has_ended = True
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    return send_start


async def refuse_unknown_parameters(request: Request) -> None:
    """A dependency of every call. InvalidRequest, with the names that there are, for a query parameter that the call
    does not have or that is given twice. The name that was sent is not repeated.
    """
    if not request.scope["query_string"]:
        return
    sent = Counter(name for name, _ in request.query_params.multi_items())
    known = query_parameters(request.scope["route"])
    if sent.keys() <= known and max(sent.values(), default=1) == 1:
        return
    if not known:
        raise InvalidRequest("query: this call has no parameters.")
    problem = "a parameter is given twice" if sent.keys() <= known else "unknown parameter"
    raise InvalidRequest(f"query: {problem}. There are: {', '.join(sorted(known))}.")


def query_parameters(route: APIRoute) -> set[str]:
    """The names of the query parameters of a route, those of its dependencies too."""
    return {field.alias for field in get_flat_params(route.dependant) if isinstance(field.field_info, Query)}
