"""Roles in Postgres: each can connect to its own database, and the service can change rows but not tables."""

from __future__ import annotations

import shutil
from pathlib import Path

import psycopg2
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import ProgrammingError

from data_api.main import RATE_LIMIT_CONNECTIONS
from data_api.security import digest
from data_api.settings import Settings
from tests.data.conftest import engine_as, prepare

ROLES = {"volant_owner": "owner", "volant_app": "app", "volant_queue": "queue", "volant_mlflow": "mlflow"}
HOMES = {"volant_owner": "volant", "volant_app": "volant", "volant_queue": "queue", "volant_mlflow": "mlflow"}

GRANTS = (
    "SELECT table_name, privilege_type FROM information_schema.role_table_grants"
    " WHERE grantee = 'volant_app' ORDER BY 1, 2"
)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine (id int)",
        "CREATE TEMPORARY TABLE mine (id int)",
        "CREATE SCHEMA mine",
        "CREATE INDEX mine ON users (role)",
        "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE ROLE mine",
        "CREATE DATABASE mine",
        "ALTER TABLE users ADD COLUMN mine int",
        "ALTER TABLE users DISABLE TRIGGER ALL",
        "ALTER ROLE volant_app SUPERUSER",
        "DROP TABLE promotions",
        "DROP TABLE predictions_default",
        "TRUNCATE predictions",
        "SELECT * FROM predictions_default",
        "UPDATE alembic_version SET version_num = 'x'",
        "DELETE FROM deleted_users",
        "COPY users TO PROGRAM 'cat'",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT * FROM pg_authid",
        "SET ROLE volant_owner",
        "SELECT lo_create(0)",
        "SELECT lo_creat(-1)",
        "SELECT lo_from_bytea(0, 'x')",
        "SELECT lo_put(1, 0, 'x')",
        "SELECT lo_open(1, 131072)",
        "SELECT lo_get(1)",
        "SELECT lo_unlink(1)",
        "SELECT lo_import('/etc/passwd')",
    ],
)
def test_the_service_role_cannot(as_app: Engine, statement: str) -> None:
    with as_app.connect() as connection, pytest.raises(ProgrammingError, match=r"permission denied|must be owner"):
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(text(statement))


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("database", ["volant", "queue", "mlflow", "postgres", "template1"])
def test_a_role_can_connect_to_its_own_database_only(prepared: Settings, role: str, database: str) -> None:
    def connect(password: str) -> None:
        psycopg2.connect(
            host="127.0.0.1", port=prepared.postgres_port, dbname=database, user=role, password=password
        ).close()

    password = prepared.secret(f"postgres_{ROLES[role]}_password")
    if HOMES[role] == database:
        connect(password)
    else:
        with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
            connect(password)
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        connect("wrong")


def test_no_role_has_cluster_privileges(as_app: Engine) -> None:
    query = (
        "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'volant%'"
        " AND NOT (rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls)"
    )
    with as_app.connect() as connection:
        assert connection.scalar(text(query)) == len(ROLES)
        assert connection.scalar(text("SELECT current_user")) == "volant_app"


@pytest.mark.parametrize("role", ["volant_owner", "volant_queue", "volant_mlflow"])
def test_no_role_makes_large_objects(prepared: Settings, role: str) -> None:
    engine = engine_as(prepared, role, prepared.secret(f"postgres_{ROLES[role]}_password"), HOMES[role])
    with engine.connect() as connection, pytest.raises(ProgrammingError, match="permission denied for function"):
        connection.execute(text("SELECT lo_create(0)"))
    engine.dispose()


def test_each_role_leaves_connections_to_the_others(as_app: Engine) -> None:
    query = text("SELECT rolname, rolconnlimit FROM pg_roles WHERE rolname LIKE 'volant%'")
    available = text(
        "SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int"
    )
    with as_app.connect() as connection:
        limits = {row.rolname: row.rolconnlimit for row in connection.execute(query)}
        assert sum(limits.values()) <= connection.scalars(available).one()
    assert limits.keys() == ROLES.keys()
    assert min(limits.values()) > 5
    assert limits["volant_app"] >= 2 * (Settings.model_fields["pool_size"].default + RATE_LIMIT_CONNECTIONS)


@pytest.mark.parametrize("role", ROLES)
def test_setup_undoes_what_a_role_changed_of_itself(prepared: Settings, role: str) -> None:
    """Postgres lets every role change its own password and settings."""
    secret, home = prepared.secret(f"postgres_{ROLES[role]}_password"), HOMES[role]
    engine = engine_as(prepared, role, secret, home)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"ALTER ROLE {role} SET statement_timeout = '1ms'"))
        connection.execute(text(f"ALTER ROLE {role} IN DATABASE {home} SET search_path = nowhere"))
        connection.execute(text(f"ALTER ROLE {role} PASSWORD 'another'"))
    engine.dispose()
    prepare(prepared)
    with engine.connect() as connection:
        assert connection.scalar(text("SHOW statement_timeout")) == "0"
        assert connection.scalar(text("SHOW search_path")) != "nowhere"
        assert connection.scalar(text("SHOW log_error_verbosity")) == "terse"
    engine.dispose()


def test_setup_again_changes_nothing(prepared: Settings) -> None:
    prepare(prepared, "again")
    engine = engine_as(prepared, "volant_owner", prepared.secret("postgres_owner_password"), "again")

    def state() -> list[object]:
        with engine.connect() as connection:
            return [
                connection.execute(text(query)).all()
                for query in (
                    "SELECT * FROM users ORDER BY id",
                    "SELECT * FROM api_keys ORDER BY id",
                    "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1",
                    GRANTS,
                )
            ]

    before = state()
    prepare(prepared, "again")
    assert state() == before
    engine.dispose()


def test_a_new_demo_key_replaces_the_old_one(prepared: Settings, tmp_path: Path) -> None:
    changed = tmp_path / "secrets"
    shutil.copytree(prepared.secrets_dir, changed)
    (changed / "demo_api_key").write_text("vk_new\n")
    for folder in (prepared.secrets_dir, changed, changed):
        prepare(prepared.model_copy(update={"secrets_dir": folder}), "rekeyed")
    engine = engine_as(prepared, "volant_app", prepared.secret("postgres_app_password"), "rekeyed")
    with engine.connect() as connection:
        keys = connection.execute(text("SELECT hash, revoked_at IS NULL FROM api_keys ORDER BY id")).all()
    engine.dispose()
    assert keys == [(digest(prepared.secret("demo_api_key")), False), (digest("vk_new"), True)]
