"""What the agent sees of a caller, and how it comes and goes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from tests.desk.stage import customer

if TYPE_CHECKING:
    from tests.desk.conftest import OpenDesk
    from tests.desk.stage import Stage

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_a_ringing_caller_is_shown_with_everything_the_agent_needs(stage: Stage, open_desk: OpenDesk) -> None:
    page = await open_desk(stage)
    await stage.ring()
    card = page.locator(".card")
    await expect(card.get_by_role("heading", name="Li Wei")).to_be_visible()
    for text in ["Gold", "VIP", "Open complaint", "Orchid Trading Ltd.", "Sales", "Speaks Chinese", "+8613800138000"]:
        await expect(card.get_by_text(text, exact=True).first).to_be_visible()
    await expect(card.get_by_text("0:42")).to_be_visible()
    await expect(card.locator(".past")).to_have_count(5)
    await expect(card.locator(".offers")).to_contain_text("Fibre 200")
    await expect(card.get_by_text("Answer on your desk phone")).to_be_visible()
    await expect(page.locator("#live-urgent")).to_contain_text("Incoming call. Li Wei. Gold. Sales")


async def test_all_of_a_card_fits_on_a_small_office_screen(stage: Stage, open_desk: OpenDesk) -> None:
    page = await open_desk(stage)
    card = await stage.ring()
    await stage.show(card, phase="talking", until=None, recording="on")
    await expect(page.get_by_role("button", name="Hang up")).to_be_visible()
    hidden = await page.evaluate(
        "[document.documentElement, ...document.querySelectorAll('.card > *')]"
        ".filter(e => e.scrollHeight > e.clientHeight + 1 || e.scrollWidth > e.clientWidth + 1).map(e => e.className)"
    )
    assert hidden == []


async def test_a_card_whose_ring_went_elsewhere_goes_at_once_and_says_why(stage: Stage, open_desk: OpenDesk) -> None:
    page = await open_desk(stage)
    card = await stage.ring()
    await expect(page.locator(".card")).to_be_visible()
    await stage.close_pop(card["interaction"], "caller_gone")
    await expect(page.locator(".card")).to_have_count(0)
    await expect(page.locator("#notices")).to_contain_text("Li Wei: the caller hung up")
    assert not await page.evaluate("callfloor.isRinging")


async def test_one_of_many_customers_is_chosen_by_a_digit(stage: Stage, open_desk: OpenDesk) -> None:
    page = await open_desk(stage)
    both = [customer(17), customer(18, name="Li Na")]
    card = await stage.ring(match="many", party=None, customers=both)
    await expect(page.get_by_text("2 customers have this number")).to_be_visible()
    await page.keyboard.press("2")
    asked = await stage.wait_for("PUT", f"/api/interactions/{card['interaction']}/customer")
    assert asked.body == {"party": 18}
    assert asked.token == "the-token"
    await stage.show(card, party=18)
    await expect(page.get_by_role("heading", name="Li Na")).to_be_visible()


async def test_an_unknown_caller_can_be_linked_to_a_found_customer(stage: Stage, open_desk: OpenDesk) -> None:
    page = await open_desk(stage)
    card = await stage.ring(match="none", party=None, customers=[], products=[])
    await expect(page.get_by_text("Nobody is known by this number")).to_be_visible()
    await page.keyboard.press("s")
    await page.keyboard.type("chen")
    await page.locator(".card").get_by_role("button", name="Chen Jing").click()
    asked = await stage.wait_for("PUT", f"/api/interactions/{card['interaction']}/customer")
    assert asked.body == {"party": 21}


async def test_a_withheld_number_and_a_slow_look_up_are_said_plainly(stage: Stage, open_desk: OpenDesk) -> None:
    page = await open_desk(stage)
    caller = {"name": "", "is_withheld": True}
    card = await stage.ring(match="pending", party=None, customers=[], caller=caller)
    await expect(page.get_by_role("heading", name="Number withheld")).to_be_visible()
    await expect(page.get_by_text("Looking up the customer…")).to_be_visible()
    await stage.show(card, match="failed")
    await expect(page.get_by_text("The customer could not be looked up")).to_be_visible()


async def test_a_field_that_the_role_may_not_read_leaves_no_empty_place(stage: Stage, open_desk: OpenDesk) -> None:
    page = await open_desk(stage)
    await stage.ring(
        customers=[{"id": 17, "name": "Li Wei", "interactions": []}], caller={"is_withheld": False, "handle": "c-4711"}
    )
    await expect(page.get_by_role("heading", name="Li Wei")).to_be_visible()
    for label in ["Number", "Numbers", "E-mail", "Owner", "Account"]:
        await expect(page.locator("dt", has_text=label)).to_have_count(0)


async def test_what_a_caller_calls_himself_is_only_text(stage: Stage, open_desk: OpenDesk) -> None:
    page = await open_desk(stage)
    evil = '<img src=x onerror="window.hurt=1"><b>Bob</b>'
    await stage.ring(match="none", party=None, customers=[], caller={"name": evil, "is_withheld": False})
    await expect(page.get_by_role("heading", name=evil)).to_be_visible()
    assert await page.evaluate("window.hurt") is None
    assert await page.locator(".card img").count() == 0


async def test_a_second_call_waits_in_its_tab_while_a_note_is_being_written(stage: Stage, open_desk: OpenDesk) -> None:
    page = await open_desk(stage)
    first = await stage.ring(interaction="pbx1-1")
    await stage.show(first, phase="wrap_up", until=time.time() + 30)
    await page.locator(".note-field").fill("He wants")
    await stage.ring(interaction="pbx1-2", customers=[customer(17, name="Wang Wu")])
    await expect(page.get_by_role("tab", name="Wang Wu")).to_be_visible()
    await page.keyboard.type(" a call")
    await expect(page.locator(".note-field").first).to_have_value("He wants a call")
    await expect(page.get_by_role("heading", name="Li Wei")).to_be_visible()


async def test_a_transferred_caller_brings_the_note_and_who_sent_him(stage: Stage, open_desk: OpenDesk) -> None:
    page = await open_desk(stage)
    await stage.ring(from_agent="Wang Fang", note="Asks for a discount.")
    await expect(page.locator(".details").first).to_contain_text("Wang Fang")
    await expect(page.locator(".note-field")).to_have_value("Asks for a discount.")


async def test_customers_open_beside_the_card_and_links_never_leave_the_page(stage: Stage, open_desk: OpenDesk) -> None:
    page = await open_desk(stage)
    await stage.ring()
    await page.get_by_role("button", name="Open customer").click()
    await page.locator("#work").get_by_role("link", name="Chen Jing").click()
    await expect(page.locator("#work")).to_contain_text("Orchid Ltd")
    assert page.url == f"{stage.url}/desk"
    await page.get_by_role("tab", name="Li Wei").click()
    await expect(page.get_by_role("heading", name="Li Wei")).to_be_visible()
