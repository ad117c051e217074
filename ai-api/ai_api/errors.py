"""What can go wrong, one tree, no HTTP in it. A class's docstring is its default message, written for the reader.

AIError
├── UnknownTask, UnknownVersion, UnknownRecipe, UnknownJob, UnknownPrediction, UnknownPicture
├── InvalidRow, InvalidFeedback, InvalidParams
├── NotSignedIn, NotAllowed
├── NoChampion, RegistryUnavailable, QueueUnavailable, DataUnavailable, IdentityUnavailable, OutboxFull,
│   BlobsUnavailable
├── Overloaded, TooLarge
├── JobRunning, Conflict
└── PredictionFailed, TrainingFailed, LeakedRows, MissingExtra (MissingWeights), ModelRefused, ConfigurationError
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
    """There is no such picture, or somebody else sent it."""


class InvalidRow(AIError):
    """The row does not fit the task. GET /docs shows the fields of each task."""


class InvalidFeedback(AIError):
    """The feedback does not fit its prediction: a classification takes one of its labels, a regression a number."""


class InvalidParams(AIError):
    """The recipe does not take these parameters."""


class NotSignedIn(AIError):
    """Say who is calling: `Authorization: Bearer <token>` or `X-API-Key: <key>`, valid, not expired and not revoked."""


class NotAllowed(AIError):
    """Your role or the scopes of your key do not allow this."""


class NoChampion(AIError):
    """No version of this task has been promoted yet. Train one, then promote it."""


class RegistryUnavailable(AIError):
    """The model registry does not answer. Versions that are loaded go on serving; try again in a moment."""


class QueueUnavailable(AIError):
    """The job queue does not answer. Nothing was started; try again in a moment."""


class DataUnavailable(AIError):
    """data-api does not answer. Try again in a moment."""


class IdentityUnavailable(AIError):
    """Who is calling cannot be checked: data-api has been away for longer than AI_AUTH_STALE_SECONDS."""


class OutboxFull(AIError):
    """Predictions cannot be stored: the outbox is full (data-api was away for too long) or the disk is. Try later."""


class BlobsUnavailable(AIError):
    """The store of pictures does not answer, or is full. Nothing was answered; try again in a moment."""


class Overloaded(AIError):
    """Too many rows are waiting. Try again in a moment."""


class TooLarge(AIError):
    """The request is too large."""


class JobRunning(AIError):
    """A training of this task is waiting or running. Wait for it, or cancel it."""

    def __init__(self, job_id: int) -> None:
        super().__init__(f"Job {job_id} of this task is waiting or running. Wait for it, or cancel it.")
        self.job_id = job_id


class Conflict(AIError):
    """The champion changed in the meantime. Look again, then decide."""


class PredictionFailed(AIError):
    """The model failed on this row. The row was kept out of the batch; its neighbours were answered."""


class TrainingFailed(AIError):
    """The training failed. Its job says why."""


class LeakedRows(TrainingFailed):
    """Held-out rows are among the training rows. The figures would be better than the model; nothing was trained."""


class MissingExtra(AIError):
    """A library that this recipe needs is not installed. The message names the extra to install."""


class MissingWeights(MissingExtra):
    """The weights that this recipe reads are not on this machine. Fetch them and put them into AI_WEIGHTS_DIR."""


class ModelRefused(AIError):
    """A version could not be trusted or did not answer its own sample as recorded, so it does not serve."""


class ConfigurationError(AIError):
    """A setting or a secret is missing or a placeholder, so the service does not start."""
