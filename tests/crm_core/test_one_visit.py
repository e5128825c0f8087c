"""One visit to a thread reads and writes what is read and written step by step, and can no more."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from crm_core.access import FieldRules, Reader
from crm_core.customers import add_number, cards, create_person, find_callers
from crm_core.one_visit import OneVisit, OneWritingVisit

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from crm_core.database import Database

NUMBER = "+8613800138000"
READER = Reader(user="seed", role="admin")


async def test_several_statements_read_the_same_as_step_by_step(database: Database) -> None:
    async with database.begin() as connection:
        party = await create_person(connection, READER, FieldRules(), {"name": "Li Wei"}, now=1.0)
        await add_number(connection, READER, FieldRules(), party, NUMBER, default_region="CN", now=1.0)

    async def reading(connection: AsyncConnection) -> list[dict[str, Any]]:
        found = await find_callers(connection, account="", ani=NUMBER, default_region="CN")
        return await cards(connection, READER, found.parties, FieldRules())

    visits = OneVisit(database)
    at_once = await visits.read(reading)
    async with database.read() as connection:
        assert at_once == await reading(connection)
    assert [card["name"] for card in at_once] == ["Li Wei"]
    visits.close()


async def test_what_was_committed_before_a_visit_is_seen_by_it(database: Database) -> None:
    visits = OneVisit(database)

    async def count(connection: AsyncConnection) -> int:
        return int(await connection.scalar(text("SELECT count(*) FROM party")) or 0)

    assert await visits.read(count) == 0
    async with database.begin() as connection:
        await create_person(connection, READER, FieldRules(), {"name": "Li Wei"}, now=1.0)
    assert await visits.read(count) == 1
    visits.close()


async def test_a_visit_cannot_write(database: Database) -> None:
    async def writing(connection: AsyncConnection) -> None:
        await connection.execute(text("DELETE FROM party"))

    visits = OneVisit(database)
    with pytest.raises(DBAPIError):
        await visits.read(writing)
    visits.close()


async def test_an_error_reaches_the_asker_and_the_next_visit_works(database: Database) -> None:
    async def broken(connection: AsyncConnection) -> None:
        await connection.execute(text("SELECT * FROM nothing"))

    async def working(connection: AsyncConnection) -> Any:
        return await connection.scalar(text("SELECT 1"))

    visits = OneVisit(database)
    for _ in range(5):
        with pytest.raises(DBAPIError):
            await visits.read(broken)
    assert await visits.read(working) == 1
    visits.close()


async def test_a_reading_that_waits_for_something_else_is_refused(database: Database) -> None:
    if not database.is_sqlite:
        return

    async def waiting(_connection: AsyncConnection) -> None:
        await asyncio.sleep(0)

    visits = OneVisit(database)
    with pytest.raises(TypeError):
        await visits.read(waiting)
    visits.close()


async def test_a_writing_visit_is_kept_whole_or_not_at_all(database: Database) -> None:
    async def writing(connection: AsyncConnection) -> int:
        return await create_person(connection, READER, FieldRules(), {"name": "Li Wei"}, now=1.0)

    async def broken(connection: AsyncConnection) -> None:
        await writing(connection)
        await connection.execute(text("DELETE FROM nothing"))

    visits = OneWritingVisit(database)
    with pytest.raises(DBAPIError):
        await visits.write(broken)
    party = await visits.write(writing)
    async with database.read() as connection:
        assert (await connection.execute(text("SELECT id FROM party"))).all() == [(party,)]
    visits.close()


async def test_writing_visits_and_other_writers_take_turns(database: Database) -> None:
    async def writing(connection: AsyncConnection) -> int:
        return await create_person(connection, READER, FieldRules(), {"name": "Li Wei"}, now=1.0)

    async def step_by_step() -> None:
        async with database.begin() as connection:
            await writing(connection)

    visits = OneWritingVisit(database)
    await asyncio.gather(*(visits.write(writing) for _ in range(5)), *(step_by_step() for _ in range(5)))
    async with database.read() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM party")) == 10
    visits.close()
