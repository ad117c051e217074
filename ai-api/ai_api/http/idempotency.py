"""`Idempotency-Key`: a POST that is repeated with the same key gets the response of the first one, and is done once."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated

from fastapi import Header, Request, Response
from pydantic import BaseModel

from ai_api.auth import Caller
from ai_api.errors import KeyReused
from ai_api.outbox.outbox import Outbox
from ai_api.outbox.responses import StoredResponse

KeyHeader = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=8,
        max_length=200,
        description="Anything unguessable, new for each thing to do. The same request with the same key within a day"
        " gets the response of the first one.",
    ),
]
Keep = Callable[[BaseModel], StoredResponse]


class KeyedCall:
    """A request with a key. `content`: what another request with this key must have sent too."""

    def __init__(self, request: Request, caller: Caller, key: str, content: Sequence[object]) -> None:
        self.user_id = caller.user_id
        self.id = digest([caller.user_id, request.method, request.url.path, key])
        self.content = digest(content)

    def respond_with(self, model: BaseModel) -> StoredResponse:
        """The response, to be stored."""
        return StoredResponse(self.id, self.user_id, self.content, model.model_dump_json(exclude_none=True).encode())


def digest(values: Sequence[object]) -> str:
    """SHA-256 of values that JSON has."""
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


class Idempotency:
    """Runs calls with a key. Only what this instance has responded to, or has taken over, is known."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._running: dict[str, asyncio.Future[None]] = {}
        """By the id of a call, the one that is in progress."""

    async def run(self, call: KeyedCall, make: Callable[[Keep], Awaitable[object]], status: int) -> Response:
        """The response that `make` passes to its argument, or the stored one if this request came before; KeyReused if
        its content was different. Waits for an earlier one that is still running: if it fails, this one is the first.

        `make` must store what it is given together with what it does, in one commit.
        """
        while (earlier := self._running.get(call.id)) is not None:
            await asyncio.wait([earlier])
        ended = self._running[call.id] = asyncio.get_running_loop().create_future()
        try:
            return await self._run(call, make, status)
        finally:
            del self._running[call.id]
            ended.set_result(None)

    async def _run(self, call: KeyedCall, make: Callable[[Keep], Awaitable[object]], status: int) -> Response:
        stored = await self._outbox.response(call.id)
        if stored is not None:
            if stored.request != call.content:
                raise KeyReused
            return json_response(stored, status, {"Idempotency-Replayed": "true"})
        kept: list[StoredResponse] = []

        def keep(model: BaseModel) -> StoredResponse:
            kept.append(call.respond_with(model))
            return kept[0]

        await make(keep)
        return json_response(kept[0], status)


def json_response(stored: StoredResponse, status: int, headers: dict[str, str] | None = None) -> Response:
    return Response(stored.body, status, headers, media_type="application/json")
