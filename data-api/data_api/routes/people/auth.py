"""Signing in and out, and the public keys of access tokens."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response

from data_api.crud.people import refresh_token, user
from data_api.errors import DataAPIError
from data_api.http.body.guarded_route import GuardedRoute
from data_api.http.caller import Person
from data_api.http.context import AppContext, Context
from data_api.http.session import DbSession
from data_api.http.sign_in import Source, authenticate, remember_device
from data_api.metrics import SIGN_INS
from data_api.models.people.user import User
from data_api.schemas.people.auth import Jwks, Refresh, SignIn, TokenPair
from data_api.security import digest, new_refresh_token

router = APIRouter(route_class=GuardedRoute, tags=["auth"])


@router.post("/auth/token")
def sign_in(
    form: Annotated[SignIn, Form()],
    context: AppContext,
    session: DbSession,
    source: Source,
    request: Request,
    response: Response,
) -> TokenPair:
    """Exchanges e-mail and password for an access token and a refresh token. After some failures the next has to wait,
    twice as long after each further failure; 429 has a `Retry-After`. A device (by the cookie of this response) or an
    address that has signed in to the account before does not wait because of others.
    """
    found = authenticate(context, session, form.username, form.password, source)
    remember_device(context, request, response, found.email)
    fresh = new_refresh_token()
    refresh_token.start(session, found, digest(fresh), context.refresh_lifetime)
    SIGN_INS.labels("signed in").inc()
    return _pair(context, found, fresh)


@router.post("/auth/refresh")
def refresh(body: Refresh, context: AppContext, session: DbSession) -> TokenPair:
    """Exchanges a refresh token for the next pair. A second use of one revokes all refresh tokens of its sign-in."""
    fresh = new_refresh_token()
    try:
        owner = refresh_token.rotate(session, digest(body.refresh_token), digest(fresh), context.refresh_lifetime)
    except DataAPIError:
        SIGN_INS.labels("refused").inc()
        raise
    SIGN_INS.labels("refreshed").inc()
    return _pair(context, owner, fresh)


@router.post("/auth/logout", status_code=204)
def sign_out(body: Refresh, session: DbSession) -> None:
    """Revokes a refresh token and its family. An unknown one is no error."""
    refresh_token.end(session, digest(body.refresh_token))


@router.post("/auth/logout-everywhere", status_code=204)
def sign_out_everywhere(caller: Person, session: DbSession) -> None:
    """Ends every access and refresh token of the caller, this one too. API keys stay valid."""
    user.sign_out_everywhere(session, caller.self_id)


@router.get("/.well-known/jwks.json")
def jwks(context: AppContext) -> Jwks:
    """The public keys that access tokens are signed with."""
    return Jwks.model_validate(context.tokens.jwks)


def _pair(context: Context, owner: User, refresh: str) -> TokenPair:
    token = context.tokens.issue(owner.id, owner.role)
    return TokenPair(access_token=token, expires_in=context.tokens.seconds, refresh_token=refresh)
