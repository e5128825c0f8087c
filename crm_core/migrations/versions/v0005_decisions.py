"""What a decision of routing was made for: who was rung as well, what was required, how long the caller had waited.

Revision ID: 0005
Revises: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

JSON_ = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    """Columns of the decisions."""
    for name, kind, default in (
        ("others", JSON_, "[]"),
        ("step", sa.Integer(), "0"),
        ("required", sa.Text(), ""),
        ("waited_s", sa.Double(), "0"),
        ("points", sa.Integer(), "0"),
    ):
        op.add_column("interaction_decision", sa.Column(name, kind, server_default=default, nullable=False))
