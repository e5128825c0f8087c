"""From ringing an agent's phone to the end of the talk, and what is recorded of it."""

from __future__ import annotations

import asyncio
import struct
import wave
from typing import TYPE_CHECKING

import pytest

from tests.dialplan.floor import BOTH_VERSIONS
from tests.rtp import share_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.dialplan.floor import Floor

pytestmark = pytest.mark.pbx


async def sound(path: Path) -> list[int]:
    """The samples of a recording, once Asterisk has finished it: then its header says how long it is."""
    async with asyncio.timeout(15):
        while not 44 < path.stat().st_size == 44 + int.from_bytes(path.read_bytes()[40:44], "little"):
            await asyncio.sleep(0.05)
    with wave.open(str(path)) as recording:
        assert (recording.getframerate(), recording.getnchannels(), recording.getsampwidth()) == (8000, 1, 2)
        frames = recording.readframes(recording.getnframes())
    return list(struct.unpack(f"<{len(frames) // 2}h", frames))


@BOTH_VERSIONS
async def test_both_hear_each_other_and_exactly_the_talk_is_recorded(floor: Floor) -> None:
    await floor.beat("b1")
    phone, agent = await floor.phone("ann")
    call, caller = await floor.call()
    channel = await floor.accept(await floor.offer())
    await caller.hears_sound()
    await asyncio.sleep(2)  # a wait that must not be in the recording
    await floor.ring(channel, "ann")
    await asyncio.gather(agent.hears(440), caller.hears(1000))
    started = await floor.ami.event("UserEvent", lambda message: message["UserEvent"] == "CallfloorRecording")
    await asyncio.sleep(3)
    await floor.ami.do("Hangup", Channel=await floor.leg_of("ann"))
    assert (await call.wait()).steps == ("answered", "ended_by_other")
    talked_s = (await phone.wait_for_result()).talked_s
    assert started["File"] == f"{started['Channelid']}.wav"
    samples = await sound(floor.pbx.recordings / started["File"])
    assert abs(len(samples) / 8000 - talked_s) < 1
    middle = samples[8000:16000]
    assert share_of(440, middle) > 0.2
    assert share_of(1000, middle) > 0.2
    assert share_of(440, middle) + share_of(1000, middle) > 0.8
    assert caller.longest_silence_s < 2


async def test_a_paused_recording_is_silent_for_as_long_as_it_was_paused(floor: Floor) -> None:
    await floor.beat("b1")
    phone, agent = await floor.phone("ann")
    await floor.call()
    channel = await floor.accept(await floor.offer())
    await floor.ring(channel, "ann")
    await agent.hears(440)
    await floor.ami.do("MixMonitorMute", Channel=channel, Direction="both", State="1")
    await asyncio.sleep(2)
    await floor.ami.do("MixMonitorMute", Channel=channel, Direction="both", State="0")
    await asyncio.sleep(1)
    await floor.ami.do("Hangup", Channel=channel)
    talked_s = (await phone.wait_for_result()).talked_s
    samples = await sound(next(floor.pbx.recordings.iterdir()))
    zeros = sum(1 for sample in samples if sample == 0)
    assert abs(zeros / 8000 - 2) < 0.5
    assert abs(len(samples) / 8000 - talked_s) < 1


async def test_without_the_order_nothing_is_recorded(floor: Floor) -> None:
    await floor.beat("b1")
    phone, agent = await floor.phone("ann")
    await floor.call()
    channel = await floor.accept(await floor.offer())
    await floor.ring(channel, "ann", record=False)
    await agent.hears(440)
    await floor.ami.do("Hangup", Channel=channel)
    await phone.wait_for_result()
    assert list(floor.pbx.recordings.iterdir()) == []


async def test_an_order_that_nobody_answered_does_not_outlive_its_ring(floor: Floor) -> None:
    await floor.beat("b1")
    await floor.phone("ann", behaviour="reject")
    bob, ear = await floor.phone("bob")
    await floor.call()
    channel = await floor.accept(await floor.offer())
    await floor.ring(channel, "ann", record=True)
    await floor.accept(await floor.offer(2))
    await floor.ring(channel, "bob", record=False)
    await ear.hears(440)
    await floor.ami.do("Hangup", Channel=channel)
    await bob.wait_for_result()
    # Arming alone leaves the header of a WAV and nothing in it.
    assert [path.stat().st_size for path in floor.pbx.recordings.iterdir()] == [44]
    assert not [message for message in floor.ami.all("UserEvent") if message["UserEvent"] == "CallfloorRecording"]


@pytest.mark.parametrize("rule", [{"behaviour": "never"}, {"behaviour": "reject"}])
async def test_a_caller_whom_nobody_answers_waits_on_with_the_time_waited(floor: Floor, rule: dict[str, str]) -> None:
    await floor.beat("b1")
    await floor.phone("ann", **rule)
    _, caller = await floor.call()
    channel = await floor.accept(await floor.offer())
    await asyncio.sleep(1)
    await floor.ring(channel, "ann", ring_s=2)
    again = await floor.offer(2)
    assert again["Channel"] == channel
    assert int(again["Waited"]) >= 1
    assert caller.longest_silence_s < 2


async def test_a_phone_that_is_not_there_sends_the_caller_back_at_once(floor: Floor) -> None:
    await floor.beat("b1")
    await floor.call()
    channel = await floor.accept(await floor.offer())
    await floor.ring(channel, "ann")
    await floor.offer(2)


async def test_a_caller_who_gives_up_while_it_rings_stops_the_ringing(floor: Floor) -> None:
    await floor.beat("b1")
    phone, _ = await floor.phone("ann", behaviour="never")
    call, _ = await floor.call(stay_s=2.5)
    channel = await floor.accept(await floor.offer())
    await floor.ring(channel, "ann")
    assert (await phone.wait_for_result()).steps == ("ringing", "cancelled")
    assert (await call.wait()).steps == ("answered", "gave_up")


async def test_a_phone_that_falls_silent_loses_its_caller_to_the_hold_loop(floor: Floor) -> None:
    await floor.beat("b1")
    _, agent = await floor.phone("ann")
    call, caller = await floor.call()
    channel = await floor.accept(await floor.offer())
    await floor.ring(channel, "ann")
    await agent.hears(440)
    agent.fall_silent()
    again = await floor.offer(2, within_s=15)
    assert again["Channel"] == channel
    assert int(again["Waited"]) <= 1, "the wait begins anew after a talk"
    await caller.hears_sound()
    assert "ended_by_other" not in call.steps


async def test_a_phone_that_forwards_makes_nothing_ring(floor: Floor) -> None:
    await floor.beat("b1")
    await floor.phone("ann", behaviour="forward", target="bob")
    bob, _ = await floor.phone("bob")
    await floor.call()
    channel = await floor.accept(await floor.offer())
    await floor.ring(channel, "ann")
    await floor.offer(2)
    assert bob.steps == ()
    assert all(begun["DestChannel"].startswith("PJSIP/ann-") for begun in floor.ami.all("DialBegin"))


async def test_an_agents_phone_that_transfers_by_itself_moves_the_caller_to_a_colleague(floor: Floor) -> None:
    await floor.beat("b1")
    await floor.phone("ann", behaviour="refer", target="bob", talk_s=1.0)
    _, bob = await floor.phone("bob")
    _, caller = await floor.call()
    channel = await floor.accept(await floor.offer())
    await floor.ring(channel, "ann")
    await asyncio.gather(bob.hears(440, within_s=10), caller.hears(1000, within_s=10))


async def test_a_caller_transferred_by_a_phone_to_nobody_waits_again(floor: Floor) -> None:
    await floor.beat("b1")
    await floor.phone("ann", behaviour="refer", target="004912345", talk_s=1.0)
    await floor.call()
    channel = await floor.accept(await floor.offer())
    await floor.ring(channel, "ann")
    assert (await floor.offer(2, within_s=10))["Channel"] == channel
