"""Playing a scenario: the deciding core against the simulated PBX under a loop that jumps from one due moment to the
next.

The very objects that run live (``cti.inbound``, ``cti.asterisk.sim_pbx``). Callers and phones have a source of chance
each, both from one seed: a run can be repeated exactly, and two plans meet the same callers.
"""

from __future__ import annotations

import heapq
import itertools
import math
import os
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor

from cti import events as e
from cti.asterisk.sim_pbx import TRUNK, SimPbx
from cti.commands import ClosePop, Command, LookUpCaller, MirrorMembers, MirrorSetting, ShowPop
from cti.events import AgentState, Event
from cti.ids import AgentId, InteractionId, LegId, interaction_id
from cti.inbound import Inbound, Output
from cti.whatif.books import Books, Day
from cti.whatif.scenario import PBX, Arrival, Deed, DeskDeed, Scenario

BEAT_S = 60.0
"""Nothing breaks in here, so that nothing needs to be looked after every second."""
NOT_FOR_A_MODEL = (ShowPop, ClosePop, MirrorMembers, MirrorSetting)
"""There are no screens, and nobody prepares for a time without the daemon."""

Act = Callable[[], None]


class Run:
    """One run of a scenario. ``on_fact`` hears every fact in order (tests)."""

    def __init__(self, scenario: Scenario, *, seed: int, on_fact: Callable[[Event], None] = lambda fact: None) -> None:
        self.scenario = scenario
        self.now = scenario.starts_at
        self.core = Inbound(scenario.plan, boot="sim", beat_s=BEAT_S)
        # A model: nothing secret hangs on these.
        phones = random.Random(f"{seed}/phones")  # noqa: S311
        self.pbx = SimPbx(
            PBX,
            rng=phones,
            phones={str(one): scenario.phones.get(one, scenario.phone) for one in _everybody(scenario)},
            stale_s=math.inf,
        )
        self._callers = random.Random(f"{seed}/callers")  # noqa: S311
        self._on_fact = on_fact
        self._books = Books(max(scenario.starts_at, scenario.counts_from))
        self._planned: list[tuple[float, int, Act]] = []
        self._order = itertools.count()
        self._live: set[LegId] = set()
        self._coming: Arrival | None = None
        self._arrivals: dict[InteractionId, Arrival] = {}

    def run(self) -> Day:
        """From beginning to end; who is still there then is in progress."""
        scenario = self.scenario
        for deed in scenario.desks:
            self._plan(deed.at, lambda deed=deed: self._take(self._facts_of(deed)))  # type: ignore[misc]
        for at, plan in scenario.changes:
            self._plan(at, lambda at=at, plan=plan: self._take([e.PlanChanged(at=at, plan=plan)]))  # type: ignore[misc]
        for arrival in scenario.demand.arrivals(self._callers):
            self._plan(arrival.at, lambda arrival=arrival: self._call_in(arrival))  # type: ignore[misc]
        self._take([e.LinkUp(at=self.now, pbx=PBX, version="simulated"), self.pbx.read(now=self.now)])
        while (due := self._due()) < scenario.ends_at + scenario.run_on_s:
            if due > scenario.ends_at and not self._live:
                break
            self.now = max(self.now, due)
            self._step(due)
        return self._books.close(scenario.ends_at)

    def _due(self) -> float:
        core_at, pbx_at = self.core.wake_at(), self.pbx.wake_at()
        own_at = self._planned[0][0] if self._planned else math.inf
        return min(own_at, math.inf if pbx_at is None else pbx_at, math.inf if core_at is None else core_at)

    def _step(self, due: float) -> None:
        if self._planned and self._planned[0][0] <= due:
            heapq.heappop(self._planned)[2]()
        elif (pbx_at := self.pbx.wake_at()) is not None and pbx_at <= due:
            self._take(self.pbx.wake(now=self.now))
        else:
            self._follow(self.core.wake(now=self.now))

    def _plan(self, at: float, act: Act) -> None:
        heapq.heappush(self._planned, (at, next(self._order), act))

    def _call_in(self, arrival: Arrival) -> None:
        if len(self._live) >= self.scenario.lines:
            self._books.block(arrival.queue, self.now)
            return
        self._coming = arrival
        self._take(self.pbx.call_in(arrival.caller, now=self.now))

    def _facts_of(self, deed: DeskDeed) -> list[Event]:
        agent, now = deed.agent, self.now
        if deed.deed is Deed.LOG_OUT:
            return [e.AgentLoggedOut(at=now, agent=agent, by="agent")]
        state = AgentState.NOT_READY if deed.deed is Deed.PAUSE else AgentState.AVAILABLE
        reason = "break" if deed.deed is Deed.PAUSE else ""
        asked = e.StateRequested(at=now, agent=agent, state=state, reason=reason, by="agent")
        if deed.deed is not Deed.LOG_IN:
            return [asked]
        return [e.AgentLoggedIn(at=now, agent=agent), e.DeskFresh(at=now, agent=agent), asked]

    def _take(self, facts: Sequence[Event]) -> None:
        for fact in facts:
            if isinstance(fact, e.LegStarted) and fact.endpoint == TRUNK and fact.leg == fact.conversation:
                self._live.add(fact.leg)
                if self._coming is not None:
                    self._arrivals[interaction_id(fact.leg)], self._coming = self._coming, None
            elif isinstance(fact, e.LegEnded):
                self._live.discard(fact.leg)
            self._on_fact(fact)
        if facts:
            self._follow(self.core.handle_all(facts, now=self.now))

    def _follow(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            if isinstance(output, Event):
                self._on_fact(output)
                self._books.take(output)
                if isinstance(output, e.AgentStateChanged) and output.state is AgentState.WRAP_UP:
                    self._wrap_up(output)
            elif isinstance(output, LookUpCaller):
                self._look_up(output)
            elif isinstance(output, Command) and not isinstance(output, NOT_FOR_A_MODEL):
                self._take(self.pbx.handle(output, now=self.now))

    def _look_up(self, command: LookUpCaller) -> None:
        arrival = self._arrivals.get(command.interaction)
        known = dict(arrival.variables) if arrival is not None else {}
        found = e.CallerLookedUp(
            at=self.now,
            interaction=command.interaction,
            parties=(1,) if known else (),
            how="number" if known else "none",
            variables=known,
        )
        self._take([found])

    def _wrap_up(self, fact: e.AgentStateChanged) -> None:
        """The agent is done with the call when the caller's own wrap-up says so."""
        arrival = self._arrivals.get(fact.interaction) if fact.interaction is not None else None
        if arrival is None or arrival.wrap_up_s is None:
            return
        agent, interaction = fact.agent, fact.interaction

        def finish() -> None:
            one = self.core.agents[agent]
            if one.state is AgentState.WRAP_UP and one.interaction == interaction:
                self._take([e.WrapUpFinished(at=self.now, agent=agent)])

        self._plan(self.now + arrival.wrap_up_s, finish)


def _everybody(scenario: Scenario) -> list[AgentId]:
    plans = (scenario.plan, *(plan for _, plan in scenario.changes))
    return list(dict.fromkeys(one for plan in plans for one in plan.agents))


def run(scenario: Scenario, seed: int) -> Day:
    """One day of a scenario."""
    return Run(scenario, seed=seed).run()


def run_all(scenarios: Sequence[Scenario], seeds: Sequence[int], *, jobs: int | None = None) -> list[list[Day]]:
    """The days of each scenario, by seed, on ``jobs`` processors (None: all there are)."""
    workers = min(jobs or os.cpu_count() or 1, len(scenarios) * len(seeds))
    pairs = [(scenario, seed) for scenario in scenarios for seed in seeds]
    if workers <= 1:
        days = [run(scenario, seed) for scenario, seed in pairs]
    else:
        with ProcessPoolExecutor(workers) as pool:
            days = list(pool.map(run, *zip(*pairs, strict=True)))
    return [days[first : first + len(seeds)] for first in range(0, len(days), len(seeds))]
