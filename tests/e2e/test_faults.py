"""What real floors suffer, on real parts: pages loaded anew, the daemon killed, stopped, cut off, its PBX restarted."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.conftest import Chromium
from tests.desk.watching import becomes
from tests.e2e.conftest import callers_of
from tests.e2e.seat import Seat
from tests.e2e.shift import ANN_HZ, CALLER_HZ, Shift, begin_shift
from tests.e2e.site import LI_NUMBER, UNKNOWN_NUMBER
from tests.rtp import TonePhone

pytestmark = [pytest.mark.pbx, pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shift(asterisk_roots: dict[int, Path], chromium: Chromium) -> AsyncIterator[Shift]:
    """Ann and Bo at their pages."""
    async with begin_shift(asterisk_roots[22], chromium) as shift:
        yield shift


async def test_after_a_reload_in_mid_call_the_caller_talks_to_the_same_agent_again_in_one_interaction(
    shift: Shift,
) -> None:
    async with shift.talk() as caller:
        shift.ann.page.once("dialog", lambda dialog: dialog.accept())
        await shift.ann.page.reload()
        await caller.ear.hears_sound()
        await shift.ann.rings()
        assert await shift.ann.interaction() == caller.interaction
        await expect(shift.ann.card("ringing")).to_contain_text("Li Wei 李伟")
        await expect(shift.bo.card()).to_have_count(0)
        await shift.ann.answer()
        await caller.ear.hears(ANN_HZ, within_s=10)
        await shift.ann.hears(CALLER_HZ)
        await shift.ann.hang_up()
        await shift.ann.state("WRAP_UP")
        assert await shift.told(caller.interaction) == ["ann", "ann"]


async def test_a_second_tab_takes_the_desk_over_in_mid_call_and_the_caller_rings_there(shift: Shift) -> None:
    async with shift.talk() as caller:
        first = shift.ann
        shift.ann = Seat(await first.page.context.new_page(), "ann", ANN_HZ)
        await shift.ann.page.goto(f"{shift.site.url}/desk")
        await expect(shift.ann.page.locator("#elsewhere-on-call")).to_be_visible()
        await shift.ann.page.click("#elsewhere-take")
        await shift.ann.rings()
        assert await shift.ann.interaction() == caller.interaction
        await expect(first.page.locator("#elsewhere")).to_be_visible()
        await expect(first.card()).to_have_count(0)
        await shift.ann.answer()
        await caller.ear.hears(ANN_HZ, within_s=10)
        await shift.ann.hears(CALLER_HZ)
        await first.page.close()
        await shift.ann.hang_up()
        await shift.ann.state("WRAP_UP")
        assert await shift.told(caller.interaction) == ["ann", "ann"]


async def test_a_killed_daemon_leaves_the_talk_alone_and_knows_it_when_it_is_back(shift: Shift) -> None:
    async with shift.talk() as caller:
        await shift.site.stop_daemon(signal.SIGKILL)
        await expect(shift.ann.page.locator("#banner")).to_contain_text("No connection to the server")
        await caller.ear.hears(ANN_HZ)
        await shift.ann.hears(CALLER_HZ)
        await shift.site.start_daemon()
        await shift.ann.state("ON_CALL")
        await expect(shift.ann.card("talking")).to_contain_text("Li Wei 李伟")
        await caller.ear.hears(ANN_HZ)
        await shift.ann.hang_up()
        await shift.ann.state("WRAP_UP")
        assert await shift.told(caller.interaction) == ["ann"]
        row = await shift.site.row("SELECT * FROM interaction WHERE id = :id", id=caller.interaction)
        assert (row["outcome"], row["agent"]) == ("answered", "ann")


async def test_with_the_daemon_killed_a_waiting_caller_reaches_a_browser_through_the_fall_back(shift: Shift) -> None:
    for seat in (shift.ann, shift.bo):
        await becomes(seat.page, "callfloor.phone.call === null")
        await seat.page.keyboard.press("Escape")
    await shift.bo.be_available()
    await shift.ann.be_available()
    async with TonePhone(CALLER_HZ) as ear:
        await shift.site.stop_daemon(signal.SIGKILL)
        call = await callers_of(shift.site).begin(UNKNOWN_NUMBER, "Nobody", "4001", stay_s=60, media_port=ear.port)
        await ear.hears_sound(within_s=20)
        ringing = asyncio.create_task(becomes(shift.ann.page, "callfloor.phone.call?.phase === 'ringing'"))
        also = asyncio.create_task(becomes(shift.bo.page, "callfloor.phone.call?.phase === 'ringing'"))
        done, rest = await asyncio.wait({ringing, also}, timeout=30, return_when=asyncio.FIRST_COMPLETED)
        for task in rest:
            task.cancel()
        seat = shift.ann if ringing in done else shift.bo
        await seat.answer()
        await ear.hears(seat.hz, within_s=10)
        await seat.hears(CALLER_HZ)
        await shift.site.start_daemon()
        await seat.state("ON_CALL")
        await seat.hang_up()
        await call.wait()
        row = await shift.site.row(
            "SELECT * FROM interaction WHERE ani_e164 = :ani AND ended_at IS NOT NULL", ani=UNKNOWN_NUMBER
        )
        assert (row["outcome"], row["agent"]) == ("answered", seat.username)
        assert len(await shift.site.rows("SELECT id FROM interaction WHERE ani_e164 = :ani", ani=UNKNOWN_NUMBER)) == 1


async def test_a_caller_in_the_fall_back_is_taken_back_with_the_time_waited(shift: Shift) -> None:
    for seat in (shift.ann, shift.bo):
        await becomes(seat.page, "callfloor.phone.call === null")
        await seat.page.keyboard.press("Escape")
        await seat.rest()
    async with TonePhone(CALLER_HZ) as ear:
        call = await callers_of(shift.site).begin(LI_NUMBER, "Li", "4001", stay_s=90, media_port=ear.port)
        await ear.hears_sound()
        waiting = await shift.site.row("SELECT * FROM interaction WHERE queue = 'sales' AND ended_at IS NULL")
        shift.site.signal_daemon(signal.SIGSTOP)
        await shift.site.until_channels_show("Queue")
        shift.site.signal_daemon(signal.SIGCONT)
        await shift.ann.ask_for_work()
        await shift.ann.rings()
        assert await shift.ann.interaction() == waiting["id"]
        await shift.ann.answer()
        await ear.hears(ANN_HZ, within_s=10)
        await shift.ann.hang_up()
        await call.wait()
        row = await shift.site.row(
            "SELECT * FROM interaction WHERE id = :id AND ended_at IS NOT NULL", id=waiting["id"]
        )
        # The PBX's own record of the call may have been read by now; it dates the offer by its own clock.
        assert row["outcome"] == "answered"
        assert row["queued_at"] == pytest.approx(waiting["queued_at"], abs=1)
