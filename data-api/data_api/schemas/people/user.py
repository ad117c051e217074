"""People over HTTP."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, Field, model_validator

from data_api.models.people.user import Role
from data_api.schemas.base import Clean, Moment, Name, Schema

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
    name: Name | None = None
    password: Password | None = None
    role: Assignable = Role.USER


class UserChange(Schema):
    """What an admin changes; what is left out or null stays."""

    email: Email | None = None
    name: Name | None = None
    role: Assignable | None = None
    disabled: bool | None = None
    password: Password | None = None


class OwnChange(Schema):
    """What people change about themselves; what is left out or null stays. A new password takes the current one."""

    name: Name | None = None
    current_password: Annotated[str, Field(max_length=256), Clean] | None = None
    password: Password | None = None

    @model_validator(mode="after")
    def both_passwords(self) -> Self:
        """Whoever has borrowed somebody's screen cannot take the account."""
        if (self.current_password is None) != (self.password is None):
            raise ValueError("must hold both current_password and password, or neither")
        return self


class UserOut(Schema):
    """A user, without any secret."""

    id: UUID
    email: str
    name: str | None
    role: Role
    disabled: bool
    created_at: Moment
