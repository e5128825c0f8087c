"""The tables. Shape only; ``migrations`` brings a database to it, and a test holds the two equal.

Every point in time is a double of Unix seconds in UTC, as everywhere in the program. Labels in several languages are
JSON objects ``{"en": …, "zh-Hans": …, "zh-Hant": …}``. Codes and slugs are short texts of ours.

What the journal fills (``interaction`` and its parts) refers to agents, queues and other interactions by their ids
without a foreign key: a record of what happened must be storable when the configuration that it speaks of is gone, and
one odd row must never stop the writing of all that follow.

Two tables for searching exist beside these, made by the migrations because they differ by database: ``party_search``
(SQLite FTS5; PostgreSQL ``tsvector``) and ``phone_search``. See ``crm_core.search_index``.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

ID = BigInteger().with_variant(Integer(), "sqlite")
JSON_ = JSON().with_variant(JSONB(), "postgresql")
MAYBE_JSON = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
# Few rows are; an index over all would tempt the planner to walk the others.
IS_MERGED = "merged_into IS NOT NULL"

# ── customers ─────────────────────────────────────────────────────────────────────────────────────────────

party = Table(
    "party",
    metadata,
    Column("id", ID, primary_key=True),
    Column("kind", String(12), CheckConstraint("kind IN ('person', 'organisation')", name="kind"), nullable=False),
    Column("name", Text, nullable=False),
    Column("name_key", Text, nullable=False),
    Column("company_key", Text, nullable=False, server_default=""),
    Column("account_number", String(40)),
    # What a caller can type on a telephone: the digits of account_number.
    Column("account_digits", String(40), nullable=False, server_default=""),
    Column("type", String(40), nullable=False, server_default=""),
    Column("status", String(40), nullable=False, server_default="active"),
    Column("tier", String(40), nullable=False, server_default=""),
    Column("language", String(20), nullable=False, server_default=""),
    Column("owner", String(40), nullable=False, server_default=""),
    Column("birthday_month", Integer),
    Column("birthday_day", Integer),
    Column("birthday_year", Integer),
    Column("custom", JSON_, nullable=False, server_default="{}"),
    Column("ext_source", String(40)),
    Column("ext_id", String(100)),
    Column("version", Integer, nullable=False, server_default="1"),
    # Always the last survivor of a chain of merges.
    Column("merged_into", ID, ForeignKey("party.id")),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    UniqueConstraint("account_number"),
    UniqueConstraint("ext_source", "ext_id"),
    Index(None, "name_key"),
    Index(None, "company_key"),
    Index(None, "account_digits"),
    Index(None, "owner"),
    Index(None, "merged_into", sqlite_where=text(IS_MERGED), postgresql_where=text(IS_MERGED)),
    sqlite_autoincrement=True,
)

party_flag = Table(
    "party_flag",
    metadata,
    Column("party_id", ID, ForeignKey("party.id"), primary_key=True),
    Column("flag", String(40), primary_key=True),
    Column("since", Double, nullable=False),
)

party_link = Table(
    "party_link",
    metadata,
    Column("id", ID, primary_key=True),
    Column("person_id", ID, ForeignKey("party.id"), nullable=False),
    Column("organisation_id", ID, ForeignKey("party.id"), nullable=False),
    Column("role", String(40), nullable=False, server_default=""),
    Column("is_primary", Boolean, nullable=False, server_default=false()),
    Column("since", Double),
    Column("until", Double),
    UniqueConstraint("person_id", "organisation_id", "role"),
    Index(None, "organisation_id"),
)

phone = Table(
    "phone",
    metadata,
    Column("id", ID, primary_key=True),
    Column("e164", String(20), nullable=False),
    Column("region", String(3), nullable=False, server_default=""),
    Column("line_type", String(20), nullable=False, server_default=""),
    Column("state", String(20), nullable=False, server_default="unverified"),
    UniqueConstraint("e164"),
)

party_phone = Table(
    "party_phone",
    metadata,
    Column("party_id", ID, ForeignKey("party.id"), primary_key=True),
    Column("phone_id", ID, ForeignKey("phone.id"), primary_key=True),
    Column("label", String(40), nullable=False, server_default=""),
    Column("extension", String(20), nullable=False, server_default=""),
    Column("is_primary", Boolean, nullable=False, server_default=false()),
    Column("since", Double),
    Column("until", Double),
    Index(None, "phone_id"),
)

email = Table(
    "email",
    metadata,
    Column("id", ID, primary_key=True),
    Column("address", String(254), nullable=False),
    Column("state", String(20), nullable=False, server_default="unverified"),
    UniqueConstraint("address"),
)

party_email = Table(
    "party_email",
    metadata,
    Column("party_id", ID, ForeignKey("party.id"), primary_key=True),
    Column("email_id", ID, ForeignKey("email.id"), primary_key=True),
    Column("label", String(40), nullable=False, server_default=""),
    Column("is_primary", Boolean, nullable=False, server_default=false()),
    Index(None, "email_id"),
)

address = Table(
    "address",
    metadata,
    Column("id", ID, primary_key=True),
    Column("party_id", ID, ForeignKey("party.id"), nullable=False),
    Column("label", String(40), nullable=False, server_default=""),
    Column("street", Text, nullable=False, server_default=""),
    Column("city", Text, nullable=False, server_default=""),
    Column("region", Text, nullable=False, server_default=""),
    Column("postcode", String(20), nullable=False, server_default=""),
    Column("country", String(2), nullable=False, server_default=""),
    Column("is_primary", Boolean, nullable=False, server_default=false()),
    Index(None, "party_id"),
)

product = Table(
    "product",
    metadata,
    Column("code", String(40), primary_key=True),
    Column("name", Text, nullable=False),
    Column("summary", Text, nullable=False, server_default=""),
    Column("names", JSON_, nullable=False, server_default="{}"),
    Column("summaries", JSON_, nullable=False, server_default="{}"),
    Column("is_active", Boolean, nullable=False, server_default=true()),
)

party_product = Table(
    "party_product",
    metadata,
    Column("party_id", ID, ForeignKey("party.id"), primary_key=True),
    Column("product_code", String(40), ForeignKey("product.code"), primary_key=True),
    Column(
        "relation",
        String(12),
        CheckConstraint("relation IN ('owns', 'asks_about')", name="relation"),
        primary_key=True,
    ),
    Column("since", Double),
    Column("until", Double),
    Index(None, "product_code"),
)

# ── users and what they may see ───────────────────────────────────────────────────────────────────────────

app_user = Table(
    "app_user",
    metadata,
    Column("id", ID, primary_key=True),
    Column("username", String(40), nullable=False),
    Column("name", Text, nullable=False),
    Column("password_hash", Text, nullable=False),
    Column("role", String(40), nullable=False),
    Column("agent", String(40), ForeignKey("agent.slug")),
    Column("language", String(20), nullable=False, server_default=""),
    Column("is_active", Boolean, nullable=False, server_default=true()),
    Column("created_at", Double, nullable=False),
    Column("password_changed_at", Double, nullable=False),
    UniqueConstraint("username"),
    UniqueConstraint("agent"),
    sqlite_autoincrement=True,
)

user_session = Table(
    "user_session",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("user_id", ID, ForeignKey("app_user.id"), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("seen_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("ip", String(45), nullable=False, server_default=""),
    Column("user_agent", String(200), nullable=False, server_default=""),
    Column("revoked_at", Double),
    Index(None, "user_id"),
    Index(None, "expires_at"),
)

login_attempt = Table(
    "login_attempt",
    metadata,
    Column("id", ID, primary_key=True),
    Column("at", Double, nullable=False),
    Column("username", String(40), nullable=False),
    Column("ip", String(45), nullable=False),
    Column("is_success", Boolean, nullable=False),
    Index(None, "username", "at"),
    Index(None, "ip", "at"),
    Index(None, "at"),
)

field_rule = Table(
    "field_rule",
    metadata,
    Column("role", String(40), primary_key=True),
    Column("object", String(40), primary_key=True),
    Column("field", String(80), primary_key=True),
    # Restrictions only: what is not named here may be read and written.
    Column("access", String(5), CheckConstraint("access IN ('none', 'mask', 'read')", name="access"), nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("id", ID, primary_key=True),
    Column("at", Double, nullable=False),
    Column("username", String(40), nullable=False),
    Column("role", String(40), nullable=False),
    Column("action", String(40), nullable=False),
    Column("object", String(40), nullable=False),
    Column("object_id", String(100), nullable=False),
    Column("detail", JSON_, nullable=False, server_default="{}"),
    Column("ip", String(45), nullable=False, server_default=""),
    Column("session", String(64), nullable=False, server_default=""),
    Index(None, "at"),
    Index(None, "object", "object_id", "at"),
    Index(None, "username", "at"),
    sqlite_autoincrement=True,
)

# ── the configured centre ─────────────────────────────────────────────────────────────────────────────────

agent = Table(
    "agent",
    metadata,
    Column("slug", String(40), primary_key=True),
    Column("name", Text, nullable=False),
    Column("pbx", String(40), nullable=False),
    Column("endpoint", String(40), nullable=False),
    Column(
        "phone_kind",
        String(8),
        CheckConstraint("phone_kind IN ('browser', 'desk', 'outside')", name="phone_kind"),
        nullable=False,
    ),
    Column("may_see_numbers", Boolean, nullable=False, server_default=true()),
    Column("team", String(40), nullable=False, server_default=""),
    Column("language", String(20), nullable=False, server_default=""),
    Column("is_active", Boolean, nullable=False, server_default=true()),
    UniqueConstraint("pbx", "endpoint"),
)

agent_skill = Table(
    "agent_skill",
    metadata,
    Column("agent", String(40), ForeignKey("agent.slug"), primary_key=True),
    Column("skill", String(40), primary_key=True),
    Column("proficiency", Integer, CheckConstraint("proficiency BETWEEN 1 AND 10", name="proficiency"), nullable=False),
)

queue = Table(
    "queue",
    metadata,
    Column("slug", String(40), primary_key=True),
    Column("name", Text, nullable=False),
    Column("ring_timeout_s", Integer, nullable=False, server_default="20"),
    Column("wrap_up_s", Integer, nullable=False, server_default="30"),
    Column("service_level_s", Integer, nullable=False, server_default="20"),
    Column("short_abandon_s", Integer, nullable=False, server_default="5"),
    Column("priority", Integer, nullable=False, server_default="0"),
    Column(
        "recording",
        String(10),
        CheckConstraint("recording IN ('off', 'announced', 'consent')", name="recording"),
        nullable=False,
        server_default="announced",
    ),
    Column("keeps_objected", Boolean, nullable=False, server_default=false()),
    Column("product", String(40), nullable=False, server_default=""),
    # What is nested is checked by crm_core.centre and only ever read as a whole.
    Column("steps", JSON_, nullable=False, server_default="[]"),
    Column("selection", String(20), nullable=False, server_default="longest_idle"),
    Column("preferred", String(20), nullable=False, server_default="none"),
    Column("preferred_patience_s", Integer, nullable=False, server_default="30"),
    Column("parallel", Integer, nullable=False, server_default="1"),
    Column("ageing_s", Integer, nullable=False, server_default="60"),
    Column("hold_recall_s", Integer, nullable=False, server_default="120"),
    Column("service_level_target", Double, nullable=False, server_default="0.8"),
    Column("breather_after_s", Integer, nullable=False, server_default="0"),
    Column("breather_s", Integer, nullable=False, server_default="0"),
    Column("calendar", String(40), nullable=False, server_default=""),
    Column("closed_to", String(60), nullable=False, server_default=""),
    Column("overflows", JSON_, nullable=False, server_default="[]"),
    Column("comfort", JSON_, nullable=False, server_default="{}"),
    Column("callback", MAYBE_JSON),
    Column("emergency_message", String(40), nullable=False, server_default=""),
    Column("is_default", Boolean, nullable=False, server_default=false()),
    Column("is_active", Boolean, nullable=False, server_default=true()),
    Index(
        "uq_queue_is_default",
        "is_default",
        unique=True,
        sqlite_where=text("is_default"),
        postgresql_where=text("is_default"),
    ),
)

queue_agent = Table(
    "queue_agent",
    metadata,
    Column("queue", String(40), ForeignKey("queue.slug"), primary_key=True),
    Column("agent", String(40), ForeignKey("agent.slug"), primary_key=True),
    Index(None, "agent"),
)

dnis_route = Table(
    "dnis_route",
    metadata,
    Column("dnis", String(20), primary_key=True),
    Column("queue", String(40), ForeignKey("queue.slug"), nullable=False),
    Column("product", String(40), nullable=False, server_default=""),
    Column("language", String(20), nullable=False, server_default=""),
    Column("menu", String(40), nullable=False, server_default=""),
)

calendar = Table(
    "calendar",
    metadata,
    Column("slug", String(40), primary_key=True),
    Column("name", Text, nullable=False),
    Column("zone", String(60), nullable=False),
    *(Column(day, Text, nullable=False, server_default="") for day in WEEKDAYS),
    Column("days", JSON_, nullable=False, server_default="{}"),
)

menu = Table(
    "menu",
    metadata,
    Column("slug", String(40), primary_key=True),
    Column("name", Text, nullable=False),
    Column("prompt", String(40), nullable=False),
    Column("options", JSON_, nullable=False, server_default="{}"),
    Column("otherwise", String(60), nullable=False),
    Column("timeout_s", Integer, nullable=False, server_default="5"),
    Column("tries", Integer, nullable=False, server_default="3"),
    Column("account_digits", Integer, nullable=False, server_default="0"),
    Column("has_check_digit", Boolean, nullable=False, server_default=false()),
)

site_rules = Table(
    "site_rules",
    metadata,
    # There is one row at most: without it, everything is as it is anyway.
    Column("slug", String(40), CheckConstraint("slug = 'site'", name="slug"), primary_key=True),
    Column("tiers", JSON_, nullable=False, server_default="{}"),
    Column("most_occupied", Double, nullable=False, server_default="1.0"),
    Column("is_spying_shown", Boolean, nullable=False, server_default=true()),
    Column("outside_allowed", JSON_, nullable=False, server_default="[]"),
    Column("outside_refused", JSON_, nullable=False, server_default="[]"),
)

# What was configured when and by whom; ``before`` is empty for what is new, ``after`` for what was removed.
setting_change = Table(
    "setting_change",
    metadata,
    Column("id", ID, primary_key=True),
    Column("at", Double, nullable=False),
    Column("username", String(40), nullable=False),
    Column("role", String(40), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("key", String(40), nullable=False),
    Column("before", MAYBE_JSON),
    Column("after", MAYBE_JSON),
    # The change that this one undid.
    Column("undoes", ID, ForeignKey("setting_change.id")),
    Index(None, "kind", "key", "id"),
    sqlite_autoincrement=True,
)

jurisdiction = Table(
    "jurisdiction",
    metadata,
    Column("digits", String(10), primary_key=True),
    Column(
        "policy",
        String(10),
        CheckConstraint("policy IN ('off', 'announced', 'consent')", name="policy"),
        nullable=False,
    ),
    Column("citation", Text, nullable=False, server_default=""),
)

reason = Table(
    "reason",
    metadata,
    Column("code", String(40), primary_key=True),
    Column("labels", JSON_, nullable=False),
    Column("position", Integer, nullable=False, server_default="0"),
    Column("is_active", Boolean, nullable=False, server_default=true()),
)

disposition = Table(
    "disposition",
    metadata,
    Column("code", String(40), primary_key=True),
    Column("labels", JSON_, nullable=False),
    Column("queue", String(40), ForeignKey("queue.slug")),
    Column("key", String(1), nullable=False, server_default=""),
    Column("position", Integer, nullable=False, server_default="0"),
    Column("is_active", Boolean, nullable=False, server_default=true()),
)

# ── what happened ─────────────────────────────────────────────────────────────────────────────────────────

interaction = Table(
    "interaction",
    metadata,
    Column("id", String(100), primary_key=True),
    Column("party_id", ID, ForeignKey("party.id")),
    Column("candidates", JSON_, nullable=False, server_default="[]"),
    Column("direction", String(10), nullable=False),
    Column("channel", String(10), nullable=False, server_default="voice"),
    Column("queue", String(40), nullable=False, server_default=""),
    Column("agent", String(40), nullable=False, server_default=""),
    Column("from_agent", String(40), nullable=False, server_default=""),
    Column("dnis", String(40), nullable=False, server_default=""),
    Column("ani_e164", String(20), nullable=False, server_default=""),
    Column("ani_raw", String(80), nullable=False, server_default=""),
    Column("ani_name", Text, nullable=False, server_default=""),
    Column("is_withheld", Boolean, nullable=False, server_default=false()),
    Column("account", String(40), nullable=False, server_default=""),
    Column("choice", String(40), nullable=False, server_default=""),
    Column("language", String(20), nullable=False, server_default=""),
    Column("started_at", Double, nullable=False),
    Column("queued_at", Double),
    Column("answered_at", Double),
    Column("ended_at", Double),
    Column("wait_s", Double),
    Column("talk_s", Double),
    Column("hold_s", Double),
    Column("wrap_up_s", Double),
    Column("outcome", String(20), nullable=False, server_default=""),
    Column("disposition", String(40), nullable=False, server_default=""),
    Column("note", Text, nullable=False, server_default=""),
    Column("match_how", String(10), nullable=False, server_default=""),
    Column("chosen_by", String(40), nullable=False, server_default=""),
    Column("recording_basis", String(20), nullable=False, server_default=""),
    Column("merged_into", String(100)),
    Column("path", String(120), nullable=False, server_default=""),
    Index(None, "party_id", "started_at"),
    Index(None, "started_at"),
    Index(None, "queue", "started_at"),
    Index(None, "agent", "started_at"),
    Index(None, "ani_e164", "started_at"),
    Index(None, "merged_into", sqlite_where=text(IS_MERGED), postgresql_where=text(IS_MERGED)),
)

interaction_leg = Table(
    "interaction_leg",
    metadata,
    Column("id", String(100), primary_key=True),
    Column("interaction", String(100), nullable=False),
    Column("role", String(10), nullable=False),
    Column("agent", String(40), nullable=False, server_default=""),
    Column("endpoint", String(80), nullable=False, server_default=""),
    Column("number", String(80), nullable=False, server_default=""),
    Column("started_at", Double, nullable=False),
    Column("ringing_at", Double),
    Column("answered_at", Double),
    Column("ended_at", Double),
    Column("outcome", String(20), nullable=False, server_default=""),
    Column("cause", String(20), nullable=False, server_default=""),
    Index(None, "interaction", "started_at"),
    Index(None, "agent", "started_at"),
)

interaction_decision = Table(
    "interaction_decision",
    metadata,
    Column("interaction", String(100), primary_key=True),
    Column("at", Double, primary_key=True),
    Column("queue", String(40), primary_key=True),
    Column("agent", String(40), primary_key=True),
    Column("rule", String(80), nullable=False),
    Column("passed", JSON_, nullable=False, server_default="[]"),
    Column("others", JSON_, nullable=False, server_default="[]"),
    Column("step", Integer, nullable=False, server_default="0"),
    Column("required", Text, nullable=False, server_default=""),
    Column("waited_s", Double, nullable=False, server_default="0"),
    Column("points", Integer, nullable=False, server_default="0"),
)

recording = Table(
    "recording",
    metadata,
    Column("file", String(200), primary_key=True),
    Column("interaction", String(100), nullable=False),
    Column("leg", String(100), nullable=False, server_default=""),
    Column("started_at", Double, nullable=False),
    Column("ended_at", Double),
    Column("paused", JSON_, nullable=False, server_default="[]"),
    Column("basis", String(20), nullable=False, server_default=""),
    Column("objected_at", Double),
    Column(
        "state",
        String(10),
        CheckConstraint("state IN ('pending', 'complete', 'silent', 'missing', 'objected')", name="state"),
        nullable=False,
        server_default="pending",
    ),
    Column("audio_s", Double),
    Column("silent_s", Double),
    Column("sha256", String(64)),
    Column("bytes", BigInteger),
    Index(None, "interaction"),
    Index(None, "state", "started_at"),
    Index(
        "ix_recording_objected_at",
        "objected_at",
        sqlite_where=text("objected_at IS NOT NULL"),
        postgresql_where=text("objected_at IS NOT NULL"),
    ),
)

# One stay of a caller in one queue.
interaction_offer = Table(
    "interaction_offer",
    metadata,
    Column("interaction", String(100), primary_key=True),
    Column("began_at", Double, primary_key=True),
    Column("queue", String(40), primary_key=True),
    Column("ended_at", Double),
    Column("outcome", String(20), nullable=False, server_default=""),
    Column("went_to", String(80), nullable=False, server_default=""),
    Index(None, "queue", "began_at"),
)

# A message that a caller left is work: of a queue, until somebody is done with it.
voicemail = Table(
    "voicemail",
    metadata,
    Column("file", String(160), primary_key=True),
    Column("interaction", String(100), nullable=False),
    Column("queue", String(40), nullable=False),
    Column("left_at", Double, nullable=False),
    Column("due_at", Double, nullable=False),
    Column("owner", String(40), nullable=False, server_default=""),
    Column(
        "state",
        String(10),
        CheckConstraint("state IN ('open', 'done')", name="state"),
        nullable=False,
        server_default="open",
    ),
    Column("done_at", Double),
    Index(None, "queue", "state", "due_at"),
    Index(None, "interaction"),
)

journal_position = Table(
    "journal_position",
    metadata,
    Column("reader", String(40), primary_key=True),
    Column("segment", String(100), nullable=False),
    Column("byte_offset", BigInteger, nullable=False),
    Column("at", Double, nullable=False),
)
