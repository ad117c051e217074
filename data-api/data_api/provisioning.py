"""`data-api setup`: from an empty Postgres to one that data-api, the queue and MLflow can use. Safe to repeat."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy import Connection, text
from sqlalchemy.orm import Session

from . import migrations
from .cluster import APP, MLFLOW, OWNER, QUEUE, close_doors, make_database, make_roles, superuser
from .crud import api_key, partition, user
from .database import address, owner_engine
from .models import Role, Scope
from .security import Passwords, digest

log = logging.getLogger("data_api.setup")

RIGHTS = {
    "alembic_version": "SELECT",
    "users": "SELECT, INSERT, UPDATE, DELETE",
    "deleted_users": "SELECT, INSERT",
    "api_keys": "SELECT, INSERT, UPDATE, DELETE",
    "refresh_tokens": "SELECT, INSERT, UPDATE, DELETE",
    "invitations": "SELECT, INSERT, UPDATE, DELETE",
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
"""What the service may do, table by table. Never DDL; history is only added to."""
ADMIN, DEMO = "admin@volant.local", "demo@volant.local"


def provision(
    host: str, port: int, database: str, secret: Callable[[str], str], *, wait_seconds: float, partitions_ahead: int
) -> None:
    """Makes roles, databases, tables, rights, partitions and the first two people, where they are missing."""
    passwords = {
        OWNER: secret("postgres_owner_password"),
        APP: secret("postgres_app_password"),
        QUEUE: secret("postgres_queue_password"),
        MLFLOW: secret("postgres_mlflow_password"),
    }
    with superuser(host, port, secret("postgres_password"), wait_seconds) as commands:
        make_roles(commands, passwords)
        make_database(commands, database, OWNER, APP)
        make_database(commands, "queue", QUEUE)
        make_database(commands, "mlflow", MLFLOW)
        close_doors(commands)
        engine = owner_engine(address(host, port, database, OWNER, passwords[OWNER]))
        with engine.begin() as connection:
            migrations.upgrade(connection)
            grant(connection)
        with engine.begin() as connection:
            made = partition.make(connection, datetime.now(UTC), partitions_ahead)
        with Session(engine) as session, session.begin():
            welcome(session, Passwords(at_once=1), secret("admin_password"), secret("demo_api_key"))
    log.info("ready database=%s new_partitions=%d", database, len(made))


def grant(connection: Connection) -> None:
    """Gives the service what it needs in each table and takes everything else."""
    connection.execute(text(f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {APP}"))
    connection.execute(text(f"GRANT USAGE ON SCHEMA public TO {APP}"))
    for table, rights in RIGHTS.items():
        connection.execute(text(f"GRANT {rights} ON {table} TO {APP}"))


def welcome(session: Session, passwords: Passwords, admin_password: str, demo_key: str) -> None:
    """The admin, whose password is not touched again, and the demo user, who has the demo key and no password."""
    if user.by_email(session, ADMIN) is None:
        user.create(session, ADMIN, Role.ADMIN, passwords.hash(admin_password))
    demo = user.by_email(session, DEMO) or user.create(session, DEMO, Role.TRAINER, None)
    if api_key.by_hash(session, digest(demo_key)) is None:
        for old in api_key.named(session, demo.id, "demo"):
            api_key.revoke(session, old.id, demo.id)
        api_key.create(session, demo.id, "demo", digest(demo_key), list(Scope), None)
