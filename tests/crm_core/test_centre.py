from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from crm_core import centre
from crm_core.centre import (
    Agent,
    Calendar,
    Callback,
    Comfort,
    Disposition,
    FieldRule,
    Jurisdiction,
    Menu,
    Overflow,
    Product,
    Queue,
    Reason,
    Route,
    SiteRules,
    Step,
)
from crm_core.errors import BadInput

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from crm_core.database import Database

PRODUCT = Product(code="fiber", name="Fiber", summary="Fast", names={"zh-Hans": "光纤"})
CALENDAR = Calendar(
    slug="office",
    name="Office",
    zone="Asia/Shanghai",
    monday="08:00-12:00 13:00-18:00",
    days={"2026-10-01": "", "2026-10-10": "09:00-17:00"},
)
QUEUE = Queue(
    slug="sales",
    name="Sales",
    steps=(Step(after_s=0, text="english >= 3"), Step(after_s=30, text="")),
    calendar="office",
    closed_to="voicemail:sales",
    overflows=(Overflow(when="waited", limit=300, to="number:+8610123"),),
    comfort=Comfort(music="calm", says_wait=True, callback_after_s=60),
    callback=Callback(calendar="office", trunk="carrier"),
    product="fiber",
    is_default=True,
)
MENU = Menu(
    slug="main",
    name="Main",
    prompt="welcome",
    options={"1": "queue:sales", "2": "language:zh", "#": "queue:sales"},
    otherwise="queue:sales",
    account_digits=8,
    has_check_digit=True,
)
SITE = SiteRules(tiers={"gold": 5}, most_occupied=0.9, is_spying_shown=False)
AGENT = Agent(
    slug="li.wei",
    name="李伟",
    pbx="pbx1",
    endpoint="agent1",
    phone_kind="browser",
    skills={"english": 7, "mandarin": 10},
    queues=("sales",),
)
ROUTE = Route(dnis="+4001", queue="sales", product="fiber", language="zh", menu="main")
REASON = Reason(code="lunch", labels={"en": "Lunch", "zh-Hans": "午餐"}, position=2)
JURISDICTION = Jurisdiction(digits="49", policy="consent", citation="§ 201 StGB")
DISPOSITION = Disposition(code="sold", labels={"en": "Sold"}, queue="sales", key="1")


async def put_all(connection: AsyncConnection) -> None:
    await centre.put_product(connection, PRODUCT)
    await centre.put_calendar(connection, CALENDAR)
    await centre.put_menu(connection, MENU)
    await centre.put_site_rules(connection, SITE)
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
    assert loaded == centre.Centre(
        (QUEUE,), (AGENT,), (ROUTE,), (REASON,), (DISPOSITION,), (PRODUCT,), (JURISDICTION,), (CALENDAR,), (MENU,), SITE
    )
    assert loaded.default_queue == "sales"


async def test_a_change_replaces_skills_and_queues_and_the_default_moves(database: Database) -> None:
    async with database.begin() as connection:
        await put_all(connection)
        support = Queue(slug="support", name="Support", is_default=True)
        await centre.put_queue(connection, support)
        moved = replace(AGENT, skills={"english": 2}, queues=("support",), may_see_numbers=False)
        await centre.put_agent(connection, moved)
        loaded = await centre.load_centre(connection)
    assert loaded.agents == (moved,)
    assert loaded.default_queue == "support"


WRONG: tuple[tuple[Any, str, str], ...] = (
    (replace(QUEUE, slug="Sales"), "slug", "malformed"),
    (replace(QUEUE, slug="../x"), "slug", "malformed"),
    (replace(QUEUE, slug="sales\n"), "slug", "malformed"),
    (replace(QUEUE, name=""), "name", "required"),
    (replace(QUEUE, ring_timeout_s=4), "ring_timeout_s", "out_of_range"),
    (replace(QUEUE, ring_timeout_s=121), "ring_timeout_s", "out_of_range"),
    (replace(QUEUE, ring_timeout_s=20.5), "ring_timeout_s", "not_a_number"),
    (replace(QUEUE, steps=(Step(after_s=5, text=""),)), "steps.0.after_s", "not_from_the_start"),
    (replace(QUEUE, steps=(Step(after_s=0, text=""), Step(after_s=0, text="a"))), "steps.1.after_s", "not_ascending"),
    (replace(QUEUE, steps=(Step(after_s=0, text="a\x00"),)), "steps.0.text", "control_characters"),
    (replace(QUEUE, selection="nearest"), "selection", "not_a_choice"),
    (replace(QUEUE, service_level_target=1.1), "service_level_target", "out_of_range"),
    (replace(QUEUE, service_level_target=float("nan")), "service_level_target", "out_of_range"),
    (replace(QUEUE, calendar="none"), "calendar", "unknown"),
    (replace(QUEUE, callback=Callback(calendar="none")), "callback.calendar", "unknown"),
    (replace(QUEUE, callback=Callback(shown_number="123;x")), "callback.shown_number", "malformed"),
    (replace(QUEUE, callback=None), "comfort.callback_after_s", "no_callback"),
    (replace(QUEUE, closed_to="Local/1@x"), "closed_to", "malformed"),
    (replace(QUEUE, overflows=(Overflow(when="waited", limit=9, to="queue:sales"),)), "overflows.0.to", "to_itself"),
    (replace(QUEUE, overflows=(Overflow(when="waited", limit=9, to="skill:a"),)), "overflows.0.to", "malformed"),
    (replace(QUEUE, comfort=Comfort(music="../x")), "comfort.music", "malformed"),
    (replace(CALENDAR, monday="08:00-12:00 11:00-13:00"), "monday", "not_hours"),
    (replace(CALENDAR, monday="8 to 12"), "monday", "not_hours"),
    (replace(CALENDAR, zone="Mars/Base"), "zone", "unknown_zone"),
    (replace(CALENDAR, zone="../../etc/passwd"), "zone", "unknown_zone"),
    (replace(CALENDAR, days={"2026-02-30": ""}), "days.2026-02-30", "not_a_date"),
    (replace(MENU, options={"12": "queue:sales"}), "options.12", "not_a_choice"),
    (replace(MENU, options={"1": "language:zh"}), "options.#", "required"),
    (replace(MENU, otherwise=""), "otherwise", "malformed"),
    (replace(SITE, tiers={"gold": 101}), "tiers.gold", "out_of_range"),
    (replace(SITE, slug="other"), "slug", "not_a_choice"),
    (replace(QUEUE, product="none"), "product", "unknown"),
    (replace(QUEUE, recording="sometimes"), "recording", "not_a_choice"),
    (replace(JURISDICTION, digits="+49"), "digits", "malformed"),
    (replace(JURISDICTION, policy=""), "policy", "not_a_choice"),
    (replace(JURISDICTION, citation="a\nb"), "citation", "control_characters"),
    (replace(AGENT, endpoint="agent1/../x"), "endpoint", "malformed"),
    (replace(AGENT, slug="other"), "endpoint", "taken"),
    (replace(AGENT, phone_kind="mobile"), "phone_kind", "not_a_choice"),
    (replace(AGENT, skills={"english": 0}), "skills.english", "out_of_range"),
    (replace(AGENT, queues=("sales", "none")), "queues.1", "unknown"),
    (replace(AGENT, endpoint="+8613800000000"), "endpoint", "malformed"),
    (replace(AGENT, phone_kind="outside"), "endpoint", "malformed"),
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
    Calendar: centre.put_calendar,
    Menu: centre.put_menu,
    SiteRules: centre.put_site_rules,
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
