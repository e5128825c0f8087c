"""Looking callers up in a real database: who is found, what each role sees, and what happens when it is slow."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from crm_core import centre, customers, schema
from crm_core.access import FieldRules, Reader
from crm_core.database import Database
from crm_core.one_visit import OneVisit
from cti.commands import LookUpCaller, ShowPop
from cti.events import CallerLookedUp, Event, InteractionStarted, PlanChanged
from cti.ids import AgentId, InteractionId, LegId, PbxId, QueueId
from cti.routing.plan import AgentPlan, DnisRoute, Phone, PhoneKind, Plan, QueuePlan
from cti.screenpop.caller_lookup import MOST_WAITING, CallerLookup
from cti.screenpop.pop import Pops
from tests.screenpop.pages import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

CALL = InteractionId("pbx1-1.1")
ANNA, CARL = AgentId("anna"), AgentId("carl")
SHARED, OWN = "+8613800138000", "+8613900139000"
SOMEBODY = Reader(user="seed", role="administrator")


def plan(*blind: AgentId) -> Plan:
    agents = {
        name: AgentPlan(
            name, name.title(), Phone(PbxId("pbx1"), name, PhoneKind.BROWSER), may_see_numbers=name not in blind
        )
        for name in (ANNA, CARL)
    }
    sales = QueuePlan(QueueId("sales"), "Sales")
    return Plan({sales.id: sales}, agents, (DnisRoute("4001", sales.id, product="fiber-200"),), None)


@pytest_asyncio.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """Li Wei (account 000017, two numbers) and Wang Fang, who share a number; Carl may see no numbers."""
    opened = Database(f"sqlite+aiosqlite:///{tmp_path}/crm.db")
    await opened.open()
    rules = FieldRules()
    async with opened.begin() as connection:
        for name in (ANNA, CARL):
            await centre.put_agent(
                connection,
                centre.Agent(
                    slug=name,
                    name=name.title(),
                    pbx="pbx1",
                    endpoint=name,
                    phone_kind="browser",
                    may_see_numbers=name != CARL,
                ),
            )
        for code, name in (("fiber-200", "Fibre 200"), ("dsl", "DSL")):
            await centre.put_product(connection, centre.Product(code=code, name=name, names={"zh-Hans": f"{name}宽带"}))
        await centre.put_field_rule(
            connection, centre.FieldRule(role="trainee", object="party", field="account_number", access="none")
        )
        for name, account in (("Li Wei", "000017"), ("Wang Fang", "")):
            party = await customers.create_person(
                connection, SOMEBODY, rules, {"name": name, "account_number": account}, now=1.0
            )
            await customers.add_number(connection, SOMEBODY, rules, party, SHARED, default_region="CN", now=1.0)
        await customers.add_number(connection, SOMEBODY, rules, 1, OWN, default_region="CN", now=1.0)
        await customers.set_product(connection, SOMEBODY, rules, 1, "dsl", relation="owns", since=1.0)
        await connection.execute(
            schema.interaction.insert(),
            [
                {
                    "id": f"old-{number}",
                    "party_id": 1,
                    "direction": "inbound",
                    "started_at": float(number),
                    "note": f"call me at {OWN}",
                }
                for number in range(7)
            ],
        )
    yield opened
    await opened.close()


class Desk:
    """Pops and look-ups over one database; ``facts`` is what the core was told."""

    def __init__(
        self,
        database: Database,
        *,
        agent: AgentId = ANNA,
        role: str = "agent",
        language: str = "en",
        visits: OneVisit | None = None,
    ) -> None:
        self.agent, self.role, self.language = agent, role, language
        self.facts: list[Event] = []
        self.pops = Pops()
        self.lookup = CallerLookup(
            database, pops=self.pops, inbox=self.facts.append, clock=time.time, default_region="CN", visits=visits
        )
        self.pops.listen(PlanChanged(at=0.0, plan=plan(CARL)))

    async def sit_down(self) -> None:
        self.pops.meet(self.agent, self.role, self.language)
        await until(lambda: bool(self.pops.viewers))

    def look_up(self, *, ani: str = OWN, account: str = "", name: str = "", deadline_s: float = 60.0) -> None:
        self.pops.listen(
            InteractionStarted(
                at=1.0,
                interaction=CALL,
                direction="inbound",
                first_leg=LegId("pbx1/1.1"),
                ani=ani,
                ani_name=name,
                is_withheld=not ani,
                dnis="4001",
                account=account,
                choice="",
                language="",
            )
        )
        self.lookup.carry_out(
            LookUpCaller(interaction=CALL, account=account, ani=ani, dnis="4001", choice="", deadline_s=deadline_s)
        )

    async def answers(self, count: int = 1) -> list[tuple[tuple[int, ...], str]]:
        await until(lambda: len(self.facts) >= count)
        return [(fact.parties, fact.how) for fact in self.facts if isinstance(fact, CallerLookedUp)]

    def card(self) -> dict[str, Any]:
        card = self.pops.message(CALL, self.agent, self.role, self.language)
        assert card is not None
        return card

    def ring(self) -> None:
        self.pops.carry_out(ShowPop(interaction=CALL, agent=self.agent, until=None), now=2.0)


class Slow(OneVisit):
    """Reads that begin when they are allowed to, or fail."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure: Exception | None = None

    async def read(self, reading: Any) -> Any:
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return await super().read(reading)


async def test_routing_is_told_of_a_customer_who_is_known_for_sure_and_of_no_other(database: Database) -> None:
    desk = Desk(database)
    desk.look_up(ani=OWN)
    await desk.answers(1)
    desk.look_up(ani=SHARED)
    await desk.answers(2)
    known, shared = (fact for fact in desk.facts if isinstance(fact, CallerLookedUp))
    assert known.variables["calls_7d"] == "1"
    assert shared.variables == {}
    await desk.lookup.close()


@pytest.mark.parametrize(
    ("ani", "account", "parties", "how"),
    [
        (OWN, "", (1,), "number"),
        ("013900139000", "", (1,), "number"),
        (SHARED, "", (1, 2), "number"),
        (SHARED, "000017", (1,), "account"),
        ("", "000017", (1,), "account"),
        (OWN, "999999", (1,), "number"),
        ("+8613700137000", "", (), "none"),
        ("", "", (), "none"),
        ("+" * 5000, "", (), "none"),
        ("'; DROP TABLE party; --", "1' OR '1'='1", (), "none"),
    ],
)
async def test_callers_are_found_by_account_first_and_then_by_number(
    database: Database, ani: str, account: str, parties: tuple[int, ...], how: str
) -> None:
    desk = Desk(database)
    await desk.sit_down()
    desk.look_up(ani=ani, account=account)
    assert await desk.answers() == [(parties, how)]
    desk.ring()
    card = desk.card()
    assert [customer["id"] for customer in card["customers"]] == list(parties)
    assert card["match"] == {0: "none", 1: "one"}.get(len(parties), "many")
    await desk.lookup.close()


async def test_the_card_holds_the_last_five_contacts_and_what_is_owned_and_asked_about(database: Database) -> None:
    desk = Desk(database, language="zh-Hans")
    await desk.sit_down()
    desk.look_up()
    await desk.answers()
    desk.ring()
    card = desk.card()
    assert [each["id"] for each in card["customers"][0]["interactions"]] == [
        "old-6",
        "old-5",
        "old-4",
        "old-3",
        "old-2",
    ]
    assert [(each["code"], each["relation"], each["name"]) for each in card["products"]] == [
        ("fiber-200", "asks_about", "Fibre 200宽带"),
        ("dsl", "owns", "DSL宽带"),
    ]
    await desk.lookup.close()


async def test_the_product_panel_is_there_for_a_caller_whom_nobody_knows(database: Database) -> None:
    desk = Desk(database)
    await desk.sit_down()
    desk.look_up(ani="+8613700137000")
    await desk.answers()
    desk.ring()
    assert [each["code"] for each in desk.card()["products"]] == ["fiber-200"]
    await desk.lookup.close()


async def test_an_agent_who_may_not_see_numbers_finds_none_anywhere_in_the_card(database: Database) -> None:
    desk = Desk(database, agent=CARL)
    await desk.sit_down()
    desk.look_up(name=f"Li {OWN}", account="000017")
    await desk.answers()
    desk.ring()
    frame = json.dumps(desk.card(), ensure_ascii=False)
    assert desk.card()["customers"][0]["name"] == "Li Wei"
    for number in (OWN, SHARED):
        assert number[3:] not in frame
    await desk.lookup.close()


async def test_a_field_that_a_role_may_not_read_is_not_on_its_card(database: Database) -> None:
    desk = Desk(database, role="trainee")
    await desk.sit_down()
    desk.look_up(account="000017")
    await desk.answers()
    desk.ring()
    assert "000017" not in json.dumps(desk.card())
    assert "account" not in desk.card()
    assert desk.card()["caller"]["number"] == OWN
    await desk.lookup.close()


async def test_a_role_that_sits_down_after_the_look_up_gets_its_card_when_it_rings(database: Database) -> None:
    desk = Desk(database)
    desk.look_up()
    await desk.answers()
    await desk.sit_down()
    desk.ring()
    assert desk.card()["match"] == "pending"
    await until(lambda: desk.card()["match"] == "one")
    assert desk.card()["customers"][0]["id"] == 1
    await desk.lookup.close()


async def test_a_slow_look_up_is_reported_as_failed_and_its_late_answer_improves_the_card(database: Database) -> None:
    slow = Slow(database)
    desk = Desk(database, visits=slow)
    await desk.sit_down()
    slow.gate.clear()
    desk.look_up(deadline_s=0.02)
    desk.ring()
    assert await desk.answers() == [((), "failed")]
    desk.pops.listen(desk.facts[0])
    assert desk.card()["match"] == "failed"
    slow.gate.set()
    assert await desk.answers(2) == [((), "failed"), ((1,), "number")]
    assert desk.card()["match"] == "one"
    await desk.lookup.close()


@pytest.mark.parametrize("failure", [OSError("away"), TimeoutError()])
async def test_a_look_up_that_fails_is_reported_once_and_the_next_one_works(
    database: Database, failure: Exception
) -> None:
    slow = Slow(database)
    desk = Desk(database, visits=slow)
    await desk.sit_down()
    slow.failure = failure
    desk.look_up()
    assert await desk.answers() == [((), "failed")]
    slow.failure = None
    desk.look_up()
    assert await desk.answers(2) == [((), "failed"), ((1,), "number")]
    await desk.lookup.close()


async def test_a_broken_database_does_not_pile_up_look_ups(database: Database) -> None:
    slow = Slow(database)
    desk = Desk(database, visits=slow)
    slow.gate.clear()
    for _ in range(MOST_WAITING + 10):
        desk.look_up()
    assert await desk.answers() == [((), "failed")] * 10
    await desk.lookup.close()
