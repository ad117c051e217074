"""The route class of every router: a body is read after the caller is known and allowed, never before."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Protocol, runtime_checkable

from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from .json_reading import read_json


@runtime_checkable
class CallerCheck(Protocol):
    """An object of which a method is the dependency that checks the caller."""

    async def admit(self, request: Request) -> object:
        """Decides from the headers who is calling, and admits the body; an error unless this call is allowed."""


class ReadRequest(Request):
    """A request whose JSON has been read, for FastAPI, which validates it."""

    def __init__(self, request: Request, size: int, value: object) -> None:
        super().__init__(request.scope, request.receive)
        self._size, self._value = size, value

    async def body(self) -> bytes:
        """Some bytes unless the body is empty, which is all that FastAPI asks. The body itself is not kept."""
        return b"read" if self._size else b""

    async def json(self) -> object:
        """The value of its JSON."""
        return self._value


class GuardedRoute(APIRoute):
    """FastAPI reads and parses a body before it calls any dependency. This route calls those that check the caller
    first, then reads the body itself.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler of FastAPI, which gets a body that has been read."""
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle
        checks = list(caller_checks(self.dependant))

        async def guarded(request: Request) -> Response:
            for check in checks:
                await check.admit(request)
            return await handle(ReadRequest(request, *await read_json(request)))

        return guarded


def caller_checks(dependant: Dependant) -> Iterator[CallerCheck]:
    """The checks of the caller among the dependencies of a route, and of their dependencies."""
    for inner in dependant.dependencies:
        owner = getattr(inner.call, "__self__", None)
        if isinstance(owner, CallerCheck):
            yield owner
        yield from caller_checks(inner)
