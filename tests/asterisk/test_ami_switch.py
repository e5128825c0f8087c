"""The switch against a scripted PBX: what goes over the wire for each command, and what comes out when things fail."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from cti.asterisk.switch import AsteriskSwitch, PbxAddress
from cti.commands import (
    AcceptOffer,
    Beat,
    Command,
    HangUp,
    JoinLegs,
    PauseRecording,
    ReturnToHold,
    RingAgent,
    SendToHold,
    StartConsult,
)
from cti.events import CommandFailed, Event, LegEnded, LegHeld, LegStarted, LinkLost, LinkUp, PbxRead
from cti.ids import AgentId, InteractionId, LegId, PbxId
from tests.asterisk.scripted_pbx import DEADLINE_S, GREETING, ScriptedPbx, Session

PBX = PbxId("pbx1")
CALLER = LegId("pbx1/100.1")
AGENT = LegId("pbx1/100.2")
THIRD = LegId("pbx1/100.3")
SHOWN = {
    "Channel": "PJSIP/trunk-1",
    "ChannelState": "6",
    "Context": "callfloor-hold",
    "Uniqueid": "100.1",
    "Linkedid": "100.1",
}
RING = RingAgent(
    interaction=InteractionId("pbx1-100.1"),
    leg=CALLER,
    agent=AgentId("alice"),
    endpoint="alice",
    ring_timeout_s=15,
    is_recorded=True,
)


class Floor:
    """A switch, what it said, and the PBX's side of it."""

    def __init__(self, port: int) -> None:
        self.facts: list[Event] = []
        address = PbxAddress(
            id=PBX,
            host="127.0.0.1",
            port=port,
            username="cf",
            secret="very-secret",
            action_timeout_s=DEADLINE_S,
            ping_interval_s=60,
            first_retry_s=0.01,
            last_retry_s=0.02,
            boot_timeout_s=0.2,
        )
        self.switch = AsteriskSwitch(address, self.facts.append, clock=lambda: 1000.0, jitter=random.Random(1))

    async def until(self, condition: Callable[[], Any]) -> Any:
        async with asyncio.timeout(DEADLINE_S):
            while not (found := condition()):
                await asyncio.sleep(0.002)
        return found

    async def told(self, kind: type[Event], count: int = 1) -> Any:
        await self.until(lambda: len([fact for fact in self.facts if isinstance(fact, kind)]) >= count)
        return [fact for fact in self.facts if isinstance(fact, kind)][-1]


async def serve_reading(session: Session, *meanwhile: bytes) -> None:
    """Answer what the switch asks after a login: the caller waits in the loop. ``meanwhile`` precedes the lists."""
    await session.answer(await session.wanted("CoreSettings"), AsteriskVersion="22.1")
    lists = [await session.action() for _ in range(3)]
    await session.send(b"".join(event + b"\r\n\r\n" for event in meanwhile))
    for action in lists:
        await session.answer(action, EventList="start")
        if action["Action"] == "CoreShowChannels":
            await session.event("CoreShowChannel", ActionID=action["ActionID"], **SHOWN)
        await session.event(f"{action['Action']}Complete", ActionID=action["ActionID"], EventList="Complete")


@pytest.fixture
async def pbx() -> AsyncIterator[ScriptedPbx]:
    async with ScriptedPbx.listening() as listening:
        yield listening


@pytest.fixture
async def floor(pbx: ScriptedPbx) -> AsyncIterator[Floor]:
    made = Floor(pbx.port)
    made.switch.start()
    yield made
    await made.switch.close()


@pytest.fixture
async def session(pbx: ScriptedPbx, floor: Floor) -> Session:
    """A session that is up and read."""
    accepted = await pbx.session()
    await accepted.log_in()
    await serve_reading(accepted)
    await floor.told(PbxRead)
    return accepted


async def carried_out(session: Session, answers: int) -> list[dict[str, str]]:
    """The next actions of the switch, each answered with success; headers in which they differ only."""
    seen = []
    for _ in range(answers):
        action = await session.action()
        await session.answer(action)
        seen.append({name: value for name, value in action.items() if name != "ActionID"})
    return seen


def setvar(leg: str, name: str, value: str) -> dict[str, str]:
    return {"Action": "Setvar", "Channel": leg, "Variable": name, "Value": value}


def redirect(leg: str, context: str, *extra: str) -> dict[str, str]:
    action = {"Action": "Redirect", "Channel": leg, "Context": context, "Exten": "s", "Priority": "1"}
    if extra:
        action |= {"ExtraChannel": extra[0], "ExtraContext": extra[1], "ExtraExten": "s", "ExtraPriority": "1"}
    return action


async def test_after_a_login_the_link_is_up_then_the_state_is_read(floor: Floor, session: Session) -> None:
    assert [type(fact) for fact in floor.facts] == [LinkUp, PbxRead]
    assert floor.facts[0] == LinkUp(at=1000.0, pbx=PBX, version="22.1")
    assert [(seen.leg, seen.is_waiting) for seen in floor.facts[1].legs] == [(CALLER, True)]


async def test_what_happens_during_the_reading_is_told_after_it(pbx: ScriptedPbx, floor: Floor) -> None:
    session = await pbx.session()
    await session.log_in()
    await serve_reading(
        session,
        b"Event: Newchannel\r\nChannel: PJSIP/a-1\r\nUniqueid: 100.9\r\nLinkedid: 100.9",
        b"Event: Newchannel\r\nChannel: PJSIP/trunk-1\r\nUniqueid: 100.1\r\nLinkedid: 100.1",
        b"Event: Hangup\r\nChannel: PJSIP/trunk-1\r\nUniqueid: 100.1\r\nLinkedid: 100.1\r\nCause: 16",
    )
    await floor.told(LegEnded)
    assert [type(fact) for fact in floor.facts] == [LinkUp, PbxRead, LegStarted, LegEnded]


async def test_a_pbx_that_does_not_say_that_it_booted_is_read_all_the_same(pbx: ScriptedPbx, floor: Floor) -> None:
    session = await pbx.session()
    await session.log_in(is_booted=False)
    await serve_reading(session)
    await floor.told(PbxRead)


async def test_a_state_that_cannot_be_read_whole_ends_the_link_and_is_tried_again(
    pbx: ScriptedPbx, floor: Floor
) -> None:
    session = await pbx.session()
    await session.log_in()
    await session.answer(await session.wanted("CoreSettings"), AsteriskVersion="22.1")
    await session.answer(await session.action(), "Error", Message="Permission denied")
    await floor.told(LinkLost)
    again = await pbx.session()
    await again.log_in()
    await serve_reading(again)
    await floor.told(PbxRead)
    assert [type(fact) for fact in floor.facts] == [LinkUp, LinkLost, LinkUp, PbxRead]


async def test_a_lost_link_is_told_and_the_next_one_is_read_anew(
    pbx: ScriptedPbx, floor: Floor, session: Session
) -> None:
    session.drop()
    assert (await floor.told(LinkLost)).why == "down"
    again = await pbx.session()
    await again.log_in()
    await serve_reading(again)
    await floor.told(PbxRead, 2)
    await again.event("Hold", Channel="PJSIP/trunk-1", Uniqueid="100.1", Linkedid="100.1")
    await floor.told(LegHeld)
    assert [type(fact) for fact in floor.facts] == [LinkUp, PbxRead, LinkLost, LinkUp, PbxRead, LegHeld]


async def test_a_refused_login_is_told_as_such(pbx: ScriptedPbx, floor: Floor) -> None:
    session = await pbx.session()
    await session.send(GREETING)
    await session.answer(await session.wanted("Login"), "Error", Message="Authentication failed")
    session.writer.close()
    assert (await floor.told(LinkLost)).why == "login_refused"


@pytest.mark.parametrize(
    ("command", "actions"),
    [
        (
            Beat(pbx=PBX, boot="b7", count=3),
            [{"Action": "Setvar", "Variable": "CALLFLOOR_BEAT", "Value": "b7:3"}],
        ),
        (
            RING,
            [
                setvar("100.1", "CF_ENDPOINT", "alice"),
                setvar("100.1", "CF_RING_S", "15"),
                setvar("100.1", "CF_RECORD", "1"),
                redirect("100.1", "callfloor-ring"),
            ],
        ),
        (
            ReturnToHold(leg=CALLER, target="queue:support"),
            [setvar("100.1", "CF_TARGET", "queue:support"), redirect("100.1", "callfloor-hold")],
        ),
        (HangUp(leg=CALLER), [{"Action": "Hangup", "Channel": "100.1"}]),
        (
            SendToHold(leg=CALLER, other=AGENT, target="agent:bob"),
            [
                setvar("100.1", "CF_TARGET", "agent:bob"),
                redirect("100.1", "callfloor-hold", "100.2", "callfloor-end"),
            ],
        ),
        (
            StartConsult(leg=CALLER, agent_leg=AGENT, endpoint="bob", ring_timeout_s=20),
            [
                setvar("100.1", "CF_WITH", "100.2"),
                setvar("100.1", "CF_TARGET", ""),
                setvar("100.2", "CF_WITH", "100.1"),
                setvar("100.2", "CF_ENDPOINT", "bob"),
                setvar("100.2", "CF_RING_S", "20"),
                redirect("100.1", "callfloor-park", "100.2", "callfloor-consult"),
            ],
        ),
        (
            JoinLegs(leg=CALLER, to=THIRD),
            [setvar("100.1", "CF_WITH", "100.3"), redirect("100.1", "callfloor-join")],
        ),
        (
            PauseRecording(leg=CALLER, is_paused=True),
            [{"Action": "MixMonitorMute", "Channel": "100.1", "Direction": "both", "State": "1"}],
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Command) else "",
)
async def test_each_command_says_what_the_dialplan_expects(
    floor: Floor, session: Session, command: Command, actions: list[dict[str, str]]
) -> None:
    floor.switch.carry_out(command)
    assert await carried_out(session, len(actions)) == actions


async def test_an_offer_is_accepted_in_the_name_of_the_last_beat(floor: Floor, session: Session) -> None:
    floor.switch.carry_out(Beat(pbx=PBX, boot="b7", count=1))
    floor.switch.carry_out(AcceptOffer(leg=CALLER))
    assert (await carried_out(session, 2))[1] == setvar("100.1", "CF_ACK", "b7")


async def test_nobody_is_rung_when_a_variable_could_not_be_set(floor: Floor, session: Session) -> None:
    floor.switch.carry_out(RING)
    await session.answer(await session.action())
    await session.answer(await session.action(), "Error", Message="Permission denied")
    await session.answer(await session.action())
    failed = await floor.told(CommandFailed)
    assert (failed.command, failed.leg, failed.interaction, failed.why) == (
        "RingAgent",
        CALLER,
        RING.interaction,
        "refused",
    )
    floor.switch.carry_out(Beat(pbx=PBX, boot="b", count=1))
    assert (await session.action())["Variable"] == "CALLFLOOR_BEAT"


async def test_commands_for_the_same_leg_keep_their_order(floor: Floor, session: Session) -> None:
    floor.switch.carry_out(RING)
    floor.switch.carry_out(ReturnToHold(leg=CALLER))
    floor.switch.carry_out(HangUp(leg=CALLER))
    names = [(action["Action"], action.get("Context", "")) for action in await carried_out(session, 7)]
    assert names[3:] == [("Redirect", "callfloor-ring"), ("Setvar", ""), ("Redirect", "callfloor-hold"), ("Hangup", "")]


async def test_a_caller_is_moved_although_the_agents_leg_is_gone(floor: Floor, session: Session) -> None:
    floor.switch.carry_out(SendToHold(leg=CALLER, other=AGENT, target=""))
    await session.answer(await session.action())
    await session.answer(await session.action(), "Error", Message="ExtraChannel does not exist")
    (again,) = await carried_out(session, 1)
    assert again == redirect("100.1", "callfloor-hold")


async def test_hanging_up_what_is_gone_is_no_failure(floor: Floor, session: Session) -> None:
    floor.switch.carry_out(HangUp(leg=THIRD))
    await session.answer(await session.action(), "Error", Message="No such channel")
    floor.switch.carry_out(JoinLegs(leg=THIRD, to=CALLER))
    await session.answer(await session.action(), "Error", Message="No such channel")
    assert (await floor.told(CommandFailed)).command == "JoinLegs"
    assert (await floor.told(CommandFailed)).why == "no_such_leg"


async def test_a_command_in_flight_when_the_link_breaks_fails(floor: Floor, session: Session) -> None:
    floor.switch.carry_out(RING)
    await session.action()
    session.drop()
    assert (await floor.told(CommandFailed)).why == "link_down"


async def test_a_command_without_a_link_fails_and_a_beat_is_silent(floor: Floor) -> None:
    floor.switch.carry_out(Beat(pbx=PBX, boot="b", count=1))
    floor.switch.carry_out(HangUp(leg=CALLER))
    assert (await floor.told(CommandFailed)).command == "HangUp"


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (ReturnToHold(leg=CALLER, target="agent:x\r\nAction: Command"), "bad_value"),
        (ReturnToHold(leg=CALLER, target="somebody"), "bad_value"),
        (StartConsult(leg=CALLER, agent_leg=AGENT, endpoint="bob&PJSIP/lead", ring_timeout_s=5), "bad_value"),
        (StartConsult(leg=CALLER, agent_leg=AGENT, endpoint="bob", ring_timeout_s=0), "bad_value"),
        (JoinLegs(leg=CALLER, to=LegId("pbx1/x,F(evil)")), "bad_value"),
        (AcceptOffer(leg=CALLER), "bad_value"),  # no beat was ever sent
        (HangUp(leg=LegId("pbx2/100.1")), "no_such_leg"),
        (Beat(pbx=PBX, boot="a:b", count=1), "bad_value"),
    ],
)
async def test_values_that_are_not_ours_never_reach_the_pbx(
    floor: Floor, session: Session, command: Command, why: str
) -> None:
    floor.switch.carry_out(command)
    assert (await floor.told(CommandFailed)).why == why
    floor.switch.carry_out(Beat(pbx=PBX, boot="b", count=1))
    assert (await session.action())["Value"] == "b:1"


async def test_closed_in_the_middle_of_everything_nothing_is_left_running(
    pbx: ScriptedPbx, floor: Floor, session: Session
) -> None:
    floor.switch.carry_out(RING)
    floor.switch.carry_out(ReturnToHold(leg=CALLER))
    await session.action()
    before = asyncio.all_tasks()
    await floor.switch.close()
    facts = len(floor.facts)
    assert not [task for task in before if task.get_name().startswith("ami") and not task.done()]
    await session.until_closed()
    assert len(floor.facts) == facts


def test_the_secret_is_not_in_what_is_shown_of_an_address() -> None:
    assert "hush" not in repr(PbxAddress(id=PBX, host="h", port=1, username="u", secret="hush"))
