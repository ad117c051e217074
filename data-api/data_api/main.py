"""Builds the app: the parts, the calls, and which error is which status."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import cast

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from limits.storage import MemoryStorage, Storage
from starlette.exceptions import HTTPException

from . import __version__, admin, errors
from .cluster import APP
from .crud.rate_limit import PostgresStorage
from .database import Database, address, elsewhere
from .keyring import Keyring, Seal
from .limiting import Limits
from .routes import (
    accuracy,
    api_keys,
    audit,
    auth,
    corrections,
    erasures,
    feedback,
    health,
    invitations,
    labelling,
    own_data,
    predictions,
    promotions,
    retention,
    users,
)
from .routes.caller import Parts, Patience
from .routes.edge import Edge
from .routes.quota import within_quota
from .schemas.failure import Failure
from .schemas.problem import describe
from .security import Passwords, Tokens
from .settings import Settings
from .signing import load

STATUS: dict[type[errors.DataAPIError], int] = {
    errors.InvalidRequest: 422,
    errors.InvalidCursor: 422,
    errors.NotSignedIn: 401,
    errors.WrongCredentials: 401,
    errors.TokenReused: 401,
    errors.LockedOut: 429,
    errors.NotAllowed: 403,
    errors.WrongPassword: 403,
    errors.UnknownUser: 404,
    errors.UnknownKey: 404,
    errors.UnknownInvitation: 404,
    errors.UnknownPrediction: 404,
    errors.UnknownErasure: 404,
    errors.UnknownRetention: 404,
    errors.EmailTaken: 409,
    errors.LastAdmin: 409,
    errors.KeyReused: 409,
    errors.ChangedMeanwhile: 412,
    errors.TooLarge: 413,
    errors.Overloaded: 429,
    errors.TooManyRequests: 429,
    errors.DatabaseUnavailable: 503,
    errors.NotReady: 503,
    errors.MisSet: 500,
    errors.SetupFailed: 500,
    errors.MaintenanceFailed: 500,
}
COUNTING = 2
"""Connections for counting requests, apart from the others: who waits for one of those must not hold one of these."""
HEADERS = {401: {"WWW-Authenticate": "Bearer"}, 429: {"Retry-After": "1"}, 503: {"Retry-After": "1"}}
HTTP_NAMES = {404: "NotFound", 405: "MethodNotAllowed"}
DESCRIPTIONS = {
    401: "Nobody was recognised.",
    403: "Role or scopes do not allow it.",
    404: "There is no such thing, or it is not the caller's.",
    409: "It conflicts with what is there.",
    412: "It has changed since the caller saw it.",
    413: "The body is too large.",
    422: "The request is malformed.",
    429: "Too many requests or failures: wait as Retry-After says.",
    503: "Postgres does not answer.",
}


def create_app(settings: Settings) -> FastAPI:
    """The whole service. It connects to Postgres with the first request that needs it."""
    database = primary(settings, settings.pool_size)
    replica = copy_of_postgres(settings)
    counts = primary(settings, COUNTING, "limits") if settings.rate_limit_store == "postgres" else None
    storage: Storage = PostgresStorage(counts) if counts else MemoryStorage()
    seal = Seal(settings.secret("signing_key"))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        for pool in filter(None, (database, replica, counts)):
            pool.close()

    app = FastAPI(
        title="Volant data-api",
        version=__version__,
        summary="Users, API keys, predictions, feedback and promotions.",
        lifespan=lifespan,
        redoc_url=None,
        redirect_slashes=False,
        dependencies=[Depends(within_quota)],
        responses={status: {"model": Failure, "description": text} for status, text in DESCRIPTIONS.items()},
    )
    app.add_exception_handler(errors.DataAPIError, on_error)
    app.add_exception_handler(RequestValidationError, on_malformed)
    app.add_exception_handler(HTTPException, on_http_error)
    app.state.parts = Parts(
        database=database,
        passwords=Passwords(settings.sign_ins_at_once),
        tokens=Tokens(Keyring(lambda: load(database, seal)), settings.access_token_seconds),
        service_key=settings.secret("service_key"),
        refresh_lifetime=timedelta(seconds=settings.refresh_token_seconds),
        invitation_lifetime=timedelta(seconds=settings.invitation_seconds),
        public_url=settings.reached_at,
        patience=Patience(
            settings.sign_in_tries,
            settings.sign_in_tries_per_address,
            timedelta(seconds=settings.sign_in_wait_seconds),
        ),
        label_share=settings.label_share,
        label_lifetime=timedelta(minutes=settings.label_minutes),
        replica=replica,
        pseudonym_key=seal.derive("count failed sign-ins"),
        answers_key=seal.derive("keep answers to repeated requests"),
        limits=Limits(storage, settings.rate_limit_per_caller, settings.rate_limit_per_address),
    )
    for subject in (
        audit,
        auth,
        own_data,
        erasures,
        users,
        invitations,
        api_keys,
        labelling,  # before the predictions, whose ids its path would be taken for
        predictions,
        feedback,
        corrections,
        promotions,
        accuracy,
        retention,
        health,
    ):
        app.include_router(subject.router)
    admin.mount(app, app.state.parts, timedelta(seconds=settings.admin_session_seconds), STATUS)
    app.add_middleware(Edge, max_body_bytes=settings.max_body_bytes)
    return app


def primary(settings: Settings, connections: int, name: str = "main") -> Database:
    """A pool of connections to the Postgres that is written to."""
    return Database(
        address(
            settings.postgres_host,
            settings.postgres_port,
            settings.postgres_database,
            APP,
            settings.secret("postgres_app_password"),
        ),
        pool_size=connections,
        pool_wait_seconds=settings.pool_wait_seconds,
        statement_seconds=settings.statement_seconds,
        name=name,
    )


def copy_of_postgres(settings: Settings) -> Database | None:
    """Where lists are read, if there is such a place."""
    if not settings.replica_url:
        return None
    return Database(
        elsewhere(settings.replica_url, APP, settings.secret("postgres_app_password")),
        pool_size=settings.pool_size,
        pool_wait_seconds=settings.pool_wait_seconds,
        statement_seconds=settings.statement_seconds,
        name="replica",
    )


def on_error(request: Request, error: Exception) -> JSONResponse:
    """An error of ours, by its name."""
    error = cast("errors.DataAPIError", error)
    answer = failure(request, STATUS[type(error)], type(error).__name__, str(error))
    if isinstance(error, errors.TooManyRequests):
        answer.headers["Retry-After"] = str(error.retry_after)
    return answer


def on_malformed(request: Request, error: Exception) -> JSONResponse:
    """A request that does not fit the schema, without a word of what was sent."""
    error = cast("RequestValidationError", error)
    return failure(request, 422, "InvalidRequest", describe(error.errors()))


def on_http_error(request: Request, error: Exception) -> JSONResponse:
    """What the framework itself answers: an unknown path or method, a body that cannot be read."""
    error = cast("HTTPException", error)
    if error.status_code == 400:
        return failure(request, 422, "InvalidRequest", "body: cannot be read")
    name = HTTP_NAMES.get(error.status_code, "InvalidRequest")
    answer = failure(request, error.status_code, name, str(error.detail))
    answer.headers.update(error.headers or {})
    return answer


def failure(request: Request, status: int, error: str, detail: str) -> JSONResponse:
    """The one shape of every error."""
    body = Failure(error=error, detail=detail, request_id=request.state.request_id)
    return JSONResponse(body.model_dump(), status, HEADERS.get(status))
