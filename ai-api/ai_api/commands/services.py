"""The long-running processes, serve and work; and migrate, which prepares database and keys for them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import signal
import sys
import time
from argparse import Namespace
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ai_api.errors import JobRunning, QueueUnavailable, RegistryUnavailable
from ai_api.settings import Settings

from . import Command
from .wiring import admins_key, all_tasks, open_registry, trainers_key

if TYPE_CHECKING:
    from fastapi import FastAPI

    from ai_api.http.server import DrainingServer
    from ai_api.jobs.job import Job
    from ai_api.jobs.queue import Jobs
    from ai_api.registry.registry import Registry
    from ai_api.task import Task

log = logging.getLogger(__name__)

START_FAILED = 3
STARTER_SECONDS, LONGEST_STARTER_SECONDS = 5, 600


def serve(settings: Settings, _: Namespace) -> None:
    """Runs the HTTP service and the endpoint of its metrics."""
    import prometheus_client

    from ai_api.main import create_app
    from ai_api.process import configure_interpreter, configure_malloc

    configure_malloc()
    configure_interpreter()
    server = http_server(create_app(settings), settings)
    prometheus_client.start_http_server(settings.metrics_port, settings.metrics_host)
    with contextlib.suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        sys.exit(START_FAILED)


def http_server(app: FastAPI, settings: Settings) -> DrainingServer:
    """The server of the app. When it is stopped it refuses connections, ends event streams, and waits for requests in
    flight.
    """
    import uvicorn

    from ai_api.http.body.connection import DeadlineProtocol
    from ai_api.http.server import DrainingServer

    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=DeadlineProtocol,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=math.ceil(settings.drain_seconds),
    )
    return DrainingServer(config, lambda: app.state.context.jobs.end_streams())


def migrate(settings: Settings, _: Namespace) -> None:
    """Creates the tables of the queue database, and publishes the public keys that verify versions."""
    from ai_api.jobs.database import migrate
    from ai_api.registry.signatures import PublicKeys

    asyncio.run(migrate(settings.queue_conninfo))
    PublicKeys(settings.version_keys_dir).publish((trainers_key(settings), admins_key(settings)))
    print("The queue database is up to date, and the public keys of versions are published.")


def work(settings: Settings, _: Namespace) -> None:
    """Runs a trainer and the endpoint of its metrics until SIGTERM or SIGINT."""
    import prometheus_client

    tasks = all_tasks(settings)
    prometheus_client.start_http_server(settings.work_metrics_port, settings.metrics_host)
    asyncio.run(_work_until_stopped(settings, tasks))


async def _work_until_stopped(settings: Settings, tasks: Mapping[str, Task]) -> None:
    from ai_api.jobs.worker import WorkerTiming, work

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    starters = asyncio.create_task(_request_starters(settings, open_registry(settings), tasks))
    timing = WorkerTiming(settings.heartbeat_seconds, settings.stalled_seconds, settings.job_timeout_seconds)
    try:
        await work(settings.queue_conninfo, child_command, timing, stop)
    finally:
        starters.cancel()
        await asyncio.gather(starters, return_exceptions=True)


async def _request_starters(settings: Settings, registry: Registry, tasks: Mapping[str, Task]) -> None:
    """Requests a job for every task without a champion, again after a failed one, with exponential backoff."""
    from ai_api.jobs.queue import Jobs

    async with contextlib.aclosing(Jobs(settings.queue_conninfo)) as jobs:
        await _request_until_all_serve(jobs, registry, tasks)


async def _request_until_all_serve(jobs: Jobs, registry: Registry, tasks: Mapping[str, Task]) -> None:
    requests: dict[str, int] = dict.fromkeys(tasks, 0)
    next_request: dict[str, float] = dict.fromkeys(tasks, 0.0)
    while requests:
        for name in [name for name in requests if next_request[name] <= time.monotonic()]:
            with contextlib.suppress(RegistryUnavailable, QueueUnavailable, JobRunning):
                # Read the jobs before the champion: a job that has ended has promoted its version before.
                is_running = any(job.status in ("waiting", "running") for job in await jobs.list(name, limit=1))
                if await asyncio.to_thread(registry.champion, name) is not None:
                    del requests[name]
                    continue
                if is_running:
                    continue
                job = await jobs.retrain(name, tasks[name].recipes[0].name, {}, None)
                log.info("%s has no champion: job %d trains a starter", name, job.id)
                wait = min(STARTER_SECONDS * 2 ** requests[name], LONGEST_STARTER_SECONDS)
                next_request[name] = time.monotonic() + wait
                requests[name] += 1
        await asyncio.sleep(STARTER_SECONDS)


def child_command(job: Job) -> list[str]:
    """The command line of the child process that trains for a job."""
    params = dict(job.params)
    seed = ["--seed", str(params.pop("seed"))] if "seed" in params else []
    parameters = [f"--param={name}={json.dumps(value)}" for name, value in params.items()]
    actor = ["--actor", job.actor] if job.actor else []
    return [
        sys.executable, "-m", "ai_api", "train", job.task, "--recipe", job.recipe, *parameters, *seed, *actor,
        "--job", str(job.id),
        "--job-created-at", job.created_at.isoformat(), "--pipe",
    ]  # fmt: skip


COMMANDS = (
    Command(
        "serve",
        "serve predictions over HTTP",
        "Serves predictions of the champions over HTTP until it is stopped.",
        serve,
    ),
    Command(
        "work",
        "run training jobs",
        "Runs training jobs until it is stopped. Requests a first version for every task without a champion.",
        work,
    ),
    Command(
        "migrate",
        "create the tables of the queue, and publish the public keys of versions",
        "Creates the tables of the queue database, and publishes the public keys that verify the signatures of versions"
        " into AI_VERSION_KEYS_DIR. Safe to repeat.",
        migrate,
    ),
)
