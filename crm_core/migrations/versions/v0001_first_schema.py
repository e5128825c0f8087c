"""The first schema.

Revision ID: 0001
Revises:
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON_ = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
IS_MERGED = sa.text("merged_into IS NOT NULL")

SQLITE = """
CREATE VIRTUAL TABLE party_search USING fts5(
  name, company, email, account, tokenize='unicode61 remove_diacritics 2', prefix='2 3');
CREATE VIRTUAL TABLE phone_search USING fts5(digits, tokenize='trigram');
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
  BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END;
CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit
  BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END
"""

POSTGRESQL = """
CREATE TABLE party_search (party_id bigint PRIMARY KEY REFERENCES party (id), words tsvector NOT NULL);
CREATE INDEX ix_party_search_words ON party_search USING gin (words);
CREATE TABLE phone_search (phone_id bigint PRIMARY KEY REFERENCES phone (id), endings tsvector NOT NULL);
CREATE INDEX ix_phone_search_endings ON phone_search USING gin (endings);
CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'audit is append-only'; END $$;
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
  FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only()
"""


def upgrade() -> None:
    """Make everything."""
    op.create_table(
        "agent",
        sa.Column("slug", sa.String(length=40), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("pbx", sa.String(length=40), nullable=False),
        sa.Column("endpoint", sa.String(length=40), nullable=False),
        sa.Column("phone_kind", sa.String(length=8), nullable=False),
        sa.Column("may_see_numbers", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.CheckConstraint("phone_kind IN ('browser', 'desk')", name=op.f("ck_agent_phone_kind")),
        sa.PrimaryKeyConstraint("slug", name=op.f("pk_agent")),
        sa.UniqueConstraint("pbx", "endpoint", name=op.f("uq_agent_pbx_endpoint")),
    )
    op.create_table(
        "audit",
        sa.Column("id", ID, nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("username", sa.String(length=40), nullable=False),
        sa.Column("role", sa.String(length=40), nullable=False),
        sa.Column("action", sa.String(length=40), nullable=False),
        sa.Column("object", sa.String(length=40), nullable=False),
        sa.Column("object_id", sa.String(length=100), nullable=False),
        sa.Column("detail", JSON_, server_default="{}", nullable=False),
        sa.Column("ip", sa.String(length=45), server_default="", nullable=False),
        sa.Column("session", sa.String(length=64), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_audit_at"), "audit", ["at"], unique=False)
    op.create_index(op.f("ix_audit_object_object_id_at"), "audit", ["object", "object_id", "at"], unique=False)
    op.create_index(op.f("ix_audit_username_at"), "audit", ["username", "at"], unique=False)
    op.create_table(
        "email",
        sa.Column("id", ID, nullable=False),
        sa.Column("address", sa.String(length=254), nullable=False),
        sa.Column("state", sa.String(length=20), server_default="unverified", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_email")),
        sa.UniqueConstraint("address", name=op.f("uq_email_address")),
    )
    op.create_table(
        "field_rule",
        sa.Column("role", sa.String(length=40), nullable=False),
        sa.Column("object", sa.String(length=40), nullable=False),
        sa.Column("field", sa.String(length=80), nullable=False),
        sa.Column("access", sa.String(length=5), nullable=False),
        sa.CheckConstraint("access IN ('none', 'mask', 'read')", name=op.f("ck_field_rule_access")),
        sa.PrimaryKeyConstraint("role", "object", "field", name=op.f("pk_field_rule")),
    )
    op.create_table(
        "interaction_decision",
        sa.Column("interaction", sa.String(length=100), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("queue", sa.String(length=40), nullable=False),
        sa.Column("agent", sa.String(length=40), nullable=False),
        sa.Column("rule", sa.String(length=80), nullable=False),
        sa.Column("passed", JSON_, server_default="[]", nullable=False),
        sa.PrimaryKeyConstraint("interaction", "at", "queue", "agent", name=op.f("pk_interaction_decision")),
    )
    op.create_table(
        "interaction_leg",
        sa.Column("id", sa.String(length=100), nullable=False),
        sa.Column("interaction", sa.String(length=100), nullable=False),
        sa.Column("role", sa.String(length=10), nullable=False),
        sa.Column("agent", sa.String(length=40), server_default="", nullable=False),
        sa.Column("endpoint", sa.String(length=80), server_default="", nullable=False),
        sa.Column("number", sa.String(length=80), server_default="", nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("ringing_at", sa.Double(), nullable=True),
        sa.Column("answered_at", sa.Double(), nullable=True),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.Column("outcome", sa.String(length=20), server_default="", nullable=False),
        sa.Column("cause", sa.String(length=20), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_interaction_leg")),
    )
    op.create_index(
        op.f("ix_interaction_leg_agent_started_at"), "interaction_leg", ["agent", "started_at"], unique=False
    )
    op.create_index(
        op.f("ix_interaction_leg_interaction_started_at"),
        "interaction_leg",
        ["interaction", "started_at"],
        unique=False,
    )
    op.create_table(
        "journal_position",
        sa.Column("reader", sa.String(length=40), nullable=False),
        sa.Column("segment", sa.String(length=100), nullable=False),
        sa.Column("byte_offset", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("reader", name=op.f("pk_journal_position")),
    )
    op.create_table(
        "login_attempt",
        sa.Column("id", ID, nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("username", sa.String(length=40), nullable=False),
        sa.Column("ip", sa.String(length=45), nullable=False),
        sa.Column("is_success", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_login_attempt")),
    )
    op.create_index(op.f("ix_login_attempt_at"), "login_attempt", ["at"], unique=False)
    op.create_index(op.f("ix_login_attempt_ip_at"), "login_attempt", ["ip", "at"], unique=False)
    op.create_index(op.f("ix_login_attempt_username_at"), "login_attempt", ["username", "at"], unique=False)
    op.create_table(
        "party",
        sa.Column("id", ID, nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_key", sa.Text(), nullable=False),
        sa.Column("company_key", sa.Text(), server_default="", nullable=False),
        sa.Column("account_number", sa.String(length=40), nullable=True),
        sa.Column("account_digits", sa.String(length=40), server_default="", nullable=False),
        sa.Column("type", sa.String(length=40), server_default="", nullable=False),
        sa.Column("status", sa.String(length=40), server_default="active", nullable=False),
        sa.Column("tier", sa.String(length=40), server_default="", nullable=False),
        sa.Column("language", sa.String(length=20), server_default="", nullable=False),
        sa.Column("owner", sa.String(length=40), server_default="", nullable=False),
        sa.Column("birthday_month", sa.Integer(), nullable=True),
        sa.Column("birthday_day", sa.Integer(), nullable=True),
        sa.Column("birthday_year", sa.Integer(), nullable=True),
        sa.Column("custom", JSON_, server_default="{}", nullable=False),
        sa.Column("ext_source", sa.String(length=40), nullable=True),
        sa.Column("ext_id", sa.String(length=100), nullable=True),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("merged_into", ID, nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["merged_into"], ["party.id"], name=op.f("fk_party_merged_into")),
        sa.CheckConstraint("kind IN ('person', 'organisation')", name=op.f("ck_party_kind")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_party")),
        sa.UniqueConstraint("account_number", name=op.f("uq_party_account_number")),
        sa.UniqueConstraint("ext_source", "ext_id", name=op.f("uq_party_ext_source_ext_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_party_account_digits"), "party", ["account_digits"], unique=False)
    op.create_index(op.f("ix_party_company_key"), "party", ["company_key"], unique=False)
    op.create_index(
        op.f("ix_party_merged_into"),
        "party",
        ["merged_into"],
        unique=False,
        sqlite_where=IS_MERGED,
        postgresql_where=IS_MERGED,
    )
    op.create_index(op.f("ix_party_name_key"), "party", ["name_key"], unique=False)
    op.create_index(op.f("ix_party_owner"), "party", ["owner"], unique=False)
    op.create_table(
        "phone",
        sa.Column("id", ID, nullable=False),
        sa.Column("e164", sa.String(length=20), nullable=False),
        sa.Column("region", sa.String(length=3), server_default="", nullable=False),
        sa.Column("line_type", sa.String(length=20), server_default="", nullable=False),
        sa.Column("state", sa.String(length=20), server_default="unverified", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_phone")),
        sa.UniqueConstraint("e164", name=op.f("uq_phone_e164")),
    )
    op.create_table(
        "product",
        sa.Column("code", sa.String(length=40), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("summary", sa.Text(), server_default="", nullable=False),
        sa.Column("names", JSON_, server_default="{}", nullable=False),
        sa.Column("summaries", JSON_, server_default="{}", nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_product")),
    )
    op.create_table(
        "queue",
        sa.Column("slug", sa.String(length=40), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("ring_timeout_s", sa.Integer(), server_default="20", nullable=False),
        sa.Column("wrap_up_s", sa.Integer(), server_default="30", nullable=False),
        sa.Column("service_level_s", sa.Integer(), server_default="20", nullable=False),
        sa.Column("short_abandon_s", sa.Integer(), server_default="5", nullable=False),
        sa.Column("priority", sa.Integer(), server_default="0", nullable=False),
        sa.Column("is_recorded", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("product", sa.String(length=40), server_default="", nullable=False),
        sa.Column("is_default", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.PrimaryKeyConstraint("slug", name=op.f("pk_queue")),
    )
    op.create_index(
        "uq_queue_is_default",
        "queue",
        ["is_default"],
        unique=True,
        sqlite_where=sa.text("is_default"),
        postgresql_where=sa.text("is_default"),
    )
    op.create_table(
        "reason",
        sa.Column("code", sa.String(length=40), nullable=False),
        sa.Column("labels", JSON_, nullable=False),
        sa.Column("position", sa.Integer(), server_default="0", nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_reason")),
    )
    op.create_table(
        "recording",
        sa.Column("file", sa.String(length=200), nullable=False),
        sa.Column("interaction", sa.String(length=100), nullable=False),
        sa.Column("leg", sa.String(length=100), server_default="", nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.Column("paused", JSON_, server_default="[]", nullable=False),
        sa.Column("state", sa.String(length=10), server_default="pending", nullable=False),
        sa.Column("audio_s", sa.Double(), nullable=True),
        sa.Column("silent_s", sa.Double(), nullable=True),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.Column("bytes", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("state IN ('pending', 'complete', 'silent', 'missing')", name=op.f("ck_recording_state")),
        sa.PrimaryKeyConstraint("file", name=op.f("pk_recording")),
    )
    op.create_index(op.f("ix_recording_interaction"), "recording", ["interaction"], unique=False)
    op.create_index(op.f("ix_recording_state_started_at"), "recording", ["state", "started_at"], unique=False)
    op.create_table(
        "address",
        sa.Column("id", ID, nullable=False),
        sa.Column("party_id", ID, nullable=False),
        sa.Column("label", sa.String(length=40), server_default="", nullable=False),
        sa.Column("street", sa.Text(), server_default="", nullable=False),
        sa.Column("city", sa.Text(), server_default="", nullable=False),
        sa.Column("region", sa.Text(), server_default="", nullable=False),
        sa.Column("postcode", sa.String(length=20), server_default="", nullable=False),
        sa.Column("country", sa.String(length=2), server_default="", nullable=False),
        sa.Column("is_primary", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.ForeignKeyConstraint(["party_id"], ["party.id"], name=op.f("fk_address_party_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_address")),
    )
    op.create_index(op.f("ix_address_party_id"), "address", ["party_id"], unique=False)
    op.create_table(
        "agent_skill",
        sa.Column("agent", sa.String(length=40), nullable=False),
        sa.Column("skill", sa.String(length=40), nullable=False),
        sa.Column("proficiency", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["agent"], ["agent.slug"], name=op.f("fk_agent_skill_agent")),
        sa.CheckConstraint("proficiency BETWEEN 1 AND 10", name=op.f("ck_agent_skill_proficiency")),
        sa.PrimaryKeyConstraint("agent", "skill", name=op.f("pk_agent_skill")),
    )
    op.create_table(
        "app_user",
        sa.Column("id", ID, nullable=False),
        sa.Column("username", sa.String(length=40), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("role", sa.String(length=40), nullable=False),
        sa.Column("agent", sa.String(length=40), nullable=True),
        sa.Column("language", sa.String(length=20), server_default="", nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("password_changed_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["agent"], ["agent.slug"], name=op.f("fk_app_user_agent")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_app_user")),
        sa.UniqueConstraint("agent", name=op.f("uq_app_user_agent")),
        sa.UniqueConstraint("username", name=op.f("uq_app_user_username")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "disposition",
        sa.Column("code", sa.String(length=40), nullable=False),
        sa.Column("labels", JSON_, nullable=False),
        sa.Column("queue", sa.String(length=40), nullable=True),
        sa.Column("key", sa.String(length=1), server_default="", nullable=False),
        sa.Column("position", sa.Integer(), server_default="0", nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.ForeignKeyConstraint(["queue"], ["queue.slug"], name=op.f("fk_disposition_queue")),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_disposition")),
    )
    op.create_table(
        "dnis_route",
        sa.Column("dnis", sa.String(length=20), nullable=False),
        sa.Column("queue", sa.String(length=40), nullable=False),
        sa.Column("product", sa.String(length=40), server_default="", nullable=False),
        sa.Column("language", sa.String(length=20), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["queue"], ["queue.slug"], name=op.f("fk_dnis_route_queue")),
        sa.PrimaryKeyConstraint("dnis", name=op.f("pk_dnis_route")),
    )
    op.create_table(
        "interaction",
        sa.Column("id", sa.String(length=100), nullable=False),
        sa.Column("party_id", ID, nullable=True),
        sa.Column("candidates", JSON_, server_default="[]", nullable=False),
        sa.Column("direction", sa.String(length=10), nullable=False),
        sa.Column("channel", sa.String(length=10), server_default="voice", nullable=False),
        sa.Column("queue", sa.String(length=40), server_default="", nullable=False),
        sa.Column("agent", sa.String(length=40), server_default="", nullable=False),
        sa.Column("from_agent", sa.String(length=40), server_default="", nullable=False),
        sa.Column("dnis", sa.String(length=40), server_default="", nullable=False),
        sa.Column("ani_e164", sa.String(length=20), server_default="", nullable=False),
        sa.Column("ani_raw", sa.String(length=80), server_default="", nullable=False),
        sa.Column("ani_name", sa.Text(), server_default="", nullable=False),
        sa.Column("is_withheld", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("account", sa.String(length=40), server_default="", nullable=False),
        sa.Column("choice", sa.String(length=40), server_default="", nullable=False),
        sa.Column("language", sa.String(length=20), server_default="", nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("queued_at", sa.Double(), nullable=True),
        sa.Column("answered_at", sa.Double(), nullable=True),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.Column("wait_s", sa.Double(), nullable=True),
        sa.Column("talk_s", sa.Double(), nullable=True),
        sa.Column("hold_s", sa.Double(), nullable=True),
        sa.Column("wrap_up_s", sa.Double(), nullable=True),
        sa.Column("outcome", sa.String(length=20), server_default="", nullable=False),
        sa.Column("disposition", sa.String(length=40), server_default="", nullable=False),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.Column("match_how", sa.String(length=10), server_default="", nullable=False),
        sa.Column("chosen_by", sa.String(length=40), server_default="", nullable=False),
        sa.Column("merged_into", sa.String(length=100), nullable=True),
        sa.ForeignKeyConstraint(["party_id"], ["party.id"], name=op.f("fk_interaction_party_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_interaction")),
    )
    op.create_index(op.f("ix_interaction_agent_started_at"), "interaction", ["agent", "started_at"], unique=False)
    op.create_index(op.f("ix_interaction_ani_e164_started_at"), "interaction", ["ani_e164", "started_at"], unique=False)
    op.create_index(
        op.f("ix_interaction_merged_into"),
        "interaction",
        ["merged_into"],
        unique=False,
        sqlite_where=IS_MERGED,
        postgresql_where=IS_MERGED,
    )
    op.create_index(op.f("ix_interaction_party_id_started_at"), "interaction", ["party_id", "started_at"], unique=False)
    op.create_index(op.f("ix_interaction_queue_started_at"), "interaction", ["queue", "started_at"], unique=False)
    op.create_index(op.f("ix_interaction_started_at"), "interaction", ["started_at"], unique=False)
    op.create_table(
        "party_email",
        sa.Column("party_id", ID, nullable=False),
        sa.Column("email_id", ID, nullable=False),
        sa.Column("label", sa.String(length=40), server_default="", nullable=False),
        sa.Column("is_primary", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.ForeignKeyConstraint(["email_id"], ["email.id"], name=op.f("fk_party_email_email_id")),
        sa.ForeignKeyConstraint(["party_id"], ["party.id"], name=op.f("fk_party_email_party_id")),
        sa.PrimaryKeyConstraint("party_id", "email_id", name=op.f("pk_party_email")),
    )
    op.create_index(op.f("ix_party_email_email_id"), "party_email", ["email_id"], unique=False)
    op.create_table(
        "party_flag",
        sa.Column("party_id", ID, nullable=False),
        sa.Column("flag", sa.String(length=40), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["party_id"], ["party.id"], name=op.f("fk_party_flag_party_id")),
        sa.PrimaryKeyConstraint("party_id", "flag", name=op.f("pk_party_flag")),
    )
    op.create_table(
        "party_link",
        sa.Column("id", ID, nullable=False),
        sa.Column("person_id", ID, nullable=False),
        sa.Column("organisation_id", ID, nullable=False),
        sa.Column("role", sa.String(length=40), server_default="", nullable=False),
        sa.Column("is_primary", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("since", sa.Double(), nullable=True),
        sa.Column("until", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["organisation_id"], ["party.id"], name=op.f("fk_party_link_organisation_id")),
        sa.ForeignKeyConstraint(["person_id"], ["party.id"], name=op.f("fk_party_link_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_party_link")),
        sa.UniqueConstraint(
            "person_id", "organisation_id", "role", name=op.f("uq_party_link_person_id_organisation_id_role")
        ),
    )
    op.create_index(op.f("ix_party_link_organisation_id"), "party_link", ["organisation_id"], unique=False)
    op.create_table(
        "party_phone",
        sa.Column("party_id", ID, nullable=False),
        sa.Column("phone_id", ID, nullable=False),
        sa.Column("label", sa.String(length=40), server_default="", nullable=False),
        sa.Column("extension", sa.String(length=20), server_default="", nullable=False),
        sa.Column("is_primary", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("since", sa.Double(), nullable=True),
        sa.Column("until", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["party_id"], ["party.id"], name=op.f("fk_party_phone_party_id")),
        sa.ForeignKeyConstraint(["phone_id"], ["phone.id"], name=op.f("fk_party_phone_phone_id")),
        sa.PrimaryKeyConstraint("party_id", "phone_id", name=op.f("pk_party_phone")),
    )
    op.create_index(op.f("ix_party_phone_phone_id"), "party_phone", ["phone_id"], unique=False)
    op.create_table(
        "party_product",
        sa.Column("party_id", ID, nullable=False),
        sa.Column("product_code", sa.String(length=40), nullable=False),
        sa.Column("relation", sa.String(length=12), nullable=False),
        sa.Column("since", sa.Double(), nullable=True),
        sa.Column("until", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["party_id"], ["party.id"], name=op.f("fk_party_product_party_id")),
        sa.ForeignKeyConstraint(["product_code"], ["product.code"], name=op.f("fk_party_product_product_code")),
        sa.CheckConstraint("relation IN ('owns', 'asks_about')", name=op.f("ck_party_product_relation")),
        sa.PrimaryKeyConstraint("party_id", "product_code", "relation", name=op.f("pk_party_product")),
    )
    op.create_index(op.f("ix_party_product_product_code"), "party_product", ["product_code"], unique=False)
    op.create_table(
        "queue_agent",
        sa.Column("queue", sa.String(length=40), nullable=False),
        sa.Column("agent", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["agent"], ["agent.slug"], name=op.f("fk_queue_agent_agent")),
        sa.ForeignKeyConstraint(["queue"], ["queue.slug"], name=op.f("fk_queue_agent_queue")),
        sa.PrimaryKeyConstraint("queue", "agent", name=op.f("pk_queue_agent")),
    )
    op.create_index(op.f("ix_queue_agent_agent"), "queue_agent", ["agent"], unique=False)
    op.create_table(
        "queue_skill",
        sa.Column("queue", sa.String(length=40), nullable=False),
        sa.Column("skill", sa.String(length=40), nullable=False),
        sa.Column("proficiency", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["queue"], ["queue.slug"], name=op.f("fk_queue_skill_queue")),
        sa.CheckConstraint("proficiency BETWEEN 1 AND 10", name=op.f("ck_queue_skill_proficiency")),
        sa.PrimaryKeyConstraint("queue", "skill", name=op.f("pk_queue_skill")),
    )
    op.create_table(
        "user_session",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("seen_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.Column("ip", sa.String(length=45), server_default="", nullable=False),
        sa.Column("user_agent", sa.String(length=200), server_default="", nullable=False),
        sa.Column("revoked_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["app_user.id"], name=op.f("fk_user_session_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user_session")),
    )
    op.create_index(op.f("ix_user_session_expires_at"), "user_session", ["expires_at"], unique=False)
    op.create_index(op.f("ix_user_session_user_id"), "user_session", ["user_id"], unique=False)
    # Statements end with a semicolon at a line's end; the ones inside bodies do not stand there.
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    for statement in (SQLITE if is_sqlite else POSTGRESQL).strip().split(";\n"):
        op.execute(statement)
