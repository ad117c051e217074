"""Invitations."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from data_api.crud.page import page
from data_api.errors import EmailTaken, UnknownInvitation
from data_api.ids import new_id
from data_api.models.people.invitation import Invitation
from data_api.models.people.user import Role, User

from . import user


def create(
    session: Session, email: str, role: Role, token_hash: str, invited_by: UUID | None, lifetime: timedelta
) -> Invitation:
    """A new invitation, which revokes earlier ones of the same e-mail; EmailTaken if the e-mail has an account."""
    if user.by_email(session, email):
        raise EmailTaken
    now = session.scalars(select(func.now())).one()
    for earlier in session.scalars(select(Invitation).where(Invitation.email == email.lower(), _is_open())):
        earlier.revoked_at = now
    made = Invitation(
        id=new_id(),
        hash=token_hash,
        email=email.lower(),
        role=role,
        invited_by=invited_by,
        expires_at=now + lifetime,
    )
    session.add(made)
    session.flush()
    session.refresh(made)
    return made


def find_open(session: Session, token_hash: str) -> Invitation:
    """The invitation of a link; UnknownInvitation unless it can be accepted."""
    found = session.scalar(select(Invitation).where(Invitation.hash == token_hash, _is_open()))
    if found is None:
        raise UnknownInvitation
    return found


def accept(session: Session, token_hash: str, password_hash: str, name: str | None) -> User:
    """Makes the account and closes the invitation. Of two requests at once, the second gets UnknownInvitation."""
    query = select(Invitation).where(Invitation.hash == token_hash, _is_open()).with_for_update()
    invitation = session.scalar(query, execution_options={"populate_existing": True})
    if invitation is None:
        raise UnknownInvitation
    made = user.create(session, invitation.email, Role(invitation.role), password_hash, name)
    invitation.accepted_at = session.scalars(select(func.now())).one()
    invitation.user_id = made.id
    session.flush()
    return made


def find(session: Session, open_only: bool, limit: int, below: UUID | None) -> tuple[Sequence[Invitation], bool]:
    """A page, newest first."""
    query = select(Invitation)
    if open_only:
        query = query.where(_is_open())
    return page(session, query, Invitation.id, limit, below)


def revoke(session: Session, invitation_id: UUID) -> None:
    """Revokes an invitation; UnknownInvitation if there is none or it was accepted."""
    found = session.get(Invitation, invitation_id, with_for_update=True, populate_existing=True)
    if found is None or found.accepted_at:
        raise UnknownInvitation
    if found.revoked_at is None:
        found.revoked_at = session.scalars(select(func.now())).one()
    session.flush()


def _is_open() -> ColumnElement[bool]:
    """Not accepted, revoked or expired, and the inviting user is still an enabled admin."""
    inviter = select(User.id).where(User.id == Invitation.invited_by, User.role == Role.ADMIN, ~User.disabled)
    return (
        Invitation.accepted_at.is_(None)
        & Invitation.revoked_at.is_(None)
        & (Invitation.expires_at > func.now())
        & or_(Invitation.invited_by.is_(None), inviter.exists())
    )
