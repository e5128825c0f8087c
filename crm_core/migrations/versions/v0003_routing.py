"""Routing as it is configured in the pages: steps, selection, overflow, comfort, call back, hours, menus; a history.

The skills that a queue required become the text of its only step: ``english >= 3 and technical >= 4``.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

from itertools import groupby

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON_ = sa.JSON().with_variant(JSONB(), "postgresql")
PHONE_KINDS = "('browser', 'desk', 'outside')"


def upgrade() -> None:
    """New columns and tables; what queues required as a step; phones outside."""
    for name, kind, default in (
        ("steps", JSON_, "[]"),
        ("selection", sa.String(length=20), "longest_idle"),
        ("preferred", sa.String(length=20), "none"),
        ("preferred_patience_s", sa.Integer(), "30"),
        ("parallel", sa.Integer(), "1"),
        ("ageing_s", sa.Integer(), "60"),
        ("hold_recall_s", sa.Integer(), "120"),
        ("service_level_target", sa.Double(), "0.8"),
        ("breather_after_s", sa.Integer(), "0"),
        ("breather_s", sa.Integer(), "0"),
        ("calendar", sa.String(length=40), ""),
        ("closed_to", sa.String(length=60), ""),
        ("overflows", JSON_, "[]"),
        ("comfort", JSON_, "{}"),
        ("emergency_message", sa.String(length=40), ""),
    ):
        op.add_column("queue", sa.Column(name, kind, server_default=default, nullable=False))
    op.add_column("queue", sa.Column("callback", JSON_, nullable=True))
    _required_to_steps()
    op.drop_table("queue_skill")
    op.add_column("agent", sa.Column("team", sa.String(length=40), server_default="", nullable=False))
    op.add_column("agent", sa.Column("language", sa.String(length=20), server_default="", nullable=False))
    _allow_phones_outside()
    op.add_column("dnis_route", sa.Column("menu", sa.String(length=40), server_default="", nullable=False))
    op.create_table(
        "calendar",
        sa.Column("slug", sa.String(length=40), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("zone", sa.String(length=60), nullable=False),
        sa.Column("monday", sa.Text(), server_default="", nullable=False),
        sa.Column("tuesday", sa.Text(), server_default="", nullable=False),
        sa.Column("wednesday", sa.Text(), server_default="", nullable=False),
        sa.Column("thursday", sa.Text(), server_default="", nullable=False),
        sa.Column("friday", sa.Text(), server_default="", nullable=False),
        sa.Column("saturday", sa.Text(), server_default="", nullable=False),
        sa.Column("sunday", sa.Text(), server_default="", nullable=False),
        sa.Column("days", JSON_, server_default="{}", nullable=False),
        sa.PrimaryKeyConstraint("slug", name=op.f("pk_calendar")),
    )
    op.create_table(
        "menu",
        sa.Column("slug", sa.String(length=40), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("prompt", sa.String(length=40), nullable=False),
        sa.Column("options", JSON_, server_default="{}", nullable=False),
        sa.Column("otherwise", sa.String(length=60), nullable=False),
        sa.Column("timeout_s", sa.Integer(), server_default="5", nullable=False),
        sa.Column("tries", sa.Integer(), server_default="3", nullable=False),
        sa.Column("account_digits", sa.Integer(), server_default="0", nullable=False),
        sa.Column("has_check_digit", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.PrimaryKeyConstraint("slug", name=op.f("pk_menu")),
    )
    op.create_table(
        "site_rules",
        sa.Column("slug", sa.String(length=40), nullable=False),
        sa.Column("tiers", JSON_, server_default="{}", nullable=False),
        sa.Column("most_occupied", sa.Double(), server_default="1.0", nullable=False),
        sa.Column("is_spying_shown", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("outside_allowed", JSON_, server_default="[]", nullable=False),
        sa.Column("outside_refused", JSON_, server_default="[]", nullable=False),
        sa.CheckConstraint("slug = 'site'", name=op.f("ck_site_rules_slug")),
        sa.PrimaryKeyConstraint("slug", name=op.f("pk_site_rules")),
    )
    op.create_table(
        "setting_change",
        sa.Column("id", ID, nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("username", sa.String(length=40), nullable=False),
        sa.Column("role", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("key", sa.String(length=40), nullable=False),
        sa.Column("before", JSON_, nullable=True),
        sa.Column("after", JSON_, nullable=True),
        sa.Column("undoes", ID, nullable=True),
        sa.ForeignKeyConstraint(["undoes"], ["setting_change.id"], name=op.f("fk_setting_change_undoes")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_setting_change")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_setting_change_kind_key_id"), "setting_change", ["kind", "key", "id"], unique=False)


def _required_to_steps() -> None:
    connection = op.get_bind()
    rows = connection.execute(sa.text("SELECT queue, skill, proficiency FROM queue_skill ORDER BY queue, skill"))
    change = sa.text("UPDATE queue SET steps = :steps WHERE slug = :slug").bindparams(
        sa.bindparam("steps", type_=JSON_)
    )
    for slug, skills in groupby(rows.all(), key=lambda row: row[0]):
        text = " and ".join(f"{skill} >= {proficiency}" for _, skill, proficiency in skills)
        connection.execute(change, {"slug": slug, "steps": [{"after_s": 0, "text": text}]})


def _allow_phones_outside() -> None:
    if op.get_bind().dialect.name != "sqlite":
        op.drop_constraint(op.f("ck_agent_phone_kind"), "agent", type_="check")
        op.create_check_constraint(op.f("ck_agent_phone_kind"), "agent", f"phone_kind IN {PHONE_KINDS}")
        return
    # SQLite builds the table anew. Others refer to it: they are looked at again when the rows are back.
    op.execute("PRAGMA defer_foreign_keys = ON")
    op.execute("CREATE TEMPORARY TABLE agents_kept AS SELECT * FROM agent")
    op.drop_table("agent")
    op.create_table(
        "agent",
        sa.Column("slug", sa.String(length=40), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("pbx", sa.String(length=40), nullable=False),
        sa.Column("endpoint", sa.String(length=40), nullable=False),
        sa.Column("phone_kind", sa.String(length=8), nullable=False),
        sa.Column("may_see_numbers", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("team", sa.String(length=40), server_default="", nullable=False),
        sa.Column("language", sa.String(length=20), server_default="", nullable=False),
        sa.CheckConstraint(f"phone_kind IN {PHONE_KINDS}", name=op.f("ck_agent_phone_kind")),
        sa.PrimaryKeyConstraint("slug", name=op.f("pk_agent")),
        sa.UniqueConstraint("pbx", "endpoint", name=op.f("uq_agent_pbx_endpoint")),
    )
    columns = "slug, name, pbx, endpoint, phone_kind, may_see_numbers, is_active, team, language"
    op.execute(f"INSERT INTO agent ({columns}) SELECT {columns} FROM agents_kept")  # noqa: S608
    op.execute("DROP TABLE agents_kept")
