"""A described centre runs through the same deciding core, and its books balance."""

from __future__ import annotations

import pytest

from cti import events as e
from cti.errors import BadInput
from cti.events import AgentState
from cti.simulate import Centre, Simulation


def test_a_day_of_calls_balances_and_nobody_is_stuck() -> None:
    simulation = Simulation(Centre(agents=10, calls_per_hour=200, hours=4, seed=7))
    result = simulation.run()
    assert result.offered > 500
    assert result.offered == (
        result.answered + result.abandoned + result.short_abandoned + result.fell_back + result.in_progress
    )
    assert result.fell_back == 0
    busy = [one for one in simulation.core.agents.values() if one.state is AgentState.ON_CALL]
    assert len(busy) <= len(simulation.core.calls)


def test_the_same_seed_tells_the_same_day() -> None:
    days = []
    for _ in range(2):
        facts: list[e.Event] = []
        Simulation(Centre(agents=5, calls_per_hour=100, hours=1, seed=3), on_fact=facts.append).run()
        days.append(facts)
    assert days[0] == days[1]


def test_more_agents_answer_more_callers_in_time() -> None:
    few = Simulation(Centre(agents=5, calls_per_hour=150, hours=4, seed=5)).run()
    many = Simulation(Centre(agents=12, calls_per_hour=150, hours=4, seed=5)).run()
    assert many.service_level > few.service_level
    assert many.occupancy < few.occupancy


def test_no_agent_is_in_two_talks_and_every_interaction_ends_once() -> None:
    talking: dict[str, str] = {}
    ended: list[str] = []
    faults: list[str] = []

    def watch(fact: e.Event) -> None:
        match fact:
            case e.AgentJoined():
                if talking.get(fact.agent, fact.interaction) != fact.interaction:
                    faults.append(f"{fact.agent} in {talking[fact.agent]} and {fact.interaction}")
                talking[fact.agent] = fact.interaction
            case e.AgentLeft():
                talking.pop(fact.agent, None)
            case e.InteractionEnded():
                ended.append(fact.interaction)
            case e.Repaired():
                faults.append(fact.what)
            case _:
                pass

    Simulation(Centre(agents=6, calls_per_hour=160, hours=4, seed=11), on_fact=watch).run()
    assert faults == []
    assert len(ended) == len(set(ended))


def test_the_longest_idle_rule_shares_the_work() -> None:
    result = Simulation(Centre(agents=8, calls_per_hour=120, hours=8, seed=2)).run()
    assert max(result.calls_of.values()) - min(result.calls_of.values()) <= 0.25 * max(result.calls_of.values())


def test_a_centre_without_agents_is_refused_by_field() -> None:
    with pytest.raises(BadInput, match="agents"):
        Simulation(Centre(agents=0))
