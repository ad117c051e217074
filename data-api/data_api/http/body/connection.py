"""Connections whose requests have to arrive: uvicorn alone waits without limit for half-sent headers."""

from __future__ import annotations

import asyncio
import json
import uuid

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10.0
"""Longest from the start of a connection, or from the first byte of a later request, to the end of its headers."""


HEADERS = (
    ("Content-Type", "application/json"),
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Connection", "close"),
)


class DeadlineProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 with a deadline for headers. A connection is closed after a response that came before the end
    of the request's body. (The deadline of a body that is read is RequestBody's.)
    """

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Starts the deadline of the first headers."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends the deadline."""
        super().connection_lost(exc)
        self._end_timer()

    def data_received(self, data: bytes) -> None:
        """Ends the deadline when the headers are complete, or starts that of the next ones."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._end_timer()
        elif self._head_timer is None:
            self._expect_head()

    def on_response_complete(self) -> None:
        """Closes the connection of a request whose body has not ended."""
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY:
            self.transport.close()
        elif self.conn.their_state is h11.IDLE and self.conn.trailing_data[0] and self._head_timer is None:
            self._expect_head()

    def send_400_response(self, _: str) -> None:
        """Responds to what is no HTTP as the routes do, not with uvicorn's plain text, and closes the connection."""
        request_id = uuid.uuid4().hex
        detail = "This is no valid HTTP/1.1 request. For HTTPS, ask the proxy that has the certificate."
        body = json.dumps({"error": "InvalidRequest", "detail": detail, "request_id": request_id}).encode()
        headers = [*HEADERS, ("Content-Length", str(len(body))), ("X-Request-ID", request_id)]
        for event in (h11.Response(status_code=400, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _expect_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._close)

    def _end_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _close(self) -> None:
        self._head_timer = None
        self.transport.close()
