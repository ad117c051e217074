"""The wired pieces that every call may use."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, cast

from fastapi import Depends, Request

from data_api.crud.people.sign_in_failure import SlowDown
from data_api.database import Database
from data_api.security import Passwords, Tokens

from .rate_limit import RateLimits


@dataclass(frozen=True)
class LockoutPolicy:
    """When failed sign-ins have to wait."""

    source: SlowDown
    """Of one device or address at one account."""
    account: SlowDown
    """Of all sources together that are not known to the account."""
    address: SlowDown
    """Of one address, at all accounts to which it is not known."""


@dataclass(frozen=True)
class Context:
    """What main.py wired together."""

    database: Database
    passwords: Passwords
    tokens: Tokens
    service_key: str
    refresh_lifetime: timedelta
    invitation_lifetime: timedelta
    public_url: str
    lockout: LockoutPolicy
    pseudonym_key: bytes
    """Key of the HMAC under which failed sign-ins are counted: the table holds no e-mail and no address."""
    responses_key: bytes
    """Key from which the keys of sealed responses to repeated requests are derived."""
    rate_limits: RateLimits
    label_share: float
    label_lifetime: timedelta
    replica: Database | None
    """The read-only copy of Postgres that lists are read from; None: they are read from `database` too."""


async def context(request: Request) -> Context:
    """The context of the app that serves this request."""
    return cast("Context", request.app.state.context)


AppContext = Annotated[Context, Depends(context)]
