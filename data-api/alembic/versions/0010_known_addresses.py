"""Addresses from which accounts were signed in to, the account of a count of failed sign-ins, and when an erasure had
left nothing in Postgres.

All are empty at first: an address is known from the next sign-in on. Down again, failures of strangers delay everybody.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "known_addresses",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("used_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("subject", name="pk_known_addresses"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_known_addresses_user_id_users", ondelete="CASCADE"),
    )
    op.create_index("ix_known_addresses_user_id", "known_addresses", ["user_id"])
    op.create_index("ix_known_addresses_used_at", "known_addresses", ["used_at"])
    op.add_column("sign_in_failures", sa.Column("account", sa.Text()))
    op.create_index("ix_sign_in_failures_account", "sign_in_failures", ["account"])
    op.add_column("erasures", sa.Column("erased_at", MOMENT))


def downgrade() -> None:
    op.drop_column("erasures", "erased_at")
    op.drop_index("ix_sign_in_failures_account", "sign_in_failures")
    op.drop_column("sign_in_failures", "account")
    op.drop_table("known_addresses")
