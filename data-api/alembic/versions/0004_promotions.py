"""Promotions: which version became champion, when and why."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "promotions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("previous", sa.Integer()),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("metrics", JSONB(), nullable=False),
        sa.Column("actor", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_promotions"),
        sa.CheckConstraint("action IN ('promote', 'rollback')", name=op.f("ck_promotions_action")),
    )
    op.create_index("ix_promotions_task_id", "promotions", ["task", "id"])


def downgrade() -> None:
    op.drop_table("promotions")
