"""Very many customers at once, for measuring. Goes past the layers above it and straight to the driver: SQLite's own
module in a thread, PostgreSQL's ``COPY``.

Customer number ``place`` (0, 1, 2 …) has the telephone number ``number_of(place)`` and the account ``B-<place>``.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from crm_core import search_index
from crm_core.made_up_names import somebody
from crm_core.names import name_key
from crm_core.schema import email, party, phone, product

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from crm_core.database import Database

CHUNK = 20_000
MOST = 100_000_000
DAY_S = 86_400.0
_PRODUCT = ("bulk-line", "Line", "One telephone line.")
_NOTES = (
    "Router restarted, line stable again.",
    "Explained the pro-rata amount on the first bill.",
    "重启路由器后恢复正常。",
    "补发了上月账单。",
)

_COLUMNS: dict[str, tuple[str, ...]] = {
    "party": (
        "id",
        "kind",
        "name",
        "name_key",
        "account_number",
        "account_digits",
        "tier",
        "language",
        "ext_source",
        "ext_id",
        "created_at",
        "updated_at",
    ),
    "phone": ("id", "e164", "region", "line_type"),
    "party_phone": ("party_id", "phone_id", "label", "is_primary", "since"),
    "party_product": ("party_id", "product_code", "relation", "since"),
    "party_flag": ("party_id", "flag", "since"),
    "email": ("id", "address"),
    "party_email": ("party_id", "email_id", "is_primary"),
    "interaction": (
        "id",
        "party_id",
        "direction",
        "queue",
        "agent",
        "ani_e164",
        "started_at",
        "ended_at",
        "wait_s",
        "talk_s",
        "outcome",
        "disposition",
        "note",
    ),
}


def number_of(place: int) -> str:
    """The telephone number of customer number ``place``."""
    return f"+86199{place:08d}"


def _chunk(
    places: range, first: dict[str, int], callers: int, now: float, rng: random.Random
) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of some customers, table by table, in the order of ``_COLUMNS``."""
    rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in _COLUMNS}
    for place in places:
        one = first["party"] + place
        number = number_of(place)
        name = somebody(rng, is_chinese=rng.random() < 0.6)
        created_at = now - rng.random() * 1_500 * DAY_S
        account = f"B-{place}"
        tier = ("", "", "bronze", "silver", "gold")[place % 5]
        language = "en" if name.isascii() else "zh"
        rows["party"].append(
            (
                *(one, "person", name, name_key(name), account, str(place), tier, language),
                *("bulk", str(place), created_at, created_at),
            )
        )
        rows["phone"].append((first["phone"] + place, number, "CN", "mobile"))
        rows["party_phone"].append((one, first["phone"] + place, "mobile", True, created_at))
        rows["party_product"].append((one, _PRODUCT[0], "owns", created_at))
        if place >= callers:
            continue
        rows["email"].append((first["email"] + place, f"bulk{place}@mail.example"))
        rows["party_email"].append((one, first["email"] + place, True))
        if place % 10 == 0:
            rows["party_flag"].append((one, "vip", created_at))
        for call in range(5 + (place & 1)):
            started_at = now - (call + rng.random()) * 20 * DAY_S
            rows["interaction"].append(
                (
                    *(f"bulk-{place}.{call}", one, "inbound", "sales", "li.wei", number, started_at),
                    *(started_at + 200, 8.0, 180.0, "answered", "resolved", _NOTES[(place + call) % len(_NOTES)]),
                )
            )
    return rows


def _chunks(
    count: int, first: dict[str, int], callers: int, now: float, rng: random.Random
) -> Iterator[dict[str, list[tuple[Any, ...]]]]:
    for start in range(0, count, CHUNK):
        yield _chunk(range(start, min(start + CHUNK, count)), first, callers, now, rng)


async def seed_many(
    database: Database,
    count: int,
    *,
    now: float | None = None,
    rng: random.Random | None = None,
    callers: int | None = None,
) -> None:
    """Add ``count`` customers, each with a number and a product; the first ``callers`` of them (all, if None; at most
    200,000 then) also with a mail address and five or six interactions. Meant for a database without other writers, and
    once only. A million takes minutes. ``now`` None: the clock's; ``rng`` None: the same customers each time."""
    now = time.time() if now is None else now
    rng = rng or random.Random(1)  # noqa: S311 - names, not secrets
    if not 0 < count <= MOST:
        raise ValueError(f"count: {count}")
    with_history = min(count, 200_000) if callers is None else min(callers, count)
    async with database.begin() as connection:
        first = {
            table.name: int(await connection.scalar(select(func.coalesce(func.max(table.c.id), 0))) or 0) + 1
            for table in (party, phone, email)
        }
        if await connection.scalar(select(product.c.code).where(product.c.code == _PRODUCT[0])) is None:
            await connection.execute(product.insert(), dict(zip(("code", "name", "summary"), _PRODUCT, strict=True)))
    if database.is_sqlite:
        path = str(database.url.database)
        await asyncio.to_thread(_fill_sqlite, path, count, first, with_history, now, rng)
    else:
        await _fill_postgresql(database, count, first, with_history, now, rng)


def _texts(rows: dict[str, list[tuple[Any, ...]]], *, callers: int) -> Iterator[tuple[int, str, str, str]]:
    """(party, name, e-mail, account) of a chunk."""
    for row in rows["party"]:
        place = int(row[9])
        yield row[0], row[2], f"bulk{place}@mail.example" if place < callers else "", row[4]


def _fill_sqlite(path: str, count: int, first: dict[str, int], callers: int, now: float, rng: random.Random) -> None:
    inserts = {
        name: f"INSERT INTO {name} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608
        for name, columns in _COLUMNS.items()
    }
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for pragma in ("synchronous=OFF", "cache_size=-524288", "temp_store=MEMORY", "busy_timeout=60000"):
            connection.execute(f"PRAGMA {pragma}")
        for rows in _chunks(count, first, callers, now, rng):
            connection.execute("BEGIN IMMEDIATE")
            for name, statement in inserts.items():
                connection.executemany(statement, rows[name])
            connection.executemany(
                "INSERT INTO party_search (rowid, name, company, email, account) VALUES (?, ?, '', ?, ?)",
                (
                    (one, *(" ".join(search_index.tokens(text)) for text in (name, address, account)))
                    for one, name, address, account in _texts(rows, callers=callers)
                ),
            )
            connection.executemany(
                "INSERT INTO phone_search (rowid, digits) VALUES (?, ?)",
                ((row[0], row[1][1:]) for row in rows["phone"]),
            )
            connection.execute("COMMIT")
        connection.execute("ANALYZE")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


async def _fill_postgresql(
    database: Database, count: int, first: dict[str, int], callers: int, now: float, rng: random.Random
) -> None:
    async def copy(driver: Any, table: str, records: Sequence[tuple[Any, ...]], columns: tuple[str, ...]) -> None:
        await driver.copy_records_to_table(table, records=records, columns=columns)

    # Building these at the end is many times faster than keeping them up to date.
    indexes = (("party_search", "words"), ("phone_search", "endings"))
    async with database.begin() as connection:
        for name, column in indexes:
            await connection.exec_driver_sql(f"DROP INDEX ix_{name}_{column}")
    for rows in _chunks(count, first, callers, now, rng):
        async with database.begin() as connection:
            driver = (await connection.get_raw_connection()).driver_connection
            for name, columns in _COLUMNS.items():
                await copy(driver, name, rows[name], columns)
            await connection.exec_driver_sql("CREATE TEMP TABLE words (one bigint, words text) ON COMMIT DROP")
            words = [
                (one, search_index.words_vector((name, "", address, account)))
                for one, name, address, account in _texts(rows, callers=callers)
            ]
            await copy(driver, "words", words, ("one", "words"))
            await connection.exec_driver_sql(
                "INSERT INTO party_search (party_id, words) SELECT one, words::tsvector FROM words"
            )
            await connection.exec_driver_sql("TRUNCATE words")
            await copy(
                driver, "words", [(row[0], search_index.endings(row[1][1:])) for row in rows["phone"]], ("one", "words")
            )
            await connection.exec_driver_sql(
                "INSERT INTO phone_search (phone_id, endings) SELECT one, words::tsvector FROM words"
            )
    async with database.begin() as connection:
        for table in (party, phone, email):
            await connection.execute(
                select(
                    func.setval(
                        func.pg_get_serial_sequence(table.name, "id"),
                        select(func.coalesce(func.max(table.c.id), 1)).scalar_subquery(),
                    )
                )
            )
        for name, column in indexes:
            await connection.exec_driver_sql(f"CREATE INDEX ix_{name}_{column} ON {name} USING gin ({column})")
        for name in _COLUMNS:
            await connection.exec_driver_sql(f"ANALYZE {name}")
