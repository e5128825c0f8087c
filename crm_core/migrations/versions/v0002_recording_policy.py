"""Recording by policy: per queue and jurisdiction.

A queue that was recorded becomes ``announced``, one that was not becomes ``off``: what was recorded without a word
before is announced from now on.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

POLICIES = "('off', 'announced', 'consent')"
STATES = "('pending', 'complete', 'silent', 'missing', 'objected')"


def upgrade() -> None:
    """Policies for queues and jurisdictions; why a talk was recorded or not; objections."""
    # Plain statements for this table: to build it anew, as SQLite otherwise wants it, others must not refer to it.
    op.execute(
        sa.text(
            "ALTER TABLE queue ADD COLUMN recording VARCHAR(10) DEFAULT 'announced' NOT NULL"
            f" CONSTRAINT ck_queue_recording CHECK (recording IN {POLICIES})"
        )
    )
    op.add_column("queue", sa.Column("keeps_objected", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.execute(sa.text("UPDATE queue SET recording = 'off' WHERE NOT is_recorded"))
    op.execute(sa.text("ALTER TABLE queue DROP COLUMN is_recorded"))
    op.create_table(
        "jurisdiction",
        sa.Column("digits", sa.String(length=10), nullable=False),
        sa.Column("policy", sa.String(length=10), nullable=False),
        sa.Column("citation", sa.Text(), server_default="", nullable=False),
        sa.CheckConstraint(f"policy IN {POLICIES}", name=op.f("ck_jurisdiction_policy")),
        sa.PrimaryKeyConstraint("digits", name=op.f("pk_jurisdiction")),
    )
    op.add_column("interaction", sa.Column("recording_basis", sa.String(length=20), server_default="", nullable=False))
    with op.batch_alter_table("recording") as recording:
        recording.add_column(sa.Column("basis", sa.String(length=20), server_default="", nullable=False))
        recording.add_column(sa.Column("objected_at", sa.Double(), nullable=True))
        recording.drop_constraint(op.f("ck_recording_state"), type_="check")
        recording.create_check_constraint(op.f("ck_recording_state"), f"state IN {STATES}")
    op.create_index(
        "ix_recording_objected_at",
        "recording",
        ["objected_at"],
        sqlite_where=sa.text("objected_at IS NOT NULL"),
        postgresql_where=sa.text("objected_at IS NOT NULL"),
    )
