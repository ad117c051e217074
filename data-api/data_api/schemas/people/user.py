"""Bodies of users."""

from __future__ import annotations

import unicodedata
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, Field, StrictBool, StringConstraints, model_validator

from data_api.models.people.user import Role
from data_api.schemas.base import Moment, Name, NoNul, Schema

SHORTEST_PASSWORD = 12


def _in_nfc(text: str) -> str:
    composed = unicodedata.normalize("NFC", text)
    if len(composed) < SHORTEST_PASSWORD:
        raise ValueError(f"must have at least {SHORTEST_PASSWORD} characters")
    return composed


TRIMMED = StringConstraints(strip_whitespace=True, to_lower=True, max_length=254)
Email = Annotated[str, TRIMMED, Field(pattern=r"^[A-Za-z0-9._%+'-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*$")]
SignInName = Annotated[str, TRIMMED, NoNul]
"""What a person signs in with: an e-mail, or something that has no account."""
Password = Annotated[str, Field(min_length=SHORTEST_PASSWORD, max_length=256), NoNul, AfterValidator(_in_nfc)]
"""Composed (NFC), so that neither its length nor its hash depends on the system that it was typed on."""
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
