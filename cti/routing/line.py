"""The waiting line of the whole site: who is served next, and by whom.

One object for all queues, so that an agent of several queues is one decision: who comes free gets the first of all
callers whom this agent can serve, and who calls gets the best of the agents who are free.

**Who is first** never changes while a caller waits (but for what becomes known of the caller). In this order:

1. callers whom a supervisor picked out, then callers who were in good hands already (a ring that nobody answered, a
   transfer, a lost phone);
2. callers of a queue with ``ageing_s`` 0, by their points; 0 points stand with everybody else;
3. whoever is due first: ``due_at = queued_at + service_level_s / service_level_target - points * ageing_s``.

Points are the queue's priority, the customer's tier (``Plan.tiers``), the severity of the worst open case, and one for
each call of the last seven days but the first (at most ``MOST_REPEATED``). So a point is worth ``ageing_s`` seconds of
waiting, a queue that promises more is served earlier, and after that it is first come, first served.

**Nobody starves.** ``due_at`` is fixed, and everybody who comes later than a few minutes after it is due later: only
finitely many go first (who was in good hands already is one of those who were served). The exception is asked for: a
queue with ``ageing_s`` 0 and positive points goes before all others as long as it has callers.

**What a decision costs.** Callers of the same requirement (queue, step, the variables that it reads) are one *class*; a
class knows as a set of bits which agents are able. Only the first of each class is ever looked at, and only of classes
that somebody who came free since the last decision can serve, or that got a new first.

The line reads no clock; ``now`` is passed in. Times are Unix seconds.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from itertools import chain, islice
from typing import NamedTuple, TypeAlias

from cti.agent_state import Agent
from cti.events import AgentState, Passed
from cti.ids import AgentId, InteractionId, QueueId
from cti.routing.expression import ANYBODY, Proficiency, Requirement, Skill, parse
from cti.routing.plan import Plan, Preferred, QueuePlan, Selection
from cti.routing.select import (
    CODE_OF_SELECTION,
    MOST_PASSED,
    Candidate,
    Choice,
    Occasion,
    condition,
    in_order,
    passed_for,
    percent,
    why_not,
)

MOST_PARALLEL = 10
"""Phones that ring at once for one caller, whatever the queue says."""
MOST_REPEATED = 5
MOST_SEVERITY = 10
MOST_CLASSES = 3000
"""Classes are kept when nobody waits in them; above that many the empty ones go."""

FEW = 8
"""Of more agents who came free at once it is not asked one by one whom they can serve."""

Rank: TypeAlias = tuple[int, int, float, float, str]
"""Place in the line; the smallest is first. Ends with the interaction's id, so no two are the same."""
_ClassKey: TypeAlias = tuple[str, ...]

_STANDBY = frozenset({AgentState.AVAILABLE, AgentState.RESERVED, AgentState.ON_CALL, AgentState.WRAP_UP})
"""An agent in such a state will be free sooner or later without doing anything."""


@dataclass(slots=True)
class Waiter:
    """A caller in the line. ``variables``: see ``cti.routing.expression.VARIABLES``; ``required``: an expression that
    goes before the queue's steps and is asked of all agents of the site (a transfer to a skill). ``wanted``: this
    agent and no other (until ``wanted_until``, if not None), for the reason ``wanted_why``. ``is_parked``: keeps the
    place, but is not served until it is put into the line again."""

    id: InteractionId
    queue: QueueId | None
    queued_at: float
    variables: Mapping[str, str] = field(default_factory=dict)
    is_head: bool = False
    required: str | None = None
    wanted: AgentId | None = None
    wanted_until: float | None = None
    wanted_why: str = "named_agent"
    is_parked: bool = False


class Match(NamedTuple):
    """A caller who is served now, and by whom; out of the line already."""

    interaction: InteractionId
    choice: Choice


@dataclass(slots=True, eq=False)
class _Class:
    """Callers with one requirement, here for just this call. ``able``: who meets it; ``members``: who is asked at all;
    ``unable``: why some do not, by their place."""

    key: _ClassKey
    queue: QueuePlan | None
    requirement: Requirement
    variables: Mapping[str, str]
    members: int
    able: int
    is_named: bool = False
    ranks: list[Rank] = field(default_factory=list)
    unable: dict[int, Passed] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class _Entry:
    waiter: Waiter
    rank: Rank
    points: int
    one_class: _Class | None = None
    step: int = 0
    rule: str = ""
    due_at: float | None = None


class Line:
    """The line, and which agents are free. Told of every change: ``put``, ``remove``, ``note``; asked ``next_match``
    until it answers None."""

    def __init__(self, plan: Plan, agents: Mapping[AgentId, Agent]) -> None:
        self._plan = plan
        self._agents = [(agents[agent], one) for agent, one in plan.agents.items()]
        self._places = {agent: place for place, agent in enumerate(plan.agents)}
        self._everybody = (1 << len(self._agents)) - 1
        self._members = dict.fromkeys(plan.queues, 0)
        self._skills: dict[str, list[tuple[int, int]]] = {}
        self._conditions = ["logged_out"] * len(self._agents)
        self._in_condition = {"logged_out": self._everybody}
        self._idle: list[tuple[float, AgentId, int]] = []
        self._idle_since: dict[int, float] = {}
        self._entries: dict[InteractionId, _Entry] = {}
        self._orders: dict[QueueId | None, list[Rank]] = {}
        self._classes: dict[_ClassKey, _Class] = {}
        self._in_turn: list[_Class] = []
        self._met: list[tuple[list[_Class], int]] = [([], 0) for _ in self._agents]
        self._named: set[InteractionId] = set()
        self._due: list[tuple[float, InteractionId]] = []
        self._freed = 0
        self._fresh: set[_Class] = set()
        self._stale: set[_Class] = set()
        self._last: dict[QueueId, AgentId] = {}
        for place, (_, one) in enumerate(self._agents):
            for queue in one.queues:
                if queue in self._members:
                    self._members[queue] |= 1 << place
        for agent, _ in self._agents:
            self.note(agent)

    # ── what changes ──────────────────────────────────────────────────────────────────────────────────────

    def take_over(self, before: Line, *, now: float) -> None:
        """Everybody who waits in the line of the plan before."""
        self._last = dict(before._last)
        for entry in before._entries.values():
            self.put(entry.waiter, now=now)

    def note(self, agent: Agent) -> None:
        """Something about this agent may have changed."""
        place = self._places.get(agent.id)
        if place is None:
            return
        code, was = condition(agent), self._conditions[place]
        if code == was and (code or self._idle_since.get(place) == agent.idle_since):
            return
        bit = 1 << place
        self._conditions[place] = code
        self._in_condition[was] = self._in_condition.get(was, 0) & ~bit
        self._in_condition[code] = self._in_condition.get(code, 0) | bit
        if was == "" and place in self._idle_since:
            since = self._idle_since.pop(place)
            del self._idle[bisect_left(self._idle, (since, agent.id, place))]
        if code == "":
            self._idle_since[place] = agent.idle_since
            insort(self._idle, (agent.idle_since, agent.id, place))
            self._freed |= bit
        else:
            self._freed &= ~bit
        if not {code, was}.isdisjoint(("logged_out", "not_ready")):
            self._look_again(bit)

    def _look_again(self, bit: int) -> None:
        """Somebody came to work or went: who waits for this agent alone, or can't be served by anybody present?"""
        present = self._present
        for one in self._classes.values():
            if one.ranks and one.members & bit and (one.is_named or not one.able & present):
                self._stale.add(one)

    @property
    def _present(self) -> int:
        return self._everybody & ~self._in_condition.get("logged_out", 0)

    def put(self, waiter: Waiter, *, now: float) -> None:
        """Into the line, or to another place in it."""
        before = self._entries.get(waiter.id)
        if before is not None:
            self._take_out(before)
        points, rank = self._rank(waiter)
        step = before.step if before is not None and before.waiter.queue == waiter.queue else 0
        entry = self._entries[waiter.id] = _Entry(waiter, rank, points, step=step)
        insort(self._orders.setdefault(waiter.queue, []), rank)
        if waiter.wanted is not None:
            self._named.add(waiter.id)
        self._place(entry, now)

    def remove(self, interaction: InteractionId) -> None:
        """Out of the line; nothing happens if it is not there."""
        entry = self._entries.pop(interaction, None)
        if entry is not None:
            self._take_out(entry)

    def took(self, queue: QueueId, agent: AgentId) -> None:
        """The queue gave its last caller to this agent (round robin goes on behind it)."""
        self._last[queue] = agent

    def _take_out(self, entry: _Entry) -> None:
        self._leave_class(entry)
        self._named.discard(entry.waiter.id)
        order = self._orders[entry.waiter.queue]
        del order[bisect_left(order, entry.rank)]

    def _rank(self, waiter: Waiter) -> tuple[int, Rank]:
        queue = self._plan.queues.get(waiter.queue) if waiter.queue is not None else None
        queue = queue if queue is not None else _NO_QUEUE
        points = queue.priority + self._points_of(waiter.variables)
        first = 0 if waiter.wanted_why == "picked" and waiter.wanted is not None else 1 if waiter.is_head else 2
        level = 0 if queue.ageing_s > 0 else -points
        promised_s = queue.service_level_s / max(queue.service_level_target, 0.01)
        due_at = waiter.queued_at + promised_s - points * queue.ageing_s
        return points, (first, level, due_at, waiter.queued_at, waiter.id)

    def _points_of(self, variables: Mapping[str, str]) -> int:
        if not variables:
            return 0
        repeated = _number(variables, "calls_7d") - 1
        return (
            self._plan.tiers.get(variables.get("tier", ""), 0)
            + max(0, min(MOST_SEVERITY, _number(variables, "severity")))
            + max(0, min(MOST_REPEATED, repeated))
        )

    # ── classes ───────────────────────────────────────────────────────────────────────────────────────────

    def _place(self, entry: _Entry, now: float) -> None:
        """Into the class of the step that counts now."""
        waiter = entry.waiter
        entry.due_at = None
        if waiter.is_parked:
            return
        one, due_at, entry.rule = self._class_for(entry, now)
        entry.one_class = one
        if due_at is not None:
            self._wake_for(entry, due_at)
        if one is None:
            return
        insort(one.ranks, entry.rank)
        if one.ranks[0] is entry.rank:
            self._fresh.add(one)

    def _leave_class(self, entry: _Entry) -> None:
        one, entry.one_class = entry.one_class, None
        if one is None:
            return
        place = bisect_left(one.ranks, entry.rank)
        del one.ranks[place]
        if place == 0:
            self._fresh.add(one)

    def _wake_for(self, entry: _Entry, at: float) -> None:
        entry.due_at = at
        heappush(self._due, (at, entry.waiter.id))
        if len(self._due) > 2 * len(self._entries) + 100:
            self._due = [(one.due_at, one.waiter.id) for one in self._entries.values() if one.due_at is not None]
            heapify(self._due)

    def _class_for(self, entry: _Entry, now: float) -> tuple[_Class | None, float | None, str]:
        """The class, until when, and the rule that it is served by."""
        waiter = entry.waiter
        wanted, until = waiter.wanted, waiter.wanted_until
        if wanted is not None and (until is None or (now < until and self._is_on_standby(wanted))):
            return self._class_of_agent(wanted, waiter.queue), until, waiter.wanted_why
        if waiter.required is not None:
            return self._class_of(None, waiter.queue, waiter.required, waiter.variables), None, ""
        queue = self._plan.queues.get(waiter.queue) if waiter.queue is not None else None
        if queue is None:
            return None, None, "no_queue"
        preferred = self._preferred(queue, waiter)
        patient_until = waiter.queued_at + queue.preferred_patience_s
        if preferred is not None and now < patient_until:
            return self._class_of_agent(preferred, queue.id), patient_until, f"preferred_{queue.preferred.value}"
        return self._class_of_step(queue, entry, now)

    def _class_of_step(self, queue: QueuePlan, entry: _Entry, now: float) -> tuple[_Class, float | None, str]:
        """Steps only relax; one that nobody present could ever meet is left at once."""
        waiter, steps = entry.waiter, queue.steps
        if not steps:
            return self._class_of(queue, queue.id, "", waiter.variables), None, queue.selection.value
        place = entry.step
        while place + 1 < len(steps) and waiter.queued_at + steps[place + 1].after_s <= now:
            place += 1
        present = self._present
        ahead = (number for number in range(place, len(steps)))
        entry.step = next(
            (
                number
                for number in ahead
                if self._class_of(queue, queue.id, steps[number].text, waiter.variables).able & present
            ),
            place,
        )
        until = waiter.queued_at + steps[entry.step + 1].after_s if entry.step + 1 < len(steps) else None
        return self._class_of(queue, queue.id, steps[entry.step].text, waiter.variables), until, queue.selection.value

    def _preferred(self, queue: QueuePlan, waiter: Waiter) -> AgentId | None:
        """A member of the queue who is at work; for nobody else it is worth waiting."""
        if queue.preferred is Preferred.NONE:
            return None
        agent = AgentId(waiter.variables.get(queue.preferred.value, ""))
        place = self._places.get(agent)
        if place is None or not self._members[queue.id] >> place & 1 or not self._is_on_standby(agent):
            return None
        return agent

    def _is_on_standby(self, agent: AgentId) -> bool:
        place = self._places.get(agent)
        return place is not None and self._agents[place][0].state in _STANDBY

    def _class_of_agent(self, agent: AgentId, queue: QueueId | None) -> _Class:
        place = self._places.get(agent)
        bit = 1 << place if place is not None else 0
        key = ("agent", agent, queue or "")
        found = self._classes.get(key)
        if found is None:
            found = _Class(key, self._plan.queues.get(queue or QueueId("")), ANYBODY, {}, bit, bit, is_named=True)
            self._keep(found)
        return found

    def _class_of(
        self, queue: QueuePlan | None, queue_id: QueueId | None, text: str, variables: Mapping[str, str]
    ) -> _Class:
        """``queue`` None: all agents of the site are asked."""
        written = parse(text)
        names = sorted(written.variables)
        key = ("step" if queue is not None else "all", queue_id or "", text, *(variables.get(one, "") for one in names))
        found = self._classes.get(key)
        if found is None:
            members = self._members[queue.id] if queue is not None else self._everybody
            known = {one: variables.get(one, "") for one in names}
            requirement = written.for_call(known)
            able = requirement.able(self._holders, members, known) & members
            plan = self._plan.queues.get(queue_id or QueueId(""))
            found = _Class(key, plan, requirement, known, members, able)
            self._keep(found)
        return found

    def _keep(self, one: _Class) -> None:
        if len(self._classes) >= MOST_CLASSES:
            self._classes = {key: kept for key, kept in self._classes.items() if kept.ranks}
            self._in_turn = list(self._classes.values())
            self._met = [([], 0) for _ in self._agents]
        self._classes[one.key] = one
        self._in_turn.append(one)

    def _met_by(self, place: int) -> list[_Class]:
        """The classes that this agent can serve; found out once for each."""
        met, seen = self._met[place]
        if seen < len(self._in_turn):
            bit = 1 << place
            met.extend(one for one in islice(self._in_turn, seen, None) if one.able & bit)
            self._met[place] = met, len(self._in_turn)
        return met

    def _holders(self, asked: Skill | Proficiency) -> int:
        levels = self._skills.get(asked.name)
        if levels is None:
            held: dict[int, int] = {}
            for place, (_, plan) in enumerate(self._agents):
                level = plan.skills.get(asked.name)
                if level is not None:
                    held[level] = held.get(level, 0) | 1 << place
            levels = self._skills[asked.name] = sorted(held.items())
        if isinstance(asked, Skill):
            anyone = 0
            for _, holders in levels:
                anyone |= holders
            return anyone if asked.is_held else self._everybody & ~anyone
        able = 0
        for level, holders in levels:
            if asked.is_met({asked.name: level}):
                able |= holders
        return able

    # ── time ──────────────────────────────────────────────────────────────────────────────────────────────

    def wake_at(self) -> float | None:
        """When somebody's requirement relaxes next, a patience ends, or a breather."""
        while self._due:
            at, interaction = self._due[0]
            entry = self._entries.get(interaction)
            if entry is not None and entry.due_at == at:
                return at
            heappop(self._due)
        return None

    def wake(self, *, now: float) -> None:
        """Do what time alone makes due."""
        while (at := self.wake_at()) is not None and at <= now:
            entry = self._entries[heappop(self._due)[1]]
            self._leave_class(entry)
            self._place(entry, now)
            if entry.one_class is not None:
                self._fresh.add(entry.one_class)

    # ── deciding ──────────────────────────────────────────────────────────────────────────────────────────

    @property
    def has_news(self) -> bool:
        """Whether ``next_match`` could answer anything but None."""
        return bool(self._freed or self._fresh or self._stale)

    @property
    def is_anybody_free(self) -> bool:
        """Whether any agent can be rung."""
        return bool(self._idle)

    def next_match(self, *, now: float) -> Match | None:
        """The first caller in the line who can be served now. The agents must be told busy before it is asked again."""
        if self._stale:
            self._place_anew(now)
        passed: set[_Class] = set()
        while True:
            one = self._first_with_somebody(passed)
            if one is None:
                self._freed = 0
                self._fresh.clear()
                return None
            entry = self._entries[InteractionId(one.ranks[0][-1])]
            choice = self._choice(entry, one, now)
            if choice.agents:
                self.remove(entry.waiter.id)
                if entry.waiter.queue is not None:
                    self.took(entry.waiter.queue, choice.agents[0])
                return Match(entry.waiter.id, choice)
            # All who could are resting: until the caller has waited for what was promised.
            promised_at = entry.waiter.queued_at + (one.queue.service_level_s if one.queue is not None else 0)
            self._wake_for(entry, promised_at if entry.due_at is None else min(promised_at, entry.due_at))
            passed.add(one)

    def _place_anew(self, now: float) -> None:
        stale, self._stale = self._stale, set()
        for one in stale:
            for rank in list(one.ranks):
                entry = self._entries[InteractionId(rank[-1])]
                self._leave_class(entry)
                self._place(entry, now)

    def _first_with_somebody(self, passed: set[_Class]) -> _Class | None:
        free = self._in_condition.get("", 0)
        if not free or not self._entries:
            return None
        best: _Class | None = None
        freed = self._freed & free
        news: Iterable[_Class] = self._in_turn
        if freed.bit_count() <= FEW:
            news = chain(self._fresh, *(self._met_by(place) for place in _places(freed, FEW)))
        for one in news:
            ranks = one.ranks
            if ranks and one.able & free and (best is None or ranks[0] < best.ranks[0]) and one not in passed:
                best = one
        return best

    def _choice(self, entry: _Entry, one: _Class, now: float) -> Choice:
        """Who is to be rung for this caller, were it the first in the line."""
        waiter, queue = entry.waiter, one.queue
        selection = queue.selection if queue is not None else Selection.LONGEST_IDLE
        at_once = queue.parallel if queue is not None else 1
        at_once = min(at_once, MOST_PARALLEL) if at_once > 0 else MOST_PARALLEL
        may_rest = not one.is_named and self._plan.most_occupied < 1.0
        free = one.able & self._in_condition.get("", 0)
        # They stand in the order of the longest idle; where that is the rule, the first few are enough.
        is_enough = selection is Selection.LONGEST_IDLE and not may_rest
        most = at_once + MOST_PASSED if is_enough else len(self._idle)
        candidates = list(islice(self._candidates(free), most))
        unseen = free.bit_count() - len(candidates)
        resting = self._resting(entry, one, candidates, now) if may_rest and candidates else []
        if resting:
            candidates = [candidate for candidate in candidates if candidate not in resting]
        last = self._last.get(queue.id) if queue is not None else None
        occasion = Occasion(waiter.id, one.requirement.skills, self._places.get(last, -1) if last else -1, now)
        if selection is not Selection.LONGEST_IDLE and len(candidates) > 1:
            candidates = in_order(selection, candidates, occasion)
        taken, others = candidates[:at_once], candidates[at_once:]
        passed: list[Passed] = []
        room = MOST_PASSED
        passed.extend(passed_for(selection, other, taken[0], occasion) for other in others[:room])
        counts: dict[str, int] = {}
        if len(others) + unseen > room:
            counts[CODE_OF_SELECTION[selection]] = len(others) + unseen - room
        passed.extend(
            Passed(other.agent.id, "resting", str(percent(other.agent, now))) for other in resting[: room - len(passed)]
        )
        self._pass_the_rest(one, free, room - len(passed), passed, counts, now)
        passed.extend(Passed(AgentId(""), code, str(count)) for code, count in sorted(counts.items()))
        return Choice(
            agents=tuple(candidate.agent.id for candidate in taken),
            rule=entry.rule or selection.value,
            passed=tuple(passed),
            step=entry.step,
            required=one.requirement.text,
            waited_s=now - waiter.queued_at,
            points=entry.points,
        )

    def _candidates(self, free: int) -> Iterator[Candidate]:
        """Longest idle first."""
        if free:
            for _, _, place in self._idle:
                if free >> place & 1:
                    yield Candidate(*self._agents[place], place)

    def _pass_the_rest(
        self, one: _Class, free: int, room: int, passed: list[Passed], counts: dict[str, int], now: float
    ) -> None:
        """Who could not be taken: first those who meet the requirement, then those who do not."""
        present = self._present
        able, unable = one.able & ~free, one.members & ~one.able
        named = 0
        for group in (able & present, unable & present, able & ~present, unable & ~present):
            for place in _places(group, room):
                passed.append(self._why_not(one, place, now))
                named |= 1 << place
                room -= 1
        for code, those in self._in_condition.items():
            count = (those & able & ~named).bit_count()
            if count and code:
                counts[code] = counts.get(code, 0) + count
        count = (unable & ~named).bit_count()
        if count:
            counts["unqualified"] = count

    def _why_not(self, one: _Class, place: int, now: float) -> Passed:
        """Of somebody who is not free, or does not meet the requirement; that stays so as long as the plan."""
        agent, plan = self._agents[place]
        known = one.unable.get(place)
        if known is None:
            is_able = one.able >> place & 1
            found = why_not(agent, plan, None if is_able else one.requirement, now=now, variables=one.variables)
            known = found if found is not None else Passed(agent.id, "unqualified")
            if not is_able:
                one.unable[place] = known
        return known

    def _resting(self, entry: _Entry, one: _Class, candidates: list[Candidate], now: float) -> list[Candidate]:
        """Who has a breather: busy for more than the plan's share of the last hour. Only as long as the caller has not
        waited for what the queue promises, and somebody else at work can take the call."""
        queue, most = one.queue, self._plan.most_occupied
        promised_at = entry.waiter.queued_at + (queue.service_level_s if queue is not None else 0)
        if now >= promised_at:
            return []
        resting = [candidate for candidate in candidates if candidate.agent.occupancy(now) > most]
        if not resting or len(resting) < len(candidates):
            return resting
        others = one.able & ~self._in_condition.get("logged_out", 0) & ~self._in_condition.get("not_ready", 0)
        fit = (self._agents[place][0] for place in _places(others, len(self._agents)))
        return resting if any(agent.occupancy(now) <= most for agent in fit) else []

    # ── reading ───────────────────────────────────────────────────────────────────────────────────────────

    def __contains__(self, interaction: InteractionId) -> bool:
        return interaction in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[InteractionId]:
        """Everybody in the line, in no order."""
        return iter(self._entries)

    def waiting_in(self, queue: QueueId) -> int:
        """How many wait in this queue."""
        return len(self._orders.get(queue, ()))

    def mistaken(self) -> list[AgentId]:
        """Agents of whose change the line was not told."""
        return [
            agent.id for place, (agent, _) in enumerate(self._agents) if condition(agent) != self._conditions[place]
        ]

    def named(self) -> list[InteractionId]:
        """Who waits for one agent, asked for by name."""
        return sorted(self._named)

    def explain(self, interaction: InteractionId, *, now: float) -> Choice:
        """What would be decided for this caller now, were it the first in the line."""
        entry = self._entries[interaction]
        one = entry.one_class
        if one is None:
            one, _, entry.rule = self._class_for(entry, now)
        if one is not None:
            return self._choice(entry, one, now)
        return Choice((), entry.rule, waited_s=now - entry.waiter.queued_at, points=entry.points)

    def position(self, interaction: InteractionId) -> int:
        """The caller's place in its queue, from 1."""
        entry = self._entries[interaction]
        return bisect_left(self._orders[entry.waiter.queue], entry.rank) + 1

    def rank(self, interaction: InteractionId) -> Rank:
        """The caller's place among all; the smallest is first."""
        return self._entries[interaction].rank

    def in_order(self) -> list[InteractionId]:
        """Everybody in the line, first served first."""
        ranks: Iterable[Rank] = sorted(rank for order in self._orders.values() for rank in order)
        return [InteractionId(rank[-1]) for rank in ranks]


_NO_QUEUE = QueuePlan(QueueId(""), "")


def _number(variables: Mapping[str, str], name: str) -> int:
    value = variables.get(name, "")
    return int(value) if len(value) <= 6 and value.isascii() and value.isdigit() else 0


def _places(bits: int, most: int) -> Iterator[int]:
    """The first places that are set."""
    while bits and most > 0:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest
        most -= 1
