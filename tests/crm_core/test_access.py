"""A field that a role may not read is nowhere in what the CRM core gives out."""

from __future__ import annotations

import inspect
import json
from typing import TYPE_CHECKING, Any

import pytest

from crm_core import audit, centre, customers, interactions, recordings
from crm_core.access import Access, FieldRules, Reader, mask_email, mask_number, without_numbers
from crm_core.errors import Refused
from tests.crm_core.test_customers import NOW, RULES, furnished
from tests.crm_core.test_customers import READER as WHOLE

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from crm_core.database import Database

SECRETS = {
    ("phone", "e164"): ("13800138000", "2163810000", "138 0013 8000"),
    ("party", "email"): ("san.feng", "example.com"),
    ("interaction", "note"): ("note 0", "secret note"),
    ("party", "account_number"): ("100017",),
    ("party", "name"): ("三丰", "华为"),
    ("party", "custom.shoe-size"): ("shoe-size",),
}
READING = {
    "customers": {"cards", "product_panel", "search", "customer", "timeline"},
    "interactions": {"get"},
    "recordings": {"of_interaction"},
    "audit": {"recent"},
}


async def told(connection: AsyncConnection, reader: Reader, rules: FieldRules, made: int, company: int) -> str:
    """The whole output of every reading function, as one text."""
    everything: list[Any] = []
    for whose in (made, company):
        everything.append(await customers.cards(connection, reader, [whose], rules))
        everything.append(await customers.product_panel(connection, reader, rules, [whose], ["tv"]))
        everything.append(await customers.customer(connection, reader, rules, whose))
        everything.append(await customers.timeline(connection, reader, rules, whose, limit=50, before=None))
    for query in ("张三丰", "C-100017", "13800138000", "fiber", "san", "h"):
        everything.append(await customers.search(connection, reader, rules, query, limit=50, offset=0))
    for call in ("pbx1-0", "pbx1-call"):
        everything.append(await interactions.get(connection, reader, rules, call))
        everything.append(await recordings.of_interaction(connection, reader, rules, call))
    everything.append(await audit.recent(connection, reader, rules, limit=50))
    return json.dumps(everything, ensure_ascii=False)


async def prepared(database: Database) -> tuple[int, int]:
    async with database.begin() as connection:
        made, company = await furnished(connection)
        await interactions.write(
            connection,
            interactions=[
                interactions.InteractionRow(
                    id="pbx1-call",
                    direction="inbound",
                    started_at=NOW + 1,
                    party_id=made,
                    ani_e164="+8613800138000",
                    ani_raw="13800138000",
                    ani_name="138 0013 8000",
                    account="100017",
                    note="secret note: call back on 138 0013 8000 at six",
                )
            ],
            legs=[
                interactions.LegRow(
                    id="pbx1/1", interaction="pbx1-call", role="customer", number="13800138000", started_at=NOW
                )
            ],
            recordings=[interactions.RecordingRow(file="b.wav", interaction="pbx1-call", started_at=NOW)],
        )
        for kind, detail in {
            "party": {
                "name": ["A", "张三丰"],
                "email": ["", "san.feng@example.com"],
                "account_number": ["", "C-100017"],
                "custom": {"shoe-size": 43},
            },
            "phone": {"e164": ["", "+8613800138000"]},
            "interaction": {"note": ["", "secret note"]},
        }.items():
            await audit.write(
                connection,
                at=NOW,
                user="sarah",
                action="update",
                object=kind,
                object_id="1",
                detail=detail,
                ip="127.0.0.1",
                session="",
            )
    return made, company


@pytest.mark.parametrize("access", ["none", "mask"])
@pytest.mark.parametrize("hidden", SECRETS, ids=".".join)
async def test_a_hidden_field_is_in_no_output(database: Database, hidden: tuple[str, str], access: str) -> None:
    made, company = await prepared(database)
    reader = Reader("li", "agent")
    rules = FieldRules([("agent", *hidden, access)])
    async with database.read() as connection:
        open_text = await told(connection, reader, RULES, made, company)
        shown = await told(connection, reader, rules, made, company)
    if access == "mask" and hidden == ("party", "custom.shoe-size"):
        assert "43" not in shown  # the key may show, the value may not
        return
    assert any(secret in open_text for secret in SECRETS[hidden])
    assert [secret for secret in SECRETS[hidden] if secret in shown] == []


def test_every_reading_function_is_walked() -> None:
    for module in (customers, interactions, recordings, audit):
        name = module.__name__.rpartition(".")[2]
        takes_reader = {
            function_name
            for function_name, function in inspect.getmembers(module, inspect.iscoroutinefunction)
            if function.__module__ == module.__name__
            and not function_name.startswith("_")
            and "reader" in inspect.signature(function).parameters
            and "now" not in inspect.signature(function).parameters
        }
        changing = {"link", "unlink", "set_product"}
        assert takes_reader - changing == READING[name]


@pytest.mark.parametrize(
    ("hidden", "queries"),
    [
        (("phone", "e164"), ("13800138000", "8000", "138 0013", "+86 138")),
        (("party", "email"), ("san.feng@example.com", "feng", "example")),
        (("party", "account_number"), ("C-100017", "100017", "10001")),
        (("party", "name"), ("张三丰", "三丰", "丰", "华为")),
    ],
)
@pytest.mark.parametrize("access", ["none", "mask"])
async def test_nobody_finds_a_customer_by_a_field_that_they_may_not_read(
    database: Database, hidden: tuple[str, str], queries: tuple[str, ...], access: str
) -> None:
    await prepared(database)
    rules = FieldRules([("agent", *hidden, access)])
    async with database.read() as connection:
        for query in queries:
            assert await customers.search(connection, WHOLE, rules, query, limit=9, offset=0), query
            found = await customers.search(connection, Reader("li", "agent"), rules, query, limit=9, offset=0)
            assert found == [], query


async def test_rules_are_stored_loaded_and_lifted(database: Database) -> None:
    hidden = centre.FieldRule(role="agent", object="phone", field="e164", access="none")
    lifted = centre.FieldRule(role="agent", object="phone", field="e164", access="write")
    reader = Reader("li", "agent")
    async with database.begin() as connection:
        await centre.put_field_rule(connection, hidden)
        assert (await FieldRules.load(connection)).access(reader, "phone", "e164") is Access.NONE
        await centre.put_field_rule(connection, lifted)
        assert (await FieldRules.load(connection)).access(reader, "phone", "e164") is Access.WRITE


async def test_an_agent_who_may_not_see_numbers_sees_none_whatever_the_role(database: Database) -> None:
    made, company = await prepared(database)
    blind = centre.Agent(
        slug="blind", name="B", pbx="pbx1", endpoint="agent9", phone_kind="desk", may_see_numbers=False
    )
    async with database.begin() as connection:
        await centre.put_agent(connection, blind)
        rules = await FieldRules.load(connection)
        shown = await told(connection, Reader("b", "supervisor", "blind"), rules, made, company)
        whole = await told(connection, Reader("l", "supervisor", "li.wei"), rules, made, company)
    assert "13800138000" in whole
    assert not [secret for secret in SECRETS["phone", "e164"] if secret in shown]


async def test_who_may_not_see_a_number_can_still_name_it_by_its_id(database: Database) -> None:
    made, _ = await prepared(database)
    rules = FieldRules([("agent", "phone", "e164", "none")])
    async with database.read() as connection:
        seen = await customers.customer(connection, Reader("li", "agent"), rules, made)
    assert seen is not None
    assert all(number["id"] and "e164" not in number for number in seen["numbers"])


def test_of_two_rules_the_stricter_wins() -> None:
    rules = FieldRules([("agent", "phone", "e164", "mask"), ("agent", "interaction", "ani_e164", "none")])
    reader = Reader("li", "agent")
    row = {"ani_e164": "+8613800138000", "ani_raw": "13800138000"}
    assert rules.visible(reader, "interaction", row) == {"ani_raw": "•••000"}
    with pytest.raises(Refused):
        rules.require_write(reader, "phone", ["e164"])


def test_masks_keep_too_little_to_guess_from() -> None:
    assert mask_number("+8613800138000") == "•••000"
    assert mask_number("12345") == "•••"
    assert mask_email("li.wei@example.com") == "l•••@•••"
    assert without_numbers("call +86 (138) 0013-8000 or 12") == "call ••• or 12"


def test_an_unknown_access_level_is_not_taken_for_a_permission() -> None:
    with pytest.raises(KeyError):
        FieldRules([("agent", "phone", "e164", "whatever")])
