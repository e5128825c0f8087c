"""What a waiting caller leaves behind: each queue's offers, messages as work, the way through the menus.

Revision ID: 0004
Revises: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Two tables and a column."""
    op.add_column("interaction", sa.Column("path", sa.String(length=120), server_default="", nullable=False))
    op.create_table(
        "interaction_offer",
        sa.Column("interaction", sa.String(length=100), nullable=False),
        sa.Column("began_at", sa.Double(), nullable=False),
        sa.Column("queue", sa.String(length=40), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.Column("outcome", sa.String(length=20), server_default="", nullable=False),
        sa.Column("went_to", sa.String(length=80), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("interaction", "began_at", "queue", name=op.f("pk_interaction_offer")),
    )
    op.create_index(op.f("ix_interaction_offer_queue_began_at"), "interaction_offer", ["queue", "began_at"])
    op.create_table(
        "voicemail",
        sa.Column("file", sa.String(length=160), nullable=False),
        sa.Column("interaction", sa.String(length=100), nullable=False),
        sa.Column("queue", sa.String(length=40), nullable=False),
        sa.Column("left_at", sa.Double(), nullable=False),
        sa.Column("due_at", sa.Double(), nullable=False),
        sa.Column("owner", sa.String(length=40), server_default="", nullable=False),
        sa.Column("state", sa.String(length=10), server_default="open", nullable=False),
        sa.Column("done_at", sa.Double(), nullable=True),
        sa.CheckConstraint("state IN ('open', 'done')", name=op.f("ck_voicemail_state")),
        sa.PrimaryKeyConstraint("file", name=op.f("pk_voicemail")),
    )
    op.create_index(op.f("ix_voicemail_queue_state_due_at"), "voicemail", ["queue", "state", "due_at"])
    op.create_index(op.f("ix_voicemail_interaction"), "voicemail", ["interaction"])
