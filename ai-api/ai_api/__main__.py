"""The command line of ai-api: `ai-api COMMAND`, or `python -m ai_api COMMAND`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from .errors import AIError, JobRunning, QueueUnavailable, RegistryUnavailable, UnknownTask
from .settings import Settings

if TYPE_CHECKING:
    from .registry import Registry
    from .task import Task
    from .training.jobs import Job
    from .training.train import Order, Surroundings

log = logging.getLogger("ai_api")

STARTER_SECONDS = 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; 0, or 1 after one line that says what went wrong."""
    parsed = _parser().parse_args(arguments)
    settings = Settings()
    logging.basicConfig(level=settings.log_level, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    for chatty in ("procrastinate", "httpx"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.getLogger().level))
    _use_threads(settings.threads if parsed.command == "serve" else None)
    try:
        return int(COMMANDS[parsed.command](settings, parsed) or 0)
    except AIError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ai-api",
        description="Trains models, keeps them in MLflow, and serves the best version of each task.",
        epilog="Settings are environment variables AI_… or lines of .env; secrets are files in AI_SECRETS_DIR.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser(
        "serve", help="answer predictions over HTTP", description="Serves the champions over HTTP until it is stopped."
    )
    commands.add_parser(
        "work",
        help="train what is asked for",
        description="Works off training jobs until it is stopped. Asks for a starter of every task without a champion.",
    )
    commands.add_parser(
        "migrate",
        help="make the tables of the queue",
        description="Makes the tables of the queue database. Repeatable.",
    )
    train = commands.add_parser(
        "train",
        help="train a task here and now",
        description="Trains in this process, logs a version, promotes it if the gate says so, and prints a table.",
    )
    train.add_argument("task", help="name of the task, such as tweets")
    train.add_argument("--recipe", help="name of the recipe, such as tfidf+logreg (default: the task's first)")
    train.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="parameter of the recipe's estimator, as JSON; repeatable",
    )
    train.add_argument("--seed", type=int, default=0, help="seed of everything random (default: 0)")
    for hidden in ("--job", "--actor"):
        train.add_argument(hidden, help=argparse.SUPPRESS)
    train.add_argument("--pipe", action="store_true", help=argparse.SUPPRESS)
    promote = commands.add_parser(
        "promote", help="let a version serve", description="Makes a version the champion of its task."
    )
    promote.add_argument("task", help="name of the task")
    promote.add_argument("version", type=int, help="number of the version")
    rollback = commands.add_parser(
        "rollback", help="let the version before serve", description="Brings back the champion before this one."
    )
    rollback.add_argument("task", help="name of the task")
    return parser


def _serve(settings: Settings, _: argparse.Namespace) -> None:
    import prometheus_client
    import uvicorn

    from .main import create_app

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


def _use_threads(count: int | None) -> None:
    """Read by OpenMP, BLAS and tokenizers when they are imported, so before that. None: one for each processor.

    Passive: OpenMP's threads otherwise spin while they wait for each other, and next to one busy neighbour a fit of one
    second takes eighty.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if count is not None:
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ.setdefault(name, str(count))


def _migrate(settings: Settings, _: argparse.Namespace) -> None:
    from .training.jobs import migrate

    asyncio.run(migrate(settings.queue_conninfo))
    print("The queue database is up to date.")


def _work(settings: Settings, _: argparse.Namespace) -> None:
    import prometheus_client

    prometheus_client.start_http_server(settings.work_metrics_port, settings.metrics_host)
    asyncio.run(_work_until_stopped(settings))


async def _work_until_stopped(settings: Settings) -> None:
    from .training.worker import Pace, work

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    starters = asyncio.create_task(_ask_for_starters(settings, _registry(settings)))
    pace = Pace(settings.heartbeat_seconds, settings.stalled_seconds, settings.job_timeout_seconds)
    try:
        await work(settings.queue_conninfo, _child_command, pace, stop)
    finally:
        starters.cancel()
        await asyncio.gather(starters, return_exceptions=True)


async def _ask_for_starters(settings: Settings, registry: Registry) -> None:
    """A job for every task without a champion, again and again until it has one; a failed one is asked for anew."""
    from .tasks import find_tasks
    from .training.jobs import Jobs

    jobs = Jobs(settings.queue_conninfo)
    missing = set(find_tasks())
    while missing:
        for name in sorted(missing):
            with contextlib.suppress(RegistryUnavailable, QueueUnavailable, JobRunning):
                if await asyncio.to_thread(registry.champion, name) is not None:
                    missing.discard(name)
                    continue
                asked = await jobs.retrain(name, find_tasks()[name].recipes[0].name, {}, None)
                log.info("%s has no champion: job %d trains a starter", name, asked.id)
        await asyncio.sleep(STARTER_SECONDS)


def _child_command(job: Job) -> list[str]:
    params = dict(job.params)
    seed = ["--seed", str(params.pop("seed"))] if "seed" in params else []
    given = [f"--param={name}={json.dumps(value)}" for name, value in params.items()]
    actor = ["--actor", job.actor] if job.actor else []
    return [
        sys.executable, "-m", "ai_api", "train", job.task, "--recipe", job.recipe, *given, *seed, *actor,
        "--job", str(job.id), "--pipe",
    ]  # fmt: skip


def _train(settings: Settings, parsed: argparse.Namespace) -> int:
    if parsed.pipe:
        return _train_for_parent(settings, parsed)
    from .training.train import train

    outcome = train(
        _order(settings, parsed), _surroundings(settings), lambda kind, data: log.info("%s %s", kind, dict(data))
    )
    rows = {**outcome.report(), **outcome.version.metrics}
    rows.pop("metrics")
    width = max(map(len, rows))
    print(
        "\n".join(
            f"{name:<{width}}  {value:.4f}" if isinstance(value, float) else f"{name:<{width}}  {value}"
            for name, value in rows.items()
        )
    )
    return 0


def _train_for_parent(settings: Settings, parsed: argparse.Namespace) -> int:
    """A job's child: all it says goes through the pipe. What went wrong for a reason is an error, the rest a crash."""
    from .training.child import Pipe

    pipe = Pipe()
    from .training.train import train

    try:
        outcome = train(_order(settings, parsed), _surroundings(settings), pipe)
    except AIError as error:
        pipe("error", {"error": type(error).__name__, "detail": str(error)})
        return 1
    pipe("result", outcome.report())
    return 0


def _order(settings: Settings, parsed: argparse.Namespace) -> Order:
    from .pipeline import check_params
    from .training.train import Order

    task = _task(parsed.task)
    recipe = task.recipe(parsed.recipe) if parsed.recipe else task.recipes[0]
    recipe, seed = check_params(task, recipe, {**_params(parsed.param), "seed": parsed.seed})
    job = None if parsed.job is None else int(parsed.job)
    return Order(task, recipe, seed, settings.train_share, settings.bootstrap_rounds, job, parsed.actor)


def _params(given: Sequence[str]) -> dict[str, object]:
    """`C=2` is a number, `penalty=l2` a word: JSON where it is JSON."""
    params: dict[str, object] = {}
    for pair in given:
        name, _, value = pair.partition("=")
        try:
            params[name] = json.loads(value)
        except ValueError:
            params[name] = value
    return params


def _surroundings(settings: Settings) -> Surroundings:
    from .data_client import DataClient
    from .datasets import Source
    from .serving.outbox import append_once
    from .training.jobs import promotion_lock
    from .training.train import Surroundings

    conninfo = settings.queue_conninfo

    def announce(body: Mapping[str, object]) -> None:
        settings.outbox_dir.mkdir(parents=True, exist_ok=True)
        append_once(settings.outbox_dir, "promotion", body)

    return Surroundings(
        source=Source(settings.raw_dir, settings.data_mirror),
        registry=_registry(settings),
        corrections=DataClient(settings.data_api_url, settings.secret("service_key")).corrections,
        lock=lambda task: promotion_lock(conninfo, task),
        announce=announce,
    )


def _registry(settings: Settings) -> Registry:
    from .registry import Registry

    password = settings.secret("mlflow_password")
    return Registry(
        settings.mlflow_url, "volant", password, settings.versions_dir, settings.mlflow_timeout_seconds, settings.device
    )


def _promote(settings: Settings, parsed: argparse.Namespace) -> None:
    registry, task = _registry(settings), _task(parsed.task)
    before = registry.champion(task.name)
    metrics = registry.version(task.name, parsed.version).metrics
    with _surroundings(settings).lock(task.name):
        registry.promote(task.name, parsed.version, expected=before)
    _tell(settings, task, parsed.version, before, "promote", metrics)


def _rollback(settings: Settings, parsed: argparse.Namespace) -> None:
    registry, task = _registry(settings), _task(parsed.task)
    with _surroundings(settings).lock(task.name):
        before, now = registry.rollback(task.name)
    _tell(settings, task, now, before, "rollback", {})


def _tell(
    settings: Settings,
    task: Task,
    version: int,
    before: int | None,
    action: Literal["promote", "rollback"],
    metrics: Mapping[str, float],
) -> None:
    from uuid_utils.compat import uuid7

    from .data_client import promotion

    event = promotion(
        str(uuid7()),
        task.name,
        version,
        before,
        action=action,
        reason="asked for on the command line",
        metrics=metrics,
        actor="command line",
    )
    _surroundings(settings).announce(event)
    print(f"Version {version} of {task.name} is champion now, after {before}.")


def _task(name: str) -> Task:
    from .tasks import find_tasks

    tasks = find_tasks()
    if name not in tasks:
        raise UnknownTask(f"There is no task {name!r}. There are {', '.join(sorted(tasks))}.")
    return tasks[name]


COMMANDS = {
    "serve": _serve,
    "work": _work,
    "migrate": _migrate,
    "train": _train,
    "promote": _promote,
    "rollback": _rollback,
}


if __name__ == "__main__":
    sys.exit(main())
