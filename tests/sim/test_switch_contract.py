"""What every adapter behind ``cti.switch`` does, told once and run on both: the simulated PBX and a real Asterisk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cti import commands as c
from cti import events as e
from cti.commands import Member
from cti.events import HangupCause
from cti.ids import AgentId, LegId, QueueId, spy_leg, take_leg
from tests.sim.stage import ANI, DNIS, PBX, UNREACHABLE

if TYPE_CHECKING:
    from tests.sim.stage import Stage

SALES = QueueId("sales")


async def test_a_caller_is_offered_rung_answered_and_hangs_up(stage: Stage) -> None:
    caller = await stage.take_call()
    await stage.talk(caller, "ann")
    await stage.caller_hangs_up()
    await stage.ends()
    assert stage.said == [
        "started inbound",
        "rang ann",
        "ring-ended ann answered",
        "joined ann talk",
        "left ann",
        "ended answered",
    ]


async def test_the_offer_tells_who_calls_and_what_was_dialled(stage: Stage) -> None:
    await stage.call_in()
    offer = await stage.offered()
    assert (offer.ani, offer.ani_name, offer.is_withheld, offer.dnis, offer.target) == (
        ANI,
        "José",
        False,
        DNIS,
        "",
    )
    # Whole seconds of the PBX's clock: a second may have turned since.
    assert offer.waited_s <= 1


async def test_the_agent_hangs_up_and_the_caller_is_let_go(stage: Stage) -> None:
    caller = await stage.take_call()
    await stage.talk(caller, "ann")
    await stage.hang_up("ann")
    await stage.ends()
    assert stage.said[-2:] == ["left ann", "ended answered"]


async def test_an_order_to_hang_up_the_agent_ends_the_talk(stage: Stage) -> None:
    caller = await stage.take_call()
    agent_leg = await stage.talk(caller, "ann")
    stage.order(c.HangUp(leg=agent_leg))
    await stage.ends()
    assert stage.said[-2:] == ["left ann", "ended answered"]


async def test_nobody_answers_and_the_caller_is_offered_again_with_the_time_waited(stage: Stage) -> None:
    caller = await stage.take_call()
    stage.ring(caller, "ann", ring_timeout_s=2)
    await stage.says("ring-ended ann no_answer")
    assert (await stage.offered(caller)).waited_s >= 2
    stage.order(c.AcceptOffer(leg=caller))
    await stage.talk(caller, "bob")


async def test_a_refused_ring_brings_the_caller_back(stage: Stage) -> None:
    caller = await stage.take_call()
    stage.ring(caller, "ann")
    await stage.says("rang ann")
    await stage.reject("ann")
    await stage.says("ring-ended ann busy")
    await stage.offered(caller)


async def test_a_phone_without_contact_does_not_ring_and_the_caller_comes_back(stage: Stage) -> None:
    caller = await stage.take_call()
    stage.ring(caller, UNREACHABLE)
    await stage.offered(caller)
    assert stage.said == ["started inbound"]


async def test_a_caller_who_gives_up_while_ringing(stage: Stage) -> None:
    caller = await stage.take_call()
    stage.ring(caller, "ann")
    await stage.says("rang ann")
    await stage.caller_hangs_up()
    await stage.ends()
    assert stage.said == ["started inbound", "rang ann", "ring-ended ann cancelled", "ended abandoned"]


async def test_a_caller_who_gives_up_while_waiting(stage: Stage) -> None:
    await stage.take_call()
    await stage.caller_hangs_up()
    await stage.ends()
    assert stage.said == ["started inbound", "ended abandoned"]


async def test_a_ring_is_taken_back(stage: Stage) -> None:
    caller = await stage.take_call()
    stage.ring(caller, "ann")
    await stage.says("rang ann")
    stage.order(c.ReturnToHold(leg=caller, target="agent:bob"))
    await stage.says("ring-ended ann cancelled")
    assert (await stage.offered(caller)).target == "agent:bob"


async def test_a_blind_transfer_to_a_queue_offers_the_caller_with_the_target(stage: Stage) -> None:
    caller = await stage.take_call()
    agent_leg = await stage.talk(caller, "ann")
    stage.order(c.SendToHold(leg=caller, other=agent_leg, target="queue:support"))
    assert (await stage.offered(caller)).target == "queue:support"
    stage.order(c.AcceptOffer(leg=caller))
    await stage.says("left ann")
    await stage.talk(caller, "bob")
    await stage.caller_hangs_up()
    await stage.ends()
    assert stage.said[-2:] == ["left bob", "ended answered"]


async def consult(stage: Stage, *, ring_timeout_s: int = 20) -> tuple[LegId, LegId]:
    """ann talks with a caller and begins to ring bob; gives the caller's and ann's legs."""
    caller = await stage.take_call()
    agent_leg = await stage.talk(caller, "ann")
    stage.order(c.StartConsult(leg=caller, agent_leg=agent_leg, endpoint="bob", ring_timeout_s=ring_timeout_s))
    await stage.says("rang bob", "held ann", "left ann")
    return caller, agent_leg


async def test_a_consultation_is_completed(stage: Stage) -> None:
    caller, _ann = await consult(stage)
    await stage.answer("bob")
    await stage.says("joined ann consult", "joined bob consult")
    stage.order(c.JoinLegs(leg=caller, to=stage.leg_of("bob")))
    await stage.says("joined bob talk", "resumed ann", "left ann")
    await stage.caller_hangs_up()
    await stage.ends()
    assert stage.said[-2:] == ["left bob", "ended answered"]


@pytest.mark.parametrize("is_answered", [True, False], ids=["answered", "ringing"])
async def test_a_consultation_is_cancelled(stage: Stage, is_answered: bool) -> None:
    caller, ann = await consult(stage)
    if is_answered:
        await stage.answer("bob")
        await stage.says("joined ann consult", "joined bob consult")
    stage.order(c.JoinLegs(leg=ann, to=caller))
    await stage.says("joined ann talk", "resumed ann")
    await stage.hang_up("ann")
    await stage.ends()
    assert stage.said[-2:] == ["left ann", "ended answered"]


async def test_the_consulted_agent_does_not_answer_and_the_talk_goes_on(stage: Stage) -> None:
    await consult(stage, ring_timeout_s=2)
    await stage.says("ring-ended bob no_answer")
    await stage.says("joined ann talk", "resumed ann")


async def test_the_consulted_agent_hangs_up_and_the_talk_goes_on(stage: Stage) -> None:
    await consult(stage)
    await stage.answer("bob")
    await stage.says("joined ann consult", "joined bob consult")
    await stage.hang_up("bob")
    await stage.says("left bob", "joined ann talk", "resumed ann")


async def test_a_blonde_transfer_sends_the_caller_on_while_the_target_rings(stage: Stage) -> None:
    caller, ann = await consult(stage)
    stage.order(c.SendToHold(leg=caller, other=ann, target="agent:bob"))
    assert (await stage.offered(caller)).target == "agent:bob"
    await stage.says("resumed ann", "ring-ended bob cancelled")
    stage.order(c.AcceptOffer(leg=caller))
    await stage.talk(caller, "bob")


async def test_the_caller_leaves_during_the_consultation(stage: Stage) -> None:
    await consult(stage)
    await stage.answer("bob")
    await stage.says("joined ann consult", "joined bob consult")
    await stage.caller_hangs_up()
    await stage.says("resumed ann")
    await stage.hang_up("bob")
    await stage.ends()
    assert stage.said[-1] == "ended answered"


async def test_the_agent_leaves_during_the_consultation_and_the_caller_is_offered_again(stage: Stage) -> None:
    caller, ann = await consult(stage)
    stage.order(c.HangUp(leg=ann))
    await stage.says("ring-ended bob cancelled")
    await stage.offered(caller)


async def test_a_recording_is_paused_and_resumed(stage: Stage) -> None:
    caller = await stage.take_call()
    await stage.talk(caller, "ann", is_recorded=True)
    stage.order(c.PauseRecording(leg=caller, is_paused=True))
    await stage.says("recording paused")
    stage.order(c.PauseRecording(leg=caller, is_paused=False))
    await stage.says("recording on")
    await stage.caller_hangs_up()
    await stage.ends()
    assert stage.said.count("recording on") == 2
    assert stage.said.count("recording off") == 1


async def test_hold_and_resume_on_the_phone(stage: Stage) -> None:
    caller = await stage.take_call()
    await stage.talk(caller, "ann")
    await stage.hold("ann")
    await stage.says("held ann")
    await stage.resume("ann")
    await stage.says("resumed ann")


async def test_a_transfer_by_the_phone_itself(stage: Stage) -> None:
    caller = await stage.take_call()
    await stage.talk(caller, "ann")
    await stage.refer("ann", "bob")
    await stage.says("transfer blind ann bob", "left ann", "rang bob")
    await stage.answer("bob")
    await stage.says("joined bob talk", "transferred blind completed")


async def test_a_caller_whom_nobody_acknowledges_falls_back(stage: Stage) -> None:
    await stage.call_in()
    offer = await stage.offered()
    await stage.hears(e.CallerFellBack, leg=offer.leg)


async def test_an_acknowledged_caller_waits_on(stage: Stage) -> None:
    await stage.take_call()
    await stage.pass_time(7)
    assert not any(isinstance(fact, e.CallerFellBack) for fact in stage.facts)


async def test_another_start_of_the_daemon_is_offered_the_caller_again(stage: Stage) -> None:
    caller = await stage.take_call()
    await stage.pass_time(2)
    stage.boot = "boot2"
    stage.order(stage.next_beat())
    assert (await stage.offered(caller)).waited_s >= 2


async def test_after_a_reconnect_all_that_lives_is_read_and_nothing_is_told_twice(stage: Stage) -> None:
    caller = await stage.take_call()
    agent_leg = await stage.talk(caller, "ann")
    before = list(stage.said)
    await stage.reconnect()
    (read,) = [fact for fact in stage.facts if isinstance(fact, e.PbxRead)][-1:]
    legs = {leg.leg: leg for leg in read.legs}
    assert set(legs) == {caller, agent_leg}
    assert legs[caller].bridge == legs[agent_leg].bridge is not None
    assert legs[agent_leg].conversation == caller
    assert stage.said == before
    await stage.caller_hangs_up()
    await stage.ends()
    assert stage.said[-2:] == ["left ann", "ended answered"]


async def test_a_waiting_caller_is_seen_waiting_after_a_reconnect(stage: Stage) -> None:
    caller = await stage.take_call()
    await stage.reconnect()
    (read,) = [fact for fact in stage.facts if isinstance(fact, e.PbxRead)][-1:]
    assert [(leg.leg, leg.is_waiting, leg.bridge) for leg in read.legs] == [(caller, True, None)]


async def test_an_order_about_a_caller_who_is_gone_fails_without_harm(stage: Stage) -> None:
    caller = await stage.take_call()
    await stage.caller_hangs_up()
    await stage.ends()
    stage.order(c.AcceptOffer(leg=caller))
    failure = await stage.hears(e.CommandFailed)
    assert isinstance(failure, e.CommandFailed)
    assert (failure.command, failure.leg, failure.why) == ("AcceptOffer", caller, "no_such_leg")
    stage.order(c.HangUp(leg=caller))
    assert await stage.take_call()


async def test_the_mirrored_members_serve_a_silent_daemons_callers(stage: Stage) -> None:
    stage.order(c.MirrorMembers(pbx=PBX, queue=SALES, members=(Member("ann", True), Member("bob", False))))
    caller = await stage.take_call()
    stage.is_beating = False
    await stage.hears(e.CallerFellBack, leg=caller)
    await stage.says("rang bob")
    await stage.answer("bob")
    await stage.says("joined bob talk")
    await stage.caller_hangs_up()
    await stage.ends()
    assert stage.said[-1] == "ended answered"
    assert "rang ann" not in stage.said


async def test_a_caller_is_taken_back_out_of_the_fall_back_queue_with_the_first_waiting_time(stage: Stage) -> None:
    stage.order(c.MirrorMembers(pbx=PBX, queue=SALES, members=(Member("ann", True),)))
    caller = await stage.take_call()
    stage.is_beating = False
    await stage.hears(e.ForeignQueueJoined, leg=caller)
    await stage.pass_time(1)
    stage.is_beating = True
    stage.order(stage.next_beat())
    stage.order(c.ReadLegs(pbx=PBX, is_full=True))
    read = await stage.hears(e.PbxRead)
    assert isinstance(read, e.PbxRead)
    assert [(one.leg, one.queue) for one in read.queued] == [(caller, SALES)]
    stage.order(c.WithdrawCaller(leg=caller, queue=SALES))
    assert (await stage.offered(caller)).waited_s >= 5
    stage.order(c.AcceptOffer(leg=caller))
    await stage.talk(caller, "ann")
    await stage.caller_hangs_up()
    await stage.ends()
    assert stage.said[-1] == "ended answered"
    assert stage.said.count("started inbound") == 1


async def test_a_caller_taken_from_a_dead_phone_is_rung_at_the_same_agent_again(stage: Stage) -> None:
    caller = await stage.take_call()
    agent_leg = await stage.talk(caller, "ann")
    stage.order(c.SendToHold(leg=caller, other=agent_leg, target="agent:ann"))
    assert (await stage.offered(caller)).target == "agent:ann"
    stage.order(c.AcceptOffer(leg=caller))
    await stage.says("left ann")
    await stage.talk(caller, "ann")
    await stage.caller_hangs_up()
    await stage.ends()
    assert [line for line in stage.said if line.startswith(("started", "ended"))] == [
        "started inbound",
        "ended answered",
    ]


async def test_the_living_legs_are_told_when_asked_for(stage: Stage) -> None:
    caller = await stage.take_call()
    agent_leg = await stage.talk(caller, "ann")
    stage.order(c.ReadLegs(pbx=PBX))
    read = await stage.hears(e.LegsRead)
    assert isinstance(read, e.LegsRead)
    assert set(read.legs) == {caller, agent_leg}


async def listen(stage: Stage, spied: LegId, mode: e.SpyMode = e.SpyMode.LISTEN) -> LegId:
    """bob's phone is rung to hear a leg; gives bob's."""
    leg = spy_leg(PBX, AgentId("bob"), stage.facts[-1].at)
    stage.order(c.StartSpy(leg=leg, of=spied, endpoint="bob", mode=mode, ring_timeout_s=20, shown_as="cabc"))
    await stage.hears(e.DialStarted, by=None, to=leg)
    return leg


async def test_who_listens_is_in_no_conversation_and_ends_with_the_call(stage: Stage) -> None:
    caller = await stage.take_call()
    ann = await stage.talk(caller, "ann")
    leg = await listen(stage, ann)
    await stage.answer("bob")
    await stage.hears(e.SpyPlaced, leg=leg, mode=e.SpyMode.LISTEN)
    stage.order(c.ChangeSpy(leg=leg, mode=e.SpyMode.WHISPER))
    await stage.hears(e.SpyPlaced, leg=leg, mode=e.SpyMode.WHISPER)
    await stage.caller_hangs_up()
    await stage.hears(e.SpyPlaced, leg=leg, mode=None)
    await stage.hears(e.LegEnded, leg=leg)
    await stage.ends()
    assert "rang bob" not in stage.said
    assert stage.said[-3:] == ["joined ann talk", "left ann", "ended answered"]


async def test_a_listener_takes_the_caller_over(stage: Stage) -> None:
    caller = await stage.take_call()
    ann = await stage.talk(caller, "ann")
    leg = await listen(stage, ann)
    await stage.answer("bob")
    await stage.hears(e.SpyPlaced, leg=leg, mode=e.SpyMode.LISTEN)
    stage.order(c.StartTakeOver(leg=leg, of=caller, endpoint="bob", ring_timeout_s=20, shown_as=""))
    await stage.says("joined bob talk", "left ann")
    assert stage.leg_of("bob") == leg
    await stage.hang_up("bob")
    await stage.ends()
    assert stage.said[-2:] == ["left bob", "ended answered"]


async def test_a_caller_is_taken_over_by_whoever_answers(stage: Stage) -> None:
    caller = await stage.take_call()
    await stage.talk(caller, "ann")
    in_vain = take_leg(caller, stage.facts[-1].at)
    stage.order(c.StartTakeOver(leg=in_vain, of=caller, endpoint="bob", ring_timeout_s=1, shown_as=""))
    await stage.says("rang bob", "ring-ended bob no_answer")
    await stage.hears(e.LegEnded, leg=in_vain)
    assert "left ann" not in stage.said
    leg = take_leg(caller, stage.facts[-1].at)
    stage.order(c.StartTakeOver(leg=leg, of=caller, endpoint="bob", ring_timeout_s=20, shown_as=""))
    await stage.says("rang bob")
    await stage.answer("bob")
    await stage.says("joined bob talk", "left ann")
    await stage.caller_hangs_up()
    await stage.ends()
    assert stage.said[-2:] == ["left bob", "ended answered"]


async def test_a_conference_goes_on_when_one_leaves_and_ends_with_the_last(stage: Stage) -> None:
    caller, ann = await consult(stage)
    await stage.answer("bob")
    await stage.says("joined ann consult", "joined bob consult")
    stage.order(c.JoinConference(leg=caller, of=caller))
    stage.order(c.JoinConference(leg=ann, of=caller, also=stage.leg_of("bob")))
    await stage.says("joined ann talk", "joined bob talk", "resumed ann")
    await stage.hang_up("ann")
    await stage.says("left ann")
    found = stage.conversations.of_leg(caller)
    assert found is not None
    assert found.peers_of(caller) == (stage.leg_of("bob"),)
    await stage.reconnect()
    assert found.peers_of(caller) == (stage.leg_of("bob"),)
    await stage.hang_up("bob")
    await stage.ends()
    assert stage.said[-2:] == ["left bob", "ended answered"]


async def test_a_fourth_is_consulted_while_the_caller_speaks_on(stage: Stage) -> None:
    caller, ann = await consult(stage)
    await stage.answer("bob")
    await stage.says("joined ann consult", "joined bob consult")
    stage.order(c.JoinConference(leg=caller, of=caller))
    stage.order(c.JoinConference(leg=ann, of=caller, also=stage.leg_of("bob")))
    await stage.says("joined ann talk", "joined bob talk")
    bob, since = stage.leg_of("bob"), len(stage.facts)
    stage.order(c.StartConsult(leg=caller, agent_leg=ann, endpoint=UNREACHABLE, ring_timeout_s=20, is_in_company=True))

    def is_back() -> bool:
        """Nobody there: ann comes back into the conference."""
        return any(isinstance(fact, e.BridgeJoined) and fact.leg == ann for fact in stage.facts[since:])

    await stage.until(is_back, "ann in the conference")
    found = stage.conversations.of_leg(caller)
    assert found is not None
    assert set(found.peers_of(caller)) == {ann, bob}
    assert "held ann" not in stage.said[-4:]


async def test_another_is_consulted_in_the_moment_in_which_the_first_has_refused(stage: Stage) -> None:
    caller, ann = await consult(stage)
    for _turn in range(3):
        await stage.reject("bob")
        await stage.says("ring-ended bob busy", "joined ann talk", "resumed ann")
        stage.order(c.StartConsult(leg=caller, agent_leg=ann, endpoint="bob", ring_timeout_s=20))
        await stage.says("rang bob", "held ann", "left ann")
    await stage.answer("bob")
    await stage.says("joined ann consult", "joined bob consult")
    stage.order(c.JoinLegs(leg=caller, to=stage.leg_of("bob")))
    await stage.says("joined bob talk", "left ann")
    await stage.caller_hangs_up()
    await stage.ends()
    assert stage.said[-2:] == ["left bob", "ended answered"]


async def test_an_announcement_is_played_and_the_caller_stays_in_the_loop(stage: Stage) -> None:
    caller = await stage.take_call()
    stage.order(c.Announce(leg=caller, what="greeting", says=("greeting", "number-3"), keys="1"))
    await stage.hears(e.AnnouncementPlayed, leg=caller, what="greeting")
    await stage.talk(caller, "ann")


async def test_a_caller_is_sent_to_leave_a_message(stage: Stage) -> None:
    caller = await stage.take_call()
    stage.order(c.SendAway(leg=caller, to="voicemail:sales"))
    await stage.hears(e.MessageRecorded, leg=caller, queue="sales", file=f"{caller.partition('/')[2]}.wav")
    await stage.caller_hangs_up()
    await stage.ends()


CALL_BACK = c.CallBack(
    leg=LegId(f"{PBX}/callback-1"),
    number=ANI,
    trunk="callfloor-trunk",
    shown_number="+49301",
    ring_timeout_s=20,
    queue=SALES,
    language="zh-CN",
    waited_s=70,
)


async def test_who_is_called_back_becomes_a_caller_with_the_time_waited(stage: Stage) -> None:
    stage.order(CALL_BACK)
    await stage.hears(e.LegStarted, leg=CALL_BACK.leg)
    await stage.outside_answers()
    offer = await stage.offered(CALL_BACK.leg)
    assert (offer.ani, offer.is_withheld, offer.language) == (ANI, False, "zh-CN")
    assert 70 <= offer.waited_s < 90
    stage.order(c.AcceptOffer(leg=CALL_BACK.leg, queue=SALES))
    await stage.talk(CALL_BACK.leg, "ann")
    await stage.hang_up("ann")
    await stage.ends()
    assert stage.said[0] == "started inbound"


async def test_a_busy_line_ends_the_call_back(stage: Stage) -> None:
    stage.order(CALL_BACK)
    await stage.hears(e.LegStarted, leg=CALL_BACK.leg)
    await stage.outside_refuses()
    ended = await stage.hears(e.LegEnded, leg=CALL_BACK.leg)
    assert isinstance(ended, e.LegEnded)
    assert ended.cause is HangupCause.BUSY


async def test_a_called_party_who_forwards_makes_us_dial_nobody(stage: Stage) -> None:
    stage.order(CALL_BACK)
    await stage.hears(e.LegStarted, leg=CALL_BACK.leg)
    await stage.outside_refuses(forwards_to="+900666")
    await stage.hears(e.LegEnded, leg=CALL_BACK.leg)
    await stage.pass_time(1)
    started = [fact for fact in stage.facts if isinstance(fact, e.LegStarted) and fact.tech == "PJSIP"]
    assert [fact.leg for fact in started] == [CALL_BACK.leg]
    assert not any(isinstance(fact, e.CallOffered) for fact in stage.facts)
