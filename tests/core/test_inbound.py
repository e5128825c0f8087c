"""The inbound flow as callers, agents and supervisors notice it."""

from __future__ import annotations

from cti import commands as c
from cti import events as e
from cti.events import AgentState, DialOutcome
from cti.ids import LegId
from cti.live_floor import LiveFloor
from tests.core.hall import Hall
from tests.core.plans import ANN, LI, PBX, SUPPORT, small_plan


def test_a_caller_is_accepted_looked_up_and_rung_at_the_longest_idle_qualified_agent() -> None:
    hall = Hall(small_plan())
    hall.ready(LI, ANN)
    caller, interaction = hall.call()
    assert hall.last(c.AcceptOffer).leg == caller
    assert hall.last(c.LookUpCaller).interaction == interaction
    ring = hall.last(c.RingAgent)
    assert (ring.agent, ring.endpoint, ring.leg, ring.recording) == (LI, "agent1", caller, "announced")
    chosen = hall.last(e.AgentChosen)
    assert chosen.agent == LI
    assert [(one.agent, one.reason) for one in chosen.passed] == [(ANN, "less_idle")]
    assert hall.agent(LI).state is AgentState.RESERVED


def test_the_pop_comes_when_the_phone_rings_not_when_the_agent_is_chosen() -> None:
    hall = Hall(small_plan())
    hall.ready(LI)
    caller, interaction = hall.call()
    assert hall.all(c.ShowPop) == []
    hall.rings(caller, "agent1")
    assert [(pop.agent, pop.interaction) for pop in hall.all(c.ShowPop)] == [(LI, interaction)]


def test_talk_then_wrap_up_then_available_again() -> None:
    hall = Hall(small_plan(wrap_up_s=30))
    hall.ready(LI)
    caller, leg, bridge, interaction = hall.talk(LI)
    assert hall.agent(LI).state is AgentState.ON_CALL
    hall.now += 60
    hall.part(bridge, leg, caller)
    hall.ends(leg)
    hall.ends(caller)
    assert hall.last(e.InteractionEnded).outcome == "answered"
    assert hall.agent(LI).state is AgentState.WRAP_UP
    assert hall.all(c.ClosePop) == []
    hall.wait(31)
    assert hall.agent(LI).state is AgentState.AVAILABLE
    assert [(pop.agent, pop.interaction, pop.reason) for pop in hall.all(c.ClosePop)] == [(LI, interaction, "done")]


def test_an_agent_who_does_not_answer_is_not_ready_and_the_caller_goes_to_the_head() -> None:
    hall = Hall(small_plan())
    hall.ready(LI)
    first, interaction = hall.call()
    leg = hall.rings(first, "agent1")
    hall.now += 20
    second, _ = hall.call()
    hall.ring_ends(first, leg, DialOutcome.NO_ANSWER)
    assert (hall.agent(LI).state, hall.agent(LI).reason) == (AgentState.NOT_READY, "ring_no_answer")
    assert hall.last(c.ClosePop).reason == "no_answer"
    hall.offer(first, waited_s=20)
    assert [call.leg for call in hall.core.waiting_in_order()] == [first, second]
    hall.ready(ANN)
    assert (hall.last(c.RingAgent).agent, hall.last(c.RingAgent).leg) == (ANN, first)
    assert hall.core.calls[interaction].queued_at is not None


def test_a_caller_who_gives_up_while_ringing_is_counted_once_and_the_agent_keeps_the_place_in_line() -> None:
    hall = Hall(small_plan(short_abandon_s=2))
    hall.ready(LI, ANN)
    caller, interaction = hall.call()
    idle_since = hall.agent(LI).idle_since
    leg = hall.rings(caller, "agent1")
    hall.now += 9
    hall.feed(e.DialEnded(at=hall.now, by=caller, to=leg, outcome=DialOutcome.CANCELLED))
    hall.ends(leg)
    hall.ends(caller)
    assert [(end.interaction, end.outcome) for end in hall.all(e.InteractionEnded)] == [(interaction, "abandoned")]
    assert hall.last(c.ClosePop).reason == "caller_gone"
    assert (hall.agent(LI).state, hall.agent(LI).idle_since) == (AgentState.AVAILABLE, idle_since)


def test_giving_up_at_once_is_a_short_abandon() -> None:
    hall = Hall(small_plan(short_abandon_s=5))
    caller, _ = hall.call()
    hall.now += 3
    hall.ends(caller)
    assert hall.last(e.InteractionEnded).outcome == "short_abandoned"


def test_the_queue_comes_from_the_number_dialled_and_the_skill_decides() -> None:
    hall = Hall(small_plan())
    hall.ready(LI)
    hall.call(dnis="4002")
    assert hall.last(e.InteractionQueued).queue == SUPPORT
    assert hall.all(c.RingAgent) == []
    chosen = hall.last(e.AgentChosen)
    assert {(one.agent, one.reason) for one in chosen.passed} == {("ann", "skill_missing"), ("bo", "logged_out")}


def test_an_agent_whose_page_sleeps_is_not_offered_calls_until_it_wakes() -> None:
    hall = Hall(small_plan())
    hall.ready(LI)
    hall.feed(e.DeskStale(at=hall.now, agent=LI, why="silent"))
    hall.call()
    assert hall.all(c.RingAgent) == []
    hall.feed(e.DeskFresh(at=hall.now, agent=LI))
    assert hall.last(c.RingAgent).agent == LI


def test_a_break_asked_for_during_a_call_comes_after_it() -> None:
    hall = Hall(small_plan(wrap_up_s=0))
    hall.ready(LI)
    caller, leg, bridge, _ = hall.talk(LI)
    hall.feed(e.StateRequested(at=hall.now, agent=LI, state=AgentState.NOT_READY, reason="lunch", by="agent"))
    assert hall.agent(LI).state is AgentState.ON_CALL
    assert hall.last(e.AgentStateChanged).next_state is AgentState.NOT_READY
    hall.part(bridge, leg, caller)
    hall.ends(leg)
    hall.ends(caller)
    assert (hall.agent(LI).state, hall.agent(LI).reason) == (AgentState.NOT_READY, "lunch")


def test_a_blind_transfer_to_a_queue_sends_the_caller_there_with_the_first_waiting_time_kept() -> None:
    hall = Hall(small_plan())
    hall.ready(LI)
    caller, leg, bridge, interaction = hall.talk(LI)
    hall.feed(
        e.TransferRequested(at=hall.now, interaction=interaction, agent=LI, target="queue:support", is_attended=False)
    )
    sent = hall.last(c.SendToHold)
    assert (sent.leg, sent.other, sent.target) == (caller, leg, "queue:support")
    hall.part(bridge, leg, caller)
    hall.ends(leg)
    hall.offer(caller, target="queue:support", waited_s=30)
    assert hall.last(e.InteractionQueued).queue == SUPPORT
    assert hall.agent(LI).state is AgentState.WRAP_UP
    assert len(hall.all(e.InteractionStarted)) == 1


def test_an_attended_transfer_hands_the_caller_over_and_both_agents_are_where_they_should_be() -> None:
    hall = Hall(small_plan())
    hall.ready(LI, ANN)
    caller, leg, bridge, interaction = hall.talk(LI)
    hall.feed(e.TransferRequested(at=hall.now, interaction=interaction, agent=LI, target="agent:ann", is_attended=True))
    consult = hall.last(c.StartConsult)
    assert (consult.leg, consult.agent_leg, consult.endpoint) == (caller, leg, "agent2")
    hall.part(bridge, leg, caller)
    ann_leg = hall.rings(leg, "agent2")
    assert hall.last(c.ShowPop).agent == ANN
    assert hall.agent(LI).state is AgentState.ON_CALL
    consult_bridge = hall.answers(leg, ann_leg)
    assert hall.last(e.AgentJoined).role == "consult"
    hall.feed(e.TransferCompleteRequested(at=hall.now, interaction=interaction, agent=LI))
    join = hall.last(c.JoinLegs)
    assert (join.leg, join.to) == (caller, ann_leg)
    hall.part(consult_bridge, ann_leg, leg)
    hall.bridge(caller, ann_leg)
    hall.ends(leg)
    assert hall.agent(LI).state is AgentState.WRAP_UP
    assert hall.agent(ANN).state is AgentState.ON_CALL
    assert [end.outcome for end in hall.all(e.TransferEnded)] == ["completed"]
    assert hall.all(e.InteractionEnded) == []


def test_a_consultation_that_nobody_answers_brings_the_agent_back_to_the_caller() -> None:
    hall = Hall(small_plan())
    hall.ready(LI, ANN)
    caller, leg, bridge, interaction = hall.talk(LI)
    hall.feed(e.TransferRequested(at=hall.now, interaction=interaction, agent=LI, target="agent:ann", is_attended=True))
    hall.part(bridge, leg, caller)
    ann_leg = hall.rings(leg, "agent2")
    hall.ring_ends(leg, ann_leg, DialOutcome.NO_ANSWER)
    hall.bridge(leg, caller)
    assert [end.outcome for end in hall.all(e.TransferEnded)] == ["failed"]
    assert hall.agent(ANN).state is AgentState.AVAILABLE
    assert hall.agent(LI).state is AgentState.ON_CALL


def test_a_ring_of_which_the_pbx_says_nothing_is_taken_back() -> None:
    hall = Hall(small_plan(ring_timeout_s=10))
    hall.ready(LI)
    caller, interaction = hall.call()
    hall.wait(20)
    assert any(read.is_full for read in hall.all(c.ReadLegs))
    repaired = hall.last(e.Repaired)
    floor = LiveFloor(hall.core, post=lambda _: None, clock=lambda: hall.now)
    floor.listen(repaired)
    assert [(one.what, one.agent, one.interaction) for one in floor.repairs()] == [("silent_ring", LI, interaction)]
    assert hall.last(c.ReturnToHold).leg == caller
    assert hall.agent(LI).state is AgentState.AVAILABLE


def test_a_ring_that_could_not_be_started_is_tried_again_a_little_later() -> None:
    hall = Hall(small_plan())
    hall.ready(LI)
    caller, interaction = hall.call()
    hall.feed(e.CommandFailed(at=hall.now, command="RingAgent", leg=caller, interaction=interaction, why="refused"))
    assert len(hall.all(c.RingAgent)) == 1
    hall.wait(1.5)
    assert len(hall.all(c.RingAgent)) == 2


def test_a_direct_call_that_nobody_of_us_routed_pops_and_the_agent_returns_to_where_it_was() -> None:
    hall = Hall(small_plan())
    hall.ready(LI)
    hall.feed(e.StateRequested(at=hall.now, agent=LI, state=AgentState.NOT_READY, reason="desk work", by="agent"))
    caller = hall.leg_started("trunk", number="+4913")
    leg = hall.rings(caller, "agent1")
    assert hall.last(c.ShowPop).agent == LI
    bridge = hall.answers(caller, leg)
    assert hall.agent(LI).state is AgentState.ON_CALL
    hall.part(bridge, caller, leg)
    hall.ends(leg)
    hall.ends(caller)
    assert (hall.agent(LI).state, hall.agent(LI).reason) == (AgentState.NOT_READY, "desk work")


def test_the_beat_counts_on_while_the_core_is_woken_and_only_where_the_link_stands() -> None:
    hall = Hall(small_plan())
    hall.wait(5)
    counts = [beat.count for beat in hall.all(c.Beat)]
    assert counts == sorted(set(counts))
    assert len(counts) >= 5
    hall.feed(e.LinkLost(at=hall.now, pbx=PBX, why="gone"))
    before = len(hall.all(c.Beat))
    hall.wait(5)
    assert len(hall.all(c.Beat)) == before


def test_after_a_reconnect_callers_who_left_are_ended_and_an_unknown_waiter_is_offered_again() -> None:
    hall = Hall(small_plan())
    gone, interaction = hall.call()
    stranger = LegId("pbx1/77.7")
    hall.feed(
        e.PbxRead(
            at=hall.now,
            pbx=PBX,
            legs=(
                e.LegSeen(
                    leg=stranger,
                    conversation=stranger,
                    channel="PJSIP/trunk-77",
                    tech="PJSIP",
                    endpoint="trunk",
                    number="1",
                    name="",
                    dialled="",
                    is_up=True,
                    is_ringing=False,
                    started_at=hall.now - 5,
                    bridge=None,
                    bridge_kind=None,
                    is_waiting=True,
                ),
            ),
            devices=(("agent1", e.DeviceState.NOT_INUSE),),
        )
    )
    assert gone not in [call.leg for call in hall.core.waiting_in_order()]
    assert [end.interaction for end in hall.all(e.InteractionEnded)] == [interaction]
    hall.wait(3)
    assert hall.last(c.ReturnToHold).leg == stranger


def test_a_restart_takes_up_the_agents_states_and_the_waiting_callers_from_the_journal() -> None:
    hall = Hall(small_plan())
    journaled = hall.keep_journal()
    hall.ready(LI)
    hall.talk(LI)
    waiting, _ = hall.call()
    again = Hall(small_plan())
    again.core.restore(journaled)
    assert again.agent(LI).state is AgentState.ON_CALL
    assert [call.leg for call in again.core.waiting_in_order()] == [waiting]
    assert again.core.waiting_in_order()[0].queued_at == hall.core.waiting_in_order()[0].queued_at


def consult(hall: Hall) -> tuple[LegId, LegId, LegId, str]:
    """Li speaks with a caller, then consults Ann, who answered: caller's, Li's and Ann's legs, and the interaction."""
    caller, leg, bridge, interaction = hall.talk(LI)
    hall.feed(e.TransferRequested(at=hall.now, interaction=interaction, agent=LI, target="agent:ann", is_attended=True))
    hall.part(bridge, leg, caller)
    ann_leg = hall.rings(leg, "agent2")
    hall.answers(leg, ann_leg)
    return caller, leg, ann_leg, interaction


def test_the_caller_counts_as_on_hold_while_the_agent_consults_and_no_longer_afterwards() -> None:
    hall = Hall(small_plan())
    hall.ready(LI, ANN)
    caller, leg, ann_leg, interaction = consult(hall)
    assert [held.is_held for held in hall.all(e.InteractionHeld)] == [True]
    hall.feed(e.TransferCancelRequested(at=hall.now, interaction=interaction, agent=LI))  # type: ignore[arg-type]
    join = hall.last(c.JoinLegs)
    assert (join.leg, join.to) == (leg, caller)
    hall.ends(ann_leg)
    hall.bridge(leg, caller)
    assert [held.is_held for held in hall.all(e.InteractionHeld)] == [True, False]
    assert [end.outcome for end in hall.all(e.TransferEnded)] == ["cancelled"]
    assert hall.agent(LI).state is AgentState.ON_CALL


def test_a_blonde_transfer_rings_the_target_again_for_the_caller() -> None:
    hall = Hall(small_plan())
    hall.ready(LI, ANN)
    caller, leg, bridge, interaction = hall.talk(LI)
    hall.feed(e.TransferRequested(at=hall.now, interaction=interaction, agent=LI, target="agent:ann", is_attended=True))
    hall.part(bridge, leg, caller)
    ann_leg = hall.rings(leg, "agent2")
    hall.feed(e.TransferCompleteRequested(at=hall.now, interaction=interaction, agent=LI))
    sent = hall.last(c.SendToHold)
    assert (sent.leg, sent.other, sent.target) == (caller, leg, "agent:ann")
    hall.feed(e.DialEnded(at=hall.now, by=leg, to=ann_leg, outcome=DialOutcome.CANCELLED))
    hall.ends(ann_leg)
    hall.ends(leg)
    hall.offer(caller, target="agent:ann")
    assert [end.outcome for end in hall.all(e.TransferEnded)] == ["blonde"]
    assert (hall.last(c.RingAgent).agent, hall.last(c.RingAgent).leg) == (ANN, caller)
    assert hall.agent(LI).state is AgentState.WRAP_UP


def test_a_consultation_that_could_not_be_started_frees_the_agent_asked_for() -> None:
    hall = Hall(small_plan())
    hall.ready(LI, ANN)
    caller, _, _, interaction = hall.talk(LI)
    hall.feed(e.TransferRequested(at=hall.now, interaction=interaction, agent=LI, target="agent:ann", is_attended=True))
    assert hall.agent(ANN).state is AgentState.RESERVED
    hall.feed(e.CommandFailed(at=hall.now, command="StartConsult", leg=caller, interaction=None, why="refused"))
    assert [end.outcome for end in hall.all(e.TransferEnded)] == ["failed"]
    assert hall.agent(ANN).state is AgentState.AVAILABLE
    assert hall.agent(LI).state is AgentState.ON_CALL


def test_the_caller_gives_up_during_the_consultation_and_the_two_agents_talk_on() -> None:
    hall = Hall(small_plan())
    hall.ready(LI, ANN)
    caller, leg, ann_leg, _ = consult(hall)
    hall.ends(caller)
    assert hall.agent(LI).state is AgentState.ON_CALL
    assert hall.agent(ANN).state is AgentState.ON_CALL
    hall.ends(ann_leg)
    hall.ends(leg)
    assert AgentState.ON_CALL not in (hall.agent(LI).state, hall.agent(ANN).state)
    assert [end.outcome for end in hall.all(e.InteractionEnded)] == ["answered"]


def test_the_look_up_begins_when_the_call_arrives_and_is_not_made_twice() -> None:
    hall = Hall(small_plan())
    caller = hall.leg_started("trunk", number="+4912")
    (look_up,) = hall.all(c.LookUpCaller)
    hall.feed(e.CallerLookedUp(at=hall.now, interaction=look_up.interaction, parties=(7,), how="number"))
    hall.offer(caller, ani="+4912")
    assert len(hall.all(c.LookUpCaller)) == 1
    assert hall.core.calls[look_up.interaction].parties == (7,)
    assert [fact.parties for fact in hall.all(e.CallerLookedUp)] == [(7,)]


def test_a_caller_whose_number_is_withheld_is_not_shown_as_the_one_that_the_signalling_names() -> None:
    hall = Hall(small_plan())
    caller = hall.leg_started("trunk", number="+4912")
    early = hall.last(c.LookUpCaller)
    hall.feed(e.CallerLookedUp(at=hall.now, interaction=early.interaction, parties=(7,), how="number"))
    hall.offer(caller, ani="")
    assert hall.last(c.LookUpCaller).ani == ""
    assert hall.core.calls[early.interaction].parties == ()


def test_a_talk_that_ended_while_the_daemon_was_away_is_answered_and_lasts_no_longer_than_it_was_heard() -> None:
    hall = Hall(small_plan())
    journaled = hall.keep_journal()
    hall.ready(LI)
    hall.talk(LI)
    heard_at = hall.now
    again = Hall(small_plan())
    again.core.restore(journaled)
    again.now = heard_at + 3600
    again.feed(e.PbxRead(at=again.now, pbx=PBX, legs=(), devices=(("agent1", e.DeviceState.NOT_INUSE),)))
    (ended,) = again.all(e.InteractionEnded)
    assert (ended.outcome, ended.at) == ("answered", heard_at)
    assert again.all(e.AgentLeft)[-1].at == heard_at
    assert again.agent(LI).state is AgentState.WRAP_UP


def test_a_caller_who_was_offered_and_left_in_the_same_moment_is_not_taken_away_from_the_fall_back() -> None:
    hall = Hall(small_plan())
    hall.ready(LI)
    caller = hall.leg_started("trunk", number="+4912")
    with hall.in_one_turn():
        hall.offer(caller)
        hall.feed(e.CallerFellBack(at=hall.now, leg=caller))
        hall.feed(e.ForeignQueueJoined(at=hall.now, leg=caller, queue="callfloor-support", position=1))
        phone = hall.rings(caller, "agent2")
        hall.answers(caller, phone)
    hall.wait(5)
    assert hall.all(c.RingAgent) == []
    assert hall.agent(LI).state is AgentState.AVAILABLE
    assert hall.agent(ANN).state is AgentState.ON_CALL


def test_a_caller_who_was_offered_and_hung_up_in_the_same_moment_rings_nobody() -> None:
    hall = Hall(small_plan())
    hall.ready(LI)
    caller = hall.leg_started("trunk", number="+4912")
    with hall.in_one_turn():
        hall.offer(caller)
        hall.ends(caller)
    assert hall.all(c.RingAgent) == []
    assert hall.last(e.InteractionEnded).outcome == "short_abandoned"
