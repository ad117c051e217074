"""Predictions, partitioned by month of their id, with a default partition for other months."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "predictions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("row", JSONB(), nullable=False),
        sa.Column("row_schema", sa.Integer(), nullable=False),
        sa.Column("answer", JSONB(), nullable=False),
        sa.Column("label", sa.Text()),
        sa.Column("score", sa.Double()),
        sa.Column("value", sa.Double()),
        sa.Column("user_id", sa.Uuid()),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("rollout", sa.Uuid()),
        sa.Column("request_id", sa.Text()),
        sa.Column("queue_ms", sa.Double()),
        sa.Column("compute_ms", sa.Double()),
        sa.PrimaryKeyConstraint("id", name="pk_predictions"),
        sa.CheckConstraint(
            "role IN ('champion', 'pinned', 'canary', 'shadow', 'replay')", name=op.f("ck_predictions_role")
        ),
        postgresql_partition_by="RANGE (id)",
    )
    op.create_index("ix_predictions_task_id", "predictions", ["task", "id"])
    op.create_index("ix_predictions_task_version_id", "predictions", ["task", "version", "id"])
    op.create_index("ix_predictions_task_label_id", "predictions", ["task", "label", "id"])
    op.create_index("ix_predictions_user_id_id", "predictions", ["user_id", "id"])
    op.execute("CREATE TABLE predictions_default PARTITION OF predictions DEFAULT")


def downgrade() -> None:
    op.drop_table("predictions")
