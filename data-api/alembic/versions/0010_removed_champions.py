"""Promotions may record a champion that was removed in MLflow.

Down again, those rows are kept: the constraint is not checked for rows that there are.
"""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

NAME = "ck_promotions_action"


def upgrade() -> None:
    replace("'promote', 'rollback', 'remove'")
    op.execute(f"ALTER TABLE promotions VALIDATE CONSTRAINT {NAME}")


def downgrade() -> None:
    replace("'promote', 'rollback'")


def replace(actions: str) -> None:
    """`NOT VALID` locks the table for a moment only: rows that there are need no check."""
    op.execute(f"ALTER TABLE promotions DROP CONSTRAINT {NAME}")
    op.execute(f"ALTER TABLE promotions ADD CONSTRAINT {NAME} CHECK (action IN ({actions})) NOT VALID")
