"""A waiting caller: offered, kept by a living daemon, carried by the dialplan without one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.dialplan.floor import BOTH_VERSIONS, OLD_VERSION_IN_THE_SOAK
from tests.rtp import tone

if TYPE_CHECKING:
    from pathlib import Path

    from tests.dialplan.floor import Floor

pytestmark = pytest.mark.pbx


async def fell_back(floor: Floor, *, within_s: float = 8.0) -> None:
    await floor.ami.event("UserEvent", lambda message: message["UserEvent"] == "CallfloorFallback", within_s=within_s)


async def test_a_caller_is_offered_with_all_that_is_known_of_them(floor: Floor) -> None:
    await floor.beat("b1")
    _, ear = await floor.call("+4915112345", name="Ada Lovelace, née Byron")
    offer = await floor.offer()
    assert offer["Ani"] == "+4915112345"
    assert offer["Aniname"] == "Ada%20Lovelace%2C%20n%C3%A9e%20Byron"
    assert (offer["Withheld"], offer["Dnis"], offer["Target"]) == ("0", "4930111", "")
    assert offer["Waited"] in ("0", "1")  # whole seconds of the clock on the wall
    assert offer["Channelid"] == offer["Uniqueid"]
    await ear.hears_sound()


async def test_a_withheld_number_is_not_passed_on(floor: Floor) -> None:
    await floor.beat("b1")
    await floor.call("")
    offer = await floor.offer()
    assert (offer["Ani"], offer["Withheld"]) == ("", "1")


async def test_a_number_with_letters_in_it_is_unknown_rather_than_somebody_elses(floor: Floor) -> None:
    await floor.beat("b1")
    await floor.call("49x151ext12345")
    offer = await floor.offer()
    assert (offer["Ani"], offer["Withheld"]) == ("", "1")


async def test_separators_in_a_number_do_not_matter(floor: Floor) -> None:
    await floor.beat("b1")
    await floor.call("+49(151)12.345-6")
    offer = await floor.offer()
    assert (offer["Ani"], offer["Withheld"]) == ("+49151123456", "0")


@BOTH_VERSIONS
async def test_without_a_daemon_the_caller_reaches_a_member_of_the_fall_back_queue(floor: Floor) -> None:
    _, agent = await floor.phone("ann")
    _, caller = await floor.call()
    await fell_back(floor)
    await asyncio.gather(agent.hears(440), caller.hears(1000))
    assert len(floor.offers()) == 1
    assert caller.longest_silence_s < 2


async def test_a_dialled_number_without_a_route_falls_back_to_the_first_queue(floor: Floor) -> None:
    _, cid = await floor.phone("cid")
    await floor.call(dnis="4930999")
    await asyncio.gather(fell_back(floor), cid.hears(440, within_s=10))


@OLD_VERSION_IN_THE_SOAK
async def test_an_accepted_caller_stays_while_the_heart_beats_and_falls_back_when_it_stops(floor: Floor) -> None:
    heart = await floor.beat("b1")
    _, agent = await floor.phone("ann")
    _, caller = await floor.call()
    channel = await floor.accept(await floor.offer())
    turns = 0
    while turns < 6:  # past the 3 unanswered and the 5 stale turns
        answer = await floor.ami.do("Getvar", Channel=channel, Variable="CF_PLACE")
        assert answer["Value"] == "hold"
        await asyncio.sleep(1)
        turns += 1
    heart.cancel()
    await fell_back(floor, within_s=10)
    await agent.hears(440)
    assert caller.longest_silence_s < 2


async def test_a_caller_whom_the_daemon_does_not_take_falls_back_although_it_beats(floor: Floor) -> None:
    await floor.beat("b1")
    await floor.call()
    await floor.offer()
    await fell_back(floor)


async def test_a_restarted_daemon_is_offered_the_caller_again_with_the_time_waited(floor: Floor) -> None:
    heart = await floor.beat("b1")
    await floor.call()
    first = await floor.offer()
    channel = await floor.accept(first)
    await asyncio.sleep(2)
    heart.cancel()
    await floor.beat("b2")
    second = await floor.offer(2)
    assert second["Channelid"] == first["Channelid"]
    assert int(second["Waited"]) >= 2
    assert (await floor.ami.do("Getvar", Channel=channel, Variable="CF_ACK"))["Value"] == ""


async def test_an_acknowledgement_of_an_earlier_start_does_not_count(floor: Floor) -> None:
    await floor.beat("b2")
    await floor.call()
    await floor.accept(await floor.offer(), boot="b1")
    await fell_back(floor)


async def test_with_nobody_at_all_the_caller_hears_why_and_the_call_ends(floor: Floor) -> None:
    call, caller = await floor.call()
    await fell_back(floor)
    caller.forget_silence()
    result = await call.wait()
    assert result.steps == ("answered", "ended_by_other")
    assert caller.packets > 0
    assert caller.longest_silence_s < 2


async def test_a_caller_who_leaves_while_waiting_leaves_nothing_behind(floor: Floor) -> None:
    await floor.beat("b1")
    call, _ = await floor.call(stay_s=1.0)
    channel = await floor.accept(await floor.offer())
    await floor.gone(channel)
    assert (await call.wait()).steps == ("answered", "gave_up")
    assert "0 active channels" in await floor.pbx.cli("core show channels count")


async def test_parties_with_voices_of_their_own_are_heard(floor: Floor, tmp_path: Path) -> None:
    (tmp_path / "caller.alaw").write_bytes(tone(600, 1.0))
    (tmp_path / "agent.alaw").write_bytes(tone(900, 1.0))
    _, caller = await floor.call()
    await floor.phone("ann", media_port=None, voice=tmp_path / "agent.alaw")
    await caller.hears(900, within_s=15)
    _, other_agent = await floor.phone("bob")
    result = asyncio.create_task(floor.callers.call("49151", "Bea", "4930111", 4.0, 4.0, tmp_path / "caller.alaw"))
    await other_agent.hears(600, within_s=15)
    assert (await result).steps == ("answered", "gave_up")
