"""Bodies of users."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, Field, StrictBool, model_validator

from data_api.models.people.user import Role
from data_api.schemas.base import Moment, Name, NoNul, Schema

Email = Annotated[
    str,
    Field(max_length=254, pattern=r"^[A-Za-z0-9._%+'-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*$"),
    AfterValidator(str.lower),
]
Password = Annotated[str, Field(min_length=12, max_length=256), NoNul]
Assignable = Literal[Role.USER, Role.TRAINER, Role.ADMIN]


class UserIn(Schema):
    """A new user. Without a password the user can only call with API keys."""

    email: Email
    name: Name | None = None
    password: Password | None = None
    role: Assignable = Role.USER


class UserChange(Schema):
    """Changes by an admin. Fields that are absent or null are not changed."""

    email: Email | None = None
    name: Name | None = None
    role: Assignable | None = None
    disabled: StrictBool | None = None
    password: Password | None = None


class OwnChange(Schema):
    """Changes by users of themselves. Fields that are absent or null are not changed. A new password needs the current
    one.
    """

    name: Name | None = None
    current_password: Annotated[str, Field(max_length=256), NoNul] | None = None
    password: Password | None = None

    @model_validator(mode="after")
    def both_passwords(self) -> Self:
        """Requires the current password for a new one, so that an open session alone cannot take over the account."""
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
