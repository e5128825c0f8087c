"""What routing may ask of a customer who calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crm_core import customers, interactions
from crm_core.access import FieldRules, Reader
from crm_core.caller_facts import WEEK_S, caller_facts
from crm_core.interactions import InteractionRow

if TYPE_CHECKING:
    from crm_core.database import Database

READER = Reader("sarah", "supervisor")
NOW = 1_800_000_000.0


async def test_who_the_customer_is_who_spoke_with_them_last_and_how_often_they_called(database: Database) -> None:
    async with database.begin() as connection:
        known = {"name": "李雷", "tier": "gold", "language": "zh-Hans", "owner": "li.wei"}
        party = await customers.create_person(connection, READER, FieldRules(), known, now=1.0)
        other = await customers.create_person(connection, READER, FieldRules(), {"name": "Ann"}, now=1.0)

        def call(number: int, ago_s: float, agent: str = "", direction: str = "inbound") -> InteractionRow:
            return InteractionRow(
                id=f"pbx1-{number}", direction=direction, started_at=NOW - ago_s, party_id=party, agent=agent
            )

        await interactions.write(
            connection,
            interactions=[
                call(1, WEEK_S + 60, "bo"),
                call(2, 5000, "ann"),
                call(3, 4000),
                call(4, 3000, direction="outbound"),
                call(5, 0, "dee"),
            ],
        )
        facts = await caller_facts(connection, party, interaction_id="pbx1-5", now=NOW)
        of_other = await caller_facts(connection, other, interaction_id="pbx1-6", now=NOW)
        of_nobody = await caller_facts(connection, 12345, interaction_id="pbx1-6", now=NOW)
    assert facts == {"tier": "gold", "language": "zh-Hans", "owner": "li.wei", "last_agent": "ann", "calls_7d": "3"}
    assert of_other == {"calls_7d": "1"}
    assert of_nobody == {}
