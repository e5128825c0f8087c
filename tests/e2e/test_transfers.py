"""Handing callers on, on real parts: blind, to a queue, after a talk, without waiting, and back; anybody may hang up at
every step. All of it in one shift of two agents, who never load their pages anew."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.conftest import Chromium
from tests.desk.watching import becomes
from tests.e2e.seat import Seat
from tests.e2e.shift import ANN_HZ, BO_HZ, CALLER_HZ, Caller, Shift, begin_shift

pytestmark = [pytest.mark.pbx, pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

NOTE = "Wants 200 Mbit/s from May on"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shift(asterisk_roots: dict[int, Path], chromium: Chromium) -> AsyncIterator[Shift]:
    """Ann and Bo at their pages."""
    async with begin_shift(asterisk_roots[22], chromium) as shift:
        yield shift


async def rings_at(seat: Seat, caller: Caller) -> None:
    """The phone rings, and the caller is not in silence meanwhile."""
    await seat.rings()
    await caller.ear.hears_sound()


async def consult_and_speak(shift: Shift, caller: Caller) -> None:
    """Ann asks Bo, who answers; the two hear each other and the caller hears music."""
    await shift.ann.transfer("Bo", is_attended=True)
    await shift.bo.rings()
    await shift.bo.answer()
    await shift.ann.hears(BO_HZ)
    await shift.bo.hears(ANN_HZ)
    await caller.ear.hears_sound()
    assert caller.ear.share_of(ANN_HZ) < 0.3
    assert caller.ear.share_of(BO_HZ) < 0.3


async def both_hear_each_other(shift: Shift, caller: Caller, *, is_bo: bool) -> None:
    """The caller and one of the two agents."""
    seat = shift.bo if is_bo else shift.ann
    await caller.ear.hears(seat.hz, within_s=10)
    await seat.hears(CALLER_HZ)


async def test_a_blind_transfer_shows_customer_and_note_while_the_colleagues_phone_rings(shift: Shift) -> None:
    async with shift.talk() as caller:
        await shift.ann.write(NOTE)
        await shift.ann.transfer("Bo", is_attended=False)
        await rings_at(shift.bo, caller)
        card = shift.bo.card("ringing")
        await expect(card).to_contain_text("Li Wei 李伟")
        await expect(card).to_contain_text("Transferred byAnn Smith")
        await expect(card.locator("textarea")).to_have_value(NOTE)
        await shift.ann.state("WRAP_UP")
        await shift.bo.answer()
        await both_hear_each_other(shift, caller, is_bo=True)
        assert await shift.bo.interaction() == caller.interaction
        await shift.bo.hang_up()
        await shift.bo.state("WRAP_UP")
        assert (await caller.call.wait()).steps[-1] == "ended_by_other"
        assert await shift.told(caller.interaction) == ["ann", "bo"]
        row = await shift.site.row("SELECT * FROM interaction WHERE id = :id", id=caller.interaction)
        assert (row["agent"], row["from_agent"], row["note"]) == ("bo", "ann", NOTE)


async def test_a_blind_transfer_to_a_queue_rings_somebody_who_works_there(shift: Shift) -> None:
    async with shift.talk() as caller:
        await shift.ann.transfer("Support", is_attended=False)
        await rings_at(shift.bo, caller)
        card = shift.bo.card("ringing")
        await expect(card).to_contain_text("Support")
        await expect(card).to_contain_text("Transferred byAnn Smith")
        await shift.ann.state("WRAP_UP")
        await shift.bo.answer()
        await both_hear_each_other(shift, caller, is_bo=True)
        await shift.bo.hang_up()
        assert await shift.told(caller.interaction) == ["ann", "bo"]
        row = await shift.site.row("SELECT * FROM interaction WHERE id = :id", id=caller.interaction)
        assert (row["queue"], row["agent"]) == ("support", "bo")


async def test_a_blind_transfer_that_nobody_takes_comes_back_and_may_be_transferred_again(shift: Shift) -> None:
    async with shift.talk() as caller:
        await shift.ann.transfer("Bo", is_attended=False)
        await rings_at(shift.bo, caller)
        await shift.bo.press("Shift+F2")
        await shift.bo.state("NOT_READY")
        await expect(shift.bo.card()).to_have_count(0)
        await shift.ann.ask_for_work()
        await rings_at(shift.ann, caller)
        await shift.ann.answer()
        await both_hear_each_other(shift, caller, is_bo=False)
        await shift.bo.be_available()
        await shift.ann.transfer("Bo", is_attended=False)
        await rings_at(shift.bo, caller)
        await shift.bo.answer()
        await both_hear_each_other(shift, caller, is_bo=True)


async def test_a_consulted_colleague_takes_over_and_the_talk_is_one_recording(shift: Shift) -> None:
    async with shift.talk() as caller:
        await shift.ann.write(NOTE)
        await shift.ann.transfer("Bo", is_attended=True)
        await rings_at(shift.bo, caller)
        await expect(shift.bo.card("ringing").locator("textarea")).to_have_value(NOTE)
        await expect(shift.bo.card("ringing")).to_contain_text("Transferred byAnn Smith")
        await shift.bo.answer()
        await shift.ann.hears(BO_HZ)
        await shift.bo.hears(ANN_HZ)
        await caller.ear.hears_sound()
        await shift.ann.card("consulting").wait_for()
        await shift.bo.card("consulting").wait_for()
        await shift.ann.press("c")
        await both_hear_each_other(shift, caller, is_bo=True)
        await shift.ann.state("WRAP_UP")
        await shift.bo.card("talking").wait_for()
        await expect(shift.bo.card().locator("textarea")).to_have_value(NOTE)
        await shift.bo.hang_up()
        await shift.bo.state("WRAP_UP")
        assert await shift.told(caller.interaction) == ["ann", "bo"]
        row = await shift.site.row("SELECT * FROM interaction WHERE id = :id", id=caller.interaction)
        assert (row["agent"], row["from_agent"]) == ("bo", "ann")
        recording = await shift.site.row(
            "SELECT * FROM recording WHERE interaction = :id AND state <> 'pending'", id=caller.interaction
        )
        assert recording["state"] == "complete"
        assert recording["audio_s"] == pytest.approx(row["talk_s"], abs=1.0)
        files = await shift.site.rows("SELECT file FROM recording WHERE interaction = :id", id=caller.interaction)
        assert len(files) == 1


async def test_the_agent_goes_back_to_the_caller_and_is_given_back_when_the_colleague_hangs_up(shift: Shift) -> None:
    async with shift.talk() as caller:
        await consult_and_speak(shift, caller)
        await shift.ann.press("b")
        await both_hear_each_other(shift, caller, is_bo=False)
        await shift.bo.state("AVAILABLE")
        await expect(shift.bo.card()).to_have_count(0)
        await shift.ann.card("talking").wait_for()
        await consult_and_speak(shift, caller)
        await shift.bo.hang_up()
        await both_hear_each_other(shift, caller, is_bo=False)
        await shift.bo.state("AVAILABLE")
        await shift.ann.card("talking").wait_for()
        await shift.ann.hang_up()
        await shift.ann.state("WRAP_UP")
        assert await shift.told(caller.interaction) == ["ann", "bo", "bo"]
        row = await shift.site.row("SELECT * FROM interaction WHERE id = :id", id=caller.interaction)
        assert (row["agent"], row["from_agent"]) == ("ann", "")


async def test_a_colleague_who_does_not_answer_leaves_the_agent_with_the_caller(shift: Shift) -> None:
    async with shift.talk() as caller:
        await shift.ann.transfer("Bo", is_attended=True)
        await rings_at(shift.bo, caller)
        await expect(shift.bo.card()).to_have_count(0, timeout=15_000)
        await both_hear_each_other(shift, caller, is_bo=False)
        await shift.bo.state("AVAILABLE")
        await shift.ann.card("talking").wait_for()
        await shift.ann.transfer("Bo", is_attended=True)
        await rings_at(shift.bo, caller)
        await shift.ann.press("b")
        await both_hear_each_other(shift, caller, is_bo=False)
        await expect(shift.bo.card()).to_have_count(0)
        await shift.bo.state("AVAILABLE")


async def test_a_caller_put_through_while_the_colleague_still_rings_gets_that_colleague(shift: Shift) -> None:
    async with shift.talk() as caller:
        await shift.ann.write(NOTE)
        await shift.ann.transfer("Bo", is_attended=True)
        await rings_at(shift.bo, caller)
        first_ms = await shift.bo.page.evaluate("callfloor.phone.call.sinceMs")
        await shift.ann.press("c")
        await shift.ann.state("WRAP_UP")
        await becomes(shift.bo.page, f"callfloor.phone.call?.sinceMs > {first_ms}")
        await rings_at(shift.bo, caller)
        await expect(shift.bo.card("ringing").locator("textarea")).to_have_value(NOTE)
        await shift.bo.answer()
        await both_hear_each_other(shift, caller, is_bo=True)
        await shift.bo.hang_up()
        assert set(await shift.told(caller.interaction)) == {"ann", "bo"}


async def test_a_caller_who_leaves_during_the_consultation_leaves_two_colleagues_talking(shift: Shift) -> None:
    async with shift.talk() as caller:
        await consult_and_speak(shift, caller)
        await caller.hang_up()
        await caller.call.wait()
        await expect(shift.ann.card().locator(".consult")).to_be_hidden()
        await shift.ann.hears(BO_HZ)
        await shift.bo.hears(ANN_HZ)
        await shift.ann.hang_up()
        await shift.ann.state("WRAP_UP")
        await shift.bo.state("AVAILABLE")
        row = await shift.site.row(
            "SELECT * FROM interaction WHERE id = :id AND ended_at IS NOT NULL", id=caller.interaction
        )
        assert (row["outcome"], row["agent"]) == ("answered", "ann")


async def test_an_agent_who_hangs_up_while_consulting_gives_the_caller_back_to_the_queue(shift: Shift) -> None:
    async with shift.talk() as caller:
        await consult_and_speak(shift, caller)
        await shift.ann.hang_up()
        await shift.ann.state("WRAP_UP")
        await shift.bo.state("AVAILABLE")
        await shift.ann.ask_for_work()
        await rings_at(shift.ann, caller)
        assert await shift.ann.interaction() == caller.interaction
        await shift.ann.answer()
        await both_hear_each_other(shift, caller, is_bo=False)


async def test_a_caller_who_leaves_in_the_moment_of_the_handover_leaves_nobody_stuck(shift: Shift) -> None:
    async with shift.talk() as caller:
        await consult_and_speak(shift, caller)
        await shift.ann.press("c")
        await caller.hang_up()
        await caller.call.wait()
        # Whoever of the two was still connected with the other may end it.
        await shift.ann.hang_up()
        await shift.ann.state("WRAP_UP")
        await becomes(shift.bo.page, "callfloor.phone.call === null")
        await becomes(
            shift.bo.page, "['WRAP_UP', 'AVAILABLE'].includes(document.getElementById('state-bar').dataset.state)"
        )
        row = await shift.site.row(
            "SELECT * FROM interaction WHERE id = :id AND ended_at IS NOT NULL", id=caller.interaction
        )
        assert row["outcome"] == "answered"
