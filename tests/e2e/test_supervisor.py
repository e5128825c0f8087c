"""Who sees whom: the supervisor's page tells what is so, and one desk is held by one page at a time."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.desk.watching import becomes
from tests.e2e.conftest import SitDown, StartSite, callers_of
from tests.e2e.seat import Seat
from tests.e2e.site import ANN, LI_NUMBER, Person
from tests.rtp import TonePhone

pytestmark = [pytest.mark.pbx, pytest.mark.browser]

RUTH = Person("ruth", "Ruth Berg", queues=(), role="supervisor")
CALLER_HZ, ANN_HZ, BO_HZ = 440.0, 1000.0, 1400.0


async def test_the_floor_shows_who_waits_and_why_and_never_rings_a_desk_whose_page_is_closed(
    start_site: StartSite, sit_down: SitDown
) -> None:
    async with (
        start_site() as site,
        sit_down("sue", 300.0) as sue,
        sit_down("ann", ANN_HZ) as ann,
        sit_down("bo", BO_HZ) as bo,
    ):
        await sue.enter(site, "floor")
        page = sue.page
        await ann.log_in(site)
        await bo.log_in(site)
        anns, bos, sales = page.locator("#agent-ann"), page.locator("#agent-bo"), page.locator("#queue-sales")
        await expect(anns).to_contain_text("Ready to ring")
        await ann.be_available()
        await expect(anns.locator(".state-AVAILABLE")).to_be_visible()
        await ann.page.close()
        await expect(anns).to_contain_text("Page closed")

        call = await callers_of(site).begin(LI_NUMBER, "Li", "4001", stay_s=60)
        waiting = page.locator("tr", has=page.locator(".chip.phase-waiting"))
        await expect(waiting).to_contain_text(LI_NUMBER)
        await expect(waiting).to_contain_text("Sales")
        await expect(sales.locator(".waiting")).to_have_text("1")
        await waiting.get_by_role("link", name="Why waiting?").click()
        why = page.locator("#why")
        await expect(why).to_contain_text("Nobody could take the call in Sales: the caller waits.")
        await expect(why).to_contain_text("The page of Ann Smith cannot ring (Page closed).")
        await expect(why).to_contain_text("Bo 李 is not ready")
        await expect(why).to_contain_text("Dee Desk is logged out.")

        await bo.ask_for_work()
        await bo.rings()
        await expect(bos.locator(".state-RESERVED")).to_be_visible()
        await bo.answer()
        await expect(bos.locator(".state-ON_CALL")).to_be_visible()
        talking = page.locator("tr", has=page.locator(".chip.phase-talking"))
        await expect(talking).to_contain_text("Bo 李")
        await expect(sales.locator(".waiting")).to_have_text("0")
        await bo.hang_up()
        await expect(bos.locator(".state-WRAP_UP")).to_be_visible()
        await expect(talking).to_have_count(0)
        assert (await call.wait()).steps[-1] == "ended_by_other"
        legs = await site.rows("SELECT agent FROM interaction_leg WHERE agent <> ''")
        assert [leg["agent"] for leg in legs] == ["bo"]


async def test_a_second_page_is_told_and_takes_the_desk_over_with_the_phone(
    start_site: StartSite, sit_down: SitDown
) -> None:
    async with (
        start_site() as site,
        sit_down("ann", ANN_HZ) as first,
        sit_down("ann", BO_HZ) as far,
        TonePhone(CALLER_HZ) as ear,
    ):
        await first.log_in(site)
        await first.be_available()

        second = Seat(await first.page.context.new_page(), "ann", ANN_HZ)
        await second.page.goto(f"{site.url}/desk")
        await expect(second.page.locator("#elsewhere")).to_be_visible()
        assert await second.page.evaluate("callfloor.phone.state") == "off"
        await expect(first.page.locator("#elsewhere")).to_be_hidden()
        await second.page.click("#elsewhere-take")
        await expect(first.page.locator("#elsewhere")).to_be_visible()
        await becomes(second.page, "callfloor.phone.state === 'registered' && callfloor.socket.isUp")
        await becomes(first.page, "callfloor.phone.state === 'off' && !callfloor.socket.isUp")
        await second.state("AVAILABLE")

        # From another computer nothing but the server can tell.
        await far.log_in(site)
        await expect(far.page.locator("#elsewhere")).to_be_visible()
        await far.page.click("#elsewhere-take")
        await expect(second.page.locator("#elsewhere")).to_be_visible()
        await becomes(far.page, "callfloor.phone.state === 'registered' && callfloor.socket.isUp")
        await becomes(second.page, "callfloor.phone.state === 'off' && !callfloor.socket.isUp")
        await far.state("AVAILABLE")

        call = await callers_of(site).begin(LI_NUMBER, "Li", "4001", stay_s=60, media_port=ear.port)
        await far.rings()
        assert await first.card().count() == await second.card().count() == 0
        await far.answer()
        await ear.hears(BO_HZ)
        await far.hears(CALLER_HZ)
        await far.hang_up()
        await call.wait()
        assert second.faults == []


async def test_a_supervisor_listens_whispers_and_leaves_and_the_agent_sees_it(
    start_site: StartSite, sit_down: SitDown
) -> None:
    async with (
        start_site(people=(ANN, RUTH)) as site,
        sit_down("ann", ANN_HZ) as ann,
        sit_down("ruth", BO_HZ) as ruth,
        TonePhone(CALLER_HZ) as ear,
    ):
        await ann.log_in(site)
        await ann.be_available()
        await ruth.log_in(site)
        await becomes(ruth.page, "callfloor.phone.state === 'registered' && callfloor.socket.isUp")
        floor = await ruth.page.context.new_page()
        await floor.goto(f"{site.url}/floor")

        call = await callers_of(site).begin(LI_NUMBER, "Li", "4001", stay_s=90, media_port=ear.port)
        await ann.rings()
        await ann.answer()
        await ear.hears(ANN_HZ)
        row = floor.locator("#agent-ann")
        await expect(row.locator(".state-ON_CALL")).to_be_visible()
        await row.get_by_role("button", name="Ann Smith").click()
        await floor.keyboard.press("l")
        await becomes(ruth.page, "callfloor.phone.call?.phase === 'up'")
        await ruth.hears_too(CALLER_HZ)
        await ruth.hears_too(ANN_HZ)
        told = ann.page.locator("#beside-listeners")
        await expect(told).to_have_text("Ruth Berg listens to this talk.")
        await expect(row).to_contain_text("Ruth Berg listens")
        assert await ruth.card().count() == 0

        await floor.keyboard.press("w")
        await expect(told).to_contain_text("the caller does not hear it")
        await ann.hears_too(BO_HZ)
        await ear.never_hears(BO_HZ, for_s=1)
        await floor.keyboard.press("e")
        await becomes(ruth.page, "!callfloor.phone.call")
        await expect(told).to_be_hidden()
        await ear.hears(ANN_HZ)
        await ann.hang_up()
        await call.wait()
        done = await site.rows(
            "SELECT action FROM audit WHERE username = 'ruth' AND object = 'interaction' ORDER BY id"
        )
        assert [one["action"] for one in done] == ["listened", "whispered", "listening_ended"]
