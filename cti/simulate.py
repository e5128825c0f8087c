"""The simulator: the deciding core against the simulated PBX, on simulated time. Days in seconds.

The very objects that run live (``cti.inbound``, ``cti.asterisk.sim_pbx``) under a loop that jumps from one due moment
to the next. Randomness comes from one seed, so a run can be repeated exactly.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from cti import events as e
from cti.asterisk.sim_pbx import Caller, PhoneBehaviour, SimPbx
from cti.commands import ClosePop, Command, LookUpCaller, ShowPop
from cti.errors import BadInput
from cti.events import AgentState, Event
from cti.ids import AgentId, InteractionId, PbxId, QueueId
from cti.inbound import Inbound, Output
from cti.routing.plan import AgentPlan, DnisRoute, Phone, PhoneKind, Plan, QueuePlan

PBX = PbxId("sim1")
START_AT = 1_800_000_000.0
QUEUE = QueueId("main")


@dataclass(frozen=True, slots=True)
class Centre:
    """A described centre with one queue. Means in seconds; talk and patience are drawn exponentially."""

    agents: int = 8
    calls_per_hour: float = 120.0
    hours: float = 8.0
    talk_s: float = 150.0
    patience_s: float = 90.0
    wrap_up_s: int = 15
    service_level_s: int = 20
    seed: int = 1

    def check(self) -> None:
        """Raises ``BadInput`` naming the field."""
        for name in ("agents", "calls_per_hour", "hours", "talk_s", "patience_s"):
            if not 0 < getattr(self, name) < 1_000_000:
                raise BadInput(name, "out_of_range")

    def plan(self) -> Plan:
        """The centre as the deciding core wants it."""
        queue = QueuePlan(QUEUE, "Main", wrap_up_s=self.wrap_up_s, service_level_s=self.service_level_s)
        agents = {}
        for number in range(1, self.agents + 1):
            one = AgentId(f"agent{number}")
            agents[one] = AgentPlan(one, one, Phone(PBX, one, PhoneKind.DESK), {}, (QUEUE,))
        return Plan({QUEUE: queue}, agents, (DnisRoute("4001", QUEUE),), QUEUE)


@dataclass(slots=True)
class Result:
    """What came of it. ``offered = answered + abandoned + short_abandoned + fell_back + in_progress``."""

    offered: int = 0
    answered: int = 0
    abandoned: int = 0
    short_abandoned: int = 0
    fell_back: int = 0
    in_progress: int = 0
    within_service_level: int = 0
    waits_s: list[float] = field(default_factory=list)
    busy_s: float = 0.0
    logged_in_s: float = 0.0
    most_waiting: int = 0
    calls_of: dict[AgentId, int] = field(default_factory=dict)

    @property
    def service_level(self) -> float:
        """Answered in time, of all offered but the short abandons (0–1)."""
        counted = self.offered - self.short_abandoned - self.in_progress
        return self.within_service_level / counted if counted else 1.0

    @property
    def asa_s(self) -> float:
        """Average speed of answer in seconds."""
        return sum(self.waits_s) / len(self.waits_s) if self.waits_s else 0.0

    @property
    def occupancy(self) -> float:
        """Share of the logged-in time spent on calls and wrap-up (0–1)."""
        return self.busy_s / self.logged_in_s if self.logged_in_s else 0.0


class Simulation:
    """One run. ``on_fact`` hears every fact in order (tests, replays)."""

    def __init__(self, centre: Centre, *, on_fact: Callable[[Event], None] = lambda fact: None) -> None:
        centre.check()
        self.centre = centre
        self._rng = random.Random(centre.seed)  # noqa: S311  a model, nothing secret
        self.core = Inbound(centre.plan(), boot="sim")
        behaviour = PhoneBehaviour(answers_after_s=(1.0, 4.0))
        self.pbx = SimPbx(PBX, rng=self._rng, phones=dict.fromkeys(self.core.plan.agents, behaviour))
        self.now = START_AT
        self.result = Result()
        self._on_fact = on_fact
        self._queued: dict[InteractionId, float] = {}
        self._open: set[InteractionId] = set()
        self._answered: set[InteractionId] = set()
        self._busy_since: dict[AgentId, float] = {}

    def run(self) -> Result:
        """From opening to closing; whoever is still there is counted as in progress."""
        until = START_AT + self.centre.hours * 3600
        arrivals = self._arrivals(until)
        next_arrival = next(arrivals, None)
        self._take([e.LinkUp(at=self.now, pbx=PBX, version="simulated"), self.pbx.read(now=self.now)])
        for agent in self.core.plan.agents:
            self._take(
                [
                    e.AgentLoggedIn(at=self.now, agent=agent),
                    e.DeskFresh(at=self.now, agent=agent),
                    e.StateRequested(at=self.now, agent=agent, state=AgentState.AVAILABLE, reason="", by="agent"),
                ]
            )
        while True:
            core_at, pbx_at = self.core.wake_at(), self.pbx.wake_at()
            due = min(at for at in (core_at, pbx_at, next_arrival, until) if at is not None)
            self.now = max(self.now, due)
            if due >= until:
                break
            if due == next_arrival:
                self._take(self.pbx.call_in(self._caller(), now=self.now))
                next_arrival = next(arrivals, None)
            elif due == pbx_at:
                self._take(self.pbx.wake(now=self.now))
            else:
                self._follow(self.core.wake(now=self.now))
        return self._close(until)

    def _arrivals(self, until: float) -> Iterator[float]:
        at = START_AT
        while (at := at + self._rng.expovariate(self.centre.calls_per_hour / 3600)) < until:
            yield at

    def _caller(self) -> Caller:
        return Caller(
            number=f"+49301{self._rng.randrange(10**6):06}",
            dnis="4001",
            patience_s=self._rng.expovariate(1 / self.centre.patience_s),
            talk_s=self._rng.expovariate(1 / self.centre.talk_s),
        )

    def _take(self, facts: list[Event]) -> None:
        for fact in facts:
            self._count(fact)
            self._follow(self.core.handle(fact, now=self.now))

    def _follow(self, outputs: list[Output]) -> None:
        for output in outputs:
            if isinstance(output, Event):
                self._count(output)
            elif isinstance(output, Command) and not isinstance(output, ShowPop | ClosePop | LookUpCaller):
                self._take(self.pbx.handle(output, now=self.now))

    def _count(self, fact: Event) -> None:
        self._on_fact(fact)
        result = self.result
        match fact:
            case e.InteractionQueued() if fact.interaction not in self._queued:
                result.offered += 1
                self._queued[fact.interaction] = fact.queued_at
                self._open.add(fact.interaction)
                result.most_waiting = max(result.most_waiting, len(self._open))
            case e.AgentJoined() if fact.interaction in self._queued and fact.interaction not in self._answered:
                self._answered.add(fact.interaction)
                wait_s = fact.at - self._queued[fact.interaction]
                result.waits_s.append(wait_s)
                result.within_service_level += wait_s <= self.centre.service_level_s
                result.calls_of[fact.agent] = result.calls_of.get(fact.agent, 0) + 1
                self._open.discard(fact.interaction)
            case e.InteractionEnded() if fact.interaction in self._queued:
                self._open.discard(fact.interaction)
                if fact.outcome in ("answered", "abandoned", "short_abandoned", "fell_back"):
                    setattr(result, fact.outcome, getattr(result, fact.outcome) + 1)
                del self._queued[fact.interaction]
            case e.AgentStateChanged():
                since = self._busy_since.pop(fact.agent, None)
                if since is not None:
                    result.busy_s += fact.at - since
                if fact.state in (AgentState.ON_CALL, AgentState.WRAP_UP):
                    self._busy_since[fact.agent] = fact.at
            case _:
                pass

    def _close(self, until: float) -> Result:
        self.result.in_progress = len(self._queued)
        self.result.busy_s += sum(until - since for since in self._busy_since.values())
        self.result.logged_in_s = self.centre.agents * (until - START_AT)
        return self.result
