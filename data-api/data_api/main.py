"""Builds the app: the parts, the calls, and which error is which status."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from . import __version__, errors
from .cluster import APP
from .database import Database, address
from .routes import api_keys, auth, corrections, feedback, health, predictions, promotions, users
from .routes.caller import Parts
from .routes.edge import Edge
from .schemas.failure import Failure
from .schemas.problem import describe
from .security import Passwords, Tokens
from .settings import Settings

STATUS: dict[type[errors.DataAPIError], int] = {
    errors.InvalidRequest: 422,
    errors.InvalidCursor: 422,
    errors.NotSignedIn: 401,
    errors.WrongCredentials: 401,
    errors.TokenReused: 401,
    errors.NotAllowed: 403,
    errors.WrongPassword: 403,
    errors.UnknownUser: 404,
    errors.UnknownKey: 404,
    errors.UnknownPrediction: 404,
    errors.EmailTaken: 409,
    errors.LastAdmin: 409,
    errors.TooLarge: 413,
    errors.Overloaded: 429,
    errors.DatabaseUnavailable: 503,
    errors.NotReady: 503,
    errors.MisSet: 500,
    errors.SetupFailed: 500,
}
HEADERS = {401: {"WWW-Authenticate": "Bearer"}, 429: {"Retry-After": "1"}, 503: {"Retry-After": "1"}}
HTTP_NAMES = {404: "NotFound", 405: "MethodNotAllowed"}
DESCRIPTIONS = {
    401: "Nobody was recognised.",
    403: "Role or scopes do not allow it.",
    404: "There is no such thing, or it is not the caller's.",
    409: "It conflicts with what is there.",
    413: "The body is too large.",
    422: "The request is malformed.",
    429: "Too many at once.",
    503: "Postgres does not answer.",
}


def create_app(settings: Settings) -> FastAPI:
    """The whole service. It connects to Postgres with the first request that needs it."""
    database = Database(
        address(
            settings.postgres_host,
            settings.postgres_port,
            settings.postgres_database,
            APP,
            settings.secret("postgres_app_password"),
        ),
        pool_size=settings.pool_size,
        pool_wait_seconds=settings.pool_wait_seconds,
        statement_seconds=settings.statement_seconds,
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        database.close()

    app = FastAPI(
        title="Volant data-api",
        version=__version__,
        summary="Users, API keys, predictions, feedback and promotions.",
        lifespan=lifespan,
        redoc_url=None,
        redirect_slashes=False,
        responses={status: {"model": Failure, "description": text} for status, text in DESCRIPTIONS.items()},
    )
    app.add_exception_handler(errors.DataAPIError, on_error)
    app.add_exception_handler(RequestValidationError, on_malformed)
    app.add_exception_handler(HTTPException, on_http_error)
    app.state.parts = Parts(
        database=database,
        passwords=Passwords(settings.sign_ins_at_once),
        tokens=Tokens(settings.secret("signing_key"), settings.access_token_seconds),
        service_key=settings.secret("service_key"),
        refresh_lifetime=timedelta(seconds=settings.refresh_token_seconds),
    )
    for subject in (auth, users, api_keys, predictions, feedback, corrections, promotions, health):
        app.include_router(subject.router)
    app.add_middleware(Edge, max_body_bytes=settings.max_body_bytes)
    return app


def on_error(request: Request, error: Exception) -> JSONResponse:
    """An error of ours, by its name."""
    error = cast("errors.DataAPIError", error)
    return failure(request, STATUS[type(error)], type(error).__name__, str(error))


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
