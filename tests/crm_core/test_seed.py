from __future__ import annotations

import random
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from crm_core import centre, configuring, customers, seed, users
from crm_core.access import FieldRules, Reader
from crm_core.schema import interaction, metadata, party
from cti.plans import faults
from cti.routing.expression import parse

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from crm_core.database import Database

NOW = 1_795_315_200.0
READER = Reader("sarah", "supervisor")
RULES = FieldRules()
PASSWORDS = {"li.wei": "a password of mine", "supervisor": "another password"}


async def counts(connection: AsyncConnection) -> dict[str, int | None]:
    return {
        name: await connection.scalar(select(func.count()).select_from(table))
        for name, table in metadata.tables.items()
    }


async def test_the_small_company_is_whole_and_a_second_call_changes_nothing(database: Database) -> None:
    assert await seed.seed_demo(database, now=NOW, rng=random.Random(1), passwords=PASSWORDS)
    async with database.read() as connection:
        before = await counts(connection)
        loaded = await centre.load_centre(connection)
        assert [len(loaded.queues), len(loaded.agents), len(loaded.routes)] == [3, 9, 4]
        assert {one.phone_kind for one in loaded.agents if one.endpoint in {"agent1", "agent2"}} == {"browser"}
        assert loaded.default_queue == "sales"
        assert [*configuring.references(loaded), *faults(loaded)] == []
        for queue in loaded.queues:
            qualified = [
                one
                for one in loaded.agents
                if queue.slug in one.queues and parse(queue.steps[0].text).meets(one.skills, {})
            ]
            assert len(qualified) >= 3, queue.slug
        assert before["party"] == 500
        assert before["app_user"] == 2
        per_customer = (
            select(func.count().label("calls")).select_from(interaction).group_by(interaction.c.party_id).subquery()
        )
        assert (
            await connection.execute(
                select(func.min(per_customer.c.calls), func.max(per_customer.c.calls), func.count())
            )
        ).one() == (2, 12, 500)
        assert not await connection.scalar(
            select(func.count()).select_from(interaction).where(interaction.c.started_at > NOW)
        )
        assert {(await users.find_user(connection, name)) is not None for name in PASSWORDS} == {True}
    assert not await seed.seed_demo(database, now=NOW + 9, rng=random.Random(2), passwords=PASSWORDS)
    async with database.read() as connection:
        assert await counts(connection) == before
    await its_customers_are_found_when_they_call(database)


async def its_customers_are_found_when_they_call(database: Database) -> None:
    async with database.read() as connection:
        for number in await customers.some_numbers(connection, 40):
            found = await customers.find_callers(connection, account="", ani=number, default_region="CN")
            assert found.how == "number", number
            shown = await customers.cards(connection, READER, found.parties, RULES)
            assert all(len(card["interactions"]) >= 2 for card in shown)
        shared = await customers.find_callers(connection, account="", ani=seed.SHARED_NUMBER, default_region="CN")
        assert len(shared.parties) == 2
        typed = await customers.find_callers(connection, account="100001", ani="", default_region="CN")
        assert typed.how == "account"
        assert await customers.search(connection, READER, RULES, "北京远航", limit=5, offset=0)


async def test_bulk_customers_are_like_any_other_and_new_ones_can_follow(database: Database) -> None:
    async with database.begin() as connection:
        await customers.create_person(connection, READER, RULES, {"name": "First"}, now=NOW)
    await seed.seed_many(database, 300, now=NOW, rng=random.Random(1), callers=50)
    async with database.begin() as connection:
        assert await connection.scalar(select(func.count()).select_from(party)) == 301
        found = await customers.find_callers(connection, account="", ani=seed.number_of(7), default_region="CN")
        (card,) = await customers.cards(connection, READER, found.parties, RULES)
        assert len(card["interactions"]) == 5
        assert card["email"] == "bulk7@mail.example"
        for query in (seed.number_of(7)[-6:], card["name"], "bulk7@mail.example", "B-7"):
            hits = await customers.search(connection, READER, RULES, query, limit=50, offset=0)
            assert card["id"] in [hit["id"] for hit in hits], query
        panel = await customers.product_panel(connection, READER, RULES, found.parties, [])
        assert [one["code"] for one in panel] == ["bulk-line"]
        made = await customers.create_person(connection, READER, RULES, {"name": "Next"}, now=NOW)
        await customers.add_number(connection, READER, RULES, made, "13800138000", default_region="CN", now=NOW)
