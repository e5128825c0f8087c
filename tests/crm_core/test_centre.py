from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from crm_core import centre
from crm_core.centre import Agent, Disposition, FieldRule, Jurisdiction, Product, Queue, Reason, Route
from crm_core.errors import BadInput

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from crm_core.database import Database

PRODUCT = Product(code="fiber", name="Fiber", summary="Fast", names={"zh-Hans": "光纤"})
QUEUE = Queue(slug="sales", name="Sales", required={"english": 3}, product="fiber", is_default=True)
AGENT = Agent(
    slug="li.wei",
    name="李伟",
    pbx="pbx1",
    endpoint="agent1",
    phone_kind="browser",
    skills={"english": 7, "mandarin": 10},
    queues=("sales",),
)
ROUTE = Route(dnis="+4001", queue="sales", product="fiber", language="zh")
REASON = Reason(code="lunch", labels={"en": "Lunch", "zh-Hans": "午餐"}, position=2)
JURISDICTION = Jurisdiction(digits="49", policy="consent", citation="§ 201 StGB")
DISPOSITION = Disposition(code="sold", labels={"en": "Sold"}, queue="sales", key="1")


async def put_all(connection: AsyncConnection) -> None:
    await centre.put_product(connection, PRODUCT)
    await centre.put_queue(connection, QUEUE)
    await centre.put_agent(connection, AGENT)
    await centre.put_route(connection, ROUTE)
    await centre.put_reason(connection, REASON)
    await centre.put_disposition(connection, DISPOSITION)
    await centre.put_jurisdiction(connection, JURISDICTION)


async def test_what_was_put_is_what_is_loaded_however_often(database: Database) -> None:
    for _ in range(2):
        async with database.begin() as connection:
            await put_all(connection)
    async with database.read() as connection:
        loaded = await centre.load_centre(connection)
    assert loaded == centre.Centre((QUEUE,), (AGENT,), (ROUTE,), (REASON,), (DISPOSITION,), (PRODUCT,), (JURISDICTION,))
    assert loaded.default_queue == "sales"


async def test_a_change_replaces_skills_and_queues_and_the_default_moves(database: Database) -> None:
    async with database.begin() as connection:
        await put_all(connection)
        support = Queue(slug="support", name="Support", is_default=True)
        await centre.put_queue(connection, support)
        moved = replace(AGENT, skills={"english": 2}, queues=("support",), may_see_numbers=False)
        await centre.put_agent(connection, moved)
        await centre.remove_route(connection, "+4001")
        loaded = await centre.load_centre(connection)
    assert loaded.agents == (moved,)
    assert loaded.default_queue == "support"
    assert loaded.routes == ()


WRONG: tuple[tuple[Any, str, str], ...] = (
    (replace(QUEUE, slug="Sales"), "slug", "malformed"),
    (replace(QUEUE, slug="../x"), "slug", "malformed"),
    (replace(QUEUE, slug="sales\n"), "slug", "malformed"),
    (replace(QUEUE, name=""), "name", "required"),
    (replace(QUEUE, ring_timeout_s=4), "ring_timeout_s", "out_of_range"),
    (replace(QUEUE, ring_timeout_s=121), "ring_timeout_s", "out_of_range"),
    (replace(QUEUE, ring_timeout_s=20.5), "ring_timeout_s", "not_a_number"),
    (replace(QUEUE, required={"english": 11}), "required.english", "out_of_range"),
    (replace(QUEUE, required={"Eng lish": 1}), "required.Eng lish", "malformed"),
    (replace(QUEUE, product="none"), "product", "unknown"),
    (replace(QUEUE, recording="sometimes"), "recording", "not_a_choice"),
    (replace(JURISDICTION, digits="+49"), "digits", "malformed"),
    (replace(JURISDICTION, policy=""), "policy", "not_a_choice"),
    (replace(JURISDICTION, citation="a\nb"), "citation", "control_characters"),
    (replace(AGENT, endpoint="agent1/../x"), "endpoint", "malformed"),
    (replace(AGENT, slug="other"), "endpoint", "taken"),
    (replace(AGENT, phone_kind="mobile"), "phone_kind", "not_a_choice"),
    (replace(AGENT, skills={"english": 0}), "skills.english", "out_of_range"),
    (replace(AGENT, queues=("none",)), "queues", "unknown"),
    (replace(ROUTE, dnis="40 01"), "dnis", "malformed"),
    (replace(ROUTE, dnis="${EXTEN}"), "dnis", "malformed"),
    (replace(ROUTE, queue="none"), "queue", "unknown"),
    (replace(ROUTE, language="zh_CN"), "language", "malformed"),
    (replace(REASON, labels={}), "labels.en", "required"),
    (replace(REASON, labels={"en": "a\x00"}), "labels.en", "control_characters"),
    (replace(DISPOSITION, key="ab"), "key", "malformed"),
    (replace(DISPOSITION, code="other", queue=None), "key", "taken"),
    (replace(PRODUCT, code=""), "code", "malformed"),
    (FieldRule(role="agent", object="phone", field="e164", access="see"), "access", "not_a_choice"),
)
PUT: dict[type, Any] = {
    Queue: centre.put_queue,
    Agent: centre.put_agent,
    Route: centre.put_route,
    Reason: centre.put_reason,
    Disposition: centre.put_disposition,
    Jurisdiction: centre.put_jurisdiction,
    Product: centre.put_product,
    FieldRule: centre.put_field_rule,
}


async def test_a_wrong_setting_is_refused_by_field_and_changes_nothing(database: Database) -> None:
    async with database.begin() as connection:
        await put_all(connection)
        before = await centre.load_centre(connection)
        for bad, field, problem in WRONG:
            with pytest.raises(BadInput) as refused:
                await PUT[type(bad)](connection, bad)
            assert (refused.value.field, refused.value.problem) == (field, problem)
        assert await centre.load_centre(connection) == before
