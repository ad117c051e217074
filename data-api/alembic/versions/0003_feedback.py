"""Feedback, and the examples made from accepted feedback."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "feedback",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("prediction_id", sa.Uuid(), nullable=False),
        sa.Column("task", sa.Text()),
        sa.Column("label", sa.Text()),
        sa.Column("value", sa.Double()),
        sa.Column("comment", sa.Text()),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("request_id", sa.Text()),
        sa.Column("status", sa.Text(), server_default=sa.text("'pending'"), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_feedback"),
        sa.CheckConstraint("status IN ('pending', 'accepted', 'refused')", name=op.f("ck_feedback_status")),
        sa.CheckConstraint("num_nonnulls(label, value) = 1", name=op.f("ck_feedback_truth")),
    )
    op.create_index(
        "ix_feedback_pending", "feedback", ["prediction_id"], postgresql_where=sa.text("status = 'pending'")
    )
    op.create_index("ix_feedback_prediction_id", "feedback", ["prediction_id"])
    op.create_index("ix_feedback_task_id", "feedback", ["task", "id"])
    op.create_index("ix_feedback_user_id_id", "feedback", ["user_id", "id"])
    op.create_table(
        "examples",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("prediction_id", sa.Uuid(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("row", JSONB(), nullable=False),
        sa.Column("row_schema", sa.Integer(), nullable=False),
        sa.Column("label", sa.Text()),
        sa.Column("value", sa.Double()),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("user_role", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_examples"),
        sa.CheckConstraint("num_nonnulls(label, value) = 1", name=op.f("ck_examples_truth")),
    )
    op.create_index("ix_examples_task_prediction_id_id", "examples", ["task", "prediction_id", "id"])
    op.create_index("ix_examples_user_id", "examples", ["user_id"])


def downgrade() -> None:
    op.drop_table("examples")
    op.drop_table("feedback")
