"""Signing in to the page: a cookie with a random token whose hash lies among the refresh tokens.

So whatever ends a person's sign-ins (a new password, being disabled, signing out everywhere) ends this one as well, and
nothing that the cookie holds can be altered. The hash is of the token with a prefix: it is no refresh token, and a
refresh token is no cookie.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from pydantic import ValidationError
from sqladmin.authentication import AuthenticationBackend
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from data_api.crud.people import admin_session, refresh_token
from data_api.errors import NotAllowed, WrongCredentials
from data_api.http.context import Context
from data_api.http.sign_in import address, authenticate
from data_api.metrics import SIGN_INS
from data_api.models.audit import Actor
from data_api.models.people.user import Role
from data_api.schemas.people.auth import SignIn
from data_api.security import digest, new_refresh_token

PATH = "/admin"
COOKIE = "volant_admin"


class AdminSession(AuthenticationBackend):
    """Who is at the page. Asked anew with every request."""

    def __init__(self, context: Context, lifetime: timedelta) -> None:
        self.middlewares = []
        self.context = context
        self.lifetime = lifetime

    async def login(self, request: Request) -> Response | bool:
        """Trades e-mail and password for the cookie. False: they are wrong."""
        form = await request.form()
        try:
            given = SignIn.model_validate({name: form.get(name) for name in ("username", "password")})
            token = await run_in_threadpool(self._sign_in, request, given)
        except (ValidationError, WrongCredentials):
            return False
        answer = RedirectResponse(request.url_for("admin:index"), 303)
        answer.set_cookie(
            COOKIE,
            token,
            max_age=int(self.lifetime.total_seconds()),
            path=PATH,
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )
        return answer

    async def logout(self, request: Request) -> Response | bool:
        """Ends the sign-in here and in the browser."""
        if token := request.cookies.get(COOKIE):
            await run_in_threadpool(self._sign_out, token)
        answer = RedirectResponse(request.url_for("admin:login"), 303)
        answer.delete_cookie(COOKIE, path=PATH, httponly=True, samesite="strict")
        return answer

    async def authenticate(self, request: Request) -> Response | bool:
        """Whether the caller is an admin now. The history names them as the one who acts."""
        token = request.cookies.get(COOKIE)
        user_id = await run_in_threadpool(self._holder, token, address(request)) if token else None
        if user_id is None:
            return False
        request.state.actor = Actor("user", user_id)
        return True

    def _holder(self, token: str, place: str) -> UUID | None:
        self.context.rate_limits.count_address(place)
        with self.context.database.session() as session:
            holder = admin_session.holder(session, hashed(token))
        if holder is None:
            return None
        self.context.rate_limits.count_caller(str(holder.id))
        return holder.id

    def _sign_in(self, request: Request, given: SignIn) -> str:
        self.context.rate_limits.count_address(address(request))
        token = new_refresh_token()
        with self.context.database.session() as session:
            person = authenticate(self.context, session, given.username, given.password, address(request))
            if person.role != Role.ADMIN:
                raise NotAllowed("Only admins may use this page.")
            refresh_token.start(session, person, hashed(token), self.lifetime)
        SIGN_INS.labels("signed in").inc()
        return token

    def _sign_out(self, token: str) -> None:
        with self.context.database.session() as session:
            refresh_token.end(session, hashed(token))


def hashed(token: str) -> str:
    """What is kept of a cookie."""
    return digest(f"admin page {token}")
