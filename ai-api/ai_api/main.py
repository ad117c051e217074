"""Builds the app: reads the settings, wires the pieces, and says which error is which status."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from . import __version__
from .auth import Callers
from .blobs import Blobs
from .data_client import DataClient
from .errors import (
    AIError,
    BlobsUnavailable,
    ConfigurationError,
    Conflict,
    DataUnavailable,
    IdentityUnavailable,
    InvalidFeedback,
    InvalidParams,
    InvalidRow,
    JobRunning,
    LeakedRows,
    MissingExtra,
    MissingWeights,
    ModelRefused,
    NoChampion,
    NotAllowed,
    NotSignedIn,
    OutboxFull,
    Overloaded,
    PredictionFailed,
    QueueUnavailable,
    RegistryUnavailable,
    TooLarge,
    TrainingFailed,
    UnknownJob,
    UnknownPicture,
    UnknownPrediction,
    UnknownRecipe,
    UnknownTask,
    UnknownVersion,
)
from .jobs.lock import promotion_lock
from .jobs.queue import Jobs
from .middleware import TOO_LARGE, RequestMiddleware, error_body
from .outbox.outbox import Outbox
from .outbox.shipper import Shipper
from .privacy.eraser import Eraser
from .privacy.expirer import Expirer
from .registry.promotion import Promotions
from .registry.registry import Registry
from .routes import feedback, health, models, predict, train
from .routes import images as pictures
from .routes.context import Context
from .routes.validation import describe
from .serving.model_loader import BatchLimits, ModelLoader
from .settings import Settings
from .tasks import find_tasks

log = logging.getLogger(__name__)

STATUS: dict[type[AIError], int] = {
    InvalidRow: 422,
    InvalidFeedback: 422,
    InvalidParams: 422,
    NotSignedIn: 401,
    NotAllowed: 403,
    UnknownTask: 404,
    UnknownVersion: 404,
    UnknownRecipe: 404,
    UnknownJob: 404,
    UnknownPrediction: 404,
    UnknownPicture: 404,
    JobRunning: 409,
    Conflict: 409,
    ModelRefused: 409,
    TooLarge: 413,
    Overloaded: 429,
    PredictionFailed: 500,
    TrainingFailed: 500,
    LeakedRows: 500,
    MissingExtra: 500,
    MissingWeights: 500,
    ConfigurationError: 500,
    NoChampion: 503,
    RegistryUnavailable: 503,
    QueueUnavailable: 503,
    DataUnavailable: 503,
    IdentityUnavailable: 503,
    OutboxFull: 503,
    BlobsUnavailable: 503,
}
HEADERS = {401: {"WWW-Authenticate": "Bearer"}, 429: {"Retry-After": "1"}, 503: {"Retry-After": "5"}}
NAMES = {404: "NotFound", 405: "MethodNotAllowed", 413: "TooLarge", 415: "UnsupportedMediaType"}
DETAILS = {
    413: TOO_LARGE,
    404: "There is no such address. GET /docs lists the calls.",
    405: "This address does not take this method. GET /docs lists the calls.",
}


def create_app(settings: Settings) -> FastAPI:
    """The whole service. Nothing is opened before its lifespan starts; ConfigurationError when a secret is missing."""
    tasks = find_tasks(settings.task_names, settings.tasks_dir)
    service_key, mlflow_password = settings.secret("service_key"), settings.secret("mlflow_password")
    queue_conninfo = settings.queue_conninfo

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        client = DataClient(settings.data_api_url, service_key)
        outbox = Outbox(settings.outbox_dir, max_rows=settings.outbox_max_rows, synchronous=settings.outbox_synchronous)
        callers = Callers(
            client,
            settings.state_dir / "callers.json",
            refresh_seconds=settings.auth_refresh_seconds,
            stale_seconds=settings.auth_stale_seconds,
            replica=outbox.name,
        )
        callers.restore()
        registry = Registry(
            settings.mlflow_url,
            "volant",
            mlflow_password,
            settings.versions_dir,
            settings.mlflow_timeout_seconds,
            settings.device,
        )
        executor = ThreadPoolExecutor(len(tasks), thread_name_prefix="model")
        loader = ModelLoader(
            tasks,
            registry,
            settings.versions_dir / "champions.json",
            BatchLimits(settings.batch_token_budget, settings.batch_rows, settings.queue_capacity),
            executor=executor,
            watch_seconds=settings.watch_seconds,
            keep=settings.keep_versions,
        )
        shipper = Shipper(outbox, client, rows=settings.ship_rows)
        blobs = Blobs(settings.blobs)
        eraser = Eraser(outbox, blobs, client, lambda: callers.erased)
        expirer = Expirer(blobs, lambda: callers.kept_days)
        jobs = Jobs(queue_conninfo)
        loop = asyncio.get_running_loop()

        def announce(event: Mapping[str, object]) -> None:
            asyncio.run_coroutine_threadsafe(outbox.put("promotion", [event]), loop).result()

        app.state.context = Context(
            callers=callers,
            loader=loader,
            outbox=outbox,
            blobs=blobs,
            shipper=shipper,
            eraser=eraser,
            client=client,
            registry=registry,
            promotions=Promotions(registry, partial(promotion_lock, queue_conninfo), announce),
            jobs=jobs,
            max_rows=settings.max_rows,
        )
        loops = {
            "callers": callers.run,
            "loader": loader.run,
            "shipper": shipper.run,
            "eraser": eraser.run,
            "expirer": expirer.run,
        }
        background = [asyncio.create_task(keep_running(run, name)) for name, run in loops.items()]
        yield
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        await client.close()
        await asyncio.to_thread(outbox.close)
        executor.shutdown(wait=False, cancel_futures=True)

    app = FastAPI(
        title="Volant ai-api",
        version=__version__,
        summary="Predict, correct, retrain. Every answer has an id and is never lost.",
        lifespan=lifespan,
    )
    for router in (predict.router(tasks), feedback.routes, pictures.routes, train.routes, models.routes, health.routes):
        app.include_router(router)
    app.add_middleware(RequestMiddleware, max_body_bytes=settings.max_body_bytes)
    app.add_exception_handler(AIError, on_ai_error)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, on_invalid_request)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, on_http_error)  # type: ignore[arg-type]
    document_rows(app, predict.schemas(tasks))
    return app


async def keep_running(run: Callable[[], Awaitable[None]], name: str) -> None:
    """Runs a background loop for ever: a bug in one round is logged by name and the loop starts anew a second later."""
    while True:
        try:
            await run()
        except asyncio.CancelledError:
            raise
        except Exception as error:
            log.error("the loop `%s` failed: %s; it starts anew", name, type(error).__name__)
            await asyncio.sleep(1)


def document_rows(app: FastAPI, rows: dict[str, dict[str, object]]) -> None:
    """Adds the rows of the tasks to the OpenAPI document, where each task's own call refers to them."""
    generate = app.openapi

    def with_rows() -> dict[str, Any]:
        document = generate()
        document["components"]["schemas"].update(rows)
        return document

    app.openapi = with_rows  # type: ignore[method-assign]


def answer(request: Request, status: int, name: str, detail: str) -> JSONResponse:
    return JSONResponse(error_body(name, detail, request.state.request_id), status, HEADERS.get(status))


async def on_ai_error(request: Request, error: AIError) -> JSONResponse:
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    return answer(request, status, type(error).__name__, str(error))


async def on_invalid_request(request: Request, error: RequestValidationError) -> JSONResponse:
    return answer(request, 422, "InvalidRequest", describe(error.errors()))


async def on_http_error(request: Request, error: HTTPException) -> JSONResponse:
    if error.status_code == 400:  # FastAPI's word for a body that breaks its parser
        return answer(request, 422, "InvalidRequest", "body: cannot be read")
    name = NAMES.get(error.status_code, "HTTPError")
    return answer(request, error.status_code, name, DETAILS.get(error.status_code, "The request cannot be read."))
