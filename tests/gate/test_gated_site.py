"""The gate on real parts: Chromium at ``https://floor.test``, one port, a caller, and processes that die."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.conftest import Chromium
from tests.desk.watching import becomes
from tests.e2e.shift import ANN_HZ, CALLER_HZ, Shift
from tests.gate.gated import GatedSite, begin_gated_shift

pytestmark = [pytest.mark.pbx, pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shift(asterisk_roots: dict[int, Path], chromium: Chromium) -> AsyncIterator[Shift]:
    """Ann and Bo at ``https://floor.test``."""
    async with begin_gated_shift(asterisk_roots[22], chromium) as shift:
        yield shift


def gated(shift: Shift) -> GatedSite:
    assert isinstance(shift.site, GatedSite)
    return shift.site


async def test_an_agent_at_the_https_address_registers_through_the_one_port_and_talks(shift: Shift) -> None:
    port = str(gated(shift).gate_port)
    assert shift.ann.page.url == f"https://floor.test:{port}/desk"
    assert await shift.ann.page.evaluate("window.isSecureContext")
    await becomes(shift.ann.page, "callfloor.phone.state === 'registered'")
    async with shift.talk() as caller:
        await shift.ann.hang_up()
        await shift.ann.state("WRAP_UP")
        assert await shift.told(caller.interaction) == ["ann"]
    assert shift.ann.faults == []


async def test_with_the_daemon_killed_the_talk_goes_on_and_the_callers_hang_up_reaches_the_page(shift: Shift) -> None:
    site = gated(shift)
    async with shift.talk() as caller:
        await site.stop_daemon(signal.SIGKILL)
        await expect(shift.ann.page.locator("#banner")).to_contain_text("No connection to the server")
        caller.ear.forget_silence()
        away = await shift.ann.page.evaluate(
            "fetch('/login', {headers: {Accept: 'text/html'}}).then(async (got) => [got.status, await got.text()])"
        )
        assert away[0] == 503
        assert "The pages are away; calls go on" in away[1]
        await caller.ear.hears(ANN_HZ)
        await shift.ann.hears(CALLER_HZ)
        assert caller.ear.longest_silence_s < 2
        assert await shift.ann.page.evaluate("callfloor.phone.state") == "registered"
        await caller.hang_up()
        await becomes(shift.ann.page, "callfloor.phone.call === null")
    await site.start_daemon()
    await becomes(shift.ann.page, "callfloor.socket.isUp")


async def test_with_the_daemon_stopped_the_gate_is_killed_too_and_the_phone_comes_back_to_its_call(
    shift: Shift,
) -> None:
    site = gated(shift)
    async with shift.talk() as caller:
        site.signal_daemon(signal.SIGSTOP)
        try:
            await site.stop_gate(signal.SIGKILL)
            await becomes(shift.ann.page, "callfloor.phone.state !== 'registered'")
            await caller.ear.hears(ANN_HZ)
            await shift.ann.hears(CALLER_HZ)
            await site.start_gate()
            # Nobody but the gate looks at the phone's pass now.
            await becomes(shift.ann.page, "callfloor.phone.state === 'registered'")
            await caller.ear.hears(ANN_HZ)
            await shift.ann.hears(CALLER_HZ)
            await becomes(shift.ann.page, "!callfloor.phone.isLineDoubtful")
            await caller.hang_up()
            await becomes(shift.ann.page, "callfloor.phone.call === null")
        finally:
            site.signal_daemon(signal.SIGCONT)
    await becomes(shift.ann.page, "callfloor.socket.isUp")
    await becomes(shift.bo.page, "callfloor.phone.state === 'registered' && callfloor.socket.isUp")


async def test_a_restarted_gate_is_found_again_by_page_and_phone_and_the_call_ends_as_usual(shift: Shift) -> None:
    site = gated(shift)
    async with shift.talk() as caller:
        await site.stop_gate()
        await becomes(shift.ann.page, "callfloor.phone.state !== 'registered' && !callfloor.socket.isUp")
        await site.start_gate()
        await becomes(shift.ann.page, "callfloor.phone.state === 'registered' && callfloor.socket.isUp")
        await caller.ear.hears(ANN_HZ)
        await shift.ann.hears(CALLER_HZ)
        await shift.ann.state("ON_CALL")
        await shift.ann.hang_up()
        await shift.ann.state("WRAP_UP")
        assert await shift.told(caller.interaction) == ["ann"]
    assert shift.ann.faults == []
