"""Signing in, and what ai-api needs to recognise callers by itself."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from data_api.models import Role, Scope

from .base import Clean, Moment, Schema
from .erasure import Erased


class SignIn(Schema):
    """The OAuth2 password form; `username` is the e-mail."""

    grant_type: Literal["password"] = "password"
    username: Annotated[str, Field(max_length=254), Clean]
    password: Annotated[str, Field(max_length=256), Clean]
    scope: Annotated[str, Field(max_length=200), Clean] = ""
    client_id: Annotated[str, Field(max_length=200), Clean] | None = None
    client_secret: Annotated[str, Field(max_length=200), Clean] | None = None


class TokenPair(Schema):
    """An access token and the refresh token that gives the next one, once."""

    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105
    expires_in: int
    refresh_token: str


class Refresh(Schema):
    """A refresh token."""

    refresh_token: Annotated[str, Field(min_length=1, max_length=200), Clean]


class LiveKey(Schema):
    """A key that may be used now, by its hash."""

    hash: str
    key_id: UUID
    user_id: UUID
    role: Role
    scopes: list[Scope]
    expires_at: Moment | None


class Jwks(Schema):
    """The public keys that access tokens are signed with."""

    keys: list[dict[str, str]]


class Snapshot(Schema):
    """Everything that ai-api needs to tell who is calling.

    A token is refused when its user is among the disabled, or when its `iat` lies before the user's entry in
    `tokens_valid_after` (both in unix seconds, with a fraction). Of the people in `erasures` nothing may be kept;
    pictures in rows of a task go after its `kept_days`, or never if it has none.
    """

    generated_at: Moment
    keys: list[LiveKey]
    disabled_users: list[UUID]
    tokens_valid_after: dict[UUID, float]
    jwks: Jwks
    erasures: list[Erased]
    kept_days: dict[str, int]
