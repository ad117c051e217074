"""What the service's database role may do, table by table."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.orm import Session

from .cluster import APP

GRANTS = {
    "alembic_version": "SELECT",
    "users": "SELECT, INSERT, UPDATE, DELETE",
    "deleted_users": "SELECT, INSERT",
    "api_keys": "SELECT, INSERT, UPDATE, DELETE",
    "refresh_tokens": "SELECT, INSERT, UPDATE, DELETE",
    "invitations": "SELECT, INSERT, UPDATE, DELETE",
    "known_addresses": "SELECT, INSERT, UPDATE, DELETE",
    "sign_in_failures": "SELECT, INSERT, UPDATE, DELETE",
    "signing_keys": "SELECT, INSERT, UPDATE",
    "predictions": "SELECT, INSERT, UPDATE, DELETE",
    "feedback": "SELECT, INSERT, UPDATE, DELETE",
    "examples": "SELECT, INSERT, UPDATE, DELETE",
    "assignments": "SELECT, INSERT, UPDATE, DELETE",
    "samples": "SELECT, INSERT",
    "retention": "SELECT, INSERT, UPDATE, DELETE",
    "promotions": "SELECT, INSERT",
    "idempotency_keys": "SELECT, INSERT, UPDATE",
    "rate_limits": "SELECT, INSERT, UPDATE, DELETE",
    "erasures": "SELECT, INSERT, UPDATE (removed)",
    "replicas": "SELECT, INSERT, UPDATE, DELETE",
    "audit": "SELECT, INSERT",
    "audit_details": "SELECT, INSERT",
}
"""Never DDL. Tables of history (promotions, audit) can only be added to."""


def grant(session: Session) -> None:
    """Revokes everything from the service's role, then grants what `GRANTS` lists."""
    session.execute(text(f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {APP}"))
    session.execute(text(f"GRANT USAGE ON SCHEMA public TO {APP}"))
    for table, privileges in GRANTS.items():
        session.execute(text(f"GRANT {privileges} ON {table} TO {APP}"))
