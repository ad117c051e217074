"""The status of every error, and the response to each: always an ErrorBody, which never repeats an input."""

from __future__ import annotations

import math

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from ai_api.errors import (
    AIError,
    BlobsUnavailable,
    BodyTimeout,
    ConfigurationError,
    Conflict,
    DataUnavailable,
    IdentityUnavailable,
    InvalidData,
    InvalidFeedback,
    InvalidParams,
    InvalidRequest,
    InvalidRow,
    JobRunning,
    KeyReused,
    LeakedRows,
    LimitReached,
    MissingExtra,
    MissingWeights,
    ModelRefused,
    NoChampion,
    NoFinitePrediction,
    NotAllowed,
    NotSignedIn,
    OutboxFull,
    Overloaded,
    PredictionFailed,
    PredictionTimeout,
    QueueUnavailable,
    RegistryUnavailable,
    TooLarge,
    TrainingFailed,
    UnknownHost,
    UnknownJob,
    UnknownPicture,
    UnknownPrediction,
    UnknownRecipe,
    UnknownTask,
    UnknownVersion,
    UnsupportedEncoding,
)

from .middleware import error_body
from .validation import describe

STATUS: dict[type[AIError], int] = {
    InvalidRequest: 422,
    InvalidRow: 422,
    InvalidFeedback: 422,
    InvalidParams: 422,
    UnknownHost: 421,
    NoFinitePrediction: 422,
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
    KeyReused: 409,
    ModelRefused: 409,
    BodyTimeout: 408,
    TooLarge: 413,
    UnsupportedEncoding: 415,
    Overloaded: 429,
    LimitReached: 429,
    PredictionFailed: 500,
    TrainingFailed: 500,
    LeakedRows: 500,
    InvalidData: 500,
    MissingExtra: 500,
    MissingWeights: 500,
    ConfigurationError: 500,
    NoChampion: 503,
    PredictionTimeout: 503,
    RegistryUnavailable: 503,
    QueueUnavailable: 503,
    DataUnavailable: 503,
    IdentityUnavailable: 503,
    OutboxFull: 503,
    BlobsUnavailable: 503,
}
HEADERS = {
    401: {"WWW-Authenticate": "Bearer"},
    408: {"Connection": "close"},
    415: {"Accept-Encoding": "gzip"},
    429: {"Retry-After": "1"},
    503: {"Retry-After": "5"},
}
NAMES = {404: "NotFound", 405: "MethodNotAllowed"}
DETAILS = {
    404: "There is no such address. GET /docs lists the calls.",
    405: "This address does not take this method. GET /docs lists the calls.",
}


def add_error_handlers(app: FastAPI) -> None:
    """Every error that a call raises becomes a response."""
    app.add_exception_handler(AIError, on_ai_error)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, on_invalid_request)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, on_http_error)  # type: ignore[arg-type]


def error_response(request: Request, status: int, name: str, detail: str) -> JSONResponse:
    return JSONResponse(error_body(name, detail, request.state.request_id), status, HEADERS.get(status))


async def on_ai_error(request: Request, error: AIError) -> JSONResponse:
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    response = error_response(request, status, type(error).__name__, str(error))
    if isinstance(error, LimitReached):
        response.headers["Retry-After"] = str(math.ceil(error.retry_seconds))
    return response


async def on_invalid_request(request: Request, error: RequestValidationError) -> JSONResponse:
    return error_response(request, 422, "InvalidRequest", describe(error.errors()))


async def on_http_error(request: Request, error: HTTPException) -> JSONResponse:
    name = NAMES.get(error.status_code, "HTTPError")
    detail = DETAILS.get(error.status_code, "The request cannot be read.")
    return error_response(request, error.status_code, name, detail)
