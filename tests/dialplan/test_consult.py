"""Moving talks: consulting a colleague, handing over, taking back. Everybody may hang up at every step."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.dialplan.floor import BOTH_VERSIONS

if TYPE_CHECKING:
    from cti.demo.callers import Call, UasPhone
    from tests.dialplan.floor import Floor
    from tests.rtp import TonePhone

pytestmark = pytest.mark.pbx


@dataclass
class Talk:
    """A caller (440 Hz) speaks with ann (1000 Hz); bob (1700 Hz) is the one to consult."""

    floor: Floor
    call: Call
    caller: TonePhone
    caller_leg: str
    ann: TonePhone
    ann_phone: UasPhone
    ann_leg: str
    bob: TonePhone
    bob_phone: UasPhone

    async def consult(self, ring_s: int = 20) -> None:
        self.ann.forget_silence()
        self.caller.forget_silence()
        caller, ann = await self.floor.uniqueid(self.caller_leg), await self.floor.uniqueid(self.ann_leg)
        await self.floor.ami.set(self.caller_leg, CF_WITH=ann, CF_TARGET="queue:sales")
        await self.floor.ami.set(self.ann_leg, CF_WITH=caller, CF_ENDPOINT="bob", CF_RING_S=str(ring_s))
        await self.floor.redirect(self.caller_leg, "callfloor-park", self.ann_leg, "callfloor-consult")

    async def consult_and_speak(self) -> None:
        await self.consult()
        await asyncio.gather(self.ann.hears(1700), self.bob.hears(1000))

    def nobody_heard_silence(self) -> None:
        assert self.caller.longest_silence_s < 2
        assert self.ann.longest_silence_s < 2


async def talk(floor: Floor, **bobs_rule: object) -> Talk:
    await floor.beat("b1")
    ann_phone, ann = await floor.phone("ann", 1000)
    bob_phone, bob = await floor.phone("bob", 1700, **bobs_rule)
    call, caller = await floor.call()
    channel = await floor.accept(await floor.offer())
    await floor.ring(channel, "ann")
    await asyncio.gather(ann.hears(440), caller.hears(1000))
    return Talk(floor, call, caller, channel, ann, ann_phone, await floor.leg_of("ann"), bob, bob_phone)


@BOTH_VERSIONS
async def test_a_caller_is_handed_over_to_the_consulted_colleague(floor: Floor) -> None:
    it = await talk(floor)
    await it.consult_and_speak()
    it.nobody_heard_silence()
    await floor.ami.set(it.caller_leg, CF_WITH=await floor.uniqueid(await floor.leg_of("bob")))
    await floor.redirect(it.caller_leg, "callfloor-join")
    await asyncio.gather(it.bob.hears(440), it.caller.hears(1700))
    assert it.caller.longest_silence_s < 2
    await floor.gone(it.ann_leg)
    await floor.ami.do("Hangup", Channel=await floor.leg_of("bob"))
    assert (await it.call.wait()).steps == ("answered", "ended_by_other")
    assert len(list(floor.pbx.recordings.iterdir())) == 1


async def test_a_caller_who_hangs_up_after_the_handover_ends_the_colleagues_leg(floor: Floor) -> None:
    it = await talk(floor)
    await it.consult_and_speak()
    bob_leg = await floor.leg_of("bob")
    await floor.ami.set(it.caller_leg, CF_WITH=bob_leg)
    await floor.redirect(it.caller_leg, "callfloor-join")
    await it.bob.hears(440)
    await floor.ami.do("Hangup", Channel=it.caller_leg)
    await floor.gone(bob_leg)
    await floor.gone(it.ann_leg)


@pytest.mark.parametrize("bobs_rule", [{"behaviour": "reject"}, {"behaviour": "never"}])
async def test_a_colleague_who_does_not_answer_gives_the_agent_back_to_the_caller(
    floor: Floor, bobs_rule: dict[str, str]
) -> None:
    it = await talk(floor, **bobs_rule)
    await it.consult(ring_s=3)
    await floor.ami.event("DialEnd", lambda message: message.get("DestChannel", "").startswith("PJSIP/bob-"))
    await asyncio.gather(it.ann.hears(440), it.caller.hears(1000))
    it.nobody_heard_silence()
    await floor.ami.do("Hangup", Channel=it.ann_leg)
    assert (await it.call.wait()).steps == ("answered", "ended_by_other")


async def test_a_colleague_who_hangs_up_gives_the_agent_back_to_the_caller(floor: Floor) -> None:
    it = await talk(floor)
    await it.consult_and_speak()
    await floor.ami.do("Hangup", Channel=await floor.leg_of("bob"))
    await asyncio.gather(it.ann.hears(440), it.caller.hears(1000))
    it.nobody_heard_silence()
    await floor.ami.do("Hangup", Channel=it.caller_leg)
    await floor.gone(it.ann_leg)


async def test_the_agent_takes_the_caller_back_while_the_colleague_rings(floor: Floor) -> None:
    it = await talk(floor, behaviour="never")
    await it.consult()
    bob_leg = await floor.leg_of("bob")
    await it.ann.hears_sound()
    await floor.ami.set(it.ann_leg, CF_WITH=it.caller_leg)
    await floor.redirect(it.ann_leg, "callfloor-join")
    await floor.gone(bob_leg)
    await asyncio.gather(it.ann.hears(440), it.caller.hears(1000))
    it.nobody_heard_silence()


@BOTH_VERSIONS
async def test_the_agent_takes_the_caller_back_out_of_the_consultation(floor: Floor) -> None:
    it = await talk(floor)
    await it.consult_and_speak()
    await floor.ami.set(it.ann_leg, CF_WITH=it.caller_leg)
    await floor.redirect(it.ann_leg, "callfloor-join")
    await floor.gone(await floor.leg_of("bob"))
    await asyncio.gather(it.ann.hears(440), it.caller.hears(1000))
    it.nobody_heard_silence()
    await floor.ami.do("Hangup", Channel=it.ann_leg)
    assert (await it.call.wait()).steps == ("answered", "ended_by_other")


async def test_a_second_consultation_works_after_the_first_was_taken_back(floor: Floor) -> None:
    it = await talk(floor)
    await it.consult_and_speak()
    await floor.ami.set(it.ann_leg, CF_WITH=it.caller_leg)
    await floor.redirect(it.ann_leg, "callfloor-join")
    await floor.gone(await floor.leg_of("bob"))
    await asyncio.gather(it.ann.hears(440), it.caller.hears(1000))
    await it.bob_phone.wait_for_result()
    await it.consult_and_speak()
    it.nobody_heard_silence()


@BOTH_VERSIONS
async def test_an_agent_who_hangs_up_while_consulting_sends_the_caller_to_the_target(floor: Floor) -> None:
    it = await talk(floor)
    await it.consult_and_speak()
    await floor.ami.do("Hangup", Channel=it.ann_leg)
    again = await floor.offer(2)
    assert (again["Channel"], again["Target"]) == (it.caller_leg, "queue:sales")
    await floor.gone(await floor.leg_of("bob"))
    await it.caller.hears_sound()
    assert it.caller.longest_silence_s < 2


async def test_an_agent_who_hangs_up_while_the_colleague_rings_stops_the_ringing(floor: Floor) -> None:
    it = await talk(floor, behaviour="never")
    await it.consult()
    bob_leg = await floor.leg_of("bob")
    await floor.ami.do("Hangup", Channel=it.ann_leg)
    await floor.gone(bob_leg)
    assert (await floor.offer(2))["Target"] == "queue:sales"


async def test_a_caller_who_leaves_during_the_consultation_leaves_two_colleagues_talking(floor: Floor) -> None:
    it = await talk(floor)
    await it.consult_and_speak()
    bob_leg = await floor.leg_of("bob")
    await floor.ami.do("Hangup", Channel=it.caller_leg)
    await floor.gone(it.caller_leg)
    await asyncio.gather(it.ann.hears(1700), it.bob.hears(1000))
    await floor.ami.do("Hangup", Channel=bob_leg)
    await floor.gone(it.ann_leg)


async def test_a_blind_transfer_offers_the_caller_to_its_target_and_frees_the_agent(floor: Floor) -> None:
    it = await talk(floor)
    await floor.ami.set(it.caller_leg, CF_TARGET="agent:bob")
    await floor.redirect(it.caller_leg, "callfloor-hold", it.ann_leg, "callfloor-end")
    again = await floor.offer(2)
    assert (again["Channel"], again["Target"]) == (it.caller_leg, "agent:bob")
    assert int(again["Waited"]) <= 1, "the wait begins anew"
    await floor.gone(it.ann_leg)
    await floor.accept(again)
    await floor.ring(it.caller_leg, "bob")
    await asyncio.gather(it.bob.hears(440), it.caller.hears(1700))
    await floor.ami.do("Hangup", Channel=await floor.leg_of("bob"))
    await it.call.wait()
    assert len(list(floor.pbx.recordings.iterdir())) == 1
    assert it.caller.longest_silence_s < 2


async def test_an_agent_whose_phone_falls_silent_while_the_caller_waits_gives_the_caller_back(floor: Floor) -> None:
    it = await talk(floor)
    await it.consult_and_speak()
    it.ann.fall_silent()
    again = await floor.offer(2, within_s=15)
    assert (again["Channel"], again["Target"]) == (it.caller_leg, "queue:sales")
