"""What one decision of routing costs: ``make bench-routing``.

1,000 agents with half of 200 skills each, in 3 of 20 queues; callers in 500 to 1,000 distinct requirements, which relax
while they wait. Everybody is busy; an agent comes free, the line says who is served and why the others are not, the
agent is busy again, and another caller comes. A decision is: what time alone makes due, the agent told free, the answer
with its reasons, the agent told busy. It is measured with 1,000 and with 10,000 callers waiting, on the very object
that the deciding core uses (``cti.routing.line.Line``), in turns; processor time, the median of the rounds.

Beside it the plain scan: every caller who waits is asked whether this agent meets the requirement, and the first in the
line of those is taken, without any reasons. It must find the same caller, or the bench fails.

    python -m bench.routing        measure, print, write bench/results/routing.json
"""

from __future__ import annotations

import json
import random
import sys
import time
import tracemalloc
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from cti.agent_state import Agent, Move
from cti.events import AgentState
from cti.ids import AgentId, InteractionId, PbxId, QueueId
from cti.routing.expression import parse
from cti.routing.line import Line, Match, Waiter
from cti.routing.plan import AgentPlan, Phone, PhoneKind, Plan, QueuePlan, Step

RESULT = Path(__file__).resolve().parent / "results" / "routing.json"

AGENTS, SKILLS, QUEUES = 1000, 200, 20
LANGUAGES = ("de", "en", "es", "ru", "zh")
CHOICES = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
LONGEST_WAIT_S = 900.0
"""About; so often somebody's requirement relaxes in both halls alike."""
ROUNDS, DECISIONS = 7, 1500
SCANS = 60
SEED = 7


def expression(rng: random.Random, names: tuple[str, ...], variable: str) -> str:
    """One skill for each value that a variable of the call may have."""
    asked = (f'({variable} == "{name}" and skill{rng.randrange(SKILLS)} >= {rng.randint(1, 3)})' for name in names)
    return f"({' or '.join(asked)})"


def site(rng: random.Random) -> Plan:
    """The plan: what queues require, whom they have."""
    queues = {}
    for number in range(QUEUES):
        language = expression(rng, LANGUAGES, "language")
        steps = (Step(0, f"{language} and {expression(rng, CHOICES, 'choice')}"), Step(600, language))
        name = QueueId(f"queue{number}")
        queues[name] = QueuePlan(name, name, steps, priority=rng.randrange(4), service_level_s=rng.choice((20, 40, 90)))
    skills = [f"skill{number}" for number in range(SKILLS)]
    agents = {}
    for number in range(AGENTS):
        agent = AgentId(f"agent{number:04}")
        agents[agent] = AgentPlan(
            agent,
            agent,
            Phone(PbxId("pbx1"), agent, PhoneKind.DESK),
            {skill: rng.randint(1, 10) for skill in rng.sample(skills, SKILLS // 2)},
            tuple(rng.sample(sorted(queues), 3)),
        )
    return Plan(queues, agents, (), None)


@dataclass
class Hall:
    """A full house with ``waiting`` callers."""

    plan: Plan
    waiting: int
    rng: random.Random

    def __post_init__(self) -> None:
        self.now = 10_000.0
        self.agents = {name: Agent(name, is_desk_fresh=True, is_phone_reachable=True) for name in self.plan.agents}
        for agent in self.agents.values():
            agent.move(Move.LOG_IN, now=0.0)
            agent.move(Move.BE_AVAILABLE, now=0.0)
            agent.move(Move.RESERVE, now=0.0)
        self.line = Line(self.plan, self.agents)
        self.queues = sorted(self.plan.queues)
        self.names = sorted(self.plan.agents)
        self.waiters: dict[InteractionId, Waiter] = {}
        self.count = 0
        for _ in range(self.waiting):
            self.comes(self.now - self.rng.uniform(0.0, LONGEST_WAIT_S))

    def comes(self, queued_at: float) -> None:
        """A caller joins the line."""
        self.count += 1
        variables = {"language": self.rng.choice(LANGUAGES), "choice": self.rng.choice(CHOICES)}
        queue = self.rng.choice(self.queues)
        waiter = Waiter(InteractionId(f"pbx1-{self.count}"), queue, queued_at, {**variables, "queue": queue})
        self.waiters[waiter.id] = waiter
        self.line.put(waiter, now=self.now)

    def decide(self, agent: Agent) -> Match | None:
        """One decision."""
        self.line.wake(now=self.now)
        agent.move(Move.RELEASE, now=self.now)
        self.line.note(agent)
        match = self.line.next_match(now=self.now)
        agent.move(Move.RESERVE, now=self.now)
        self.line.note(agent)
        if match is not None and self.line.next_match(now=self.now) is not None:
            sys.exit("somebody was served by nobody")
        return match

    def follow(self, match: Match | None) -> None:
        """Another caller for the one who is served; time passes."""
        if match is not None:
            del self.waiters[match.interaction]
            self.comes(self.now)
        self.now += LONGEST_WAIT_S / self.waiting

    def someone(self) -> Agent:
        """The agent who comes free next."""
        return self.agents[self.rng.choice(self.names)]

    def distinct(self) -> int:
        """How many different requirements wait."""
        return len({(one.queue, one.variables["language"], one.variables["choice"]) for one in self.waiters.values()})

    def scan(self, agent: Agent) -> InteractionId | None:
        """The same decision by asking every caller. Places in the line are given to it for nothing."""
        plan = self.plan.agents[agent.id]
        best: tuple[tuple[int, int, float, float, str], InteractionId] | None = None
        for waiter in self.waiters.values():
            if waiter.queue not in plan.queues:
                continue
            steps = self.plan.queues[waiter.queue].steps
            step = next(one for one in reversed(steps) if self.now - waiter.queued_at >= one.after_s)
            if parse(step.text).meets(plan.skills, waiter.variables):
                rank = self.line.rank(waiter.id)
                if best is None or rank < best[0]:
                    best = rank, waiter.id
        return best[1] if best is not None else None


def measured(hall: Hall, decisions: int) -> float:
    """Microseconds per decision."""
    spent_s = 0.0
    for _ in range(decisions):
        agent = hall.someone()
        began = time.process_time()
        match = hall.decide(agent)
        spent_s += time.process_time() - began
        hall.follow(match)
    return spent_s / decisions * 1e6


def arrival(hall: Hall, arrivals: int) -> float:
    """Microseconds per caller who joins the line (and leaves it again, outside the time measured)."""
    spent_s = 0.0
    for _ in range(arrivals):
        began = time.process_time()
        hall.comes(hall.now)
        spent_s += time.process_time() - began
        gone = InteractionId(f"pbx1-{hall.count}")
        hall.line.remove(gone)
        del hall.waiters[gone]
    return spent_s / arrivals * 1e6


def scanned(hall: Hall, scans: int) -> float:
    """Microseconds per decision by scanning, each compared with the line's own."""
    spent_s = 0.0
    for _ in range(scans):
        agent = hall.someone()
        hall.line.wake(now=hall.now)
        began = time.process_time()
        found = hall.scan(agent)
        spent_s += time.process_time() - began
        match = hall.decide(agent)
        if found != (match.interaction if match is not None else None):
            sys.exit(f"the scan took {found}, the line {match}")
        hall.follow(match)
    return spent_s / scans * 1e6


def allocated(hall: Hall, decisions: int) -> float:
    """Bytes that a decision allocates at its peak, on average."""
    peaks = 0
    tracemalloc.start()
    for _ in range(decisions):
        agent = hall.someone()
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        match = hall.decide(agent)
        peaks += tracemalloc.get_traced_memory()[1] - before
        hall.follow(match)
    tracemalloc.stop()
    return peaks / decisions


def main() -> None:
    """Measure, print, write."""
    rng = random.Random(SEED)
    plan = site(rng)
    few, many = Hall(plan, 1000, random.Random(SEED)), Hall(plan, 10_000, random.Random(SEED))
    assert few.agents[AgentId("agent0000")].state is AgentState.RESERVED
    for hall in (few, many):
        # The first decisions meet requirements that nobody had before.
        measured(hall, DECISIONS)
    of_few, of_many, comes_few, comes_many = [], [], [], []
    for _ in range(ROUNDS):
        of_few.append(measured(few, DECISIONS))
        of_many.append(measured(many, DECISIONS))
        comes_few.append(arrival(few, DECISIONS))
        comes_many.append(arrival(many, DECISIONS))
    result = {
        "us_per_decision_1k": round(median(of_few), 1),
        "us_per_decision_10k": round(median(of_many), 1),
        "growth": round(median(of_many) / median(of_few), 3),
        "scan_us_per_decision_1k": round(median(scanned(few, SCANS) for _ in range(ROUNDS)), 1),
        "scan_us_per_decision_10k": round(median(scanned(many, SCANS // 4) for _ in range(3)), 1),
        "us_per_arrival_1k": round(median(comes_few), 1),
        "us_per_arrival_10k": round(median(comes_many), 1),
        "peak_bytes_per_decision_1k": round(allocated(few, 300)),
        "peak_bytes_per_decision_10k": round(allocated(many, 300)),
        "agents": AGENTS,
        "skills": SKILLS,
        "distinct_requirements_1k": few.distinct(),
        "distinct_requirements_10k": many.distinct(),
        "decisions": ROUNDS * DECISIONS,
        "rounds_us_1k": [round(one, 1) for one in of_few],
        "rounds_us_10k": [round(one, 1) for one in of_many],
    }
    for name, value in result.items():
        print(f"{name:28} {value}")
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
