"""Two requests with one Idempotency-Key at the same time: the second waits for the first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fastapi import Request, Response
from pydantic import BaseModel

from ai_api.auth import Caller
from ai_api.errors import KeyReused, Overloaded
from ai_api.http.idempotency import Idempotency, Keep, KeyedCall
from ai_api.outbox.outbox import Outbox

pytestmark = pytest.mark.anyio

REQUEST = Request({"type": "http", "method": "POST", "path": "/predict", "headers": [], "query_string": b""})


class Answer(BaseModel):
    number: int


class Work:
    """Stores a row and responds with its number. `gate`: it waits for this. `fails`: then it raises."""

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox
        self.calls = 0
        self.gate = asyncio.Event()
        self.fails = False

    async def __call__(self, keep: Keep) -> None:
        self.calls += 1
        await self.gate.wait()
        if self.fails:
            self.fails = False
            raise Overloaded
        await self.outbox.put("prediction", [{"id": str(self.calls)}], keep(Answer(number=self.calls)))


@pytest.fixture
async def work(tmp_path: Path) -> AsyncIterator[Work]:
    outbox = Outbox(tmp_path, max_rows=100)
    yield Work(outbox)
    outbox.close()


def call(content: str = "row", user: str = "ann", key: str = "key-12345") -> KeyedCall:
    return KeyedCall(REQUEST, Caller(user, "user", frozenset()), key, [content])


async def two(work: Work, first: KeyedCall, second: KeyedCall) -> list[Response | BaseException]:
    """The responses to two calls of which the second begins while the first is in progress."""
    idempotency = Idempotency(work.outbox)
    running = [asyncio.create_task(idempotency.run(one, work, 200)) for one in (first, second)]
    while not work.calls:
        await asyncio.sleep(0)
    work.gate.set()
    results = await asyncio.wait_for(asyncio.gather(*running, return_exceptions=True), 10)
    assert idempotency._running == {}
    return results


async def test_the_second_gets_the_response_of_the_first(work: Work) -> None:
    first, second = await two(work, call(), call())
    assert isinstance(first, Response)
    assert isinstance(second, Response)
    assert (first.body, second.body, work.calls) == (b'{"number":1}', b'{"number":1}', 1)
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    assert len(work.outbox) == 1


async def test_the_second_is_the_first_if_the_first_fails(work: Work) -> None:
    work.fails = True
    first, second = await two(work, call(), call())
    assert isinstance(first, Overloaded)
    assert isinstance(second, Response)
    assert (second.body, "idempotency-replayed" in second.headers, work.calls) == (b'{"number":2}', False, 2)


async def test_the_second_is_refused_if_it_has_other_content(work: Work) -> None:
    first, second = await two(work, call(), call("another row"))
    assert isinstance(first, Response)
    assert isinstance(second, KeyReused)


@pytest.mark.parametrize("other", [call(user="bob"), call(key="key-67890")], ids=["caller", "key"])
async def test_calls_of_another_caller_or_key_are_others(work: Work, other: KeyedCall) -> None:
    await two(work, call(), other)
    assert (work.calls, len(work.outbox)) == (2, 2)
