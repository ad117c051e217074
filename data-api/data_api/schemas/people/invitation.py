"""Bodies of invitations."""

from __future__ import annotations

from uuid import UUID

from data_api.models.people.user import Role
from data_api.schemas.base import Moment, Name, Schema

from .user import Assignable, Email, Password


class InvitationIn(Schema):
    """The e-mail to invite and its role."""

    email: Email
    role: Assignable = Role.USER


class InvitationOut(Schema):
    """An invitation, without its link."""

    id: UUID
    email: str
    role: Role
    invited_by: UUID | None
    created_at: Moment
    expires_at: Moment
    accepted_at: Moment | None
    revoked_at: Moment | None
    user_id: UUID | None


class NewInvitation(InvitationOut):
    """A new invitation, with its link, which no other response holds."""

    link: str


class Welcome(Schema):
    """An open invitation, as its link shows it."""

    email: str
    role: Role
    expires_at: Moment


class Acceptance(Schema):
    """What the invited person chooses."""

    password: Password
    name: Name | None = None
