"""Labelling and retention. Columns for the prediction of an example and for the run of a promotion.

The new columns are empty at first; `data-api maintain` fills those of old examples, so that no lock is held for it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
ANSWER = {"version": sa.Integer(), "answer_label": sa.Text(), "answer_score": sa.Double(), "answer_value": sa.Double()}


def upgrade() -> None:
    op.create_table(
        "assignments",
        sa.Column("prediction_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("prediction_id", name="pk_assignments"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_assignments_user_id_users", ondelete="CASCADE"),
    )
    op.create_index("ix_assignments_user_id", "assignments", ["user_id"])
    op.create_index("ix_assignments_expires_at", "assignments", ["expires_at"])
    op.create_table(
        "samples",
        sa.Column("prediction_id", sa.Uuid(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("probability", sa.Double(), nullable=False),
        sa.Column("drawn_at", MOMENT, server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("prediction_id", name="pk_samples"),
        sa.CheckConstraint("probability > 0 AND probability <= 1", name=op.f("ck_samples_probability")),
    )
    op.create_index("ix_samples_task_prediction_id", "samples", ["task", "prediction_id"])
    op.create_table(
        "retention",
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("predictions_days", sa.Integer()),
        sa.Column("examples_days", sa.Integer()),
        sa.Column("changed_at", MOMENT, server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("task", name="pk_retention"),
        sa.CheckConstraint("predictions_days > 0", name=op.f("ck_retention_predictions_days")),
        sa.CheckConstraint("examples_days > 0", name=op.f("ck_retention_examples_days")),
    )
    op.add_column("promotions", sa.Column("run_id", sa.Text()))
    for name, kind in ANSWER.items():
        op.add_column("examples", sa.Column(name, kind))


def downgrade() -> None:
    for name in reversed(ANSWER):
        op.drop_column("examples", name)
    op.drop_column("promotions", "run_id")
    for table in ("retention", "samples", "assignments"):
        op.drop_table(table)
