"""Invitations over HTTP."""

from __future__ import annotations

from uuid import UUID

from data_api.models.people.user import Role
from data_api.schemas.base import Moment, Name, Schema

from .user import Assignable, Email, Password


class InvitationIn(Schema):
    """Whom to invite, and as what."""

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
    """An invitation just made, with the link for its person: shown this once."""

    link: str


class Welcome(Schema):
    """What somebody who opens the link is told."""

    email: str
    role: Role
    expires_at: Moment


class Acceptance(Schema):
    """What somebody chooses who accepts."""

    password: Password
    name: Name | None = None
