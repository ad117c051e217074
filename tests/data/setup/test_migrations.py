"""Migrations: up, down and up again with rows in the tables; the result matches the models."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect, text

from data_api.crud.predictions import partition
from data_api.database import Base
from data_api.settings import Settings
from data_api.setup import migrations
from data_api.setup.cluster import OWNER
from data_api.setup.grants import GRANTS
from tests.data.conftest import engine_as, prepare

NAME = "migrations"


@pytest.fixture
def owner(settings: Settings) -> Iterator[Engine]:
    prepare(settings, NAME)
    engine = engine_as(settings, OWNER, settings.secret("postgres_owner_password"), NAME)
    yield engine
    engine.dispose()


def test_migrations_have_one_head() -> None:
    script = ScriptDirectory.from_config(migrations.config())
    assert script.get_heads() == [migrations.head()]
    revisions = [revision.revision for revision in script.walk_revisions()]
    assert revisions == sorted(revisions, reverse=True)


def test_the_models_match_the_migrated_tables(owner: Engine) -> None:
    with owner.connect() as connection:
        options = {"include_name": lambda name, kind, _: not (kind == "table" and name.startswith("predictions_"))}
        context = MigrationContext.configure(connection, opts={**options, "compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []


def test_checks_and_names_match_the_models(owner: Engine) -> None:
    """Alembic does not compare these."""
    inspector = inspect(owner)
    for table in Base.metadata.sorted_tables:
        ours = {str(constraint.name) for constraint in table.constraints if constraint.name}
        theirs = {
            str(found["name"])
            for found in (
                *inspector.get_check_constraints(table.name),
                *inspector.get_unique_constraints(table.name),
                *inspector.get_foreign_keys(table.name),
                inspector.get_pk_constraint(table.name),
            )
        }
        assert ours == theirs, table.name


def test_every_migration_goes_down_and_up_again_with_rows(owner: Engine) -> None:
    rows = {
        "users": "(id, email, role) VALUES (gen_random_uuid(), 'x@example.org', 'user')",
        "api_keys": "(id, user_id, name, hash, scopes, last_used_at)"
        " SELECT gen_random_uuid(), id, 'n', id::text, '{read}', now() FROM users",
        "invitations": "(id, hash, email, role, expires_at, user_id)"
        " SELECT gen_random_uuid(), id::text, email, 'user', now(), id FROM users",
        "sign_in_failures": "(subject, failures, failed_at) VALUES ('s', 1, now())",
        "known_addresses": "(subject, user_id, used_at) SELECT id::text, id, now() FROM users",
        "erasures": "(id, user_id) VALUES (gen_random_uuid(), gen_random_uuid())",
        "signing_keys": "(kid, public_key, sealed_seed, signs_from) VALUES ('k', 'x', '\\x00', now())",
        "predictions": "(id, created_at, task, version, row, row_schema, answer, role)"
        " VALUES (gen_random_uuid(), now(), 't', 1, '{}', 1, '{}', 'champion')",
        "feedback": "(id, created_at, prediction_id, user_id, label)"
        " VALUES (gen_random_uuid(), now(), gen_random_uuid(), gen_random_uuid(), 'l')",
        "samples": "(prediction_id, task, probability) VALUES (gen_random_uuid(), 't', 0.5)",
        "retention": "(task, predictions_days) VALUES ('t', 90)",
        "examples": "(id, created_at, prediction_id, task, row, row_schema, label, user_id, user_role, version)"
        " VALUES (gen_random_uuid(), now(), gen_random_uuid(), 't', '{}', 1, 'l', gen_random_uuid(), 'user', 3)",
        "promotions": "(id, created_at, task, version, action, reason, metrics)"
        " VALUES (gen_random_uuid(), now(), 't', 1, 'promote', 'r', '{}')",
        "audit": "(id, created_at, actor_kind, action, entity, entity_id, fields)"
        " VALUES (gen_random_uuid(), now(), 'command', 'create', 'users', '1', '{role}')",
        "audit_details": "(audit_id, after) SELECT id, '{\"role\": \"user\"}' FROM audit WHERE entity_id = '1'",
    }
    steps = [revision.revision for revision in ScriptDirectory.from_config(migrations.config()).walk_revisions()]
    with owner.begin() as connection:
        partition.make(connection, datetime.now(UTC), 1)
        for table, row in rows.items():
            connection.execute(text(f"INSERT INTO {table} {row}"))
    for step in [*steps[1:], "base"]:
        with owner.begin() as connection:
            migrations.downgrade(connection, step)
    assert inspect(owner).get_table_names() == ["alembic_version"]
    for step in reversed(steps):
        with owner.begin() as connection:
            migrations.upgrade(connection, step)
    assert {table.name for table in Base.metadata.sorted_tables} < set(inspect(owner).get_table_names())


def test_a_failed_migration_leaves_nothing_behind(owner: Engine) -> None:
    with owner.begin() as connection:
        migrations.downgrade(connection, "base")
        connection.execute(text("CREATE TABLE promotions (wrong int)"))
    with pytest.raises(Exception, match="already exists"), owner.begin() as connection:
        migrations.upgrade(connection)
    assert sorted(inspect(owner).get_table_names()) == ["alembic_version", "promotions"]
    with owner.begin() as connection:
        connection.execute(text("DROP TABLE promotions"))


def test_every_table_has_grants_for_the_service() -> None:
    assert set(GRANTS) == {table.name for table in Base.metadata.sorted_tables} | {"alembic_version"}
