"""An agent's page is gone in the middle of a talk: the caller is not, and gets the same agent back."""

from __future__ import annotations

import pytest

from cti import commands as c
from cti import events as e
from cti.events import AgentState, DialOutcome, HangupCause
from cti.ids import AgentId, BridgeId, InteractionId, LegId
from tests.core.hall import Hall
from tests.core.plans import ANN, BO, LI, PBX, small_plan


def leave_page(hall: Hall, agent: AgentId = LI) -> None:
    hall.feed(e.PageLeft(at=hall.now, agent=agent))


def lose(hall: Hall) -> tuple[LegId, InteractionId]:
    """Li's page goes in a talk; the caller stands in the hold loop, Li's phone is gone."""
    caller, leg, bridge, interaction = hall.talk(LI)
    hall.now += 30
    leave_page(hall)
    sent = hall.last(c.SendToHold)
    assert (sent.leg, sent.other, sent.target) == (caller, leg, "agent:li")
    hall.feed(e.PhoneUnreachable(at=hall.now, pbx=PBX, endpoint="agent1"))
    hall.part(bridge, caller, leg)
    hall.offer(caller, target="agent:li")
    hall.ends(leg)
    return caller, interaction


def come_back(hall: Hall) -> None:
    hall.feed(e.PhoneReachable(at=hall.now, pbx=PBX, endpoint="agent1"))
    hall.feed(e.DeskFresh(at=hall.now, agent=LI))


def test_the_same_agent_is_rung_first_once_the_page_and_the_phone_are_back() -> None:
    hall = Hall(small_plan())
    hall.ready(LI, ANN)
    caller, interaction = lose(hall)
    assert (hall.agent(LI).state, hall.agent(LI).reason) == (AgentState.RESERVED, "returning")
    assert len(hall.all(c.RingAgent)) == 1
    hall.now += 4
    come_back(hall)
    assert [ring.agent for ring in hall.all(c.RingAgent)] == [LI, LI]
    hall.answers(caller, hall.rings(caller, "agent1"))
    assert hall.agent(LI).state is AgentState.ON_CALL
    assert hall.core.calls[interaction].returning is None
    assert AgentState.WRAP_UP not in [fact.state for fact in hall.all(e.AgentStateChanged)]
    assert len(hall.all(e.InteractionStarted)) == len(hall.all(e.InteractionQueued)) == 1


def test_an_agent_who_does_not_come_back_loses_the_caller_to_whoever_is_free() -> None:
    hall = Hall(small_plan())
    hall.ready(LI, ANN)
    caller, _ = lose(hall)
    waiting, _ = hall.call()
    hall.ring_ends(waiting, hall.rings(waiting, "agent2"), DialOutcome.NO_ANSWER)
    hall.offer(waiting)
    hall.wait(16)
    assert (hall.agent(LI).state, hall.agent(LI).reason) == (AgentState.NOT_READY, "browser_lost")
    assert {call.leg: call.is_head for call in hall.core.waiting_in_order()}[caller]
    hall.ready(ANN)
    hall.feed(e.StateRequested(at=hall.now, agent=ANN, state=AgentState.AVAILABLE, reason="", by="ann"))
    assert hall.last(c.RingAgent).agent == ANN


def test_a_caller_who_gives_up_meanwhile_leaves_the_agent_with_the_wrap_up() -> None:
    hall = Hall(small_plan(wrap_up_s=30))
    hall.ready(LI)
    caller, interaction = lose(hall)
    hall.ends(caller)
    assert hall.last(e.InteractionEnded).outcome == "answered"
    assert (hall.agent(LI).state, hall.agent(LI).interaction) == (AgentState.WRAP_UP, interaction)


def test_an_agent_who_logs_out_while_the_caller_waits_gives_the_caller_to_the_others() -> None:
    hall = Hall(small_plan())
    hall.ready(LI, ANN)
    caller, _ = lose(hall)
    hall.feed(e.AgentLoggedOut(at=hall.now, agent=LI, by="li"))
    assert hall.agent(LI).state is AgentState.LOGGED_OUT
    assert (hall.last(c.RingAgent).agent, hall.last(c.RingAgent).leg) == (ANN, caller)


def test_a_page_that_leaves_while_its_phone_rings_is_not_waited_for() -> None:
    hall = Hall(small_plan())
    hall.ready(LI, ANN)
    caller, _ = hall.call()
    leg = hall.rings(caller, "agent1")
    leave_page(hall)
    assert hall.last(c.ReturnToHold).leg == caller
    hall.ring_ends(caller, leg, DialOutcome.CANCELLED)
    hall.offer(caller)
    assert hall.last(c.RingAgent).agent == ANN
    assert hall.agent(LI).state is AgentState.AVAILABLE


def test_a_desk_phone_does_not_care_about_its_page() -> None:
    hall = Hall(small_plan())
    hall.ready(BO)
    hall.talk(BO, dnis="4002")
    leave_page(hall, BO)
    assert hall.agent(BO).state is AgentState.ON_CALL
    assert hall.all(c.SendToHold) == hall.all(c.HangUp) == []


def consult(hall: Hall) -> tuple[LegId, LegId, LegId, BridgeId]:
    caller, leg, bridge, interaction = hall.talk(LI)
    hall.feed(e.TransferRequested(at=hall.now, interaction=interaction, agent=LI, target="agent:ann", is_attended=True))
    hall.part(bridge, leg, caller)
    ann_leg = hall.rings(leg, "agent2")
    return caller, leg, ann_leg, hall.answers(leg, ann_leg)


def test_the_agent_who_consults_leaves_and_the_caller_waits_for_them() -> None:
    hall = Hall(small_plan())
    hall.ready(LI, ANN)
    caller, leg, _, _ = consult(hall)
    leave_page(hall)
    sent = hall.last(c.SendToHold)
    assert (sent.leg, sent.other, sent.target) == (caller, leg, "agent:li")
    assert hall.last(e.TransferEnded).outcome == "failed"
    assert hall.agent(LI).reason == "returning"


def test_the_agent_who_is_consulted_leaves_and_only_the_consultation_ends() -> None:
    hall = Hall(small_plan())
    hall.ready(LI, ANN)
    _, _, ann_leg, _ = consult(hall)
    leave_page(hall, ANN)
    assert hall.last(c.HangUp).leg == ann_leg
    assert hall.all(c.SendToHold) == []
    assert hall.agent(LI).state is AgentState.ON_CALL


def test_a_phone_that_fell_silent_is_rung_again_for_the_caller_whom_the_dialplan_brings_back() -> None:
    hall = Hall(small_plan())
    hall.ready(LI, ANN)
    caller, leg, bridge, _ = hall.talk(LI)
    hall.part(bridge, leg, caller)
    hall.ends(leg, HangupCause.CONGESTION)
    hall.offer(caller)
    assert [ring.agent for ring in hall.all(c.RingAgent)] == [LI, LI]
    assert AgentState.WRAP_UP not in [fact.state for fact in hall.all(e.AgentStateChanged)]


def test_an_order_that_failed_is_given_again_while_the_caller_hangs_on_the_dead_phone() -> None:
    hall = Hall(small_plan())
    hall.ready(LI)
    caller, _, _, _ = hall.talk(LI)
    leave_page(hall)
    hall.feed(e.CommandFailed(at=hall.now, command="SendToHold", leg=caller, interaction=None, why="timeout"))
    hall.wait(2)
    assert len(hall.all(c.SendToHold)) == 2


@pytest.mark.parametrize("outcome", [DialOutcome.NO_ANSWER, DialOutcome.REJECTED])
def test_who_is_back_and_does_not_answer_is_not_rung_a_third_time(outcome: DialOutcome) -> None:
    hall = Hall(small_plan())
    hall.ready(LI)
    caller, _ = lose(hall)
    come_back(hall)
    hall.ring_ends(caller, hall.rings(caller, "agent1"), outcome)
    hall.offer(caller, target="agent:li")
    assert hall.agent(LI).state is AgentState.NOT_READY
    hall.wait(20)
    assert len(hall.all(c.RingAgent)) == 2
    assert [call.leg for call in hall.core.waiting_in_order()] == [caller]
