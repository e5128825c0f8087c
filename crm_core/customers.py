"""Customers: who calls, what an agent is shown of them, how they are found and changed.

Reading functions take a ``Reader`` and the ``FieldRules`` and return only what that reader may see. Nothing here
commits: the caller's ``Database.begin()`` block does.
"""

from __future__ import annotations

import calendar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    Select,
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    text,
    union_all,
)
from sqlalchemy import (
    update as update_rows,
)

from crm_core import fields, search_index
from crm_core.dialects import is_sqlite, upsert
from crm_core.errors import BadInput, Conflict, Missing
from crm_core.names import company_key, name_key
from crm_core.phones import NumberState, digits, parse_number
from crm_core.schema import (
    address,
    agent,
    email,
    interaction,
    party,
    party_email,
    party_flag,
    party_link,
    party_phone,
    party_product,
    phone,
    product,
    queue,
    recording,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncConnection

    from crm_core.access import FieldRules, Reader, Row

MOST_MATCHES = 10
CARD_INTERACTIONS = 5
CARD_NOTE_CHARACTERS = 200
MOST_HITS = 1_000
MOST_CUSTOM_KEYS = 64
DIGITS_THAT_MAY_BE_A_NUMBER = 5
# Equal to no account number and no telephone number.
NOTHING = "-"


# ── who calls ─────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Found:
    """The customers that a caller may be, last spoken to first. ``how``: ``account``, ``number``, ``none``."""

    parties: tuple[int, ...]
    how: str


def _find_callers() -> Select[Any]:
    by_account = select(literal(0).label("rank"), party.c.id, party.c.merged_into).where(
        or_(party.c.account_number == bindparam("account"), party.c.account_digits == bindparam("account"))
    )
    by_number = (
        select(literal(1).label("rank"), party.c.id, party.c.merged_into)
        .select_from(
            phone.join(party_phone, party_phone.c.phone_id == phone.c.id).join(
                party, party.c.id == party_phone.c.party_id
            )
        )
        .where(phone.c.e164 == bindparam("e164"), party_phone.c.until.is_(None))
    )
    found = union_all(by_account, by_number).subquery("found")
    survivor = func.coalesce(found.c.merged_into, found.c.id)
    spoken_at = (
        select(func.coalesce(func.max(interaction.c.started_at), 0.0))
        .where(interaction.c.party_id == survivor)
        .scalar_subquery()
    )
    return (
        select(found.c.rank, survivor.label("party"))
        .order_by(found.c.rank, spoken_at.desc(), found.c.id)
        .limit(4 * MOST_MATCHES)
    )


_FIND_CALLERS = _find_callers()


async def some_numbers(connection: AsyncConnection, limit: int) -> list[str]:
    """A few customers' numbers (E.164), the same ones each time, for made-up callers to call from."""
    return list(await connection.scalars(select(phone.c.e164).order_by(phone.c.id).limit(limit)))


async def find_callers(connection: AsyncConnection, *, account: str, ani: str, default_region: str) -> Found:
    """The customers behind what a caller typed (``account``, tried first) or the number that they call from."""
    number = parse_number(ani, default_region)
    account = account.strip()
    if not account and not number.e164:
        return Found((), "none")
    rows = (
        await connection.execute(
            _FIND_CALLERS,
            {
                "account": account if fields.ACCOUNT.fullmatch(account) else NOTHING,
                "e164": number.e164 or NOTHING,
            },
        )
    ).all()
    if not rows:
        return Found((), "none")
    best = rows[0][0]
    parties = dict.fromkeys(row[1] for row in rows if row[0] == best)
    return Found(tuple(parties)[:MOST_MATCHES], "number" if best else "account")


# ── what is shown ─────────────────────────────────────────────────────────────────────────────────────────

_ORGANISATION = party.alias("organisation")
_BRIEF = (
    select(
        party.c.id,
        party.c.kind,
        party.c.name,
        party.c.tier,
        party.c.status,
        party.c.language,
        party.c.account_number,
        party.c.created_at,
        func.coalesce(agent.c.name, party.c.owner).label("owner"),
        select(_ORGANISATION.c.name)
        .select_from(party_link.join(_ORGANISATION, _ORGANISATION.c.id == party_link.c.organisation_id))
        .where(party_link.c.person_id == party.c.id, party_link.c.until.is_(None))
        .order_by(party_link.c.is_primary.desc(), party_link.c.id)
        .limit(1)
        .scalar_subquery()
        .label("company"),
        select(func.aggregate_strings(party_flag.c.flag, ","))
        .where(party_flag.c.party_id == party.c.id)
        .scalar_subquery()
        .label("flags"),
        select(func.aggregate_strings(case((party_phone.c.is_primary, "0"), else_="1") + phone.c.e164, ","))
        .select_from(party_phone.join(phone, phone.c.id == party_phone.c.phone_id))
        .where(party_phone.c.party_id == party.c.id, party_phone.c.until.is_(None))
        .scalar_subquery()
        .label("numbers"),
        select(email.c.address)
        .select_from(party_email.join(email, email.c.id == party_email.c.email_id))
        .where(party_email.c.party_id == party.c.id)
        .order_by(party_email.c.is_primary.desc(), party_email.c.email_id)
        .limit(1)
        .scalar_subquery()
        .label("email"),
    )
    .select_from(party.outerjoin(agent, agent.c.slug == party.c.owner))
    .where(party.c.id.in_(bindparam("parties", expanding=True)))
)

_SHOWN = (
    "id",
    "party_id",
    "started_at",
    "direction",
    "channel",
    "queue",
    "agent",
    "outcome",
    "disposition",
    "note",
    "wait_s",
    "talk_s",
    "ani_e164",
)


def _with_names(chosen: Any) -> Select[Any]:
    return (
        select(
            chosen,
            func.coalesce(queue.c.name, chosen.c.queue).label("queue_name"),
            func.coalesce(agent.c.name, chosen.c.agent).label("agent_name"),
            exists()
            .where(recording.c.interaction == chosen.c.id, recording.c.state.in_(("pending", "complete", "silent")))
            .label("has_recording"),
        )
        .select_from(
            chosen.outerjoin(queue, queue.c.slug == chosen.c.queue).outerjoin(agent, agent.c.slug == chosen.c.agent)
        )
        .order_by(chosen.c.started_at.desc(), chosen.c.id.desc())
    )


@lru_cache(maxsize=MOST_MATCHES + 1)
def _last_interactions(parties: int) -> Select[Any]:
    """The last few of each of so many parties: one short walk down an index for each, whatever their history."""
    columns = [interaction.c[name] for name in _SHOWN]
    each = [
        select(
            select(*columns)
            .where(interaction.c.party_id == bindparam(f"party{place}"), interaction.c.merged_into.is_(None))
            .order_by(interaction.c.started_at.desc())
            .limit(CARD_INTERACTIONS)
            .subquery()
        )
        for place in range(parties)
    ]
    return _with_names(union_all(*each).subquery("recent"))


def _date(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).date().isoformat()


def _split(joined: str | None) -> list[str]:
    return sorted(joined.split(",")) if joined else []


async def _briefs(connection: AsyncConnection, parties: Sequence[int]) -> dict[int, Row]:
    """party → what cards and search results begin with, unfiltered."""
    briefs: dict[int, Row] = {}
    for row in (await connection.execute(_BRIEF, {"parties": list(parties)})).mappings():
        briefs[row["id"]] = {
            "id": row["id"],
            "name": row["name"],
            "kind": row["kind"],
            "company": row["company"] or "",
            "tier": row["tier"],
            "status": row["status"],
            "language": row["language"],
            "flags": _split(row["flags"]),
            "owner": row["owner"],
            "account_number": row["account_number"] or "",
            "numbers": [number[1:] for number in _split(row["numbers"])],
            "email": row["email"] or "",
            "since": _date(row["created_at"]),
        }
    return briefs


async def cards(connection: AsyncConnection, reader: Reader, parties: Sequence[int], rules: FieldRules) -> list[Row]:
    """The ``customers`` of a pop for these parties, in their order; ``docs/desk-protocol.md`` has the shape.

    Two statements whatever the number of parties; at most the first ten are shown."""
    wanted = list(dict.fromkeys(parties))[:MOST_MATCHES]
    if not wanted:
        return []
    briefs = await _briefs(connection, wanted)
    recent = await connection.execute(
        _last_interactions(len(wanted)), {f"party{place}": one for place, one in enumerate(wanted)}
    )
    histories: dict[int, list[Row]] = {}
    for row in recent.mappings():
        seen = rules.visible(
            reader,
            "interaction",
            {
                "id": row["id"],
                "at": row["started_at"],
                "direction": row["direction"],
                "queue": row["queue_name"],
                "agent": row["agent_name"],
                "disposition": row["disposition"],
                "note": row["note"],
                "talk_s": round(row["talk_s"] or 0),
                "has_recording": bool(row["has_recording"]),
            },
        )
        if "note" in seen:
            seen["note"] = seen["note"][:CARD_NOTE_CHARACTERS]
        histories.setdefault(row["party_id"], []).append(seen)
    return [
        {**rules.visible(reader, "party", briefs[one]), "interactions": histories.get(one, [])}
        for one in wanted
        if one in briefs
    ]


_PANEL = (
    select(
        party_product.c.relation,
        product.c.code,
        product.c.name,
        product.c.summary,
        product.c.names,
        product.c.summaries,
    )
    .select_from(party_product.join(product, product.c.code == party_product.c.product_code))
    .where(party_product.c.party_id.in_(bindparam("parties", expanding=True)), party_product.c.until.is_(None))
    .union_all(
        select(
            literal("asks_about"),
            product.c.code,
            product.c.name,
            product.c.summary,
            product.c.names,
            product.c.summaries,
        ).where(product.c.code.in_(bindparam("codes", expanding=True)), product.c.is_active)
    )
)


async def product_panel(
    connection: AsyncConnection,
    reader: Reader,
    rules: FieldRules,
    parties: Sequence[int],
    product_codes: Sequence[str],
    *,
    language: str = "",
) -> list[Row]:
    """The ``products`` of a pop: what the caller asks about (``product_codes``, from the number dialled, the campaign
    or the IVR choice) first, then what they own. Names in ``language`` where there are any."""
    if not parties and not product_codes:
        return []
    rows = await connection.execute(
        _PANEL, {"parties": list(parties)[:MOST_MATCHES], "codes": [code for code in product_codes if code]}
    )
    panel: dict[str, Row] = {}
    for row in rows.mappings():
        known = panel.get(row["code"])
        if known and known["relation"] == "owns":
            continue
        panel[row["code"]] = {
            "code": row["code"],
            "name": row["names"].get(language) or row["name"],
            "relation": row["relation"],
            "summary": row["summaries"].get(language) or row["summary"],
        }
    asked = set(product_codes)
    in_order = sorted(panel.values(), key=lambda one: (one["code"] not in asked, one["relation"], one["code"]))
    return [rules.visible(reader, "product", one) for one in in_order]


# ── search ────────────────────────────────────────────────────────────────────────────────────────────────

_WORDS_SQLITE = text("SELECT rowid FROM party_search WHERE party_search MATCH :query ORDER BY rowid LIMIT :most")
_WORDS = text(
    "SELECT party_id FROM party_search WHERE words @@ CAST(CAST(:query AS text) AS tsquery) "
    "ORDER BY party_id LIMIT :most"
)
_PIECE_SQLITE = text(
    "SELECT party_id FROM phone_search JOIN party_phone ON phone_id = phone_search.rowid "
    "WHERE phone_search MATCH :query AND until IS NULL ORDER BY phone_search.rowid LIMIT :most"
)
_PIECE = text(
    "SELECT party_id FROM phone_search JOIN party_phone USING (phone_id) "
    "WHERE endings @@ CAST(CAST(:query AS text) AS tsquery) AND until IS NULL ORDER BY phone_id LIMIT :most"
)
_SAME_NAME = (
    select(party.c.id)
    .where(party.c.name_key == bindparam("key"), party.c.merged_into.is_(None))
    .order_by(party.c.id)
    .limit(MOST_HITS)
)
_SAME_ACCOUNT = select(party.c.id).where(
    or_(party.c.account_number == bindparam("account"), party.c.account_digits == bindparam("account"))
)
_STILL_THERE = select(party.c.id).where(
    party.c.id.in_(bindparam("parties", expanding=True)), party.c.merged_into.is_(None)
)
_SEARCHED = {"name": "name", "company": "company", "email": "email", "account": "account_number"}


async def search(
    connection: AsyncConnection, reader: Reader, rules: FieldRules, query: str, *, limit: int, offset: int
) -> list[Row]:
    """Customers by name, company, e-mail, account number or any three digits of a number: exact names and accounts
    first, then by id. A field that the reader may not see finds nothing. Looks at the first 1,000 hits of each kind."""
    query = query.strip()[:200]
    on_sqlite = is_sqlite(connection)
    may_find_numbers = rules.may_search(reader, "phone", "e164")
    searched = [name for name, stored in _SEARCHED.items() if rules.may_search(reader, "party", stored)]
    typed = digits(query)
    if not may_find_numbers and len(typed) >= DIGITS_THAT_MAY_BE_A_NUMBER:
        # A name or a mail address may be made of the number that this reader must not learn.
        searched = [name for name in searched if name == "account"]
    hits: dict[int, None] = {}
    if "account" in searched and fields.ACCOUNT.fullmatch(query):
        hits.update(dict.fromkeys(await connection.scalars(_SAME_ACCOUNT, {"account": query})))
    if "name" in searched and (key := name_key(query)):
        hits.update(dict.fromkeys(await connection.scalars(_SAME_NAME, {"key": key})))
    if words := search_index.words_query(query, searched, is_sqlite=on_sqlite):
        found = await connection.scalars(_WORDS_SQLITE if on_sqlite else _WORDS, {"query": words, "most": MOST_HITS})
        hits.update(dict.fromkeys(found))
    if may_find_numbers and not any(character.isalpha() for character in query):
        for piece in dict.fromkeys((typed, typed.lstrip("0"))):
            if search_index.FEWEST_DIGITS <= len(piece) <= 15:
                match = search_index.piece_query(piece, is_sqlite=on_sqlite)
                found = await connection.scalars(
                    _PIECE_SQLITE if on_sqlite else _PIECE, {"query": match, "most": MOST_HITS}
                )
                hits.update(dict.fromkeys(found))
    page = list(hits)[max(offset, 0) :][: max(limit, 0)]
    if not page:
        return []
    there = set(await connection.scalars(_STILL_THERE, {"parties": page}))
    briefs = await _briefs(connection, page)
    return [rules.visible(reader, "party", briefs[one]) for one in page if one in there]


# ── one customer ──────────────────────────────────────────────────────────────────────────────────────────


async def customer(connection: AsyncConnection, reader: Reader, rules: FieldRules, party_id: int) -> Row | None:
    """Everything on record about one customer: the fields of ``party`` and, as lists, ``numbers`` (with the ``id`` by
    which one dials without seeing it), ``emails``, ``addresses``, ``flags``, ``organisations``, ``people``,
    ``products``.
    A merged record leads to its survivor. None: there is no such customer."""
    row = (await connection.execute(select(party).where(party.c.id == party_id))).mappings().first()
    if row is None:
        return None
    if row["merged_into"] is not None:
        return await customer(connection, reader, rules, row["merged_into"])
    found = {name: value for name, value in row.items() if name not in {"name_key", "company_key", "account_digits"}}
    found["account_number"] = found["account_number"] or ""
    owner_name = await connection.scalar(select(agent.c.name).where(agent.c.slug == row["owner"]))
    found["owner_name"] = owner_name or row["owner"]

    async def rows(statement: Select[Any], kind: str) -> list[Row]:
        result = await connection.execute(statement)
        return [rules.visible(reader, kind, dict(one)) for one in result.mappings()]

    numbers = await rows(
        select(
            phone.c.id,
            phone.c.e164,
            phone.c.region,
            phone.c.line_type,
            phone.c.state,
            party_phone.c.label,
            party_phone.c.extension,
            party_phone.c.is_primary,
            party_phone.c.since,
        )
        .select_from(party_phone.join(phone, phone.c.id == party_phone.c.phone_id))
        .where(party_phone.c.party_id == party_id, party_phone.c.until.is_(None))
        .order_by(party_phone.c.is_primary.desc(), phone.c.id),
        "phone",
    )
    emails = await rows(
        select(email.c.id, email.c.address, email.c.state, party_email.c.label, party_email.c.is_primary)
        .select_from(party_email.join(email, email.c.id == party_email.c.email_id))
        .where(party_email.c.party_id == party_id)
        .order_by(party_email.c.is_primary.desc(), email.c.id),
        "email",
    )
    addresses = await rows(
        select(*(column for column in address.c if column.name != "party_id"))
        .where(address.c.party_id == party_id)
        .order_by(address.c.is_primary.desc(), address.c.id),
        "address",
    )

    def linked(mine: Any, other: Any) -> Select[Any]:
        return (
            select(party.c.id, party.c.name, party_link.c.role, party_link.c.is_primary, party_link.c.since)
            .select_from(party_link.join(party, party.c.id == other))
            .where(mine == party_id, party_link.c.until.is_(None))
            .order_by(party_link.c.is_primary.desc(), party.c.id)
            .limit(200)
        )

    organisations = await rows(linked(party_link.c.person_id, party_link.c.organisation_id), "party")
    people = await rows(linked(party_link.c.organisation_id, party_link.c.person_id), "party")
    products = await rows(
        select(product.c.code, product.c.name, party_product.c.relation, party_product.c.since)
        .select_from(party_product.join(product, product.c.code == party_product.c.product_code))
        .where(party_product.c.party_id == party_id, party_product.c.until.is_(None))
        .order_by(party_product.c.relation, product.c.code),
        "product",
    )
    flags = await connection.scalars(
        select(party_flag.c.flag).where(party_flag.c.party_id == party_id).order_by(party_flag.c.flag)
    )
    found["flags"] = list(flags)
    return {
        **rules.visible(reader, "party", found),
        "numbers": numbers,
        "emails": emails,
        "addresses": addresses,
        "organisations": organisations,
        "people": people,
        "products": products,
    }


async def timeline(
    connection: AsyncConnection,
    reader: Reader,
    rules: FieldRules,
    party_id: int,
    *,
    limit: int,
    before: float | None,
) -> list[Row]:
    """The contacts of a customer, an organisation's people included, newest first; ``before``: those that started
    earlier (the ``at`` of the last one seen)."""
    whose = union_all(
        select(literal(party_id, party.c.id.type)),
        select(party_link.c.person_id).where(party_link.c.organisation_id == party_id, party_link.c.until.is_(None)),
    )
    wanted: list[ColumnElement[bool]] = [interaction.c.party_id.in_(whose), interaction.c.merged_into.is_(None)]
    if before is not None:
        wanted.append(interaction.c.started_at < before)
    chosen = (
        select(*(interaction.c[name] for name in _SHOWN))
        .where(and_(*wanted))
        .order_by(interaction.c.started_at.desc())
        .limit(max(1, min(limit, 200)))
        .subquery("recent")
    )
    rows = await connection.execute(_with_names(chosen))
    return [
        rules.visible(
            reader,
            "interaction",
            {
                "id": row["id"],
                "party": row["party_id"],
                "at": row["started_at"],
                "channel": row["channel"],
                "direction": row["direction"],
                "queue": row["queue_name"],
                "agent": row["agent_name"],
                "outcome": row["outcome"],
                "disposition": row["disposition"],
                "note": row["note"],
                "wait_s": row["wait_s"],
                "talk_s": row["talk_s"],
                "ani_e164": row["ani_e164"],
                "has_recording": bool(row["has_recording"]),
            },
        )
        for row in rows.mappings()
    ]


# ── changes ───────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Changed:
    """A stored change, for the audit: the record's version now, and field → (before, after)."""

    version: int
    fields: dict[str, tuple[Any, Any]] = field(default_factory=dict)


_CODES = ("type", "status", "tier")
_BIRTHDAY = ("birthday_month", "birthday_day", "birthday_year")


def _checked(given: Mapping[str, Any]) -> Row:
    """The fields of ``party`` in ``given``, checked; ``flags`` and ``custom`` stay as they are."""
    row: Row = {}
    for name, value in given.items():
        if name == "name":
            row[name] = fields.text(name, value, longest=200, is_required=True)
        elif name in _CODES:
            row[name] = fields.slug(name, value, may_be_empty=name != "status")
        elif name == "owner":
            row[name] = fields.slug(name, value, may_be_empty=True)
        elif name == "language":
            row[name] = fields.language(name, value)
        elif name == "account_number":
            account = fields.matching(name, value, fields.ACCOUNT, may_be_empty=True)
            row[name] = account or None
            row["account_digits"] = digits(account)
        elif name in _BIRTHDAY:
            most = {"birthday_month": 12, "birthday_day": 31, "birthday_year": 2200}[name]
            least = 1850 if name == "birthday_year" else 1
            row[name] = None if value is None else fields.number(name, value, least=least, most=most)
        elif name == "ext_source":
            row[name] = None if value is None else fields.slug(name, value)
        elif name == "ext_id":
            row[name] = None if value is None else fields.text(name, value, longest=100, is_required=True)
        elif name == "flags":
            row[name] = sorted({fields.slug(name, one) for one in value})
        elif name == "custom":
            row[name] = _checked_custom(value)
        else:
            raise BadInput(name, "unknown_field")
    return row


def _checked_custom(value: Any) -> Row:
    if not isinstance(value, dict):
        raise BadInput("custom", "not_an_object")
    checked: Row = {}
    for key, item in value.items():
        where = f"custom.{key}"
        fields.slug(where, key)
        if isinstance(item, str):
            checked[key] = fields.text(where, item, longest=2_000, has_lines=True)
        elif item is None or isinstance(item, bool | int | float):
            checked[key] = item
        else:
            raise BadInput(where, "not_a_value")
    return checked


def _check_birthday(row: Mapping[str, Any]) -> None:
    month, day, year = (row.get(name) for name in _BIRTHDAY)
    if (month is None) != (day is None) or (year is not None and month is None):
        raise BadInput("birthday_day", "incomplete")
    # Without a year every day that some year has is a birthday.
    if month is not None and day is not None and day > calendar.monthrange(year or 2000, month)[1]:
        raise BadInput("birthday_day", "no_such_day")


def _written_fields(given: Mapping[str, Any]) -> list[str]:
    custom = given.get("custom")
    return [*given, *(f"custom.{key}" for key in (custom if isinstance(custom, dict) else ()))]


async def _check_account_is_free(connection: AsyncConnection, account: str | None, party_id: int | None) -> None:
    if account is None:
        return
    taken_by = await connection.scalar(select(party.c.id).where(party.c.account_number == account))
    if taken_by is not None and taken_by != party_id:
        raise BadInput("account_number", "taken")


async def _create(
    connection: AsyncConnection, reader: Reader, rules: FieldRules, kind: str, given: Mapping[str, Any], now: float
) -> int:
    rules.require_write(reader, "party", _written_fields(given))
    row = _checked({"name": "", **given})
    _check_birthday(row)
    await _check_account_is_free(connection, row.get("account_number"), None)
    flags = row.pop("flags", [])
    row["custom"] = {key: value for key, value in row.get("custom", {}).items() if value is not None}
    if len(row["custom"]) > MOST_CUSTOM_KEYS:
        raise BadInput("custom", "too_many")
    stored = await connection.execute(
        insert(party).returning(party.c.id),
        {
            **row,
            "kind": kind,
            "name_key": name_key(row["name"]),
            "company_key": company_key(row["name"]) if kind == "organisation" else "",
            "created_at": now,
            "updated_at": now,
        },
    )
    party_id = int(stored.scalar_one())
    if flags:
        await connection.execute(
            insert(party_flag), [{"party_id": party_id, "flag": one, "since": now} for one in flags]
        )
    await search_index.index_parties(connection, [party_id])
    return party_id


async def create_person(
    connection: AsyncConnection, reader: Reader, rules: FieldRules, given: Mapping[str, Any], *, now: float
) -> int:
    """Store a new person and return the id. ``given``: ``name`` and any of ``account_number``, ``type``, ``status``,
    ``tier``, ``language``, ``owner``, ``birthday_*``, ``flags``, ``custom``, ``ext_source``, ``ext_id``."""
    return await _create(connection, reader, rules, "person", given, now)


async def create_organisation(
    connection: AsyncConnection, reader: Reader, rules: FieldRules, given: Mapping[str, Any], *, now: float
) -> int:
    """Store a new organisation and return the id; ``given`` as for a person."""
    return await _create(connection, reader, rules, "organisation", given, now)


async def update(
    connection: AsyncConnection,
    reader: Reader,
    rules: FieldRules,
    party_id: int,
    given: Mapping[str, Any],
    *,
    version: int,
    now: float,
) -> Changed:
    """Change fields of a customer that is still at ``version``, or raise ``Conflict``. Of ``custom`` only the keys
    given change (None removes one), so that a reader who does not see a key cannot lose it."""
    rules.require_write(reader, "party", _written_fields(given))
    row = _checked(given)
    before = (await connection.execute(select(party).where(party.c.id == party_id))).mappings().first()
    if before is None or before["merged_into"] is not None:
        raise Missing("party", party_id)
    if before["version"] != version:
        raise Conflict("party", party_id, before["version"])
    _check_birthday({**before, **row})
    await _check_account_is_free(connection, row.get("account_number"), party_id)
    flags = row.pop("flags", None)
    if "custom" in row:
        merged = {**before["custom"], **row["custom"]}
        row["custom"] = {key: value for key, value in merged.items() if value is not None}
        if len(row["custom"]) > MOST_CUSTOM_KEYS:
            raise BadInput("custom", "too_many")
    changed = {name: (before[name], value) for name, value in row.items() if before[name] != value}
    changed.pop("account_digits", None)
    if "name" in row:
        row["name_key"] = name_key(row["name"])
        row["company_key"] = company_key(row["name"]) if before["kind"] == "organisation" else ""
    done = await connection.execute(
        update_rows(party)
        .where(party.c.id == party_id, party.c.version == version)
        .values(**row, version=version + 1, updated_at=now)
    )
    if done.rowcount != 1:
        raise Conflict("party", party_id, version + 1)
    if flags is not None:
        had = sorted(await connection.scalars(select(party_flag.c.flag).where(party_flag.c.party_id == party_id)))
        if had != flags:
            changed["flags"] = (had, flags)
            await connection.execute(
                delete(party_flag).where(party_flag.c.party_id == party_id, party_flag.c.flag.not_in(flags))
            )
            if new := [one for one in flags if one not in had]:
                await connection.execute(
                    insert(party_flag), [{"party_id": party_id, "flag": one, "since": now} for one in new]
                )
    if "name" in changed or "account_number" in changed:
        await search_index.index_parties(connection, [party_id])
    return Changed(version + 1, changed)


async def _require(connection: AsyncConnection, party_id: int, kind: str | None = None) -> None:
    found = await connection.scalar(select(party.c.kind).where(party.c.id == party_id, party.c.merged_into.is_(None)))
    if found is None or (kind is not None and found != kind):
        raise Missing(kind or "party", party_id)


async def link(
    connection: AsyncConnection,
    reader: Reader,
    rules: FieldRules,
    *,
    person: int,
    organisation: int,
    role: str = "",
    is_primary: bool = False,
    since: float | None = None,
) -> None:
    """A person belongs to an organisation; linking again changes ``is_primary`` and revives an ended link."""
    rules.require_write(reader, "party", ["company"])
    role = fields.slug("role", role, may_be_empty=True)
    await _require(connection, person, "person")
    await _require(connection, organisation, "organisation")
    if is_primary:
        await connection.execute(
            update_rows(party_link).where(party_link.c.person_id == person).values(is_primary=False)
        )
    await connection.execute(
        upsert(party_link, is_sqlite=is_sqlite(connection))
        .values(person_id=person, organisation_id=organisation, role=role, is_primary=is_primary, since=since)
        .on_conflict_do_update(
            index_elements=["person_id", "organisation_id", "role"], set_={"is_primary": is_primary, "until": None}
        )
    )
    await search_index.index_parties(connection, [person])


async def unlink(
    connection: AsyncConnection,
    reader: Reader,
    rules: FieldRules,
    *,
    person: int,
    organisation: int,
    until: float,
) -> None:
    """A person no longer belongs to an organisation; the link stays on record as ended."""
    rules.require_write(reader, "party", ["company"])
    await connection.execute(
        update_rows(party_link)
        .where(
            party_link.c.person_id == person,
            party_link.c.organisation_id == organisation,
            party_link.c.until.is_(None),
        )
        .values(until=until, is_primary=False)
    )
    await search_index.index_parties(connection, [person])


async def add_number(
    connection: AsyncConnection,
    reader: Reader,
    rules: FieldRules,
    party_id: int,
    raw: str,
    *,
    default_region: str,
    now: float,
    label: str = "",
    is_primary: bool = False,
) -> int:
    """Give a customer a number and return the number's id. The same number of several customers is stored once."""
    rules.require_write(reader, "phone", ["e164"])
    label = fields.text("label", label, longest=40)
    number = parse_number(raw, default_region)
    if number.state is not NumberState.E164:
        raise BadInput("number", f"is_{number.state}")
    await _require(connection, party_id)
    stored = await connection.execute(
        upsert(phone, is_sqlite=is_sqlite(connection))
        .values(e164=number.e164, region=number.region, line_type=number.line_type)
        .on_conflict_do_nothing(index_elements=["e164"])
    )
    phone_id = int((await connection.execute(select(phone.c.id).where(phone.c.e164 == number.e164))).scalar_one())
    if stored.rowcount == 1:
        await search_index.index_phones(connection, [(phone_id, digits(number.e164))])
    if is_primary:
        await connection.execute(
            update_rows(party_phone).where(party_phone.c.party_id == party_id).values(is_primary=False)
        )
    values = {"label": label, "extension": number.extension, "is_primary": is_primary, "since": now, "until": None}
    await connection.execute(
        upsert(party_phone, is_sqlite=is_sqlite(connection))
        .values(party_id=party_id, phone_id=phone_id, **values)
        .on_conflict_do_update(index_elements=["party_id", "phone_id"], set_=values)
    )
    await _touch(connection, party_id, now)
    return phone_id


async def end_number(
    connection: AsyncConnection, reader: Reader, rules: FieldRules, party_id: int, phone_id: int, *, now: float
) -> None:
    """A number is no longer this customer's; it stays on record as ended."""
    rules.require_write(reader, "phone", ["e164"])
    done = await connection.execute(
        update_rows(party_phone)
        .where(party_phone.c.party_id == party_id, party_phone.c.phone_id == phone_id, party_phone.c.until.is_(None))
        .values(until=now, is_primary=False)
    )
    if done.rowcount != 1:
        raise Missing("number", phone_id)
    await _touch(connection, party_id, now)


async def add_email(
    connection: AsyncConnection,
    reader: Reader,
    rules: FieldRules,
    party_id: int,
    raw: str,
    *,
    now: float,
    label: str = "",
    is_primary: bool = False,
) -> int:
    """Give a customer a mail address and return the address's id."""
    rules.require_write(reader, "party", ["email"])
    label = fields.text("label", label, longest=40)
    checked = fields.matching("email", raw.strip().lower(), fields.EMAIL)
    await _require(connection, party_id)
    await connection.execute(
        upsert(email, is_sqlite=is_sqlite(connection))
        .values(address=checked)
        .on_conflict_do_nothing(index_elements=["address"])
    )
    email_id = int((await connection.execute(select(email.c.id).where(email.c.address == checked))).scalar_one())
    if is_primary:
        await connection.execute(
            update_rows(party_email).where(party_email.c.party_id == party_id).values(is_primary=False)
        )
    values = {"label": label, "is_primary": is_primary}
    await connection.execute(
        upsert(party_email, is_sqlite=is_sqlite(connection))
        .values(party_id=party_id, email_id=email_id, **values)
        .on_conflict_do_update(index_elements=["party_id", "email_id"], set_=values)
    )
    await search_index.index_parties(connection, [party_id])
    await _touch(connection, party_id, now)
    return email_id


async def set_product(
    connection: AsyncConnection,
    reader: Reader,
    rules: FieldRules,
    party_id: int,
    code: str,
    relation: str,
    *,
    since: float,
    until: float | None = None,
) -> None:
    """A customer owns or asks about a product, from ``since`` and, if known, up to ``until``."""
    rules.require_write(reader, "product", ["relation"])
    fields.choice("relation", relation, ("owns", "asks_about"))
    await _require(connection, party_id)
    if await connection.scalar(select(product.c.code).where(product.c.code == code)) is None:
        raise Missing("product", code)
    values = {"since": since, "until": until}
    await connection.execute(
        upsert(party_product, is_sqlite=is_sqlite(connection))
        .values(party_id=party_id, product_code=code, relation=relation, **values)
        .on_conflict_do_update(index_elements=["party_id", "product_code", "relation"], set_=values)
    )


async def _touch(connection: AsyncConnection, party_id: int, now: float) -> None:
    await connection.execute(update_rows(party).where(party.c.id == party_id).values(updated_at=now))
