"""Audit: who changed what."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor_kind", sa.Text(), nullable=False),
        sa.Column("actor_id", sa.Uuid()),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("entity", sa.Text(), nullable=False),
        sa.Column("entity_id", sa.Text(), nullable=False),
        sa.Column("fields", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("request_id", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
        sa.CheckConstraint(
            "actor_kind IN ('user', 'service', 'command', 'anonymous')", name=op.f("ck_audit_actor_kind")
        ),
        sa.CheckConstraint("action IN ('create', 'change', 'delete')", name=op.f("ck_audit_action")),
    )
    op.create_index("ix_audit_entity_entity_id_id", "audit", ["entity", "entity_id", "id"])
    op.create_index("ix_audit_actor_id_id", "audit", ["actor_id", "id"])
    op.create_index("ix_audit_request_id", "audit", ["request_id"])
    op.create_table(
        "audit_details",
        sa.Column("audit_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid()),
        sa.Column("before", JSONB()),
        sa.Column("after", JSONB()),
        sa.PrimaryKeyConstraint("audit_id", name="pk_audit_details"),
        sa.ForeignKeyConstraint(["audit_id"], ["audit.id"], name="fk_audit_details_audit_id_audit"),
    )
    op.create_index("ix_audit_details_user_id", "audit_details", ["user_id"])


def downgrade() -> None:
    """The audit is lost with its tables: make a backup first."""
    op.drop_table("audit_details")
    op.drop_table("audit")
