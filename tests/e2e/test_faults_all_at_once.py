"""The daemon and its pages go away at once, with callers who wait, ring, talk and are written up: only the gate, the
PBX and the browsers go on."""

from __future__ import annotations

import asyncio
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import expect

from cti.demo.callers import Call
from tests.conftest import Chromium
from tests.desk.watching import becomes
from tests.e2e.conftest import callers_of
from tests.e2e.seat import Seat, open_seat
from tests.e2e.shift import ANN_HZ, BO_HZ
from tests.e2e.site import ANN, BO, LI_NUMBER, Person
from tests.gate.gated import GatedSite, browser_at_home
from tests.rtp import TonePhone

pytestmark = [pytest.mark.pbx, pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

PEOPLE = (replace(ANN, queues=("sales",)), replace(BO, queues=("support",)), Person("cy", "Cy", queues=("sales",)))
FIRST_HZ, SECOND_HZ, THIRD_HZ = 440.0, 600.0, 750.0


@dataclass
class Floor:
    """The site and everybody at it. ``numbers``: who called since the last look."""

    site: GatedSite
    ann: Seat
    bo: Seat
    cy: Seat
    numbers: list[str] = field(default_factory=list)
    called: int = 0

    @property
    def seats(self) -> tuple[Seat, ...]:
        return self.ann, self.bo, self.cy

    @asynccontextmanager
    async def caller(self, dnis: str, hz: float) -> AsyncIterator[tuple[Call, TonePhone]]:
        """A caller with a number of their own, on the line until they or somebody hangs up."""
        number = LI_NUMBER if not self.called else f"+49309020{self.called:02}"
        self.called += 1
        self.numbers.append(number)
        async with TonePhone(hz) as ear:
            call = await callers_of(self.site).begin(number, "Caller", dnis, stay_s=120, media_port=ear.port)
            try:
                yield call, ear
            finally:
                await self.site.pbx.cli("channel request hangup all")
                async with asyncio.timeout(20):
                    await call.wait()

    async def told(self) -> list[tuple[str, str]]:
        """Outcome and agent of all who called since the last look: ended, and told once each."""
        numbers, self.numbers = self.numbers, []
        rows = []
        for number in numbers:
            row = await self.site.row(
                "SELECT * FROM interaction WHERE ani_raw = :ani AND ended_at IS NOT NULL ORDER BY started_at DESC",
                ani=number,
            )
            rows.append((str(row["outcome"]), str(row["agent"] or "")))
            if row["outcome"] == "answered":
                assert row["queued_at"] <= row["answered_at"] <= row["ended_at"]
                # What the daemon did not hear is completed from the PBX's own records, a moment later.
                leg = await self.site.row(
                    "SELECT * FROM interaction_leg WHERE interaction = :id AND agent = :agent AND outcome = 'answered'",
                    id=row["id"],
                    agent=row["agent"],
                )
                assert leg["ended_at"] is not None
        stored = await self.site.rows("SELECT ani_raw FROM interaction WHERE merged_into IS NULL")
        assert len(stored) == self.called
        return rows


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def floor(asterisk_roots: dict[int, Path], chromium: Chromium) -> AsyncIterator[Floor]:
    """Three agents at ``https://floor.test``."""
    folder = Path(tempfile.mkdtemp(prefix="callfloor-gate-"))
    async with AsyncExitStack() as stack:
        site = await stack.enter_async_context(GatedSite(asterisk_roots[22], folder, people=PEOPLE))
        browser = browser_at_home(chromium, site.tls / "server.crt")
        ann = await stack.enter_async_context(open_seat(browser, folder, "ann", ANN_HZ))
        bo = await stack.enter_async_context(open_seat(browser, folder, "bo", BO_HZ))
        assert ann.page.context.browser is not None
        another = await ann.page.context.browser.new_context(viewport={"width": 1366, "height": 768}, locale="en-GB")
        cy = Seat(await another.new_page(), "cy", ANN_HZ)
        await asyncio.gather(*(seat.log_in(site) for seat in (ann, bo, cy)))
        try:
            yield Floor(site, ann, bo, cy)
        finally:
            print(site.log[-6000:], site.gate_log[-2000:])
    shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def everything_at_once(floor: Floor) -> AsyncIterator[tuple[TonePhone, TonePhone, TonePhone]]:
    """Cy writes up a first call, Ann talks with a second caller, Bo's phone rings for a third, a fourth waits."""
    for seat in floor.seats:
        await becomes(seat.page, "callfloor.phone.state === 'registered' && callfloor.socket.isUp")
        await becomes(seat.page, "callfloor.phone.call === null")
        await seat.page.keyboard.press("Escape")
        await seat.page.keyboard.press("Control+Enter")
    async with floor.caller("4001", FIRST_HZ) as (first, ear):
        await floor.cy.ask_for_work()
        await floor.cy.rings()
        await floor.cy.answer()
        await ear.hears(ANN_HZ)
        await floor.cy.hang_up()
        await first.wait()
    await floor.cy.state("WRAP_UP")
    async with AsyncExitStack() as stack:
        _, talks = await stack.enter_async_context(floor.caller("4001", FIRST_HZ))
        await floor.ann.ask_for_work()
        await floor.ann.rings()
        await floor.ann.answer()
        await talks.hears(ANN_HZ)
        await floor.ann.state("ON_CALL")
        _, waits = await stack.enter_async_context(floor.caller("4001", THIRD_HZ))
        await waits.hears_sound()
        await floor.bo.be_available()
        _, is_rung = await stack.enter_async_context(floor.caller("4002", SECOND_HZ))
        await floor.bo.rings()
        yield talks, is_rung, waits


async def test_with_the_daemon_and_its_pages_killed_every_caller_reaches_an_agent_and_is_told_once(
    floor: Floor,
) -> None:
    async with everything_at_once(floor) as (talks, is_rung, waits):
        talks.forget_silence()
        await floor.site.stop_daemon(signal.SIGKILL)
        await floor.bo.answer()
        await is_rung.hears(BO_HZ)
        await floor.bo.hears(SECOND_HZ)
        # Nobody but the PBX knows of this ring; Cy was about to be free.
        await becomes(floor.cy.page, "callfloor.phone.call?.phase === 'ringing'")
        card = floor.cy.page.locator('.card[data-phase="ringing"]')
        await expect(card).to_contain_text("This call came without a card")
        await floor.cy.answer()
        await waits.hears(ANN_HZ, within_s=10)
        await floor.cy.hears(THIRD_HZ)
        await floor.site.start_daemon()
        for seat in floor.seats:
            await seat.state("ON_CALL")
        assert talks.longest_silence_s < 2
        await talks.hears(ANN_HZ)
        await is_rung.hears(BO_HZ)
        await waits.hears(ANN_HZ)
        # Whoever was rung by the PBX alone has the caller's card now, in the place of the one before.
        await expect(floor.cy.card("talking")).to_contain_text("Sales")
        await expect(floor.cy.card()).to_have_count(1)
    for seat in floor.seats:
        await seat.state("WRAP_UP")
    assert await floor.told() == [("answered", "cy"), ("answered", "ann"), ("answered", "cy"), ("answered", "bo")]


@pytest.mark.long
async def test_with_pbx_and_daemon_restarted_together_every_call_is_accounted_for_and_the_next_one_talks(
    floor: Floor,
) -> None:
    async with everything_at_once(floor):
        await floor.site.stop_daemon(signal.SIGKILL)
        await floor.site.pbx.stop()
        await floor.site.pbx.start()
        await floor.site.start_daemon()
    for seat in floor.seats:
        await becomes(seat.page, "callfloor.phone.state === 'registered' && callfloor.socket.isUp")
        await becomes(seat.page, "callfloor.phone.call === null")
    outcomes = await floor.told()
    assert outcomes[:2] == [("answered", "cy"), ("answered", "ann")]
    # The PBX lost them; which word fits hangs on how long they had waited.
    assert all(outcome.endswith("abandoned") and not agent for outcome, agent in outcomes[2:])
    await floor.ann.state("WRAP_UP")
    await floor.bo.state("AVAILABLE")
    async with floor.caller("4002", SECOND_HZ) as (_, ear):
        await floor.bo.rings()
        await floor.bo.answer()
        await ear.hears(BO_HZ)
        await floor.bo.hang_up()
    await floor.bo.state("WRAP_UP")
    assert await floor.told() == [("answered", "bo")]
