"""Who gets whom, and why the others not."""

from __future__ import annotations

from cti.agent_state import Agent, Move
from cti.ids import AgentId
from cti.routing.plan import AgentPlan, QueuePlan
from cti.routing.select import MOST_PASSED, choose
from tests.core.plans import SALES, phone

QUEUE = QueuePlan(SALES, "Sales", {"english": 5})


def ready(name: str, idle_since: float, english: int | None = 5) -> tuple[Agent, AgentPlan]:
    agent = Agent(AgentId(name), is_desk_fresh=True, is_phone_reachable=True)
    agent.move(Move.LOG_IN, now=idle_since)
    agent.move(Move.BE_AVAILABLE, now=idle_since)
    skills = {} if english is None else {"english": english}
    return agent, AgentPlan(AgentId(name), name, phone(name), skills, (SALES,))


def test_the_longest_idle_is_taken_and_the_other_told_why_not() -> None:
    choice = choose(QUEUE, [ready("ann", 50.0), ready("li", 20.0)], now=100.0)
    assert choice.agent == "li"
    assert [(one.agent, one.reason, one.detail) for one in choice.passed] == [("ann", "less_idle", "50 < 80")]


def test_two_equally_idle_are_ordered_by_id_so_that_a_replay_agrees() -> None:
    assert choose(QUEUE, [ready("li", 20.0), ready("ann", 20.0)], now=30.0).agent == "ann"


def test_a_missing_skill_is_not_the_same_as_a_low_one() -> None:
    choice = choose(QUEUE, [ready("ann", 1.0, english=4), ready("bo", 1.0, english=None)], now=2.0)
    assert choice.agent is None
    assert {(one.agent, one.reason, one.detail) for one in choice.passed} == {
        ("ann", "skill_too_low", "english 4 < 5"),
        ("bo", "skill_missing", "english"),
    }


def test_an_agent_whose_page_sleeps_or_whose_phone_is_gone_or_in_use_is_passed_over() -> None:
    asleep, gone, busy = ready("a", 1.0), ready("b", 1.0), ready("c", 1.0)
    asleep[0].is_desk_fresh, asleep[0].desk_why = False, "asleep"
    gone[0].is_phone_reachable = False
    busy[0].legs.add("pbx1/9")  # type: ignore[arg-type]
    choice = choose(QUEUE, [asleep, gone, busy], now=2.0)
    assert [(one.agent, one.reason) for one in choice.passed] == [
        ("a", "desk_stale"),
        ("b", "phone_unreachable"),
        ("c", "phone_in_use"),
    ]


def test_a_decision_among_many_names_some_and_counts_the_rest() -> None:
    many = [ready(f"agent{number:03}", float(number)) for number in range(200)]
    choice = choose(QUEUE, many, now=500.0)
    assert choice.agent == "agent000"
    assert len(choice.passed) == MOST_PASSED + 1
    assert (choice.passed[-1].reason, choice.passed[-1].detail) == ("less_idle", str(199 - MOST_PASSED))
