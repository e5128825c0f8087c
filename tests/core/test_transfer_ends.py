"""How transfers end for everybody in them: caller, agent and the colleague who was asked."""

from __future__ import annotations

from dataclasses import replace

from cti import commands as c
from cti import events as e
from cti.events import AgentState, DialOutcome
from cti.ids import AgentId, InteractionId, LegId
from cti.routing.plan import Plan
from tests.core.hall import Hall
from tests.core.plans import ANN, BO, LI, SALES, small_plan


def all_sell() -> Plan:
    """The small centre in which Bo sells, too."""
    plan = small_plan()
    return replace(plan, agents={**plan.agents, BO: replace(plan.agents[BO], skills={"english": 6}, queues=(SALES,))})


def ask_transfer(hall: Hall, interaction: InteractionId, to: str, *, by: AgentId = LI, is_attended: bool) -> None:
    hall.feed(e.TransferRequested(at=hall.now, interaction=interaction, agent=by, target=to, is_attended=is_attended))


def send_blind(hall: Hall, to: str) -> tuple[LegId, InteractionId]:
    """Li speaks with a caller and sends them on; the PBX has moved both legs."""
    caller, leg, bridge, interaction = hall.talk(LI)
    ask_transfer(hall, interaction, to, is_attended=False)
    hall.part(bridge, caller, leg)
    hall.ends(leg)
    hall.now += 30
    hall.offer(caller, target=to)
    return caller, interaction


def consult(hall: Hall) -> tuple[LegId, LegId, LegId, InteractionId]:
    """Li speaks with a caller, then with Ann: the legs of the caller, Li and Ann."""
    caller, leg, bridge, interaction = hall.talk(LI)
    ask_transfer(hall, interaction, "agent:ann", is_attended=True)
    hall.part(bridge, leg, caller)
    ann_leg = hall.rings(leg, "agent2")
    hall.answers(leg, ann_leg)
    return caller, leg, ann_leg, interaction


def test_a_caller_whom_nobody_took_over_may_be_transferred_again_by_the_same_agent() -> None:
    hall = Hall(small_plan())
    hall.ready(LI, ANN)
    caller, interaction = send_blind(hall, "agent:ann")
    hall.ring_ends(caller, hall.rings(caller, "agent2"), DialOutcome.REJECTED)
    hall.offer(caller, target="agent:ann")
    hall.feed(e.StateRequested(at=hall.now, agent=LI, state=AgentState.AVAILABLE, reason="", by="li"))
    assert hall.last(c.RingAgent).agent == LI
    hall.answers(caller, hall.rings(caller, "agent1"))
    assert [end.outcome for end in hall.all(e.TransferEnded)] == ["failed"]
    ask_transfer(hall, interaction, "agent:ann", is_attended=False)
    assert len(hall.all(c.SendToHold)) == 2


def test_a_caller_put_through_waits_for_the_named_agent_whose_phone_is_still_letting_go() -> None:
    hall = Hall(all_sell())
    hall.ready(LI, ANN, BO)
    caller, leg, bridge, interaction = hall.talk(LI)
    ask_transfer(hall, interaction, "agent:ann", is_attended=True)
    hall.part(bridge, leg, caller)
    ann_leg = hall.rings(leg, "agent2")
    hall.feed(e.TransferCompleteRequested(at=hall.now, interaction=interaction, agent=LI))
    hall.offer(caller, target="agent:ann")
    hall.feed(e.DialEnded(at=hall.now, by=leg, to=ann_leg, outcome=DialOutcome.CANCELLED))
    assert [ring.agent for ring in hall.all(c.RingAgent)] == [LI]
    hall.ends(ann_leg)
    assert [ring.agent for ring in hall.all(c.RingAgent)] == [LI, ANN]


def test_a_caller_who_leaves_during_the_consultation_ends_the_transfer() -> None:
    hall = Hall(small_plan())
    hall.ready(LI, ANN)
    caller, _, _, interaction = consult(hall)
    hall.ends(caller)
    assert [end.outcome for end in hall.all(e.TransferEnded)] == ["caller_gone"]
    hall.feed(e.TransferCompleteRequested(at=hall.now, interaction=interaction, agent=LI))
    assert hall.all(c.JoinLegs) == []
    ask_transfer(hall, interaction, "agent:bo", is_attended=False)
    assert hall.all(c.SendToHold) == []


def test_a_colleague_who_was_only_asked_has_nothing_to_wrap_up() -> None:
    hall = Hall(small_plan())
    hall.ready(LI, ANN)
    _, _, ann_leg, interaction = consult(hall)
    hall.ends(ann_leg)
    assert hall.agent(ANN).state is AgentState.AVAILABLE
    assert (hall.last(c.ClosePop).agent, hall.last(c.ClosePop).interaction) == (ANN, interaction)


def test_a_colleague_who_took_over_wraps_up() -> None:
    hall = Hall(small_plan())
    hall.ready(LI, ANN)
    caller, leg, ann_leg, interaction = consult(hall)
    hall.feed(e.TransferCompleteRequested(at=hall.now, interaction=interaction, agent=LI))
    hall.bridge(caller, ann_leg)
    hall.ends(leg)
    hall.ends(ann_leg)
    assert hall.agent(LI).state is AgentState.WRAP_UP
    assert hall.agent(ANN).state is AgentState.WRAP_UP


def test_a_transferred_caller_waits_anew() -> None:
    hall = Hall(small_plan())
    hall.ready(LI)
    send_blind(hall, "queue:support")
    assert hall.last(e.InteractionQueued).queued_at == hall.now
    (waiting,) = hall.core.waiting_in_order()
    assert waiting.queued_at == hall.now


def test_a_handover_ordered_twice_is_carried_out_once_and_again_only_after_it_failed() -> None:
    hall = Hall(small_plan())
    hall.ready(LI, ANN)
    caller, _, _, interaction = consult(hall)
    for _press in range(2):
        hall.feed(e.TransferCompleteRequested(at=hall.now, interaction=interaction, agent=LI))
    hall.feed(e.TransferCancelRequested(at=hall.now, interaction=interaction, agent=LI))
    assert len(hall.all(c.JoinLegs)) == 1
    hall.feed(e.CommandFailed(at=hall.now, command="JoinLegs", leg=caller, interaction=None, why="timeout"))
    hall.feed(e.TransferCancelRequested(at=hall.now, interaction=interaction, agent=LI))
    assert len(hall.all(c.JoinLegs)) == 2
