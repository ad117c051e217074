"""People over HTTP."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, Field

from data_api.models import Role

from .base import Clean, Moment, Schema

Email = Annotated[
    str,
    Field(max_length=254, pattern=r"^[A-Za-z0-9._%+'-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*$"),
    AfterValidator(str.lower),
]
Password = Annotated[str, Field(min_length=12, max_length=256), Clean]
Assignable = Literal[Role.USER, Role.TRAINER, Role.ADMIN]


class UserIn(Schema):
    """A new user. Without a password, they call with API keys only."""

    email: Email
    password: Password | None = None
    role: Assignable = Role.USER


class UserChange(Schema):
    """What an admin changes; what is left out or null stays."""

    role: Assignable | None = None
    disabled: bool | None = None
    password: Password | None = None


class OwnChange(Schema):
    """What people change about themselves. A new password signs them out everywhere."""

    current_password: Annotated[str, Field(max_length=256), Clean]
    password: Password


class UserOut(Schema):
    """A user, without any secret."""

    id: UUID
    email: str
    role: Role
    disabled: bool
    created_at: Moment
