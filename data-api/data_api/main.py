"""Builds the app: wires the context, adds the routes, and maps each error to a status."""

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

from . import __version__, errors
from .admin.page import mount as mount_admin_page
from .admin.session import PATH
from .crud.people.sign_in_failure import SlowDown
from .crud.rate_limit import PostgresStorage
from .database import Database, address, replica_address
from .http.body.request_body import BodyLimits, BytesInFlight
from .http.context import Context, LockoutPolicy
from .http.cors import allow_origins
from .http.error_body import ErrorBody
from .http.middleware import RequestMiddleware
from .http.rate_limit import RateLimits
from .http.request_target import RequestTarget, refuse_unknown_parameters
from .keyring import Keyring, KeySeal
from .routes import audit, docs, health, promotions
from .routes.people import api_key, auth, invitation, snapshot, user
from .routes.predictions import accuracy, correction, feedback, labelling, prediction
from .routes.privacy import erasure, own_data, retention
from .schemas.validation import describe_errors
from .security import Passwords, Tokens
from .settings import Settings
from .setup.cluster import APP
from .signing_keys import load

STATUS: dict[type[errors.DataAPIError], int] = {
    errors.InvalidRequest: 422,
    errors.InvalidCursor: 422,
    errors.UnknownHost: 421,
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
    errors.BodyTimeout: 408,
    errors.TooLarge: 413,
    errors.UnsupportedEncoding: 415,
    errors.Overloaded: 429,
    errors.TooManyRequests: 429,
    errors.DatabaseUnavailable: 503,
    errors.NotReady: 503,
    errors.ConfigurationError: 500,
    errors.SetupFailed: 500,
    errors.MaintenanceFailed: 500,
}
RATE_LIMIT_CONNECTIONS = 2
"""Connections for counting requests, in a pool of their own: a request that waits for one of the others must not hold
one of these.
"""
ADDRESS_WAIT = timedelta(seconds=1)
"""Longest wait of an address, which many people may share: it bounds the hashes that it costs, not the guesses."""
HEADERS = {
    401: {"WWW-Authenticate": "Bearer"},
    408: {"Connection": "close"},
    415: {"Accept-Encoding": "gzip"},
    429: {"Retry-After": "1"},
    503: {"Retry-After": "1"},
}
HTTP_NAMES = {404: "NotFound", 405: "MethodNotAllowed"}
DESCRIPTIONS = {
    401: "The caller is not authenticated.",
    403: "Role or scopes do not allow it.",
    404: "There is no such thing, or it is not the caller's.",
    408: "The body did not arrive in time.",
    409: "It conflicts with what is there.",
    412: "It has changed since the caller saw it.",
    413: "The body is too large.",
    415: "The body has another Content-Encoding than gzip.",
    422: "The request is malformed.",
    429: "Too many requests or failures: wait for Retry-After seconds.",
    503: "Postgres does not respond.",
}


def create_app(settings: Settings) -> FastAPI:
    """The whole service. It connects to Postgres with the first request that needs it."""
    counters = primary(settings, RATE_LIMIT_CONNECTIONS, "limits") if settings.rate_limit_store == "postgres" else None
    context = wire(settings, PostgresStorage(counters) if counters else MemoryStorage())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        for pool in filter(None, (context.database, context.replica, counters)):
            pool.close()

    app = FastAPI(
        title="Volant data-api",
        version=__version__,
        summary="Users, API keys, predictions, feedback and promotions.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        strict_content_type=False,  # a body without Content-Type is read as JSON
        dependencies=[Depends(refuse_unknown_parameters)],
        responses={status: {"model": ErrorBody, "description": text} for status, text in DESCRIPTIONS.items()},
    )
    app.add_exception_handler(errors.DataAPIError, on_error)
    app.add_exception_handler(RequestValidationError, on_malformed)
    app.add_exception_handler(HTTPException, on_http_error)
    app.state.context = context
    for subject in (
        audit,
        auth,
        snapshot,
        own_data,
        erasure,
        user,
        invitation,
        api_key,
        labelling,  # before prediction: else GET /predictions/uncertain would match /predictions/{prediction_id}
        prediction,
        feedback,
        correction,
        promotions,
        accuracy,
        retention,
        health,
    ):
        app.include_router(subject.router)
    mount_admin_page(app, context, timedelta(seconds=settings.admin_session_seconds), STATUS)
    docs.add_docs(app)
    allow_origins(app, settings.origins)
    app.add_middleware(RequestTarget, hosts=settings.hosts, mount=PATH)
    body_limits = BodyLimits(settings.max_body_bytes, settings.body_seconds, BytesInFlight(settings.bodies_bytes))
    app.add_middleware(RequestMiddleware, body_limits=body_limits)
    return app


def wire(settings: Settings, rate_limit_storage: Storage) -> Context:
    """Makes the pieces that the calls need, from the settings and the secrets."""
    database = primary(settings, settings.pool_size)
    seal = KeySeal(settings.secret("signing_key"))
    longest_wait = timedelta(seconds=settings.sign_in_wait_seconds)
    return Context(
        database=database,
        passwords=Passwords(settings.sign_ins_at_once),
        tokens=Tokens(Keyring(lambda: load(database, seal)), settings.access_token_seconds),
        service_key=settings.secret("service_key"),
        refresh_lifetime=timedelta(seconds=settings.refresh_token_seconds),
        invitation_lifetime=timedelta(seconds=settings.invitation_seconds),
        public_url=settings.effective_public_url,
        lockout=LockoutPolicy(
            source=SlowDown(settings.sign_in_tries, longest_wait),
            account=SlowDown(settings.sign_in_tries_per_account, longest_wait),
            address=SlowDown(settings.sign_in_tries_per_address, ADDRESS_WAIT),
        ),
        label_share=settings.label_share,
        label_lifetime=timedelta(minutes=settings.label_minutes),
        replica=read_replica(settings),
        pseudonym_key=pseudonym_key(seal),
        responses_key=seal.derive("keep answers to repeated requests"),
        rate_limits=RateLimits(rate_limit_storage, settings.rate_limit_per_caller, settings.rate_limit_per_address),
    )


def pseudonym_key(seal: KeySeal) -> bytes:
    """The key of the pseudonyms under which failed sign-ins are counted."""
    return seal.derive("count failed sign-ins")


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


def read_replica(settings: Settings) -> Database | None:
    """A pool of connections to the read-only copy of Postgres, if the settings name one."""
    if not settings.replica_url:
        return None
    return Database(
        replica_address(settings.replica_url, APP, settings.secret("postgres_app_password")),
        pool_size=settings.pool_size,
        pool_wait_seconds=settings.pool_wait_seconds,
        statement_seconds=settings.statement_seconds,
        name="replica",
    )


def on_error(request: Request, error: Exception) -> JSONResponse:
    """The response to an error of this service, with the error's class name."""
    error = cast("errors.DataAPIError", error)
    response = error_response(request, STATUS[type(error)], type(error).__name__, str(error))
    if isinstance(error, errors.TooManyRequests):
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def on_malformed(request: Request, error: Exception) -> JSONResponse:
    """The response to a request that does not fit the schema. It repeats nothing of the request."""
    error = cast("RequestValidationError", error)
    return error_response(request, 422, "InvalidRequest", describe_errors(error.errors()))


def on_http_error(request: Request, error: Exception) -> JSONResponse:
    """The response to an error of the framework: an unknown path or method."""
    error = cast("HTTPException", error)
    name = HTTP_NAMES.get(error.status_code, "InvalidRequest")
    response = error_response(request, error.status_code, name, str(error.detail))
    response.headers.update(error.headers or {})
    return response


def error_response(request: Request, status: int, error: str, detail: str) -> JSONResponse:
    """The response with the JSON that every error has."""
    body = ErrorBody(error=error, detail=detail, request_id=request.state.request_id)
    return JSONResponse(body.model_dump(), status, HEADERS.get(status))
