"""The status of every error, and the response to each: always an ErrorBody, which never repeats an input."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from ai_api.errors import (
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
    NoFinitePrediction,
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

from .middleware import TOO_LARGE, error_body
from .validation import describe

STATUS: dict[type[AIError], int] = {
    InvalidRow: 422,
    InvalidFeedback: 422,
    InvalidParams: 422,
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


def add_error_handlers(app: FastAPI) -> None:
    """Every error that a call raises becomes a response."""
    app.add_exception_handler(AIError, on_ai_error)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, on_invalid_request)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, on_http_error)  # type: ignore[arg-type]


def error_response(request: Request, status: int, name: str, detail: str) -> JSONResponse:
    return JSONResponse(error_body(name, detail, request.state.request_id), status, HEADERS.get(status))


async def on_ai_error(request: Request, error: AIError) -> JSONResponse:
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    return error_response(request, status, type(error).__name__, str(error))


async def on_invalid_request(request: Request, error: RequestValidationError) -> JSONResponse:
    return error_response(request, 422, "InvalidRequest", describe(error.errors()))


async def on_http_error(request: Request, error: HTTPException) -> JSONResponse:
    if error.status_code == 400:  # FastAPI's status for a body that its parser cannot read
        return error_response(request, 422, "InvalidRequest", "body: cannot be read")
    name = NAMES.get(error.status_code, "HTTPError")
    detail = DETAILS.get(error.status_code, "The request cannot be read.")
    return error_response(request, error.status_code, name, detail)
