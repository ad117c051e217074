"""Every error of ai-api, without HTTP. A class's docstring is its default message, so it is written for the caller.

AIError
├── UnknownTask, UnknownVersion, UnknownRecipe, UnknownJob, UnknownPrediction, UnknownPicture
├── InvalidRow, InvalidFeedback, InvalidParams, InvalidRequest, UnknownHost
├── NotSignedIn, NotAllowed
├── NoChampion, RegistryUnavailable, QueueUnavailable, DataUnavailable, IdentityUnavailable, OutboxFull,
│   BlobsUnavailable
├── Overloaded, LimitReached, PredictionTimeout, TooLarge, BodyTimeout, UnsupportedEncoding
├── JobRunning, Conflict, KeyReused
├── PredictionFailed (NoFinitePrediction), TrainingFailed (LeakedRows), InvalidData
└── MissingExtra (MissingWeights), ModelRefused, ConfigurationError
"""

from __future__ import annotations


class AIError(Exception):
    """Something went wrong."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or " ".join((type(self).__doc__ or "").split()))


class UnknownTask(AIError):
    """There is no such task. GET /models lists them."""


class UnknownVersion(AIError):
    """This task has no such version. GET /models/{task} lists its versions."""


class UnknownRecipe(AIError):
    """This task has no such recipe. GET /models/{task} lists its recipes."""


class UnknownJob(AIError):
    """There is no such job. GET /jobs lists them."""


class UnknownPrediction(AIError):
    """There is no such prediction."""


class UnknownPicture(AIError):
    """There is no such image, or another person sent it."""


class InvalidRequest(AIError):
    """The request cannot be read. GET /docs shows what each call takes."""


class InvalidRow(AIError):
    """The row does not fit the task. GET /docs shows the fields of each task."""


class InvalidFeedback(AIError):
    """The feedback does not fit its prediction: a classification takes one of its labels, a regression a number."""


class InvalidParams(AIError):
    """The recipe does not take these parameters."""


class UnknownHost(AIError):
    """This service is not known under the host name of this request: add that name to VOLANT_NAMES in .env, restart."""


class NotSignedIn(AIError):
    """Identify yourself: `Authorization: Bearer <token>` or `X-API-Key: <key>`, valid, not expired and not revoked."""


class NotAllowed(AIError):
    """Your role or the scopes of your key do not allow this."""


class NoChampion(AIError):
    """No version of this task has been promoted yet. Train one, then promote it."""


class RegistryUnavailable(AIError):
    """The model registry does not respond. Loaded versions go on serving; try again in a moment."""


class QueueUnavailable(AIError):
    """The job queue does not respond. Nothing was started; try again in a moment."""


class DataUnavailable(AIError):
    """data-api does not respond. Try again in a moment."""


class IdentityUnavailable(AIError):
    """The caller cannot be checked: data-api has not responded for longer than AI_AUTH_STALE_SECONDS."""


class OutboxFull(AIError):
    """Predictions cannot be stored: the outbox is full (data-api was away for too long) or the disk is. Try later."""


class BlobsUnavailable(AIError):
    """The image store does not respond, or is full. No prediction was made; try again in a moment."""


class Overloaded(AIError):
    """Too many rows are waiting. Try again in a moment."""


class LimitReached(AIError):
    """A limit of this caller is reached. Try again later."""

    def __init__(self, message: str | None = None, *, retry_seconds: float = 1.0) -> None:
        super().__init__(message)
        self.retry_seconds = retry_seconds


class PredictionTimeout(AIError):
    """The rows of this call were not computed within AI_PREDICT_SECONDS; nothing was stored. Send fewer rows a call."""


class TooLarge(AIError):
    """The request is too large."""


class BodyTimeout(AIError):
    """The request body did not arrive within AI_BODY_SECONDS. Send it again, over a faster connection or in parts."""


class UnsupportedEncoding(AIError):
    """The only Content-Encoding that is read is gzip. Send the body with it, or as it is."""


class JobRunning(AIError):
    """A training of this task is waiting or running. Wait for it, or cancel it."""

    def __init__(self, job_id: int) -> None:
        super().__init__(f"Job {job_id} of this task is waiting or running. Wait for it, or cancel it.")
        self.job_id = job_id


class Conflict(AIError):
    """The champion changed in the meantime. Read it again, then decide."""


class KeyReused(AIError):
    """This Idempotency-Key was sent with another body before. Send a new key for each thing to do."""


class PredictionFailed(AIError):
    """The model failed on this row. The other rows of its batch were predicted."""


class NoFinitePrediction(PredictionFailed):
    """The model has no finite prediction for this row: its numbers are too large. Other rows were predicted."""


class TrainingFailed(AIError):
    """The training failed. Its job has the reason."""


class LeakedRows(TrainingFailed):
    """Held-out rows are among the training rows, so metrics would be too good. Nothing was trained."""


class InvalidData(AIError):
    """A file of a data set is there, but is not what it should be. Correct it or remove it. Nothing was trained."""


class MissingExtra(AIError):
    """A library that this recipe needs is not installed. The message names the extra to install."""


class MissingWeights(MissingExtra):
    """The weights that this recipe reads are not on this machine. Fetch them and put them into AI_WEIGHTS_DIR."""


class ModelRefused(AIError):
    """A version is not trusted, or its predictions differ from those recorded at training, so it does not serve."""


class ConfigurationError(AIError):
    """A setting or a secret is missing or a placeholder, so the service does not start."""
