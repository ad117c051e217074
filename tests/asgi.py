"""Calls an ASGI app with a body of which each part is under the test's control."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Message


@dataclass
class Exchange:
    """One request and what the app did: its messages, and how many it had sent when it first asked for the body."""

    sent: list[Message] = field(default_factory=list)
    sent_before_reading: int | None = None

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def content(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent[1:])

    @property
    def json(self) -> Any:
        return json.loads(self.content)

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}


async def exchange(
    app: ASGIApp,
    method: str,
    path: str,
    headers: Mapping[str, str],
    parts: AsyncIterator[bytes] | None = None,
) -> Exchange:
    """Sends a request whose body is these parts; without any, the client leaves when the app asks for the body."""
    result = Exchange()

    async def receive() -> Message:
        if result.sent_before_reading is None:
            result.sent_before_reading = len(result.sent)
        if parts is None:
            return {"type": "http.disconnect"}
        part = await anext(parts, None)
        return {"type": "http.request", "body": part or b"", "more_body": part is not None}

    async def send(message: Message) -> None:
        result.sent.append(message)

    sent = {"host": "localhost", **headers}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in sent.items()],
        "client": ("127.0.0.1", 1),
        "server": ("localhost", 80),
    }
    await app(scope, receive, send)
    return result
