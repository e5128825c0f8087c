"""Finding customers by words and by pieces of numbers, the same on both databases and with no extension of either.

A text becomes tokens here, not in the database: Latin words and digits as they are, Chinese and Japanese characters one
by one. SQLite keeps them in FTS5, PostgreSQL in a ``tsvector``; on both a word of the query is a phrase of its tokens,
its last Latin token a beginning. The fields stay apart (columns of FTS5, weights of the ``tsvector``), so that a search
never touches a field that the reader may not see.

Pieces of numbers: SQLite has its trigram index; for PostgreSQL every ending of a number is a word, and a piece is the
beginning of one of them.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, func, select, text

from crm_core.schema import email, party, party_email, party_link

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

FIELDS = ("name", "company", "email", "account")
FEWEST_DIGITS = 3
_WEIGHTS = dict(zip(FIELDS, "ABCD", strict=True))
_LONGEST_TOKEN = 64
_MOST_TOKENS = 100
_MOST_WORDS = 8
_TOKEN = re.compile(
    "[\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
    "|[^\\W_\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+"
)


def folded(value: str) -> str:
    """Compatibility forms, case and accents taken away."""
    plain = unicodedata.normalize("NFD", unicodedata.normalize("NFKC", value).casefold())
    return unicodedata.normalize("NFC", "".join(part for part in plain if unicodedata.category(part) != "Mn"))


def tokens(value: str) -> list[str]:
    """The words of a text; each Chinese or Japanese character is one."""
    return [token[:_LONGEST_TOKEN] for token in _TOKEN.findall(folded(value))[:_MOST_TOKENS]]


def _phrases(query: str) -> list[list[str]]:
    return [phrase for word in query.split()[:_MOST_WORDS] if (phrase := tokens(word))]


def words_query(query: str, fields: Sequence[str], *, is_sqlite: bool) -> str | None:
    """The match expression for ``query`` in ``fields``, or None if there is nothing to look for."""
    phrases = _phrases(query)
    if not phrases or not fields:
        return None
    if is_sqlite:
        parts = []
        for phrase in phrases:
            star = " *" if phrase[-1].isascii() else ""
            parts.append(f'"{" ".join(phrase)}"{star}')
        return f"{{{' '.join(fields)}}} : ({' AND '.join(parts)})"
    weights = "".join(_WEIGHTS[field] for field in fields)
    return " & ".join(
        "("
        + " <-> ".join(
            f"'{token}':{'*' if place == len(phrase) - 1 and token.isascii() else ''}{weights}"
            for place, token in enumerate(phrase)
        )
        + ")"
        for phrase in phrases
    )


def words_vector(values: Sequence[str]) -> str:
    """The ``tsvector`` literal of the texts of ``FIELDS``; a gap keeps phrases from crossing fields."""
    parts = []
    place = 1
    for field, value in zip(FIELDS, values, strict=True):
        for token in tokens(value):
            parts.append(f"'{token}':{place}{_WEIGHTS[field]}")
            place += 1
        place += 10
    return " ".join(parts)


def endings(digits: str) -> str:
    """The ``tsvector`` literal of all endings of a number."""
    return " ".join(f"'{digits[start:]}'" for start in range(len(digits) - FEWEST_DIGITS + 1))


def piece_query(digits: str, *, is_sqlite: bool) -> str:
    """The match expression for numbers that contain ``digits`` (three or more)."""
    return f'"{digits}"' if is_sqlite else f"'{digits}':*"


_ORGANISATION = party.alias("organisation")
_TEXTS = (
    select(
        party.c.id,
        party.c.name,
        func.coalesce(party.c.account_number, "").label("account"),
        select(func.aggregate_strings(_ORGANISATION.c.name, "\n"))
        .select_from(party_link.join(_ORGANISATION, _ORGANISATION.c.id == party_link.c.organisation_id))
        .where(party_link.c.person_id == party.c.id, party_link.c.until.is_(None))
        .scalar_subquery()
        .label("company"),
        select(func.aggregate_strings(email.c.address, "\n"))
        .select_from(party_email.join(email, email.c.id == party_email.c.email_id))
        .where(party_email.c.party_id == party.c.id)
        .scalar_subquery()
        .label("email"),
    )
    .where(party.c.id.in_(bindparam("parties", expanding=True)), party.c.merged_into.is_(None))
    .order_by(party.c.id)
)
_FORGET_SQLITE = text("DELETE FROM party_search WHERE rowid = :party")
_FORGET = text("DELETE FROM party_search WHERE party_id = :party")
_LEARN_SQLITE = text(
    "INSERT INTO party_search (rowid, name, company, email, account) VALUES (:party, :name, :company, :email, :account)"
)
_LEARN = text("INSERT INTO party_search (party_id, words) VALUES (:party, CAST(CAST(:words AS text) AS tsvector))")


async def index_parties(connection: AsyncConnection, parties: Iterable[int]) -> None:
    """Bring the index up to date for these customers and, for organisations, the people in them."""
    named = sorted(set(parties))
    members = await connection.scalars(
        select(party_link.c.person_id).where(party_link.c.organisation_id.in_(named), party_link.c.until.is_(None))
    )
    wanted = sorted({*named, *members})
    if not wanted:
        return
    is_sqlite = connection.dialect.name == "sqlite"
    rows = (await connection.execute(_TEXTS, {"parties": wanted})).all()
    await connection.execute(_FORGET_SQLITE if is_sqlite else _FORGET, [{"party": one} for one in wanted])
    texts = [(row.id, (row.name, row.company or "", row.email or "", row.account)) for row in rows]
    if not texts:
        return
    if is_sqlite:
        await connection.execute(
            _LEARN_SQLITE,
            [
                {
                    "party": one,
                    **{field: " ".join(tokens(value)) for field, value in zip(FIELDS, values, strict=True)},
                }
                for one, values in texts
            ],
        )
    else:
        await connection.execute(_LEARN, [{"party": one, "words": words_vector(values)} for one, values in texts])


async def index_phones(connection: AsyncConnection, numbers: Sequence[tuple[int, str]]) -> None:
    """Make new numbers findable by any piece of them: (phone, digits)."""
    if connection.dialect.name == "sqlite":
        await connection.execute(
            text("INSERT INTO phone_search (rowid, digits) VALUES (:phone, :digits)"),
            [{"phone": phone, "digits": digits} for phone, digits in numbers],
        )
    else:
        await connection.execute(
            text(
                "INSERT INTO phone_search (phone_id, endings) VALUES (:phone, CAST(CAST(:endings AS text) AS tsvector))"
            ),
            [{"phone": phone, "endings": endings(digits)} for phone, digits in numbers],
        )
