"""Erasure: tombstones of people, and the requester of an example's prediction.

Whose row an old example holds is empty at first; `data-api maintain` fills it in, so that no lock is held for it.
Downgrading forgets who was erased: nothing that went comes back, but their late rows are kept from then on.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "erasures",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("requested_at", MOMENT, server_default=sa.text("now()"), nullable=False),
        sa.Column("requested_by", sa.Uuid()),
        sa.Column("status", sa.Text(), server_default=sa.text("'requested'"), nullable=False),
        sa.Column("finished_at", MOMENT),
        sa.Column("removed", JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_erasures"),
        sa.UniqueConstraint("user_id", name="uq_erasures_user_id"),
        sa.CheckConstraint("status IN ('requested', 'awaiting', 'finished')", name=op.f("ck_erasures_status")),
    )
    op.create_index("ix_erasures_open", "erasures", ["id"], postgresql_where=sa.text("status <> 'finished'"))
    op.create_table(
        "replicas",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("seen_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_replicas"),
    )
    op.add_column("examples", sa.Column("asker_id", sa.Uuid()))
    op.create_index("ix_examples_asker_id", "examples", ["asker_id"])


def downgrade() -> None:
    op.drop_index("ix_examples_asker_id", "examples")
    op.drop_column("examples", "asker_id")
    op.drop_table("replicas")
    op.drop_table("erasures")
