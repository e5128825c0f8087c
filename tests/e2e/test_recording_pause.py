"""Card data stays out of the recording: paused seconds are exact silence, whoever the caller passes through."""

from __future__ import annotations

import asyncio
import json
import wave
from array import array
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.conftest import Chromium
from tests.e2e.seat import Seat
from tests.e2e.shift import ANN_HZ, BO_HZ, Shift, begin_shift

pytestmark = [pytest.mark.pbx, pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

BLOCK_S = 0.1


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shift(asterisk_roots: dict[int, Path], chromium: Chromium) -> AsyncIterator[Shift]:
    """Ann and Bo at their pages."""
    async with begin_shift(asterisk_roots[22], chromium) as shift:
        yield shift


def stretches(path: Path) -> list[tuple[bool, float]]:
    """A recording as stretches of sound (True) and exact silence (False), with their seconds."""
    with wave.open(str(path), "rb") as sound:
        step = int(sound.getframerate() * BLOCK_S)
        samples = array("h", sound.readframes(sound.getnframes()))
    found: list[tuple[bool, float]] = []
    for start in range(0, len(samples) - step + 1, step):
        is_sound = any(samples[start : start + step])
        was_same = bool(found) and found[-1][0] == is_sound
        found[-1:] = [(is_sound, found[-1][1] + BLOCK_S)] if was_same else [*found[-1:], (is_sound, BLOCK_S)]
    return found


async def recording_is(seat: Seat, state: str) -> None:
    """Wait until the agent's card says so."""
    await seat.page.locator(f'.card .recording[data-recording="{state}"]').wait_for()


async def test_a_pause_is_exact_silence_survives_transfers_and_ends_only_by_order(shift: Shift) -> None:
    clock = asyncio.get_running_loop().time
    async with shift.talk() as caller:
        await recording_is(shift.ann, "on")
        await asyncio.sleep(2)
        await shift.ann.press("p")
        await recording_is(shift.ann, "paused")
        paused_at = clock()
        await asyncio.sleep(1)
        await shift.ann.transfer("Bo", is_attended=False)
        await shift.bo.rings()
        silent_s = clock() - paused_at
        await shift.bo.answer()
        await caller.ear.hears(BO_HZ, within_s=10)
        joined_at = clock()
        await recording_is(shift.bo, "paused")
        await shift.ann.be_available()
        await shift.bo.transfer("Ann", is_attended=True)
        await shift.ann.rings()
        silent_s += clock() - joined_at
        await shift.ann.answer()
        await shift.ann.hears(BO_HZ)
        await shift.bo.press("c")
        await caller.ear.hears(ANN_HZ, within_s=10)
        joined_at = clock()
        await recording_is(shift.ann, "paused")
        await asyncio.sleep(1)
        await shift.ann.press("p")
        await recording_is(shift.ann, "on")
        silent_s += clock() - joined_at
        await asyncio.sleep(2)
        await shift.ann.hang_up()
        assert await shift.told(caller.interaction) == ["ann", "bo", "ann"]
    row = await shift.site.row(
        "SELECT r.*, i.talk_s FROM recording r JOIN interaction i ON i.id = r.interaction"
        " WHERE r.interaction = :id AND r.state = 'complete'",
        id=caller.interaction,
    )
    assert row["audio_s"] == pytest.approx(row["talk_s"], abs=1.0)
    ((since, until),) = json.loads(row["paused"])
    assert since < until
    heard = [stretch for stretch in stretches(shift.site.pbx.recordings / row["file"]) if stretch[1] > 0.3]
    assert [is_sound for is_sound, _ in heard] == [True, False, True]
    assert heard[1][1] == pytest.approx(silent_s, abs=2.0)
    assert heard[1][1] > 3


async def test_a_caller_who_leaves_during_a_pause_leaves_it_closed_in_the_books(shift: Shift) -> None:
    async with shift.talk() as caller:
        await recording_is(shift.ann, "on")
        await shift.ann.press("p")
        await recording_is(shift.ann, "paused")
        await caller.hang_up()
        await shift.ann.state("WRAP_UP")
        await expect(shift.ann.page.locator(".card .recording")).to_be_hidden()
    row = await shift.site.row(
        "SELECT paused FROM recording WHERE interaction = :id AND state <> 'pending'", id=caller.interaction
    )
    ((since, until),) = json.loads(row["paused"])
    assert since < until
    # The next caller is recorded from the start.
    async with shift.talk():
        await recording_is(shift.ann, "on")


async def test_an_objection_by_button_ends_the_recording_and_deletes_what_there_is(shift: Shift) -> None:
    async with shift.talk() as caller:
        await recording_is(shift.ann, "on")
        await shift.ann.press("o")
        await recording_is(shift.ann, "on")
        await shift.ann.press("o")
        await recording_is(shift.ann, "off")
        await expect(shift.ann.page.locator(".card .recording")).to_have_text("Not recorded: the caller objected")
        row = await shift.site.row(
            "SELECT r.file, r.basis, i.recording_basis FROM recording r JOIN interaction i ON i.id = r.interaction"
            " WHERE r.interaction = :id AND r.state = 'objected'",
            id=caller.interaction,
        )
    assert (row["basis"], row["recording_basis"]) == ("announced", "objected")
    assert not (shift.site.pbx.recordings / row["file"]).exists()
    for action, username in (("recording_objected", "ann"), ("delete", "system")):
        audited = await shift.site.row(
            "SELECT * FROM audit WHERE object_id = :id AND action = :action", id=caller.interaction, action=action
        )
        assert audited["username"] == username
