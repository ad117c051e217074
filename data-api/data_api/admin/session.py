"""Sign-in to the admin page: a cookie with a random token, whose hash is stored among the refresh tokens.

So everything that ends a person's refresh tokens (a new password, disabling, signing out everywhere) ends this sign-in
too. The hash is of the token with a prefix, so that a cookie is not accepted as a refresh token, nor the reverse.
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
from data_api.http.body.form_reading import read_form
from data_api.http.context import Context
from data_api.http.sign_in import authenticate, client_address, remember_device, sign_in_source
from data_api.metrics import SIGN_INS
from data_api.models.audit import Actor
from data_api.models.people.user import Role
from data_api.schemas.people.auth import SignIn
from data_api.security import digest, new_refresh_token

PATH = "/admin"
COOKIE = "volant_admin"


class AdminSession(AuthenticationBackend):
    """Authentication of the admin page, checked with every request."""

    def __init__(self, context: Context, lifetime: timedelta) -> None:
        self.middlewares = []
        self.context = context
        self.lifetime = lifetime

    async def login(self, request: Request) -> Response | bool:
        """Exchanges e-mail and password for the cookie; False if they are wrong."""
        form = {part.name: part.text for part in await read_form(request)}
        try:
            credentials = SignIn.model_validate({name: form.get(name) for name in ("username", "password")})
            token = await run_in_threadpool(self._sign_in, request, credentials)
        except (ValidationError, WrongCredentials):
            return False
        response = RedirectResponse(request.url_for("admin:index"), 303)
        response.set_cookie(
            COOKIE,
            token,
            max_age=int(self.lifetime.total_seconds()),
            path=PATH,
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )
        remember_device(self.context, request, response, credentials.username)
        return response

    async def logout(self, request: Request) -> Response | bool:
        """Ends the sign-in here and in the browser."""
        if token := request.cookies.get(COOKIE):
            await run_in_threadpool(self._sign_out, token)
        response = RedirectResponse(request.url_for("admin:login"), 303)
        response.delete_cookie(COOKIE, path=PATH, httponly=True, samesite="strict")
        return response

    async def authenticate(self, request: Request) -> Response | bool:
        """Whether the caller is an admin now. Sets the actor for the audit."""
        token = request.cookies.get(COOKIE)
        user_id = await run_in_threadpool(self._admin_id, token, client_address(request)) if token else None
        if user_id is None:
            return False
        request.state.actor = Actor("user", user_id)
        return True

    def _admin_id(self, token: str, address: str) -> UUID | None:
        self.context.rate_limits.count_address(address)
        with self.context.database.session() as session:
            admin = admin_session.admin_of(session, cookie_hash(token))
        if admin is None:
            return None
        self.context.rate_limits.count_caller(str(admin.id))
        return admin.id

    def _sign_in(self, request: Request, credentials: SignIn) -> str:
        self.context.rate_limits.count_address(client_address(request))
        token = new_refresh_token()
        with self.context.database.session() as session:
            person = authenticate(
                self.context, session, credentials.username, credentials.password, sign_in_source(request)
            )
            if person.role != Role.ADMIN:
                raise NotAllowed("Only admins may use this page.")
            refresh_token.start(session, person, cookie_hash(token), self.lifetime)
        SIGN_INS.labels("signed in").inc()
        return token

    def _sign_out(self, token: str) -> None:
        with self.context.database.session() as session:
            refresh_token.end(session, cookie_hash(token))


def cookie_hash(token: str) -> str:
    """The hash of a cookie's token, for the database."""
    return digest(f"admin page {token}")
