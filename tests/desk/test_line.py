"""The line between page and server: it breaks, it comes back, and another tab may want it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from tests.desk.watching import becomes

if TYPE_CHECKING:
    from tests.desk.conftest import OpenDesk
    from tests.desk.stage import Stage

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_a_page_without_its_server_says_so_and_catches_up_afterwards(stage: Stage, open_desk: OpenDesk) -> None:
    page = await open_desk(stage)
    await stage.drop_socket(stays_away=True)
    await expect(page.locator("#banner")).to_contain_text("you will not be offered calls")
    await expect(page.locator("#state-available")).to_be_disabled()
    await stage.ring()
    stage.is_socket_closed = False
    await stage.until(lambda: stage.owner is not None)
    assert stage.owner is not None
    assert (stage.owner.hello["epoch"], stage.owner.hello["last_seq"]) == ("epoch-1", 1)
    await expect(page.get_by_role("heading", name="Li Wei")).to_be_visible()
    await expect(page.locator("#banner")).to_be_hidden()


async def test_a_restarted_server_replaces_what_the_page_shows(stage: Stage, open_desk: OpenDesk) -> None:
    page = await open_desk(stage)
    card = await stage.ring()
    await expect(page.locator(".card")).to_be_visible()
    stage.pops.pop(card["interaction"])
    stage.epoch, stage.seq = "epoch-2", 0
    stage.sent.clear()
    await stage.drop_socket(stays_away=False)
    await expect(page.locator(".card")).to_have_count(0)
    await stage.ring(interaction="pbx1-2")
    await expect(page.locator(".card")).to_be_visible()


async def test_a_missing_message_is_asked_for_again(stage: Stage, open_desk: OpenDesk) -> None:
    page = await open_desk(stage)
    owner, stage.owner = stage.owner, None
    await stage.ring()
    stage.owner = owner
    await stage.set_agent("NOT_READY", reason="lunch")
    await stage.until(lambda: len(stage.desks) == 2)
    assert stage.desks[1].hello["last_seq"] == 1
    await expect(page.get_by_role("heading", name="Li Wei")).to_be_visible()
    await expect(page.locator("#state-bar")).to_contain_text("Lunch")


async def test_the_page_tells_what_it_is_worth(stage: Stage, open_desk: OpenDesk) -> None:
    await open_desk(stage)
    owner = stage.owner
    assert owner is not None
    await stage.until(lambda: len(owner.beats) >= 2)
    assert owner.beats[0] == {"type": "beat", "seen": 0, "visible": True, "phone": "desk", "microphone": "desk"}
    assert owner.beats[1]["seen"] == 1


async def test_a_stale_desk_is_told_to_the_person(stage: Stage, open_desk: OpenDesk) -> None:
    page = await open_desk(stage)
    await stage.send("desk", is_fresh=False, why="asleep")
    await expect(page.locator("#banner-text")).to_have_text("This page was asleep. You will not be offered calls.")
    await stage.send("desk", is_fresh=True, why="")
    await expect(page.locator("#banner")).to_be_hidden()


async def test_clocks_run_on_the_servers_time(stage: Stage, open_desk: OpenDesk) -> None:
    page = await open_desk(stage)
    await page.evaluate("Date.now = () => performance.timeOrigin + performance.now() + 3600_000")
    for _message in range(25):
        await stage.set_agent("AVAILABLE")
    await becomes(page, "callfloor.socket.seq >= 26")
    assert abs(await page.evaluate("callfloor.socket.clock_offset_s") + 3600) < 2


async def test_a_second_tab_is_told_and_can_take_over(stage: Stage, open_desk: OpenDesk) -> None:
    page = await open_desk(stage)
    second = await page.context.new_page()
    await second.goto(f"{stage.url}/desk")
    await expect(second.get_by_text("Your desk is open in another tab")).to_be_visible()
    assert len(stage.desks) == 1
    await second.get_by_role("button", name="Use this tab").click()
    await stage.until(lambda: len(stage.desks) == 2)
    assert stage.desks[1].hello["take_over"]
    await expect(page.get_by_text("Your desk is open in another tab")).to_be_visible()
    await stage.ring()
    await expect(second.get_by_role("heading", name="Li Wei")).to_be_visible()
    assert await page.locator(".card").count() == 0


async def test_a_second_browser_is_told_by_the_server(stage: Stage, open_desk: OpenDesk) -> None:
    page = await open_desk(stage)
    assert page.context.browser is not None
    other = await page.context.browser.new_context()
    second = await other.new_page()
    await second.goto(f"{stage.url}/desk")
    await second.get_by_role("button", name="Use this tab").click()
    await expect(page.get_by_text("Your desk is open in another tab")).to_be_visible()
    await expect(second.locator("#banner")).to_be_hidden()
    await other.close()
