"""ai-api in this process: the real app over ASGI, with versions of test size and data-api in memory."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import cast

import httpx
from anyio.from_thread import BlockingPortal, start_blocking_portal
from fastapi import FastAPI

from ai_api.http.context import Context
from ai_api.main import create_app
from ai_api.registry.registry import Registry
from ai_api.settings import Settings
from tests.ai.support.data_api import MemoryDataAPI, User
from tests.ai.support.memory_registry import MemoryRegistry
from tests.ai.support.models import RECIPES, small_models
from tests.waiting import until

URL = "http://volant"
SECRETS = ("service_key", "mlflow_password", "postgres_queue_password", "approval_signing_key")
NO_PORT = 1
"""Nothing listens here, so the queue is unavailable at once."""
STOP_SECONDS = 30


class AsyncChunks(httpx.AsyncByteStream):
    """The body of a request of a sync client for the async transport."""

    def __init__(self, chunks: httpx.SyncByteStream) -> None:
        self._chunks = chunks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            yield chunk


class ASGITransport(httpx.BaseTransport):
    """Calls the app on the event loop of its portal, so that a sync client can be used."""

    def __init__(self, app: FastAPI, portal: BlockingPortal) -> None:
        self._transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        self._portal = portal

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._portal.call(self._send, request)

    async def _send(self, request: httpx.Request) -> httpx.Response:
        chunks = AsyncChunks(cast("httpx.SyncByteStream", request.stream))
        sent = httpx.Request(request.method, request.url, headers=request.headers, stream=chunks)
        response = await self._transport.handle_async_request(sent)
        content = await response.aread()
        return httpx.Response(response.status_code, headers=response.headers, stream=httpx.ByteStream(content))


class RunningApp:
    """The app while its lifespan runs. `trainer` and `user` are people in its snapshot of callers."""

    def __init__(self, folder: Path, app: FastAPI, portal: BlockingPortal, data_api: MemoryDataAPI) -> None:
        self.folder = folder
        self.app = app
        self.data_api = data_api
        self.trainer, self.user = data_api.add_user("trainer"), data_api.add_user()
        self._portal = portal
        self._clients = ExitStack()

    @property
    def context(self) -> Context:
        wired: Context = self.app.state.context
        return wired

    @property
    def registry(self) -> MemoryRegistry:
        return cast("MemoryRegistry", self.context.registry)

    def client(self, user: User | None = None, **headers: str) -> httpx.Client:
        """A client with the key of this person, or with these headers."""
        sent = {"X-API-Key": user.key} if user else {name.replace("_", "-"): value for name, value in headers.items()}
        transport = ASGITransport(self.app, self._portal)
        return self._clients.enter_context(httpx.Client(transport=transport, base_url=URL, headers=sent))

    def add_user(self, role: str = "user", *scopes: str) -> User:
        """Another person, whose key is in the snapshot of callers when this returns."""
        user = self.data_api.add_user(role, scopes) if scopes else self.data_api.add_user(role)
        self.refresh()
        return user

    def refresh(self) -> None:
        """Fetches the snapshot of callers now."""
        self._portal.call(self.context.callers.refresh)

    def drain(self) -> None:
        """Returns when data-api has every stored row."""
        until(lambda: len(self.context.outbox) == 0, "the outbox to be empty")

    @contextmanager
    def background(self, run: Callable[[asyncio.Event], Awaitable[None]]) -> Iterator[None]:
        """Runs a coroutine function on the app's event loop. Its event is set at the end of the block."""
        stop = self._portal.call(asyncio.Event)
        running = self._portal.start_task_soon(run, stop)
        try:
            yield
        finally:
            self._portal.call(stop.set)
            running.result(STOP_SECONDS)

    def close(self) -> None:
        self._clients.close()


def settings_for(folder: Path, **changes: object) -> Settings:
    """Settings of a service whose files are in the folder, with secrets of its own unless `secrets_dir` is given."""
    secrets_dir = folder / "secrets"
    secrets_dir.mkdir(parents=True, exist_ok=True)
    for name in SECRETS:
        (secrets_dir / name).write_text(secrets.token_hex(16))
    fixed: dict[str, object] = {"secrets_dir": secrets_dir, "state_dir": folder / "state", "queue_port": NO_PORT}
    return Settings.model_validate(
        {
            "tasks": ",".join(RECIPES),
            "allowed_hosts": "volant",
            "watch_seconds": 0.05,
            "blobs_url": "",
            "tasks_dir": None,
            **fixed,
            **changes,
        }
    )


@contextmanager
def running(folder: Path, registry: MemoryRegistry | None = None, **changes: object) -> Iterator[RunningApp]:
    """The app until the end of the block. Without a registry: the small models, the first of each task serving."""
    data_api = MemoryDataAPI()
    app = create_app(
        settings_for(folder, **changes),
        registry=cast("Registry", registry or filled_registry()),
        client=data_api.client(),
    )
    with start_blocking_portal() as portal:
        service = RunningApp(folder, app, portal, data_api)
        with portal.wrap_async_context_manager(app.router.lifespan_context(app)):
            until(lambda: service.context.callers.are_known, "the callers to be known")
            loader = service.context.loader
            until(lambda: not any(loader.is_loading(name) for name in loader.tasks), "the champions to be loaded")
            yield service
            service.close()


def filled_registry() -> MemoryRegistry:
    """The small models, the first of each task as champion."""
    registry = MemoryRegistry()
    for model in small_models():
        registry.add(model, champion=model.version.task not in registry.aliases)
    return registry
