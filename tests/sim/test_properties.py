"""What holds on any day of any centre: random plans, callers and agents through the live deciding core."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cti import events as e
from cti.events import AgentState, Event
from cti.ids import AgentId, InteractionId, QueueId
from cti.routing.expression import parse
from cti.routing.plan import Plan, Preferred, QueuePlan
from cti.whatif.books import Day, Outcome
from cti.whatif.figures import figures
from cti.whatif.run import Run
from cti.whatif.scenario import Scenario
from tests.sim.centres import centre

SKILLS = ("english", "german", "billing")
SELECTIONS = ("longest_idle", "best_skilled", "least_occupied", "fewest_skills", "round_robin", "weighted_random")
DAYS = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
MANY_DAYS = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))


@st.composite
def requirements(draw: st.DrawFn) -> str:
    """What may be asked of an agent."""
    one, other = draw(st.permutations(SKILLS))[:2]
    level = draw(st.integers(1, 8))
    return draw(
        st.sampled_from(
            [
                "",
                one,
                f"{one} >= {level}",
                f"{one} >= {level} or {other} >= {level}",
                f"{one} and not {other}",
                f'{one} >= {level} or tier == "gold"',
            ]
        )
    )


@st.composite
def queues(draw: st.DrawFn, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Some queues; a caller may be sent on once, to the last one."""
    found = {}
    for place, name in enumerate(names):
        steps = sorted(draw(st.lists(st.integers(1, 90), max_size=2, unique=True)))
        queue: dict[str, Any] = {
            "calls_per_hour": draw(st.sampled_from([20, 60, 150])),
            "talk": draw(st.sampled_from([20, 60, 180])),
            "wrap_up": {"mean_s": 10},
            "wrap_up_s": draw(st.sampled_from([0, 5, 30])),
            "selection": draw(st.sampled_from(SELECTIONS)),
            "priority": draw(st.sampled_from([0, 0, 1, 3])),
            "ageing_s": draw(st.sampled_from([5, 30, 120])),
            "short_abandon_s": draw(st.sampled_from([0, 5])),
            "steps": [{"after_s": after_s, "requires": draw(requirements())} for after_s in (0, *steps)],
            "kinds": [{"share": 0.3, "variables": {"tier": "gold"}}] if draw(st.booleans()) else [],
        }
        if draw(st.booleans()):
            queue["patience"] = draw(st.sampled_from([15, 60, 300]))
        if place < len(names) - 1 and draw(st.booleans()):
            queue["overflows"] = [{"when": "waited", "limit": 45, "to": f"queue:{names[-1]}"}]
        found[name] = queue
    return found


@st.composite
def centres(draw: st.DrawFn) -> Scenario:
    """A small centre and half an hour of it, then time enough to serve who is there."""
    names = [f"q{number}" for number in range(draw(st.integers(1, 3)))]
    groups = []
    for number in range(draw(st.integers(1, 3))):
        held = draw(st.dictionaries(st.sampled_from(SKILLS), st.integers(1, 10), max_size=3))
        groups.append(
            {
                "name": f"g{number}-",
                "count": draw(st.integers(1, 4)),
                "skills": held,
                "queues": draw(st.lists(st.sampled_from(names), min_size=1, unique=True)),
                "shifts": draw(st.sampled_from([["08:00-08:30"], ["08:00-08:10", "08:12-08:30"], ["08:05-08:30"]])),
            }
        )
    return centre(
        opens="08:00",
        closes="08:30",
        ring_s=draw(st.sampled_from([[0, 0], [1, 4]])),
        lines=draw(st.sampled_from([None, 6])),
        run_on_s=40_000,
        tiers={"gold": 2},
        queues=draw(queues(names)),
        agents=groups,
    )


@dataclass
class Watch:
    """Follows a day's facts and notes what must never be."""

    plan: Plan
    faults: list[str] = field(default_factory=list)
    talking: dict[AgentId, InteractionId] = field(default_factory=dict)
    rung: dict[AgentId, InteractionId] = field(default_factory=dict)
    states: dict[AgentId, AgentState] = field(default_factory=dict)
    due: dict[InteractionId, float] = field(default_factory=dict)
    tiers: dict[InteractionId, str] = field(default_factory=dict)
    waiting: dict[InteractionId, QueueId] = field(default_factory=dict)
    was_rung: set[InteractionId] = field(default_factory=set)
    ended: Counter[InteractionId] = field(default_factory=Counter)

    def take(self, fact: Event) -> None:
        """The next fact."""
        match fact:
            case e.CallerLookedUp():
                self.tiers[fact.interaction] = fact.variables.get("tier", "")
            case e.InteractionQueued():
                self.due.setdefault(fact.interaction, fact.queued_at - self._lead_s(fact))
                self.waiting[fact.interaction] = fact.queue
            case e.CallerOverflowed():
                self.waiting.pop(fact.interaction, None)
                # Its place in the next queue is a rule of its own.
                self.was_rung.add(fact.interaction)
            case e.AgentChosen() if fact.agent is not None:
                self._chosen(fact, fact.agent)
            case e.AgentJoined():
                if self.talking.get(fact.agent, fact.interaction) != fact.interaction:
                    self.faults.append(f"{fact.agent} speaks with two")
                self.talking[fact.agent] = fact.interaction
            case e.AgentLeft():
                self.talking.pop(fact.agent, None)
            case e.AgentStateChanged():
                self.states[fact.agent] = fact.state
            case e.InteractionEnded():
                self.waiting.pop(fact.interaction, None)
                self.ended[fact.interaction] += 1
            case e.Repaired() | e.CommandFailed():
                self.faults.append(str(fact))
            case _:
                pass

    def _lead_s(self, fact: e.InteractionQueued) -> float:
        """How many seconds of waiting this caller's points are worth: first come, first served after that."""
        queue = self.plan.queues[fact.queue]
        points = queue.priority + self.plan.tiers.get(self.tiers.get(fact.interaction, ""), 0)
        return float(points * queue.ageing_s)

    def _chosen(self, fact: e.AgentChosen, agent: AgentId) -> None:
        if self.states.get(agent) is not AgentState.AVAILABLE:
            self.faults.append(f"{agent} chosen while {self.states.get(agent)}")
        queue = self.waiting.pop(fact.interaction, None)
        if queue is not None and fact.interaction not in self.was_rung and is_one_line(self.plan.queues[queue]):
            at = self.due[fact.interaction]
            before = [
                one
                for one, other in self.waiting.items()
                if other == queue and one not in self.was_rung and self.due[one] < at - 1e-6
            ]
            if before:
                self.faults.append(f"{fact.interaction} went before {before}")
        self.was_rung.add(fact.interaction)


def is_one_line(queue: QueuePlan) -> bool:
    """Whether all callers of this queue can be served by the same agents."""
    text = " ".join(step.text for step in queue.steps)
    return len(queue.steps) <= 1 and "tier" not in text and queue.preferred is Preferred.NONE


def play(scenario: Scenario, seed: int = 1) -> tuple[Watch, Day, list[Event]]:
    """A day, watched."""
    watch = Watch(scenario.plan)
    facts: list[Event] = []

    def on_fact(fact: Event) -> None:
        facts.append(fact)
        watch.take(fact)

    run = Run(scenario, seed=seed, on_fact=on_fact)
    return watch, run.run(), facts


def could_serve(plan: Plan, queue: QueueId, *, by_tier: str) -> bool:
    """Whether somebody of this queue's agents ever meets what its last step asks."""
    asked = plan.queues[queue].steps
    requirement = parse(asked[-1].text if asked else "")
    return any(
        requirement.meets(agent.skills, {"tier": by_tier} if by_tier else {})
        for agent in plan.agents.values()
        if queue in agent.queues
    )


def check_day(scenario: Scenario) -> None:
    """All that must hold of one day."""
    watch, day, facts = play(scenario)
    assert watch.faults == []
    assert all(count == 1 for count in watch.ended.values())
    found = figures(day, scenario.plan)
    assert all(one.is_balanced for one in found.values()), found
    assert len({offer.interaction for offer in day.callers}) == len(day.callers)
    started = [fact for fact in facts if isinstance(fact, e.InteractionStarted) and fact.direction == "inbound"]
    assert len(day.callers) == len(started)
    # Nobody starves: who is still there at the end waits for somebody who does not exist.
    for offer in day.callers:
        if offer.outcome is Outcome.IN_PROGRESS:
            assert not could_serve(scenario.plan, offer.queue, by_tier=""), offer
    assert play(scenario)[2] == facts


@DAYS
@given(scenario=centres())
def test_nobody_starves_no_agent_has_two_and_every_offer_ends_once(scenario: Scenario) -> None:
    check_day(scenario)


@pytest.mark.long
@MANY_DAYS
@given(scenario=centres())
def test_nobody_starves_no_agent_has_two_and_every_offer_ends_once_on_many_days(scenario: Scenario) -> None:
    check_day(scenario)


def check_evenness(selection: str, hours: int) -> None:
    """Among equals of each kind nobody has far more than another."""
    scenario = centre(
        opens="08:00",
        closes=f"{8 + hours:02}:00",
        queues={
            "easy": {"calls_per_hour": 90, "talk": 60, "patience": 120, "requires": "english", "selection": selection},
            "hard": {"calls_per_hour": 60, "talk": 90, "requires": "german >= 5", "selection": selection},
        },
        agents=[
            {"name": "one", "count": 4, "skills": {"english": 5}},
            {"name": "two", "count": 4, "skills": {"english": 5, "german": 5}},
        ],
    )
    _, day, _ = play(scenario)
    calls: dict[str, list[int]] = defaultdict(list)
    for agent, time in day.agents.items():
        calls[agent[:3]].append(time.calls)
    for shares in calls.values():
        mean = sum(shares) / len(shares)
        # Equal chances for each call would spread by a root of the mean; each rule of these must do better than thrice.
        assert max(abs(share - mean) for share in shares) <= 3 * mean**0.5, calls


@pytest.mark.parametrize("selection", ["longest_idle", "least_occupied", "round_robin", "weighted_random"])
def test_equal_agents_get_equal_work(selection: str) -> None:
    check_evenness(selection, 1)


@pytest.mark.long
@pytest.mark.parametrize("selection", SELECTIONS)
def test_equal_agents_get_equal_work_over_a_long_day(selection: str) -> None:
    check_evenness(selection, 14)
