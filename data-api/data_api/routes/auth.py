"""Signing in and out, and what ai-api needs to recognise callers by itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Form, Query

from data_api.crud import api_key, erasure, refresh_token, replica, retention, user
from data_api.errors import DataAPIError
from data_api.metrics import SIGN_INS
from data_api.models import User
from data_api.schemas.auth import Jwks, LiveKey, Refresh, SignIn, Snapshot, TokenPair
from data_api.schemas.erasure import Erased, ReplicaName
from data_api.security import digest, new_refresh_token

from .caller import Database, Parts, Person, Service, Wired
from .sign_in import Address, authenticate

router = APIRouter(tags=["auth"])

ReplicaAsking = Annotated[
    ReplicaName | None,
    Query(alias="replica", description="Which ai-api asks. An erasure waits for its word that it holds nothing more."),
]
MARGIN = timedelta(minutes=5)
"""How much longer than a token's life a revocation is told to ai-api, whose clock may differ."""


@router.post("/auth/token")
def sign_in(form: Annotated[SignIn, Form()], wired: Wired, database: Database, address: Address) -> TokenPair:
    """Trades e-mail and password for a short access token and a refresh token. After some failures in a row an account
    and an address have to wait, twice as long after each further one: 429 says for how long.
    """
    found = authenticate(wired, database, form.username, form.password, address)
    fresh = new_refresh_token()
    refresh_token.start(database, found, digest(fresh), wired.refresh_lifetime)
    SIGN_INS.labels("signed in").inc()
    return _pair(wired, found, fresh)


@router.post("/auth/refresh")
def refresh(body: Refresh, wired: Wired, database: Database) -> TokenPair:
    """Trades a refresh token for the next pair. A token that is used twice ends all that came from its sign-in."""
    fresh = new_refresh_token()
    try:
        owner = refresh_token.rotate(database, digest(body.refresh_token), digest(fresh), wired.refresh_lifetime)
    except DataAPIError:
        SIGN_INS.labels("refused").inc()
        raise
    SIGN_INS.labels("refreshed").inc()
    return _pair(wired, owner, fresh)


@router.post("/auth/logout", status_code=204)
def sign_out(body: Refresh, database: Database) -> None:
    """Ends a refresh token and all of its family. One that is unknown is ended already."""
    refresh_token.end(database, digest(body.refresh_token))


@router.post("/auth/logout-everywhere", status_code=204)
def sign_out_everywhere(caller: Person, database: Database) -> None:
    """Ends every access and refresh token of the caller, this one too. API keys stay: revoke them one by one."""
    user.sign_out_everywhere(database, caller.self_id)


@router.get("/.well-known/jwks.json")
def jwks(wired: Wired) -> Jwks:
    """The public keys that access tokens are signed with."""
    return Jwks.model_validate(wired.tokens.jwks)


@router.get("/auth/snapshot")
def snapshot(_: Service, wired: Wired, database: Database, replica_name: ReplicaAsking = None) -> Snapshot:
    """Everything that ai-api needs to recognise callers while data-api is away, and whom it shall hold nothing of."""
    if replica_name:
        replica.seen(database, replica_name)
    window = timedelta(seconds=wired.tokens.seconds) + MARGIN
    now = datetime.now(UTC)
    return Snapshot(
        generated_at=now,
        keys=[
            LiveKey.model_validate(
                {"hash": key.hash, "key_id": key.id, "user_id": key.user_id, "role": role, "scopes": key.scopes}
                | {"expires_at": key.expires_at}
            )
            for key, role in api_key.live(database)
        ],
        disabled_users=user.turned_away(database, window),
        tokens_valid_after={
            user_id: moment.timestamp() for user_id, moment in user.valid_after(database, window).items()
        },
        jwks=Jwks.model_validate(wired.tokens.jwks),
        erasures=[Erased(id=one.id, user_id=one.user_id) for one in erasure.named(database)],
        kept_days=retention.kept_days(database),
    )


def _pair(wired: Parts, owner: User, refresh: str) -> TokenPair:
    token = wired.tokens.issue(owner.id, owner.role)
    return TokenPair(access_token=token, expires_in=wired.tokens.seconds, refresh_token=refresh)
