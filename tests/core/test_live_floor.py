"""What a supervisor may ask of the live floor now, and what the floor tells of those who wait."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cti import events as e
from cti.errors import BadInput, Refused
from cti.events import SpyMode
from cti.ids import AgentId, InteractionId
from cti.live_floor import LiveFloor
from cti.routing.plan import Outside, Step
from tests.core.hall import Hall
from tests.core.plans import ANN, BO, LI, SALES, small_plan


class Steered:
    """Li talks with a caller, Ann is free, Bo is a supervisor with a desk phone."""

    def __init__(self) -> None:
        self.hall = Hall(small_plan())
        self.hall.ready(LI, ANN)
        self.caller, _leg, _bridge, self.call = self.hall.talk(LI)
        self.posted: list[e.Event] = []
        self.floor = LiveFloor(self.hall.core, post=self.posted.append, clock=lambda: self.hall.now)

    def refusal(self, listener: AgentId, agent: AgentId, call: InteractionId | None = None) -> str:
        with pytest.raises(Refused) as refused:
            self.floor.spy(listener, call or self.call, agent, SpyMode.LISTEN, by="bo")
        assert self.posted == []
        return refused.value.why


def test_listening_needs_a_talk_that_is_going_on_and_a_phone_at_rest() -> None:
    one = Steered()
    assert one.refusal(BO, ANN) == "agent_not_talking"
    assert one.refusal(BO, LI, InteractionId("pbx1-999.9")) == "agent_not_talking"
    assert one.refusal(LI, LI) == "own_call"
    one.hall.feed(e.PhoneUnreachable(at=one.hall.now, pbx=one.hall.core.plan.agents[BO].phone.pbx, endpoint="agent3"))
    assert one.refusal(BO, LI) == "own_phone_unreachable"
    one.hall.feed(e.PhoneReachable(at=one.hall.now, pbx=one.hall.core.plan.agents[BO].phone.pbx, endpoint="agent3"))
    busy = one.hall.leg_started("agent3")
    assert one.refusal(BO, LI) == "own_phone_in_use"
    one.hall.ends(busy)
    one.floor.spy(BO, one.call, LI, SpyMode.LISTEN, by="bo")
    assert [type(fact) for fact in one.posted] == [e.SpyRequested]


def test_who_listens_may_change_how_take_over_and_end_it_though_the_phone_is_in_use() -> None:
    one = Steered()
    with pytest.raises(Refused):
        one.floor.end_spying(BO, one.call, by="bo")
    one.hall.leg_started("agent3")
    one.floor.listen(
        e.SpyStarted(at=one.hall.now, interaction=one.call, agent=LI, listener=BO, mode=SpyMode.LISTEN, by="bo")
    )
    one.floor.spy(BO, one.call, LI, SpyMode.BARGE, by="bo")
    one.floor.take_over(BO, one.call, LI, by="bo")
    one.floor.end_spying(BO, one.call, by="bo")
    assert [type(fact) for fact in one.posted] == [e.SpyRequested, e.TakeOverRequested, e.SpyEndRequested]


def test_only_one_who_waits_is_given_to_somebody_and_only_to_somebody_who_is_there() -> None:
    one = Steered()
    with pytest.raises(Refused, match="not_waiting"):
        one.floor.pick(one.call, ANN, by="bo")
    with pytest.raises(Refused, match="target_logged_out"):
        one.floor.pick(one.call, BO, by="bo")
    with pytest.raises(BadInput):
        one.floor.pick(one.call, AgentId("nobody"), by="bo")
    assert one.posted == []


def test_messages_have_names_of_their_own_and_are_never_empty() -> None:
    one = Steered()
    one.floor.send_message([LI, ANN], "Hurry.", by="bo", name="Bo")
    one.floor.send_message([LI], "No, don't.", by="bo", name="Bo")
    first, second = (fact for fact in one.posted if isinstance(fact, e.MessageSent))
    assert first.message != second.message
    assert first.agents == (LI, ANN)
    for agents, text, error in (([LI], " \n", BadInput), ([LI], "x" * 1001, BadInput), ([], "x", Refused)):
        with pytest.raises(error):
            one.floor.send_message(agents, text, by="bo", name="Bo")


def test_a_caller_is_handed_on_only_to_numbers_outside_that_the_plan_allows() -> None:
    one = Steered()
    with pytest.raises(Refused, match="number_not_allowed"):
        one.floor.transfer(LI, one.call, "number:+49301234", is_attended=True)
    plan = replace(one.hall.core.plan, outside=Outside(allowed=("+4930",)))
    one.hall.feed(e.PlanChanged(at=one.hall.now, plan=plan))
    one.floor.transfer(LI, one.call, "number:+49301234", is_attended=True)
    with pytest.raises(Refused, match="number_not_allowed"):
        one.floor.transfer(LI, one.call, "number:+4940123", is_attended=True)
    one.floor.transfer(LI, one.call, "skill:technical > 3 and not english", is_attended=False)
    assert len(one.posted) == 2


def test_those_who_wait_have_their_place_and_what_is_asked_for_now_and_next() -> None:
    hall = Hall(small_plan())
    steps = (Step(0, "english >= 4"), Step(60, "english"))
    plan = replace(
        hall.core.plan, queues=hall.core.plan.queues | {SALES: replace(small_plan().queues[SALES], steps=steps)}
    )
    hall.feed(e.PlanChanged(at=hall.now, plan=plan))
    hall.feed(e.AgentLoggedIn(at=hall.now, agent=LI))
    floor = LiveFloor(hall.core, post=lambda _: None, clock=lambda: hall.now)
    (_, first), (_, second) = hall.call(), hall.call()
    began = hall.now
    waiting = floor.waiting()
    assert list(waiting) == [first, second]
    assert (waiting[second].position, waiting[second].required, waiting[second].required_next) == (
        2,
        "english >= 4",
        "english",
    )
    assert waiting[first].next_at == began + 60
    assert waiting[first].expected_s is None
    hall.wait(61)
    later = floor.waiting()[first]
    assert (later.required, later.next_at, later.required_next) == ("english", None, "")
    assert floor.reasons(first)[-1].required == "english"
