"""Builds the app: reads the settings, wires the pieces, and starts the background loops."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial

from fastapi import Depends, FastAPI

from . import __version__
from .auth import Callers
from .data_client import DataClient
from .http.body.request_body import BodyLimits, BytesInFlight
from .http.context import Context
from .http.cors import allow_origins
from .http.error_responses import add_error_handlers
from .http.idempotency import Idempotency
from .http.middleware import RequestMiddleware
from .http.request_target import RequestTarget, refuse_unknown_parameters
from .http.row_schemas import document_rows
from .images.blobs import Blobs
from .images.decoding import Decoder
from .jobs.lock import promotion_lock
from .jobs.queue import Jobs
from .outbox.outbox import Outbox
from .outbox.shipper import Shipper
from .privacy.eraser import Eraser
from .privacy.expirer import Expirer
from .registry.promotion import Promotions
from .registry.registry import Registry
from .registry.signatures import PublicKeys, SigningKey
from .routes import docs, feedback, health, images, models, predict, train
from .serving.feedback import FeedbackRecorder
from .serving.limits import CallerLimits
from .serving.model_loader import ModelLoader
from .serving.predictor import Predictor
from .serving.task_loader import BatchLimits
from .settings import Settings
from .task import Task
from .tasks import find_tasks

log = logging.getLogger(__name__)

Loop = Callable[[], Awaitable[None]]


def create_app(settings: Settings, *, registry: Registry | None = None, client: DataClient | None = None) -> FastAPI:
    """The whole service; ConfigurationError when a secret is missing. No file or connection is opened before its
    lifespan starts. `registry` and `client` take the place of those that the settings describe.
    """
    tasks = find_tasks(settings.task_names, settings.tasks_dir)
    client = client or DataClient(settings.data_api_url, settings.secret("service_key"))
    registry = registry or open_registry(settings)
    jobs = Jobs(settings.queue_conninfo)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        executor = ThreadPoolExecutor(len(tasks), thread_name_prefix="model")
        app.state.context, loops = wire(settings, tasks, registry, client, jobs, executor)
        background = [asyncio.create_task(keep_running(run, name)) for name, run in loops.items()]
        yield
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        await app.state.context.eraser.leave()
        await client.close()
        await jobs.aclose()
        await asyncio.to_thread(app.state.context.outbox.close)
        app.state.context.decoder.close()
        executor.shutdown(wait=False, cancel_futures=True)

    app = FastAPI(
        title="Volant ai-api",
        version=__version__,
        summary="Predict, correct, retrain. Every prediction has an id and is never lost.",
        lifespan=lifespan,
        strict_content_type=False,  # a body without Content-Type is read as JSON
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        dependencies=[Depends(refuse_unknown_parameters)],
    )
    app.include_router(predict.build_router(tasks))
    for module in (feedback, images, train, models, health):
        app.include_router(module.router)
    docs.add_docs(app)
    allow_origins(app, settings.origins)
    app.add_middleware(RequestTarget, hosts=settings.hosts)
    body_limits = BodyLimits(settings.max_body_bytes, settings.body_seconds, BytesInFlight(settings.bodies_bytes))
    app.add_middleware(RequestMiddleware, body_limits=body_limits)
    add_error_handlers(app)
    document_rows(app, tasks)
    return app


def open_registry(settings: Settings) -> Registry:
    """The registry that the settings describe, which signs what an admin promotes. MLflow is not called yet."""
    return Registry(
        settings.mlflow_url,
        "volant",
        settings.secret("mlflow_password"),
        settings.versions_dir,
        keys=PublicKeys(settings.version_keys_dir),
        signer=SigningKey(settings.secret("approval_signing_key")),
        timeout_seconds=settings.mlflow_timeout_seconds,
        device=settings.device,
    )


def wire(
    settings: Settings,
    tasks: Mapping[str, Task],
    registry: Registry,
    client: DataClient,
    jobs: Jobs,
    executor: Executor,
) -> tuple[Context, dict[str, Loop]]:
    """The pieces that the calls need, and the background loops by name. Models compute on the executor."""
    outbox = Outbox(settings.outbox_dir, max_rows=settings.outbox_max_rows, synchronous=settings.outbox_synchronous)
    callers = restored_callers(settings, client, outbox.name)
    changes = promotions(settings, registry, outbox)
    loader = model_loader(settings, tasks, registry, executor, changes.record_move)
    shipper = Shipper(outbox, client, rows=settings.ship_rows)
    blobs = Blobs(settings.blobs)
    limits = CallerLimits.of(settings.caller_cost, settings.caller_feedback, settings.caller_image_bytes)
    eraser = Eraser(outbox, blobs, client, lambda: callers.erased, jobs.clear_actor)
    context = Context(
        callers=callers,
        loader=loader,
        predictor=Predictor(loader, outbox, blobs, eraser, limits, settings.predict_seconds),
        feedback=FeedbackRecorder(outbox, client, eraser, limits.feedback),
        eraser=eraser,
        outbox=outbox,
        blobs=blobs,
        shipper=shipper,
        registry=registry,
        promotions=changes,
        jobs=jobs,
        decoder=Decoder(os.cpu_count() or 1),
        max_rows=settings.max_rows,
        idempotency=Idempotency(outbox),
    )
    loops: dict[str, Loop] = {
        "callers": callers.run,
        "loader": loader.run,
        "shipper": shipper.run,
        "eraser": eraser.run,
        "expirer": Expirer(blobs, outbox, lambda: callers.kept_days).run,
    }
    return context, loops


def restored_callers(settings: Settings, client: DataClient, instance: str) -> Callers:
    """The callers by the last snapshot on disk, if there is one."""
    callers = Callers(
        client,
        settings.state_dir / "callers.json",
        refresh_seconds=settings.auth_refresh_seconds,
        stale_seconds=settings.auth_stale_seconds,
        instance=instance,
    )
    callers.restore()
    return callers


def model_loader(
    settings: Settings,
    tasks: Mapping[str, Task],
    registry: Registry,
    executor: Executor,
    record_move: Callable[[str], None],
) -> ModelLoader:
    """A loader that has loaded no version yet."""
    return ModelLoader(
        tasks,
        registry,
        settings.versions_dir / "champions.json",
        BatchLimits(settings.batch_token_budget, settings.batch_rows, settings.queue_capacity, share(settings)),
        executor=executor,
        watch_seconds=settings.watch_seconds,
        keep=settings.keep_versions,
        record_move=record_move,
    )


def share(settings: Settings) -> int:
    """How many rows one caller may have in a version's queue: half of it, and the rows of one call at least."""
    return max(settings.max_rows, settings.queue_capacity // 2)


def promotions(settings: Settings, registry: Registry, outbox: Outbox) -> Promotions:
    """Promotions whose events go into the outbox. They block, so they run in a thread, not on this event loop."""
    loop = asyncio.get_running_loop()

    def announce(event: Mapping[str, object]) -> None:
        asyncio.run_coroutine_threadsafe(outbox.put("promotion", [event]), loop).result()

    return Promotions(registry, partial(promotion_lock, settings.queue_conninfo), announce)


async def keep_running(run: Loop, name: str) -> None:
    """Runs a background loop until cancelled. When it raises, the error is logged and it restarts a second later."""
    while True:
        try:
            await run()
        except asyncio.CancelledError:
            raise
        except Exception as error:
            log.error("the loop `%s` failed: %s; it starts again", name, type(error).__name__)
            await asyncio.sleep(1)
