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
    Member,
    MirrorMembers,
    MirrorSetting,
    PauseRecording,
    ReadLegs,
    ReturnToHold,
    RingAgent,
    SendToHold,
    StartConsult,
    StopRecording,
    WithdrawCaller,
)
from cti.events import (
    CommandFailed,
    Event,
    LegEnded,
    LegHeld,
    LegsRead,
    LegStarted,
    LinkLost,
    LinkUp,
    MemberSeen,
    PbxRead,
)
from cti.ids import AgentId, InteractionId, LegId, PbxId, QueueId
from cti.routing.plan import RecordingPolicy
from tests.asterisk.scripted_pbx import DEADLINE_S, GREETING, ScriptedPbx, Session

PBX = PbxId("pbx1")
CALLER = LegId("pbx1/100.1")
SUPPORT = QueueId("support")
AGENT = LegId("pbx1/100.2")
THIRD = LegId("pbx1/100.3")
SHOWN = {
    "Channel": "PJSIP/trunk-1",
    "ChannelState": "6",
    "Context": "callfloor-hold",
    "Uniqueid": "100.1",
    "Linkedid": "100.1",
}
MEMBER = {"Location": "PJSIP/alice", "Paused": "1", "Membership": "dynamic"}
RING = RingAgent(
    interaction=InteractionId("pbx1-100.1"),
    leg=CALLER,
    agent=AgentId("alice"),
    endpoint="alice",
    ring_timeout_s=15,
    recording=RecordingPolicy.ANNOUNCED,
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
    await answer_lists(session, *meanwhile)


async def answer_lists(session: Session, *meanwhile: bytes) -> None:
    """Answer the four lists of a reading: the caller waits in the loop, one phone is in one queue."""
    lists = [await session.action() for _ in range(4)]
    await session.send(b"".join(event + b"\r\n\r\n" for event in meanwhile))
    for action in lists:
        await session.answer(action, EventList="start")
        if action["Action"] == "CoreShowChannels":
            await session.event("CoreShowChannel", ActionID=action["ActionID"], **SHOWN)
        if action["Action"] == "QueueStatus":
            for queue in ("callfloor-support", "callfloor-sales"):
                await session.event("QueueParams", ActionID=action["ActionID"], Queue=queue)
                await session.event("QueueMember", ActionID=action["ActionID"], Queue=queue, **MEMBER)
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
    assert MemberSeen(queue=SUPPORT, endpoint="alice", is_paused=True) in floor.facts[1].members


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
                setvar("100.1", "ARRAY(CF_ENDPOINT,CF_RING_S,CF_SHOWN,CF_RECORD)", "alice,15,,announced"),
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
            StartConsult(leg=CALLER, agent_leg=AGENT, endpoint="bob", ring_timeout_s=20, shown_as="pbx1-100.1"),
            [
                setvar("100.1", "ARRAY(CF_WITH,CF_TARGET)", "100.2,"),
                setvar(
                    "100.2",
                    "ARRAY(CF_WITH,CF_ROOM,CF_ENDPOINT,CF_RING_S,CF_SHOWN,CF_OUTSIDE)",
                    "100.1,,bob,20,pbx1-100.1,",
                ),
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
        (
            StopRecording(leg=CALLER),
            [setvar("100.1", "CF_CONSENT", "no"), {"Action": "StopMixMonitor", "Channel": "100.1"}],
        ),
        (
            WithdrawCaller(leg=CALLER, queue=SUPPORT),
            [{"Action": "QueueWithdrawCaller", "Queue": "callfloor-support", "Caller": "PJSIP/trunk-1"}],
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
    floor.switch.carry_out(AcceptOffer(leg=CALLER, queue="sales"))
    assert (await carried_out(session, 2))[1:] == [setvar("100.1", "ARRAY(CF_QUEUE,CF_ACK)", "sales,b7")]


async def test_nobody_is_rung_when_a_variable_could_not_be_set(floor: Floor, session: Session) -> None:
    floor.switch.carry_out(RING)
    await session.answer(await session.action(), "Error", Message="Permission denied")
    failed = await floor.told(CommandFailed)
    assert (failed.command, failed.leg, failed.interaction, failed.why) == (
        "RingAgent",
        CALLER,
        RING.interaction,
        "refused",
    )
    floor.switch.carry_out(Beat(pbx=PBX, boot="b", count=1))
    assert (await session.action())["Variable"] == "CALLFLOOR_BEAT"


async def test_of_the_members_of_a_queue_only_the_differences_are_sent(floor: Floor, session: Session) -> None:
    def mirror(*members: Member) -> None:
        floor.switch.carry_out(MirrorMembers(pbx=PBX, queue=SUPPORT, members=members))

    mirror(Member("alice", True))
    mirror(Member("alice", False), Member("bob", True))
    assert await carried_out(session, 2) == [
        {"Action": "QueuePause", "Queue": "callfloor-support", "Interface": "PJSIP/alice", "Paused": "false"},
        {
            "Action": "QueueAdd",
            "Queue": "callfloor-support",
            "Interface": "PJSIP/bob",
            "MemberName": "bob",
            "Paused": "true",
        },
    ]
    # The dialplan, or somebody else, takes one out.
    await session.event("QueueMemberRemoved", Queue="callfloor-support", Interface="PJSIP/alice")
    await session.event("Hold", Channel="PJSIP/trunk-1", Uniqueid="100.1", Linkedid="100.1")
    await floor.told(LegHeld)
    mirror(Member("alice", False))
    assert [(action["Action"], action["Interface"]) for action in await carried_out(session, 2)] == [
        ("QueueAdd", "PJSIP/alice"),
        ("QueueRemove", "PJSIP/bob"),
    ]


async def test_many_mirrors_leave_the_line_free_for_what_is_urgent(floor: Floor, session: Session) -> None:
    for number in range(50):
        floor.switch.carry_out(MirrorSetting(pbx=PBX, key=f"route/{number}", value="sales"))
    floor.switch.carry_out(Beat(pbx=PBX, boot="b", count=1))
    before = 0
    while (await session.action())["Action"] != "Setvar":
        before += 1
    assert before <= 4


async def test_a_queue_that_the_pbx_does_not_have_is_told_once(floor: Floor, session: Session) -> None:
    for endpoint in ("alice", "bob"):
        mirror = MirrorMembers(pbx=PBX, queue=QueueId("nowhere"), members=(Member(endpoint, False),))
        floor.switch.carry_out(mirror)
        looked = await session.wanted("QueueStatus")
        assert looked["Queue"] == "callfloor-nowhere"
        await session.answer(looked, EventList="start")
        await session.event("QueueStatusComplete", ActionID=looked["ActionID"], EventList="Complete")
    floor.switch.carry_out(HangUp(leg=CALLER))
    await carried_out(session, 1)
    assert [fact.why for fact in floor.facts if isinstance(fact, CommandFailed)] == ["refused"]


async def test_a_setting_that_the_pbx_keeps_already_is_not_written(floor: Floor, session: Session) -> None:
    for stored in ("sales", "support"):
        floor.switch.carry_out(MirrorSetting(pbx=PBX, key="route/4930555", value="sales"))
        asked = await session.action()
        assert (asked["Action"], asked["Family"], asked["Key"]) == ("DBGet", "callfloor", "route/4930555")
        await session.answer(asked, EventList="start")
        await session.event("DBGetResponse", ActionID=asked["ActionID"], Val=stored)
        await session.event("DBGetComplete", ActionID=asked["ActionID"], EventList="Complete")
    (written,) = await carried_out(session, 1)
    assert (written["Action"], written["Channel"]) == ("Originate", "Local/s@callfloor-mirror/n")


async def test_a_leg_that_starts_while_the_legs_are_read_is_among_them(floor: Floor, session: Session) -> None:
    floor.switch.carry_out(ReadLegs(pbx=PBX))
    asked = await session.wanted("CoreShowChannels")
    await session.answer(asked, EventList="start")
    await session.event("CoreShowChannel", ActionID=asked["ActionID"], **SHOWN)
    await session.event("Newchannel", Channel="PJSIP/a-1", Uniqueid="100.9", Linkedid="100.9")
    await session.event("CoreShowChannelsComplete", ActionID=asked["ActionID"], EventList="Complete")
    assert (await floor.told(LegsRead)).legs == (CALLER, LegId("pbx1/100.9"))


async def test_everything_is_read_anew_when_it_is_asked_for(floor: Floor, session: Session) -> None:
    floor.switch.carry_out(ReadLegs(pbx=PBX, is_full=True))
    floor.switch.carry_out(ReadLegs(pbx=PBX, is_full=True))  # the reading under way is as good
    await answer_lists(
        session, b"Event: Hangup\r\nChannel: PJSIP/trunk-1\r\nUniqueid: 100.1\r\nLinkedid: 100.1\r\nCause: 16"
    )
    await floor.told(LegEnded)
    assert [type(fact) for fact in floor.facts] == [LinkUp, PbxRead, PbxRead, LegEnded]


async def test_what_was_missed_during_a_stall_is_read_and_not_decided_upon(
    pbx: ScriptedPbx, floor: Floor, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cti.asterisk.switch.OUT_OF_TOUCH_S", 0.05)
    floor.switch.carry_out(Beat(pbx=PBX, boot="b", count=1))
    floor.switch.carry_out(RING)
    asked = [await session.action() for _ in range(2)]
    await asyncio.sleep(0.1)  # the stall itself
    held = b"Event: Hold\r\nChannel: PJSIP/trunk-1\r\nUniqueid: 100.1\r\nLinkedid: 100.1\r\n\r\n"
    answers = [f"Response: Success\r\nActionID: {action['ActionID']}\r\n\r\n".encode() for action in asked]
    await session.send(held + b"".join(answers))
    assert (await floor.told(LinkLost)).why == "silent"
    again = await pbx.session()
    await again.log_in()
    await serve_reading(again)
    await floor.told(PbxRead, 2)
    assert not [fact for fact in floor.facts if isinstance(fact, LegHeld)]
    assert (await floor.told(CommandFailed)).command == "RingAgent"


async def test_commands_for_the_same_leg_keep_their_order(floor: Floor, session: Session) -> None:
    floor.switch.carry_out(RING)
    floor.switch.carry_out(ReturnToHold(leg=CALLER))
    floor.switch.carry_out(HangUp(leg=CALLER))
    names = [(action["Action"], action.get("Context", "")) for action in await carried_out(session, 5)]
    assert names[1:] == [("Redirect", "callfloor-ring"), ("Setvar", ""), ("Redirect", "callfloor-hold"), ("Hangup", "")]


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
        (MirrorSetting(pbx=PBX, key="route/1,CF_VALUE=x", value="sales"), "bad_value"),
        (MirrorSetting(pbx=PBX, key="route/1", value="a,b"), "bad_value"),
        (MirrorMembers(pbx=PBX, queue=QueueId("a b"), members=()), "bad_value"),
        (MirrorMembers(pbx=PBX, queue=SUPPORT, members=(Member("a&PJSIP/b", False),)), "bad_value"),
        (WithdrawCaller(leg=THIRD, queue=SUPPORT), "no_such_leg"),
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
