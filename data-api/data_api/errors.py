"""The errors of data-api as one tree, without HTTP. The docstring of a class is its default message to the caller.

DataAPIError
├── InvalidRequest, InvalidCursor, UnknownHost
├── NotSignedIn, WrongCredentials, TokenReused
├── NotAllowed, WrongPassword
├── UnknownUser, UnknownKey, UnknownInvitation, UnknownPrediction, UnknownErasure, UnknownRetention
├── EmailTaken, LastAdmin, KeyReused, ChangedMeanwhile
├── TooLarge, BodyTimeout, UnsupportedEncoding, Overloaded, TooManyRequests (LockedOut)
├── DatabaseUnavailable, NotReady
└── ConfigurationError, SetupFailed, MaintenanceFailed
"""

from __future__ import annotations

from typing import ClassVar


class DataAPIError(Exception):
    """Something went wrong."""

    keeps_changes: ClassVar[bool] = False
    """Whether changes made before the error are committed."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or " ".join((type(self).__doc__ or "").split()))


class InvalidRequest(DataAPIError):
    """The request is malformed. GET /docs shows what each call takes."""


class InvalidCursor(DataAPIError):
    """The cursor is not one that a list returned as `next`."""


class UnknownHost(DataAPIError):
    """This service is not known under the host name of this request: add that name to VOLANT_NAMES in .env, restart."""


class NotSignedIn(DataAPIError):
    """Send `Authorization: Bearer <token>` or `X-API-Key: <key>`, valid, not expired and not revoked."""


class WrongCredentials(DataAPIError):
    """The e-mail or the password is wrong, or the account is disabled."""

    keeps_changes = True  # the failure is counted


class TokenReused(DataAPIError):
    """This refresh token was used before, so all tokens of the same sign-in are revoked. Sign in again."""

    keeps_changes = True


class NotAllowed(DataAPIError):
    """Your role or the scopes of your key do not allow this."""


class WrongPassword(DataAPIError):
    """The current password is wrong."""

    keeps_changes = True  # the failure is counted


class UnknownUser(DataAPIError):
    """There is no such user."""


class UnknownKey(DataAPIError):
    """There is no such API key, or it is not yours."""


class UnknownInvitation(DataAPIError):
    """There is no such invitation, or it was used, revoked or has expired. Ask an admin for a new one."""


class UnknownPrediction(DataAPIError):
    """There is no such prediction, or it is not yours."""


class UnknownErasure(DataAPIError):
    """There is no such erasure."""


class UnknownRetention(DataAPIError):
    """This task has no retention set: its rows are never deleted."""


class EmailTaken(DataAPIError):
    """A user with this e-mail exists already."""


class LastAdmin(DataAPIError):
    """This is the last admin who can sign in. Make another admin first."""


class KeyReused(DataAPIError):
    """This Idempotency-Key was sent with another body before. Send a new key for each thing to create."""


class ChangedMeanwhile(DataAPIError):
    """This has changed since you read it. Read it again, then decide whether your change is still wanted."""


class TooLarge(DataAPIError):
    """The request is too large."""


class BodyTimeout(DataAPIError):
    """The request body did not arrive within DATA_BODY_SECONDS. Send it again, over a faster connection or in parts."""


class UnsupportedEncoding(DataAPIError):
    """The only Content-Encoding that is read is gzip. Send the body with it, or as it is."""


class Overloaded(DataAPIError):
    """Too many people are signing in at once. Try again in a moment."""


class TooManyRequests(DataAPIError):
    """Too many requests came from you or from your address. Wait for `Retry-After` seconds."""

    def __init__(self, message: str | None = None, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class LockedOut(TooManyRequests):
    """Too many sign-ins failed for this account or from this address. Try again after `Retry-After` seconds."""


class DatabaseUnavailable(DataAPIError):
    """Postgres does not respond. Nothing of this request was stored; try again in a moment."""


class NotReady(DataAPIError):
    """The service is not ready to serve."""


class ConfigurationError(DataAPIError):
    """A setting or a secret is missing, malformed or a placeholder, so the service does not start."""


class SetupFailed(DataAPIError):
    """Postgres could not be set up."""


class MaintenanceFailed(DataAPIError):
    """A step of the maintenance failed. The log says which and why."""
