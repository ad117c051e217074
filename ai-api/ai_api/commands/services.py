"""What runs until it is stopped: serve and work; and migrate, which goes before them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import sys
import time
from argparse import Namespace
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ai_api.errors import JobRunning, QueueUnavailable, RegistryUnavailable
from ai_api.settings import Settings

from . import Command
from .wiring import all_tasks, open_registry

if TYPE_CHECKING:
    from ai_api.jobs.job import Job
    from ai_api.registry.registry import Registry
    from ai_api.task import Task

log = logging.getLogger(__name__)

STARTER_SECONDS, LONGEST_STARTER_SECONDS = 5, 600


def serve(settings: Settings, _: Namespace) -> None:
    import prometheus_client
    import uvicorn

    from ai_api.main import create_app

    app = create_app(settings)
    prometheus_client.start_http_server(settings.metrics_port, settings.metrics_host)
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=int(settings.drain_seconds),
    )


def migrate(settings: Settings, _: Namespace) -> None:
    from ai_api.jobs.database import migrate

    asyncio.run(migrate(settings.queue_conninfo))
    print("The queue database is up to date.")


def work(settings: Settings, _: Namespace) -> None:
    import prometheus_client

    tasks = all_tasks(settings)
    prometheus_client.start_http_server(settings.work_metrics_port, settings.metrics_host)
    asyncio.run(_work_until_stopped(settings, tasks))


async def _work_until_stopped(settings: Settings, tasks: Mapping[str, Task]) -> None:
    from ai_api.jobs.worker import WorkerTiming, work

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    starters = asyncio.create_task(_ask_for_starters(settings, open_registry(settings), tasks))
    pace = WorkerTiming(settings.heartbeat_seconds, settings.stalled_seconds, settings.job_timeout_seconds)
    try:
        await work(settings.queue_conninfo, child_command, pace, stop)
    finally:
        starters.cancel()
        await asyncio.gather(starters, return_exceptions=True)


async def _ask_for_starters(settings: Settings, registry: Registry, tasks: Mapping[str, Task]) -> None:
    """A job for every task without a champion. One that fails is asked for anew, after twice as long each time."""
    from ai_api.jobs.queue import Jobs

    jobs = Jobs(settings.queue_conninfo)
    asked: dict[str, int] = dict.fromkeys(tasks, 0)
    again: dict[str, float] = dict.fromkeys(tasks, 0.0)
    while asked:
        for name in [name for name in asked if again[name] <= time.monotonic()]:
            with contextlib.suppress(RegistryUnavailable, QueueUnavailable, JobRunning):
                # In this order: a job that has ended by now has promoted its version before.
                is_running = any(job.status in ("waiting", "running") for job in await jobs.list(name, limit=1))
                if await asyncio.to_thread(registry.champion, name) is not None:
                    del asked[name]
                    continue
                if is_running:
                    continue
                job = await jobs.retrain(name, tasks[name].recipes[0].name, {}, None)
                log.info("%s has no champion: job %d trains a starter", name, job.id)
                again[name] = time.monotonic() + min(STARTER_SECONDS * 2 ** asked[name], LONGEST_STARTER_SECONDS)
                asked[name] += 1
        await asyncio.sleep(STARTER_SECONDS)


def child_command(job: Job) -> list[str]:
    """The command line of the process that does a job."""
    params = dict(job.params)
    seed = ["--seed", str(params.pop("seed"))] if "seed" in params else []
    given = [f"--param={name}={json.dumps(value)}" for name, value in params.items()]
    actor = ["--actor", job.actor] if job.actor else []
    return [
        sys.executable, "-m", "ai_api", "train", job.task, "--recipe", job.recipe, *given, *seed, *actor,
        "--job", str(job.id), "--pipe",
    ]  # fmt: skip


COMMANDS = (
    Command("serve", "answer predictions over HTTP", "Serves the champions over HTTP until it is stopped.", serve),
    Command(
        "work",
        "train what is asked for",
        "Works off training jobs until it is stopped. Asks for a starter of every task without a champion.",
        work,
    ),
    Command("migrate", "make the tables of the queue", "Makes the tables of the queue database. Repeatable.", migrate),
)
