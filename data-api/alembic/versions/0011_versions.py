"""Predictions and examples name the run of their version; promotions may record a champion that was removed in MLflow.

Down again, the runs are lost, and rows of removed champions are kept: the constraint is not checked for them.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

ACTION = "ck_promotions_action"
NAMING_RUNS = ("predictions", "examples")


def upgrade() -> None:
    for table in NAMING_RUNS:
        op.add_column(table, sa.Column("run_id", sa.Text()))
    allow("'promote', 'rollback', 'remove'")
    op.execute(f"ALTER TABLE promotions VALIDATE CONSTRAINT {ACTION}")


def downgrade() -> None:
    allow("'promote', 'rollback'")
    for table in NAMING_RUNS:
        op.drop_column(table, "run_id")


def allow(actions: str) -> None:
    """`NOT VALID` locks the table for a moment only."""
    op.execute(f"ALTER TABLE promotions DROP CONSTRAINT {ACTION}")
    op.execute(f"ALTER TABLE promotions ADD CONSTRAINT {ACTION} CHECK (action IN ({actions})) NOT VALID")
