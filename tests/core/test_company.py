"""Handing a caller to a queue, a skill or a number outside, and speaking together: what the core orders and tells."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cti import commands as c
from cti import events as e
from cti.events import AgentState, DialOutcome
from cti.ids import InteractionId, LegId
from cti.inbound import Inbound
from cti.routing.plan import Outside, Phone, PhoneKind, Plan
from tests.core.hall import Hall
from tests.core.plans import ANN, BO, LI, PBX, SALES, SUPPORT, small_plan
from tests.core.test_transfer_ends import ask_transfer, consult

OUTSIDE = "number:+4930555"


def plan() -> Plan:
    """Ann and Bo support, Ann speaks English (5); Germany may be called, but for one beginning."""
    small = small_plan()
    agents = {
        **small.agents,
        ANN: replace(small.agents[ANN], queues=(SUPPORT,), skills={"technical": 6, "english": 5}),
    }
    return replace(small, agents=agents, outside=Outside(allowed=("+49",), refused=("+49900",)))


def outcomes(hall: Hall) -> list[str]:
    return [end.outcome for end in hall.all(e.TransferEnded)]


def together_again(hall: Hall, caller: LegId, leg: LegId) -> None:
    """The dialplan has brought the agent back to the caller."""
    hall.wait(0.05)
    hall.bridge(caller, leg)


@pytest.mark.parametrize("target", ["queue:support", "skill:technical >= 5"])
def test_whoever_of_a_queue_or_skill_is_free_is_consulted_and_the_next_when_nobody_answers(target: str) -> None:
    hall = Hall(plan())
    hall.ready(LI, ANN, BO)
    caller, leg, bridge, interaction = hall.talk(LI)
    ask_transfer(hall, interaction, target, is_attended=True)
    assert hall.last(c.StartConsult).endpoint == "agent2"
    hall.part(bridge, leg, caller)
    hall.ring_ends(leg, hall.rings(leg, "agent2"), DialOutcome.NO_ANSWER)
    assert (hall.agent(ANN).state, hall.agent(ANN).reason) == (AgentState.NOT_READY, "ring_no_answer")
    assert len(hall.all(c.StartConsult)) == 1
    together_again(hall, caller, leg)
    assert [order.endpoint for order in hall.all(c.StartConsult)] == ["agent2", "agent3"]
    assert hall.agent(BO).state is AgentState.RESERVED


def test_nobody_free_to_consult_leaves_the_caller_where_they_are() -> None:
    hall = Hall(plan())
    hall.ready(LI)
    _, _, _, interaction = hall.talk(LI)
    for target in ("queue:support", "skill:technical >= 5", "skill:french"):
        ask_transfer(hall, interaction, target, is_attended=True)
    ask_transfer(hall, interaction, "skill:french", is_attended=False)
    assert outcomes(hall) == ["nobody"] * 4
    assert not hall.all(c.StartConsult)
    assert not hall.all(c.SendToHold)


def test_the_last_one_of_a_queue_does_not_answer_and_the_agent_is_told() -> None:
    hall = Hall(plan())
    hall.ready(LI, ANN)
    caller, leg, bridge, interaction = hall.talk(LI)
    ask_transfer(hall, interaction, "queue:support", is_attended=True)
    hall.part(bridge, leg, caller)
    hall.ring_ends(leg, hall.rings(leg, "agent2"), DialOutcome.REJECTED)
    together_again(hall, caller, leg)
    assert outcomes(hall) == ["nobody"]
    assert len(hall.all(c.StartConsult)) == 1


def test_a_phone_that_never_rang_gives_way_to_the_next_of_the_queue() -> None:
    hall = Hall(plan())
    hall.ready(LI, ANN, BO)
    caller, leg, bridge, interaction = hall.talk(LI)
    ask_transfer(hall, interaction, "queue:support", is_attended=True)
    hall.part(bridge, leg, caller)
    together_again(hall, caller, leg)
    hall.wait(10)
    assert [order.endpoint for order in hall.all(c.StartConsult)] == ["agent2", "agent3"]
    assert hall.agent(ANN).state is AgentState.AVAILABLE


def test_a_caller_sent_on_to_a_skill_waits_for_whoever_has_it() -> None:
    hall = Hall(plan())
    hall.ready(LI, ANN, BO)
    caller, leg, bridge, interaction = hall.talk(LI)
    ask_transfer(hall, interaction, "skill:technical >= 7", is_attended=False)
    assert hall.last(c.SendToHold).target == ""
    hall.part(bridge, caller, leg)
    hall.ends(leg)
    hall.offer(caller)
    assert [ring.agent for ring in hall.all(c.RingAgent)] == [LI, BO]


@pytest.mark.parametrize("number", ["+1900123", "+49900123", "0049123", "112 or 1=1"])
def test_a_number_that_is_not_allowed_is_not_called(number: str) -> None:
    hall = Hall(plan())
    hall.ready(LI)
    _, _, _, interaction = hall.talk(LI)
    for is_attended in (True, False):
        ask_transfer(hall, interaction, f"number:{number}", is_attended=is_attended)
    assert outcomes(hall) == ["refused"] * 2
    assert not [order for order in hall.said if isinstance(order, c.StartConsult | c.SendOutside)]


def test_nothing_outside_is_called_where_nothing_is_allowed() -> None:
    hall = Hall(small_plan())
    hall.ready(LI)
    _, _, _, interaction = hall.talk(LI)
    ask_transfer(hall, interaction, OUTSIDE, is_attended=False)
    assert outcomes(hall) == ["refused"]


def outside_rings(hall: Hall, by: LegId) -> LegId:
    leg = hall.leg_started("trunk", conversation=by, number="+4930555")
    hall.feed(e.DialStarted(at=hall.now, by=by, to=leg))
    return leg


def consult_outside(hall: Hall) -> tuple[LegId, LegId, LegId, InteractionId]:
    """Li speaks with a caller and calls a number outside, which rings."""
    caller, leg, bridge, interaction = hall.talk(LI)
    ask_transfer(hall, interaction, OUTSIDE, is_attended=True)
    order = hall.last(c.StartConsult)
    assert (order.endpoint, order.is_outside, order.shown_as) == ("+4930555", True, "")
    hall.part(bridge, leg, caller)
    return caller, leg, outside_rings(hall, leg), interaction


def test_somebody_outside_is_consulted_and_takes_the_caller() -> None:
    hall = Hall(plan())
    hall.ready(LI)
    caller, leg, outside, interaction = consult_outside(hall)
    hall.answers(leg, outside)
    hall.feed(e.TransferCompleteRequested(at=hall.now, interaction=interaction, agent=LI))
    assert hall.last(c.JoinLegs) == c.JoinLegs(leg=caller, to=outside)
    hall.bridge(caller, outside)
    hall.ends(leg)
    assert outcomes(hall) == ["completed"]
    assert hall.agent(LI).state is AgentState.WRAP_UP
    assert len(hall.all(e.InteractionStarted)) == 1
    hall.ends(outside)
    hall.ends(caller)
    assert hall.last(e.InteractionEnded).outcome == "answered"


def test_nobody_outside_answers_and_the_agent_has_the_caller_back() -> None:
    hall = Hall(plan())
    hall.ready(LI)
    caller, leg, outside, _ = consult_outside(hall)
    hall.ring_ends(leg, outside, DialOutcome.BUSY)
    together_again(hall, caller, leg)
    assert outcomes(hall) == ["failed"]
    assert hall.agent(LI).state is AgentState.ON_CALL


@pytest.mark.parametrize("is_answered", [True, False])
def test_a_caller_sent_outside_comes_back_when_nobody_answers(is_answered: bool) -> None:
    hall = Hall(plan())
    hall.ready(LI)
    caller, leg, bridge, interaction = hall.talk(LI)
    ask_transfer(hall, interaction, OUTSIDE, is_attended=False)
    assert hall.last(c.SendOutside) == c.SendOutside(leg=caller, other=leg, number="+4930555", target="agent:li")
    hall.part(bridge, caller, leg)
    hall.ends(leg)
    outside = outside_rings(hall, caller)
    if is_answered:
        hall.answers(caller, outside)
        assert outcomes(hall) == ["completed"]
    else:
        hall.ring_ends(caller, outside, DialOutcome.NO_ANSWER)
        hall.offer(caller, target="agent:li")
        assert outcomes(hall) == ["failed"]
        assert [call.id for call in hall.core.waiting_in_order()] == [interaction]


def confer(hall: Hall) -> tuple[LegId, LegId, LegId, InteractionId]:
    caller, leg, ann_leg, interaction = consult(hall)
    hall.feed(e.ConferenceRequested(at=hall.now, interaction=interaction, agent=LI))
    assert hall.all(c.JoinConference) == [
        c.JoinConference(leg=caller, of=caller),
        c.JoinConference(leg=leg, of=caller, also=ann_leg),
    ]
    hall.bridge(caller, leg, ann_leg)
    return caller, leg, ann_leg, interaction


def test_all_three_speak_and_whoever_leaves_wraps_up_alone() -> None:
    hall = Hall(small_plan())
    hall.ready(LI, ANN)
    caller, leg, ann_leg, interaction = confer(hall)
    assert outcomes(hall) == ["conference"]
    assert {hall.agent(one).state for one in (LI, ANN)} == {AgentState.ON_CALL}
    hall.ends(leg)
    assert (hall.agent(LI).state, hall.agent(ANN).state) == (AgentState.WRAP_UP, AgentState.ON_CALL)
    hall.ends(ann_leg)
    hall.ends(caller)
    assert hall.agent(ANN).state is AgentState.WRAP_UP
    assert hall.all(e.InteractionEnded) == [
        e.InteractionEnded(at=hall.now, interaction=interaction, outcome="answered")
    ]


def test_the_last_agent_in_a_conference_is_let_go() -> None:
    hall = Hall(small_plan())
    hall.ready(LI, ANN)
    caller, leg, ann_leg, _ = confer(hall)
    hall.ends(caller)
    assert not hall.all(c.HangUp)
    hall.ends(leg)
    hall.wait(1)
    assert hall.all(c.HangUp) == [c.HangUp(leg=ann_leg)]


def test_a_fourth_is_consulted_out_of_a_conference_and_joins_it() -> None:
    hall = Hall(
        replace(small_plan(), agents={**small_plan().agents, BO: replace(small_plan().agents[BO], queues=(SALES,))})
    )
    hall.ready(LI, ANN, BO)
    caller, leg, _, interaction = confer(hall)
    ask_transfer(hall, interaction, "agent:bo", is_attended=True)
    assert hall.last(c.StartConsult).is_in_company
    bridge = hall.core.conversations.get(interaction).legs[leg].bridge  # type: ignore[union-attr]
    assert bridge is not None
    hall.part(bridge, leg)
    bo_leg = hall.rings(leg, "agent3")
    hall.answers(leg, bo_leg)
    hall.feed(e.ConferenceRequested(at=hall.now, interaction=interaction, agent=LI))
    assert hall.last(c.JoinConference) == c.JoinConference(leg=leg, of=caller, also=bo_leg)
    for one in (leg, bo_leg):
        hall.feed(e.BridgeJoined(at=hall.now, leg=one, bridge=bridge, kind=e.BridgeKind.TALK))
    assert outcomes(hall) == ["conference", "conference"]
    assert not hall.all(c.HangUp)
    assert {agent for agent, _ in hall.core.calls[interaction].talking.items()} == {LI, ANN, BO}


def test_a_conference_outlives_a_restart_of_the_daemon() -> None:
    hall = Hall(small_plan())
    journal = hall.keep_journal()
    hall.ready(LI, ANN)
    _, _, _, interaction = confer(hall)
    core = Inbound(small_plan(), boot="boot2")
    core.restore(journal)
    assert set(core.calls[interaction].talking) == {LI, ANN}
    assert core.calls[interaction].is_conference
    assert {core.agents[one].state for one in (LI, ANN)} == {AgentState.ON_CALL}


def test_an_agent_is_reminded_of_a_caller_on_hold_again_and_again_until_the_caller_is_back() -> None:
    hall = Hall(small_plan(hold_recall_s=60))
    hall.ready(LI)
    _, leg, _, interaction = hall.talk(LI)
    hall.feed(e.LegHeld(at=hall.now, leg=leg))
    hall.wait(59)
    assert not hall.all(e.HoldRecalled)
    hall.wait(62)
    assert [(one.interaction, one.agent, one.held_s) for one in hall.all(e.HoldRecalled)] == [
        (interaction, LI, 60.0),
        (interaction, LI, 120.0),
    ]
    hall.feed(e.LegResumed(at=hall.now, leg=leg))
    hall.wait(200)
    assert len(hall.all(e.HoldRecalled)) == 2


def test_a_hold_is_still_counted_after_a_restart_of_the_daemon() -> None:
    hall = Hall(small_plan(hold_recall_s=60))
    journal = hall.keep_journal()
    hall.ready(LI)
    _, leg, _, _ = hall.talk(LI)
    hall.feed(e.LegHeld(at=hall.now, leg=leg))
    held_at = hall.now
    core = Inbound(small_plan(hold_recall_s=60), boot="boot2")
    core.restore(journal)
    assert [one.held_s for one in core.wake(now=held_at + 60) if isinstance(one, e.HoldRecalled)] == [60.0]


def far_hall() -> tuple[Hall, LegId, InteractionId, LegId]:
    """Li works on a number outside, which rings for a caller; gives the caller, the call and the leg on the trunk."""
    small = small_plan()
    far = replace(small.agents[LI], phone=Phone(PBX, "+4917011", PhoneKind.OUTSIDE), language="de")
    hall = Hall(replace(small, agents={**small.agents, LI: far}))
    hall.ready(LI)
    caller, interaction = hall.call()
    order = hall.last(c.RingAgent)
    assert (order.endpoint, order.is_outside, order.language) == ("+4917011", True, "de")
    leg = hall.leg_started("trunk", conversation=caller, number="+4917011")
    hall.feed(e.LegOwned(at=hall.now, leg=leg, endpoint="+4917011"))
    hall.feed(e.DialStarted(at=hall.now, by=caller, to=leg))
    return hall, caller, interaction, leg


def test_an_agent_outside_has_the_card_while_it_rings_and_the_caller_after_the_key() -> None:
    hall, caller, interaction, leg = far_hall()
    assert (hall.last(c.ShowPop).agent, hall.last(c.ShowPop).interaction) == (LI, interaction)
    hall.feed(e.DialEnded(at=hall.now, by=caller, to=leg, outcome=DialOutcome.ANSWERED))
    hall.wait(15)
    assert not hall.all(e.Repaired)
    hall.bridge(caller, leg)
    assert hall.agent(LI).state is AgentState.ON_CALL
    hall.ends(leg)
    assert hall.agent(LI).state is AgentState.WRAP_UP


def test_who_answers_outside_and_presses_no_key_has_not_answered() -> None:
    hall, caller, interaction, leg = far_hall()
    hall.feed(e.DialEnded(at=hall.now, by=caller, to=leg, outcome=DialOutcome.ANSWERED))
    hall.ends(leg)
    hall.offer(caller)
    assert (hall.agent(LI).state, hall.agent(LI).reason) == (AgentState.NOT_READY, "not_accepted")
    assert [call.id for call in hall.core.waiting_in_order()] == [interaction]
    assert c.ClosePop(interaction=interaction, agent=LI, reason="no_answer") in hall.said
