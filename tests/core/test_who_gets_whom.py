"""Who gets whom, in the deciding core: what the line decides is carried out, told and taken back."""

from __future__ import annotations

from dataclasses import replace

from cti import commands as c
from cti import events as e
from cti.agent_state import Move
from cti.events import AgentState, DialOutcome
from cti.ids import QueueId
from cti.inbound import Inbound
from cti.routing.plan import PhoneKind, Plan, Preferred, Selection, Step
from tests.core.hall import Hall
from tests.core.plans import ANN, BO, LI, SALES, SUPPORT, small_plan


def plan_with(**changes: object) -> Plan:
    """Sales as it is told, and everybody in it."""
    plan = small_plan()
    agents = {one.id: replace(one, queues=(SALES, SUPPORT)) for one in plan.agents.values()}
    queue = replace(plan.queues[SALES], **{"steps": (), **changes})  # type: ignore[arg-type]
    return replace(plan, queues={**plan.queues, SALES: queue}, agents=agents)


# ── several phones at once ────────────────────────────────────────────────────────────────────────────────


def test_of_several_that_ring_one_answers_and_the_others_are_free_and_not_to_blame() -> None:
    hall = Hall(plan_with(parallel=0))
    hall.ready(LI, ANN, BO)
    caller, interaction = hall.call()
    ring = hall.last(c.RingAgent)
    assert (ring.agent, ring.endpoint, ring.also) == (LI, "agent1", ("agent2", "agent3"))
    assert hall.last(e.AgentChosen).others == (ANN, BO)
    li, ann = hall.rings(caller, "agent1"), hall.rings(caller, "agent2")
    assert {pop.agent for pop in hall.all(c.ShowPop)} == {LI, ANN}
    hall.feed(e.LegAnswered(at=hall.now, leg=ann))
    hall.feed(e.DialEnded(at=hall.now, by=caller, to=ann, outcome=DialOutcome.ANSWERED))
    hall.ring_ends(caller, li, DialOutcome.CANCELLED)
    hall.bridge(caller, ann)
    assert hall.agent(ANN).state is AgentState.ON_CALL
    assert [(pop.agent, pop.reason) for pop in hall.all(c.ClosePop)] == [(LI, "answered_elsewhere")]
    # bo's phone never rang: nothing more is to be heard of it.
    assert hall.agent(LI).state is hall.agent(BO).state is AgentState.AVAILABLE
    assert hall.core.calls[interaction].ringing is None


def test_nobody_of_several_answers_and_each_is_asked_to_say_when_ready_again() -> None:
    hall = Hall(plan_with(parallel=2))
    hall.ready(LI, ANN, BO)
    caller, _ = hall.call()
    for endpoint in ("agent1", "agent2"):
        hall.rings(caller, endpoint)
    for leg in sorted(hall.agent(LI).legs | hall.agent(ANN).legs):
        hall.ring_ends(caller, leg, DialOutcome.NO_ANSWER)
    assert {(hall.agent(one).state, hall.agent(one).reason) for one in (LI, ANN)} == {
        (AgentState.NOT_READY, "ring_no_answer")
    }
    hall.offer(caller, waited_s=20)
    assert hall.last(c.RingAgent).agent == BO


def test_one_who_refuses_is_not_ready_and_the_others_go_on_ringing() -> None:
    hall = Hall(plan_with(parallel=2))
    hall.ready(LI, ANN)
    caller, interaction = hall.call()
    li, ann = hall.rings(caller, "agent1"), hall.rings(caller, "agent2")
    hall.ring_ends(caller, li, DialOutcome.BUSY)
    assert hall.agent(LI).reason == "rejected"
    assert hall.core.calls[interaction].ringing == ANN
    hall.answers(caller, ann)
    assert hall.agent(ANN).state is AgentState.ON_CALL


def test_an_agent_whose_page_goes_while_several_ring_is_out_and_the_others_are_not() -> None:
    hall = Hall(plan_with(parallel=2))
    hall.ready(LI, ANN)
    caller, interaction = hall.call()
    li = hall.rings(caller, "agent1")
    hall.rings(caller, "agent2")
    hall.feed(e.PageLeft(at=hall.now, agent=LI))
    assert hall.all(c.HangUp) == [c.HangUp(leg=li)]
    assert hall.all(c.ReturnToHold) == []
    assert hall.core.calls[interaction].ringing == ANN


def test_phones_that_could_not_be_found_are_not_tried_again() -> None:
    hall = Hall(plan_with(parallel=2))
    hall.ready(LI, ANN, BO)
    caller, _ = hall.call()
    hall.offer(caller, waited_s=1)
    assert not hall.agent(LI).is_phone_reachable
    assert not hall.agent(ANN).is_phone_reachable
    assert hall.last(c.RingAgent).agent == BO


def test_a_phone_outside_does_not_ring_together_with_others() -> None:
    plan = plan_with(parallel=0)
    bo = plan.agents[BO]
    plan = replace(plan, agents={**plan.agents, BO: replace(bo, phone=replace(bo.phone, kind=PhoneKind.OUTSIDE))})
    hall = Hall(plan)
    hall.ready(LI, BO)
    hall.call()
    assert hall.last(c.RingAgent).also == ()
    assert hall.agent(BO).state is AgentState.AVAILABLE


def test_rings_at_several_phones_are_taken_up_after_a_restart() -> None:
    hall = Hall(plan_with(parallel=2))
    journal = hall.keep_journal()
    hall.ready(LI, ANN)
    caller, interaction = hall.call()
    hall.rings(caller, "agent1")
    ann = hall.rings(caller, "agent2")
    core = Inbound(plan_with(parallel=2), boot="boot2")
    core.restore(journal)
    assert list(core.calls[interaction].rings) == [LI, ANN]
    hall.core = core
    hall.answers(caller, ann)
    assert hall.agent(ANN).state is AgentState.ON_CALL


# ── what is known of the caller ───────────────────────────────────────────────────────────────────────────


def test_what_the_crm_knows_decides_as_soon_as_it_is_told() -> None:
    steps = (Step(0, 'tier == "gold" and english >= 8 or tier != "gold"'),)
    hall = Hall(replace(plan_with(steps=steps), tiers={"gold": 5}))
    hall.ready(ANN, LI)
    _, interaction = hall.call()
    assert hall.all(c.RingAgent) == []
    assert [one.reason for one in hall.last(e.AgentChosen).passed] == ["none_of"] * 3
    hall.feed(
        e.CallerLookedUp(at=hall.now, interaction=interaction, parties=(7,), how="number", variables={"tier": "gold"})
    )
    assert hall.last(c.RingAgent).agent == LI
    chosen = hall.last(e.AgentChosen)
    assert (chosen.points, chosen.required, chosen.rule) == (5, steps[0].text, "longest_idle")


def test_the_owner_is_asked_first() -> None:
    hall = Hall(plan_with(preferred=Preferred.OWNER))
    hall.ready(ANN, LI)
    with hall.in_one_turn():
        caller, interaction = hall.call()
        hall.feed(
            e.CallerLookedUp(at=hall.now, interaction=interaction, parties=(7,), how="number", variables={"owner": LI})
        )
    assert (hall.last(c.RingAgent).agent, hall.last(e.AgentChosen).rule) == (LI, "preferred_owner")
    assert caller


def test_what_is_required_relaxes_without_anything_else_happening() -> None:
    hall = Hall(plan_with(steps=(Step(0, "english >= 8"), Step(30, "english"))))
    hall.ready(LI, ANN)
    hall.talk(LI)
    hall.call()
    assert len(hall.all(c.RingAgent)) == 1
    hall.wait(29)
    assert len(hall.all(c.RingAgent)) == 1
    hall.wait(2)
    assert hall.last(c.RingAgent).agent == ANN
    chosen = hall.last(e.AgentChosen)
    assert (chosen.step, chosen.required, round(chosen.waited_s)) == (1, "english", 30)


# ── picked out, taken away, sent elsewhere ────────────────────────────────────────────────────────────────


def test_a_caller_picked_for_somebody_goes_before_everybody_else() -> None:
    hall = Hall(plan_with())
    hall.ready(LI)
    talker, leg, _, _ = hall.talk(LI)
    hall.call()
    _, picked = hall.call(ani="+4934")
    hall.feed(e.PickRequested(at=hall.now, interaction=picked, agent=LI, by="sue"))
    hall.ends(leg)
    hall.ends(talker)
    hall.feed(e.WrapUpFinished(at=hall.now, agent=LI))
    assert (hall.last(c.RingAgent).interaction, hall.last(e.AgentChosen).rule) == (picked, "picked")


def test_a_pick_for_a_caller_who_does_not_wait_changes_nothing() -> None:
    hall = Hall(plan_with())
    hall.ready(LI, ANN)
    _, _, _, talking = hall.talk(LI)
    said = len(hall.said)
    hall.feed(e.PickRequested(at=hall.now, interaction=talking, agent=ANN, by="sue"))
    assert hall.said[said:] == []


def test_callers_of_a_queue_that_is_taken_away_wait_in_the_default_queue() -> None:
    plan = plan_with()
    hall = Hall(plan)
    _, interaction = hall.call(dnis="4002")
    assert hall.last(e.InteractionQueued).queue == SUPPORT
    hall.feed(e.PlanChanged(at=hall.now, plan=replace(plan, queues={SALES: plan.queues[SALES]})))
    assert hall.last(e.InteractionQueued).queue == SALES
    hall.ready(LI)
    assert hall.last(c.RingAgent).interaction == interaction


# ── agents ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_long_talk_is_followed_by_a_breather() -> None:
    hall = Hall(plan_with(wrap_up_s=10, breather_after_s=600, breather_s=120))
    hall.ready(LI)
    for talk_s, rest_s in ((599, 10), (601, 130)):
        caller, leg, _, _ = hall.talk(LI)
        hall.wait(talk_s)
        hall.ends(leg)
        hall.ends(caller)
        assert hall.agent(LI).until == hall.now + rest_s
        hall.wait(rest_s)
        assert hall.agent(LI).state is AgentState.AVAILABLE


def test_a_round_goes_on_where_it_was_after_a_restart() -> None:
    plan = plan_with(selection=Selection.ROUND_ROBIN)
    hall = Hall(plan)
    journal = hall.keep_journal()
    hall.ready(LI, ANN, BO)
    first, _ = hall.call()
    assert hall.last(c.RingAgent).agent == LI
    hall.ends(first)
    core = Inbound(plan, boot="boot2")
    core.restore(journal)
    hall.core = core
    for one in plan.agents.values():
        hall.feed(e.PhoneReachable(at=hall.now, pbx=one.phone.pbx, endpoint=one.phone.endpoint))
    hall.ready(LI, ANN, BO)
    hall.call()
    assert hall.last(c.RingAgent).agent == ANN


# ── what cannot be ────────────────────────────────────────────────────────────────────────────────────────


def healed(hall: Hall, seconds: float = 10.0) -> set[str]:
    return {one.what for one in hall.wait(seconds) if isinstance(one, e.Repaired)}


def test_a_caller_who_fell_out_of_the_line_is_put_back() -> None:
    hall = Hall(plan_with())
    _, interaction = hall.call()
    hall.core.line.remove(interaction)
    hall.ready(LI)
    assert hall.all(c.RingAgent) == []
    assert healed(hall) == {"lost_place"}
    assert hall.last(c.RingAgent).interaction == interaction


def test_a_place_in_the_line_without_a_caller_is_cleared() -> None:
    hall = Hall(plan_with())
    _, interaction = hall.call()
    del hall.core.calls[interaction]
    assert "ghost_place" in healed(hall)
    assert interaction not in hall.core.line


def test_a_caller_in_a_queue_that_there_is_not_is_sent_to_the_default_queue() -> None:
    hall = Hall(plan_with())
    _, interaction = hall.call()
    call = hall.core.calls[interaction]
    call.queue = QueueId("nowhere")
    assert healed(hall) == {"no_queue"}
    assert call.queue == SALES
    assert hall.core.line.position(interaction) == 1


def test_an_agent_of_whom_the_line_was_not_told_is_seen() -> None:
    hall = Hall(plan_with())
    hall.ready(LI)
    hall.agent(LI).move(Move.BE_NOT_READY, now=hall.now, reason="lunch")
    assert healed(hall) == {"mistaken_agent"}
    hall.call()
    assert hall.all(c.RingAgent) == []


def test_an_agent_reserved_for_nobody_is_free_again() -> None:
    hall = Hall(plan_with())
    hall.ready(LI)
    agent = hall.agent(LI)
    agent.move(Move.RESERVE, now=hall.now)
    hall.core.line.note(agent)
    assert healed(hall) == {"stuck_agent"}
    assert agent.state is AgentState.AVAILABLE
    hall.call()
    assert hall.last(c.RingAgent).agent == LI
