"""What can go wrong, one tree, no HTTP in it. A class's docstring is its default message, written for the reader.

DataAPIError
├── InvalidRequest, InvalidCursor
├── NotSignedIn, WrongCredentials, TokenReused
├── NotAllowed, WrongPassword
├── UnknownUser, UnknownKey, UnknownInvitation, UnknownPrediction, UnknownErasure, UnknownRetention
├── EmailTaken, LastAdmin, KeyReused, ChangedMeanwhile
├── TooLarge, Overloaded, TooManyRequests (LockedOut)
├── DatabaseUnavailable, NotReady
└── ConfigurationError, SetupFailed, MaintenanceFailed
"""

from __future__ import annotations

from typing import ClassVar


class DataAPIError(Exception):
    """Something went wrong."""

    keeps_changes: ClassVar[bool] = False
    """Whether what was written before the error is committed all the same."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or " ".join((type(self).__doc__ or "").split()))


class InvalidRequest(DataAPIError):
    """The request is malformed. GET /docs shows what each call takes."""


class InvalidCursor(DataAPIError):
    """The cursor is not one that a list answered as `next`."""


class NotSignedIn(DataAPIError):
    """Say who is calling: `Authorization: Bearer <token>` or `X-API-Key: <key>`, valid, not expired and not revoked."""


class WrongCredentials(DataAPIError):
    """The e-mail or the password is wrong, or the account is disabled."""

    keeps_changes = True  # the failure is counted


class TokenReused(DataAPIError):
    """This refresh token was used before, so every token that came from the same sign-in is revoked. Sign in again."""

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
    """This task has no days set: its rows are kept for ever."""


class EmailTaken(DataAPIError):
    """A user with this e-mail exists already."""


class LastAdmin(DataAPIError):
    """This is the last admin who can sign in. Make another one first."""


class KeyReused(DataAPIError):
    """This Idempotency-Key came with another body before. Send a new one for each thing to create."""


class ChangedMeanwhile(DataAPIError):
    """This has changed since you saw it. Read it again, then decide whether your change is still wanted."""


class TooLarge(DataAPIError):
    """The request is too large."""


class Overloaded(DataAPIError):
    """Too many people are signing in at once. Try again in a moment."""


class TooManyRequests(DataAPIError):
    """Too many requests came from you or from your address. Wait, as `Retry-After` says, then go on."""

    def __init__(self, message: str | None = None, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class LockedOut(TooManyRequests):
    """Too many sign-ins failed for this account or from this address. Wait, as `Retry-After` says, then try again."""


class DatabaseUnavailable(DataAPIError):
    """Postgres does not answer. Nothing that was not acknowledged is kept; try again in a moment."""


class NotReady(DataAPIError):
    """The service cannot do its work now."""


class ConfigurationError(DataAPIError):
    """A setting or a secret is missing or a placeholder, so the service does not start."""


class SetupFailed(DataAPIError):
    """Postgres could not be set up."""


class MaintenanceFailed(DataAPIError):
    """A part of the maintenance failed. The log says which and why."""
