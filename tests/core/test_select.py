"""Who of those who can take a call gets it, and what the others are told."""

from __future__ import annotations

from collections import Counter

import pytest

from cti.agent_state import Agent, Move
from cti.events import Passed
from cti.ids import AgentId, InteractionId
from cti.routing.expression import parse
from cti.routing.plan import AgentPlan, Selection
from cti.routing.select import Candidate, Occasion, in_order, passed_for, why_not
from tests.core.plans import SALES, phone


def ready(name: str, idle_since: float, **skills: int) -> tuple[Agent, AgentPlan]:
    agent = Agent(AgentId(name), is_desk_fresh=True, is_phone_reachable=True)
    agent.move(Move.LOG_IN, now=idle_since)
    agent.move(Move.BE_AVAILABLE, now=idle_since)
    return agent, AgentPlan(AgentId(name), name, phone(name), skills, (SALES,))


def occasion(interaction: str = "pbx1-1", last_place: int = -1) -> Occasion:
    return Occasion(InteractionId(interaction), frozenset({"english"}), last_place, 5000.0)


def order(selection: Selection, *crowd: tuple[Agent, AgentPlan], last_place: int = -1) -> list[str]:
    candidates = [Candidate(agent, plan, place) for place, (agent, plan) in enumerate(crowd)]
    return [one.agent.id for one in in_order(selection, candidates, occasion(last_place=last_place))]


ANN, LI, BO = ready("ann", 50.0, english=5), ready("li", 20.0, english=8, german=3), ready("bo", 20.0, english=5)


def test_the_longest_idle_goes_first_and_of_two_the_one_whose_id_does_so_that_a_replay_agrees() -> None:
    assert order(Selection.LONGEST_IDLE, ANN, LI, BO) == ["bo", "li", "ann"]


def test_the_best_skilled_goes_first_then_the_longest_idle() -> None:
    assert order(Selection.BEST_SKILLED, ANN, LI, BO) == ["li", "bo", "ann"]


def test_the_versatile_are_kept_free() -> None:
    assert order(Selection.FEWEST_SKILLS, ANN, LI, BO) == ["bo", "ann", "li"]


def test_a_round_goes_on_behind_whom_it_reached_last() -> None:
    assert order(Selection.ROUND_ROBIN, ANN, LI, BO) == ["ann", "li", "bo"]
    assert order(Selection.ROUND_ROBIN, ANN, LI, BO, last_place=0) == ["li", "bo", "ann"]


def test_the_least_occupied_of_the_last_hour_goes_first() -> None:
    busy, rested = ready("busy", 0.0), ready("rested", 0.0)
    for agent, talk_s in ((busy[0], 2000.0), (rested[0], 500.0)):
        agent.move(Move.RESERVE, now=1000.0)
        agent.move(Move.JOIN, now=1000.0)
        agent.move(Move.LEAVE_FREE, now=1000.0 + talk_s)
    assert order(Selection.LEAST_OCCUPIED, busy, rested) == ["rested", "busy"]
    passed = passed_for(Selection.LEAST_OCCUPIED, Candidate(*busy, place=0), Candidate(*rested, place=1), occasion())
    assert (passed.reason, passed.detail) == ("more_occupied", "33 > 7")


def test_a_break_is_no_work_and_one_call_wears_nobody_out() -> None:
    agent, _ = ready("ann", 0.0)
    agent.move(Move.RESERVE, now=0.0)
    agent.move(Move.JOIN, now=0.0)
    agent.move(Move.LEAVE_FREE, now=90.0)
    assert agent.occupancy(90.0) == pytest.approx(0.1, abs=0.01)
    agent.move(Move.BE_NOT_READY, now=90.0)
    assert agent.occupancy(90.0 + 1800.0) < 0.1


def test_lots_fall_by_weight_and_the_same_caller_draws_the_same() -> None:
    strong, weak = ready("strong", 1.0, english=9), ready("weak", 1.0, english=3)
    candidates = [Candidate(*strong, place=0), Candidate(*weak, place=1)]
    drawn = [
        in_order(Selection.WEIGHTED_RANDOM, candidates, occasion(f"pbx1-{number}"))[0].agent.id
        for number in range(2000)
    ]
    assert 1400 < Counter(drawn)[AgentId("strong")] < 1600
    assert drawn[7] == in_order(Selection.WEIGHTED_RANDOM, candidates[::-1], occasion("pbx1-7"))[0].agent.id


def test_a_missing_skill_is_not_the_same_as_a_low_one() -> None:
    required = parse("english >= 5")
    assert why_not(*ready("ann", 1.0, english=4), required, now=2.0) == Passed(
        AgentId("ann"), "skill_too_low", "english 4 >= 5"
    )
    assert why_not(*ready("bo", 1.0), required, now=2.0) == Passed(AgentId("bo"), "skill_missing", "english")


def test_an_agent_whose_page_sleeps_or_whose_phone_is_gone_or_in_use_is_passed_over() -> None:
    asleep, gone, busy = ready("a", 1.0), ready("b", 1.0), ready("c", 1.0)
    asleep[0].is_desk_fresh, asleep[0].desk_why = False, "asleep"
    gone[0].is_phone_reachable = False
    busy[0].legs.add("pbx1/9")  # type: ignore[arg-type]
    found = [why_not(*one, None, now=2.0) for one in (asleep, gone, busy)]
    assert found == [
        Passed(AgentId("a"), "desk_stale", "asleep"),
        Passed(AgentId("b"), "phone_unreachable"),
        Passed(AgentId("c"), "phone_in_use"),
    ]
