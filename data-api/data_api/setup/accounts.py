"""The first two accounts: the admin, and the demo user with the demo API key."""

from __future__ import annotations

from sqlalchemy.orm import Session

from data_api.crud.people import api_key, user
from data_api.models.people.api_key import Scope
from data_api.models.people.user import Role
from data_api.security import Passwords, digest

ADMIN, DEMO = "admin@volant.local", "demo@volant.local"


def create_first_accounts(session: Session, passwords: Passwords, admin_password: str, demo_key: str) -> None:
    """Creates what is missing. An existing admin keeps their password; a changed demo key replaces the old one."""
    if user.by_email(session, ADMIN) is None:
        user.create(session, ADMIN, Role.ADMIN, passwords.hash(admin_password))
    demo = user.by_email(session, DEMO) or user.create(session, DEMO, Role.TRAINER, None)
    if api_key.by_hash(session, digest(demo_key)) is None:
        for old in api_key.by_name(session, demo.id, "demo"):
            api_key.revoke(session, old.id, demo.id)
        api_key.create(session, demo.id, "demo", digest(demo_key), list(Scope), None)
