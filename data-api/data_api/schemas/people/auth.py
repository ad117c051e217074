"""Bodies of signing in, and the public keys of access tokens."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from data_api.schemas.base import NoNul, Schema

from .user import SignInName


class SignIn(Schema):
    """The OAuth2 password form; `username` is the e-mail."""

    grant_type: Literal["password"] = "password"
    username: SignInName
    password: Annotated[str, Field(max_length=256), NoNul]
    scope: Annotated[str, Field(max_length=200), NoNul] = ""
    client_id: Annotated[str, Field(max_length=200), NoNul] | None = None
    client_secret: Annotated[str, Field(max_length=200), NoNul] | None = None


class TokenPair(Schema):
    """An access token, and the refresh token that can be exchanged for the next pair, once."""

    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105
    expires_in: int
    refresh_token: str


class Refresh(Schema):
    """A refresh token."""

    refresh_token: Annotated[str, Field(min_length=1, max_length=200), NoNul]


class Jwks(Schema):
    """The public keys that access tokens are signed with."""

    keys: list[dict[str, str]]
