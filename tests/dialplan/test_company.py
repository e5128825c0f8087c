"""Company on a call, measured in tones: who hears whom when a supervisor listens, whispers, barges in or takes over."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from cti import commands as c
from cti import events as e
from cti.asterisk.switch import AsteriskSwitch, PbxAddress
from cti.ids import AgentId, InteractionId, LegId, PbxId
from tests.asterisk.sip_phone import Phone
from tests.dialplan.floor import OLD_VERSION_IN_THE_SOAK
from tests.rtp import TonePhone, write_prompt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from cti.commands import Command
    from cti.demo.callers import Call
    from tests.dialplan.floor import Floor

pytestmark = pytest.mark.pbx
PBX = PbxId("pbx1")
CALLER, AGENT, SUPERVISOR = 440, 1000, 1700
_TURNS = itertools.count(1)


@dataclass
class Talk:
    """A caller (440 Hz) speaks with an agent (1000 Hz)."""

    floor: Floor
    call: Call
    caller: TonePhone
    caller_leg: str
    agent: TonePhone
    agent_leg: str


async def talk(floor: Floor, endpoint: str = "100") -> Talk:
    await floor.beat("b1")
    _, agent = await floor.phone(endpoint, AGENT)
    call, caller = await floor.call()
    channel = await floor.accept(await floor.offer())
    await floor.ring(channel, endpoint)
    await asyncio.gather(agent.hears(CALLER), caller.hears(AGENT))
    return Talk(floor, call, caller, channel, agent, await floor.leg_of(endpoint))


async def ring(floor: Floor, endpoint: str, context: str, of: str, **variables: str) -> str:
    """What the daemon does to have a phone join a call; gives the leg's Uniqueid."""
    leg = f"callfloor-spy-{next(_TURNS)}"
    variables |= {"CF_WITH": await floor.uniqueid(of), "FORWARD_CONTEXT": "callfloor-nowhere"}
    await floor.ami.do(
        "Originate",
        Channel=f"PJSIP/{endpoint}",
        ChannelId=leg,
        Context=context,
        Exten="s",
        Priority="1",
        Timeout="20000",
        CallerID="<cabc>",
        Variable=",".join(f"{name}={value}" for name, value in variables.items()),
        Async="true",
    )
    return leg


async def spied(floor: Floor, leg: str, mode: str) -> None:
    await floor.ami.event(
        "UserEvent",
        lambda message: (
            (message["UserEvent"], message.get("Channelid"), message.get("Mode")) == ("CallfloorSpy", leg, mode)
        ),
    )


@OLD_VERSION_IN_THE_SOAK
async def test_a_whisper_is_heard_by_the_agent_and_not_by_the_caller_until_the_supervisor_barges_in(
    floor: Floor,
) -> None:
    it = await talk(floor)
    _, ear = await floor.phone("cid", SUPERVISOR)
    leg = await ring(floor, "cid", "callfloor-spy", it.agent_leg, CF_MODE="whisper")
    await spied(floor, leg, "whisper")
    await asyncio.gather(ear.hears_both(CALLER, AGENT), it.agent.hears_both(CALLER, SUPERVISOR))
    await it.caller.never_hears(SUPERVISOR, for_s=1)
    await it.caller.hears(AGENT)
    await floor.ami.set(leg, CF_MODE="barge")
    await floor.redirect(leg, "callfloor-spy")
    await spied(floor, leg, "barge")
    await asyncio.gather(
        it.agent.hears_both(CALLER, SUPERVISOR),
        it.caller.hears_both(AGENT, SUPERVISOR),
        ear.hears_both(CALLER, AGENT),
    )


@OLD_VERSION_IN_THE_SOAK
async def test_listening_ends_with_the_call_and_hears_nothing_of_a_longer_name_nor_of_the_next_call(
    floor: Floor,
) -> None:
    it = await talk(floor)
    _, other = await floor.phone("1001", 2500)
    _, ear = await floor.phone("cid", SUPERVISOR)
    leg = await ring(floor, "cid", "callfloor-spy", it.agent_leg, CF_MODE="listen")
    await ear.hears_both(CALLER, AGENT)
    await it.agent.never_hears(SUPERVISOR, for_s=0.5)
    await floor.call("4915112346")
    channel = await floor.accept(await floor.offer(2))
    await floor.ring(channel, "1001")
    await other.hears(CALLER)
    await ear.never_hears(2500, for_s=1)
    await floor.ami.do("Hangup", Channel=it.caller_leg)
    await spied(floor, leg, "over")
    await floor.ami.event("Hangup", lambda message: message["Uniqueid"] == leg)
    heard = ear.packets
    await floor.call("4915112347")
    channel = await floor.accept(await floor.offer(3))
    await floor.ring(channel, "100")
    await it.agent.hears(CALLER)
    assert ear.packets == heard


@pytest.mark.long
async def test_no_key_leads_a_listener_to_another_call(floor: Floor) -> None:
    it = await talk(floor)
    _, other = await floor.phone("1001", 2500)
    _, ear = await floor.phone("cid", SUPERVISOR)
    await floor.call("4915112346")
    channel = await floor.accept(await floor.offer(2))
    await floor.ring(channel, "1001")
    await other.hears(CALLER)
    leg = await ring(floor, "cid", "callfloor-spy", it.agent_leg, CF_MODE="listen")
    await ear.hears_both(CALLER, AGENT)
    channel = (await floor.ami.event("ChanSpyStart", lambda message: message["SpyerUniqueid"] == leg))["SpyerChannel"]
    await floor.ami.do("PlayDTMF", Channel=channel, Digit="*", Duration="100", Receive="true")
    await asyncio.gather(ear.never_hears(2500, for_s=2), it.agent.never_hears(SUPERVISOR, for_s=2))
    await floor.ami.event("Hangup", lambda message: message["Uniqueid"] == leg)
    assert not [told for told in floor.ami.all("UserEvent") if told.get("Mode") == "over"]


@OLD_VERSION_IN_THE_SOAK
async def test_a_caller_is_taken_over_and_talks_until_then(floor: Floor) -> None:
    it = await talk(floor)
    _, ear = await floor.phone("cid", SUPERVISOR, answer_after_s=1.0)
    leg = await ring(floor, "cid", "callfloor-take", it.caller_leg)
    it.caller.forget_silence()
    await asyncio.gather(ear.hears(CALLER), it.caller.hears(SUPERVISOR))
    assert it.caller.longest_silence_s < 1
    await floor.gone(it.agent_leg)
    assert len(list(floor.pbx.recordings.iterdir())) == 1
    await floor.ami.do("Hangup", Channel=leg)
    assert (await it.call.wait()).steps == ("answered", "ended_by_other")


@pytest.mark.long
async def test_a_caller_whose_new_agents_phone_dies_is_offered_again(floor: Floor) -> None:
    it = await talk(floor)
    _, ear = await floor.phone("cid", SUPERVISOR)
    await ring(floor, "cid", "callfloor-take", it.caller_leg)
    await asyncio.gather(ear.hears(CALLER), it.caller.hears(SUPERVISOR))
    ear.fall_silent()
    await floor.offer(2, within_s=15)


@pytest.mark.long
async def test_a_listener_takes_the_caller_over_without_being_rung_again(floor: Floor) -> None:
    it = await talk(floor)
    _, ear = await floor.phone("cid", SUPERVISOR)
    leg = await ring(floor, "cid", "callfloor-spy", it.agent_leg, CF_MODE="listen")
    await ear.hears_both(CALLER, AGENT)
    await floor.ami.set(leg, CF_WITH=await floor.uniqueid(it.caller_leg))
    await floor.redirect(leg, "callfloor-take")
    await asyncio.gather(ear.hears(CALLER), it.caller.hears(SUPERVISOR))
    await floor.gone(it.agent_leg)
    await floor.ami.do("Hangup", Channel=it.caller_leg)
    await floor.ami.event("Hangup", lambda message: message["Uniqueid"] == leg)


@pytest.mark.long
@pytest.mark.parametrize("floor", [22, 16], indirect=True)
@pytest.mark.parametrize("context", ["callfloor-spy", "callfloor-take"])
async def test_a_supervisors_phone_that_forwards_makes_us_dial_nobody(floor: Floor, context: str) -> None:
    it = await talk(floor)
    carrier = await floor.carrier()
    cid = await floor.raw_phone("cid")
    leg = await ring(floor, "cid", context, it.agent_leg, CF_MODE="listen")
    rung = await cid.rung()
    rung.forward("004912345")
    await floor.ami.event("Hangup", lambda message: message["Uniqueid"] == leg)
    assert not any(begun["DestChannel"].startswith("PJSIP/callfloor-trunk") for begun in floor.ami.all("DialBegin"))
    assert carrier.received == []
    await it.caller.hears(AGENT)


CONSULTED = 2500


async def confer(floor: Floor) -> tuple[Talk, TonePhone]:
    """A caller, 100 (who consulted) and bob speak together."""
    it = await talk(floor)
    _, bob = await floor.phone("bob", CONSULTED)
    caller, agent = await floor.uniqueid(it.caller_leg), await floor.uniqueid(it.agent_leg)
    await floor.ami.set(it.caller_leg, CF_WITH=agent)
    await floor.ami.set(it.agent_leg, CF_WITH=caller, CF_ENDPOINT="bob", CF_RING_S="20")
    await floor.redirect(it.caller_leg, "callfloor-park", it.agent_leg, "callfloor-consult")
    await asyncio.gather(it.agent.hears(CONSULTED), bob.hears(AGENT))
    it.caller.forget_silence()
    bob_leg = await floor.leg_of("bob")
    for leg in (it.caller_leg, it.agent_leg, bob_leg):
        await floor.ami.set(leg, CF_ROOM=caller)
    await floor.redirect(it.caller_leg, "callfloor-conference")
    await floor.redirect(it.agent_leg, "callfloor-conference", bob_leg, "callfloor-conference")
    await asyncio.gather(
        it.caller.hears_both(AGENT, CONSULTED), it.agent.hears_both(CALLER, CONSULTED), bob.hears_both(CALLER, AGENT)
    )
    assert it.caller.longest_silence_s < 1
    return it, bob


@OLD_VERSION_IN_THE_SOAK
async def test_three_speak_together_one_leaves_and_the_others_go_on(floor: Floor) -> None:
    it, bob = await confer(floor)
    await floor.ami.do("Hangup", Channel=it.agent_leg)
    await asyncio.gather(it.caller.hears(CONSULTED), bob.hears(CALLER))
    assert len(list(floor.pbx.recordings.iterdir())) == 1
    await floor.ami.do("Hangup", Channel=await floor.leg_of("bob"))
    assert (await it.call.wait()).steps == ("answered", "ended_by_other")


@asynccontextmanager
async def adapter(floor: Floor) -> AsyncIterator[Callable[[Command], None]]:
    """The real adapter's way of giving orders, knowing all legs."""
    pbx, read = floor.pbx, asyncio.Event()
    address = PbxAddress(PBX, "127.0.0.1", pbx.ami_port, pbx.ami_username, pbx.ami_secret)

    def hear(fact: e.Event) -> None:
        assert not isinstance(fact, e.CommandFailed), fact
        if isinstance(fact, e.PbxRead):
            read.set()

    switch = AsteriskSwitch(address, hear, clock=time.time, jitter=random.Random(1))
    switch.start()
    try:
        async with asyncio.timeout(15):
            await read.wait()
        yield switch.carry_out
    finally:
        await switch.close()


async def test_somebody_outside_is_consulted_and_handed_the_caller_and_may_not_forward_us(floor: Floor) -> None:
    await floor.configure(CALLFLOOR_OUT_TRUNK="callfloor-trunk", CALLFLOOR_OUT_CALLERID="+4930111")
    it = await talk(floor)
    carrier = await floor.carrier()
    caller, agent = [LegId(f"{PBX}/{await floor.uniqueid(leg)}") for leg in (it.caller_leg, it.agent_leg)]
    consult = c.StartConsult(leg=caller, agent_leg=agent, endpoint="004955512", ring_timeout_s=20, is_outside=True)
    async with adapter(floor) as order:
        order(consult)
        forwarding = await carrier.rung()
        assert forwarding.invite is not None
        assert forwarding.invite.start.startswith("INVITE sip:004955512@")
        assert "+4930111" in forwarding.invite.get("from")
        seen = len(floor.ami.events)
        forwarding.forward("0900123")
        for leg in (it.caller_leg, it.agent_leg):
            await floor.ami.event(
                "BridgeEnter",
                lambda message, leg=leg: message["Channel"] == leg and floor.ami.events.index(message) >= seen,
            )
        await asyncio.gather(it.agent.hears(CALLER), it.caller.hears(AGENT))
        order(consult)
        outside = await carrier.rung()
        outside.answer()
        met = await floor.ami.event(
            "BridgeEnter",
            lambda message: (
                message["Channel"] not in (it.caller_leg, it.agent_leg) and floor.ami.events.index(message) >= seen
            ),
        )
        order(c.JoinLegs(leg=caller, to=LegId(f"{PBX}/{met['Uniqueid']}")))
        await floor.gone(it.agent_leg)
    assert len(carrier.calls) == 2
    await outside.hang_up()
    assert (await it.call.wait()).steps == ("answered", "ended_by_other")


async def test_a_caller_sent_outside_and_an_agent_there_who_does_not_answer_give_the_caller_back(floor: Floor) -> None:
    await floor.configure(CALLFLOOR_OUT_TRUNK="callfloor-trunk")
    it = await talk(floor)
    carrier = await floor.carrier()
    caller, agent = [LegId(f"{PBX}/{await floor.uniqueid(leg)}") for leg in (it.caller_leg, it.agent_leg)]
    async with adapter(floor) as order:
        order(c.SendOutside(leg=caller, other=agent, number="004955512", target="agent:li"))
        rung = await carrier.rung()
        await it.caller.hears_sound()
        rung.refuse()
        assert (await floor.offer(2))["Target"] == "agent:li"
        await floor.gone(it.agent_leg)
        await floor.ami.set(it.caller_leg, CF_ACK="b1")
        order(
            c.RingAgent(
                interaction=InteractionId("any"),
                leg=caller,
                agent=AgentId("li"),
                endpoint="+4917011",
                ring_timeout_s=10,
                is_outside=True,
                language="de",
            )
        )
        rung = await carrier.rung()
        assert rung.invite is not None
        assert rung.invite.start.startswith("INVITE sip:+4917011@")
        rung.refuse()
        await floor.offer(3)


@pytest.mark.long
@pytest.mark.parametrize("who", ["agent", "colleague"])
async def test_a_caller_in_a_consultation_reaches_an_agent_though_the_daemon_was_killed(floor: Floor, who: str) -> None:
    beat = await floor.beat("b1")
    _, ann = await floor.phone("ann", AGENT)
    _, bob = await floor.phone("bob", CONSULTED)
    call, caller = await floor.call()
    channel = await floor.accept(await floor.offer())
    await floor.ring(channel, "ann")
    await asyncio.gather(ann.hears(CALLER), caller.hears(AGENT))
    leg = await floor.leg_of("ann")
    await floor.ami.set(channel, CF_WITH=await floor.uniqueid(leg))
    await floor.ami.set(leg, CF_WITH=await floor.uniqueid(channel), CF_ENDPOINT="bob", CF_RING_S="20")
    await floor.redirect(channel, "callfloor-park", leg, "callfloor-consult")
    await asyncio.gather(ann.hears(CONSULTED), bob.hears(AGENT))
    caller.forget_silence()
    beat.cancel()
    await floor.ami.do("Hangup", Channel=leg if who == "agent" else await floor.leg_of("bob"))
    if who == "agent":
        # Nobody beats: the plain queue rings whoever is a member, first ann.
        async with asyncio.timeout(25):
            while max(caller.share_of(AGENT), caller.share_of(CONSULTED)) < 0.7:
                await asyncio.sleep(0.1)
    else:
        await asyncio.gather(ann.hears(CALLER), caller.hears(AGENT))
    assert caller.longest_silence_s < 2
    await floor.ami.do("Hangup", Channel=channel)
    await call.wait()


class FarPhone(Phone):
    """A phone outside with sound and keys."""

    ear: TonePhone

    def sdp(self, direction: str = "sendrecv") -> str:
        return (
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
            f"m=audio {self.ear.port} RTP/AVP 8 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n"
            f"a={direction}\r\n"
        )


@OLD_VERSION_IN_THE_SOAK
async def test_an_agent_on_a_number_outside_presses_a_key_to_have_the_caller_and_a_mailbox_does_not(
    floor: Floor, tmp_path: Path
) -> None:
    (tmp_path / "en").mkdir()
    write_prompt(tmp_path / "en" / "accept.wav", 600, 0.5, 0.1)
    await floor.configure(
        CALLFLOOR_OUT_TRUNK="callfloor-trunk", CALLFLOOR_OUT_CALLERID="+4930111", CALLFLOOR_PROMPTS=str(tmp_path)
    )
    await floor.beat("b1")
    far = await FarPhone.open("far", f"127.0.0.1:{floor.pbx.sip_port}", port=floor.carrier_port)
    assert isinstance(far, FarPhone)
    floor.stack.callback(far.close)
    far.ear = await floor.stack.enter_async_context(TonePhone(AGENT))
    _, caller = await floor.call()
    channel = await floor.accept(await floor.offer())
    await floor.ring(channel, "++4917011")
    rung = await far.rung()
    assert rung.invite is not None
    assert rung.invite.start.startswith("INVITE sip:+4917011@")
    assert "+4930111" in rung.invite.get("from")
    told = await floor.ami.event("UserEvent", lambda message: message["UserEvent"] == "CallfloorPhone")
    assert told["Phone"] == "+4917011"
    assert told["Uniqueid"] == told["Channelid"]
    caller.forget_silence()
    rung.answer()
    await far.ear.hears(600)
    for _turn in range(3):
        far.ear.press("5")
        await caller.never_hears(AGENT, for_s=0.5)
    assert caller.longest_silence_s < 1
    await rung.is_over(within_s=20)
    channel = await floor.accept(await floor.offer(2))
    await floor.ring(channel, "++4917011")
    rung = await far.rung()
    rung.answer()
    await far.ear.hears(600)
    far.ear.press("1")
    await asyncio.gather(far.ear.hears(CALLER), caller.hears(AGENT))
    await rung.hang_up()
    await floor.gone(channel)
