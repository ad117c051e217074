"""What happens to requests when the service is asked to stop."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx

from ai_api.commands.services import http_server
from ai_api.http.context import Context
from ai_api.http.server import DrainingServer
from ai_api.jobs.job import JobEvent
from ai_api.main import create_app
from ai_api.registry.registry import Registry
from tests.ai.routes.http_errors import assert_error
from tests.ai.support.app import filled_registry, settings_for
from tests.ai.support.data_api import MemoryDataAPI
from tests.waiting import until

BODY = {"task": "tweets", "inputs": {"text": "late again, thanks"}}
SECONDS = 60


class Served:
    """The app on a real port. A request waits between its prediction and its response until `gate` is set; the stream
    of a job has one event and then no other.
    """

    def __init__(self, folder: Path, port: int, **changes: object) -> None:
        self.data_api = MemoryDataAPI()
        user = self.data_api.add_user()
        settings = settings_for(folder, port=port, **changes)
        self.app = create_app(settings, registry=cast("Registry", filled_registry()), client=self.data_api.client())
        self.server: DrainingServer = http_server(self.app, settings)
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.headers = {"X-API-Key": user.key}
        self.waiting, self.gate = threading.Event(), threading.Event()

    @property
    def context(self) -> Context:
        wired: Context = self.app.state.context
        return wired

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers=self.headers, timeout=SECONDS, trust_env=False)

    def close_gate(self) -> None:
        real = self.context.outbox.put

        async def put(*arguments: Any) -> None:
            await real(*arguments)
            self.waiting.set()
            while not self.gate.is_set():
                await asyncio.sleep(0.01)

        self.context.outbox.put = put  # type: ignore[method-assign,assignment]

        async def get(job_id: int) -> SimpleNamespace:
            return SimpleNamespace(finished_at=None)

        async def events(job_id: int, after: int) -> list[JobEvent]:
            return [] if after else [JobEvent(1, datetime.now(UTC), "progress", {"step": 1})]

        store = self.context.jobs._store
        store.get = self.context.jobs.get = get  # type: ignore[method-assign,assignment]
        store.events = events  # type: ignore[method-assign]

    def stop(self) -> None:
        """What SIGTERM does. When this returns no connection is accepted any more."""
        self.server.handle_exit(signal.SIGTERM, None)
        until(lambda: not self.accepts(), "the port to be closed")

    def accepts(self) -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0


@contextmanager
def served(folder: Path, port: int, **changes: object) -> Iterator[Served]:
    """Started, with a model that serves and a closed gate. It has ended after the block."""
    started = Served(folder, port, **changes)
    thread = threading.Thread(target=started.server.run)
    thread.start()
    try:
        until(lambda: started.server.started, "the server to start")
        with started.client() as client:
            until(lambda: client.get("/health/ready").status_code == 200, "the service to be ready")
        started.close_gate()
        yield started
    finally:
        started.server.handle_exit(signal.SIGTERM, None)
        thread.join(SECONDS)
    assert not thread.is_alive()


def test_a_request_in_flight_gets_its_response_and_an_event_stream_ends(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    with (
        served(tmp_path, free_port(), drain_seconds=SECONDS) as service,
        ThreadPoolExecutor(1) as pool,
        service.client() as client,
        client.stream("GET", "/jobs/1/events") as stream,
    ):
        with service.client() as prober:
            assert prober.head("/jobs/1/events").headers["content-type"].startswith("text/event-stream")
            assert prober.head("/health/live").headers["content-length"] == "17"
            until(lambda: len(service.server.server_state.tasks) == 1, "the stream of HEAD to end")
        lines = stream.iter_lines()
        assert next(lines) == "id: 1"
        predicting = pool.submit(httpx.post, f"{service.url}/predict", json=BODY, headers=service.headers)
        assert service.waiting.wait(SECONDS)
        service.stop()
        assert next(line for line in lines if line.startswith("data:"))
        assert [line for line in lines if line] == []
        assert not predicting.done()
        service.gate.set()
        response = predicting.result(SECONDS)
        assert response.status_code == 200
        stored = response.json()["predictions"][0]["prediction_id"]
    assert stored in service.data_api.sent["predictions"] or len(service.context.outbox) == 1


def test_a_request_that_takes_longer_is_cut_off_and_its_rows_stay(tmp_path: Path, free_port: Callable[[], int]) -> None:
    with served(tmp_path, free_port(), drain_seconds=0) as service, ThreadPoolExecutor(1) as pool:
        predicting = pool.submit(httpx.post, f"{service.url}/predict", json=BODY, headers=service.headers)
        assert service.waiting.wait(SECONDS)
        service.stop()
        assert_error(predicting.result(SECONDS), 500, "InternalError")
    assert len(service.data_api.sent["predictions"]) + len(service.context.outbox) == 1
