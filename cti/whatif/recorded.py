"""A recorded day, read from the journal: who called when, how long they would have waited, how long the talk took, and
when each agent was there.

What the model takes over as it was: each caller's time, number and what the CRM knew; the patience of those who gave
up; talk and wrap-up, kept with the call whoever takes it; when agents came, paused and left. A transfer, a consultation
or a call of the agent's own is a pause of that agent at that time; so is what followed on a ring that nobody answered.
What it draws anew by each seed: the patience of those who did not give up, and talk and wrap-up of those who did.
"""

from __future__ import annotations

import datetime
import math
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from statistics import fmean, pstdev

from cti import events as e
from cti import journal
from cti.asterisk.sim_pbx import Caller, PhoneBehaviour
from cti.errors import BadInput
from cti.events import AgentState, Event
from cti.ids import AgentId, InteractionId, QueueId
from cti.routing import hours
from cti.routing.plan import Plan
from cti.whatif.books import IS_AT_WORK, AgentTime, Books, Day, Offer, Outcome
from cti.whatif.censored import Censored
from cti.whatif.figures import INTERVAL_S
from cti.whatif.scenario import Arrival, Deed, DeskDeed, Scenario, on_simulated_phones

EVENING_S = 6 * 3600.0
"""So long after midnight the journal is read on for how calls ended."""
FEWEST = 20
"""With fewer observations of its own a queue is taken as all queues are."""
FEWEST_RINGS = 5
TO_THE_LIMIT_S = 1.0
"""A wrap-up that ended that near its limit was ended by it."""
GAVE_UP = frozenset({Outcome.ABANDONED, Outcome.SHORT_ABANDONED})


@dataclass(slots=True)
class RecordedCall:
    """A caller as recorded. ``talk_s``, ``wrap_up_s``: None if there was none; ``is_talk_cut``: it went on when the
    journal stopped; ``is_wrap_up_full``: it took as long as the queue allowed."""

    interaction: InteractionId
    queue: QueueId
    at: float
    number: str = ""
    name: str = ""
    dnis: str = ""
    account: str = ""
    choice: str = ""
    language: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    agent: AgentId | None = None
    answered_at: float | None = None
    wait_s: float = 0.0
    has_given_up: bool = False
    talk_s: float | None = None
    is_talk_cut: bool = False
    wrap_up_s: float | None = None
    is_wrap_up_full: bool = False


@dataclass(slots=True)
class Stretch:
    """An agent's state from ``since`` to ``until``. ``is_there``: free for the queues' callers, or busy with one."""

    state: AgentState
    since: float
    until: float
    is_there: bool


@dataclass(frozen=True, slots=True)
class RecordedDay:
    """What a journal tells of one day. ``happened``: its books, agents' time counted as the model counts it.
    ``plans``: those that came into force during the day, with the time. ``told_until``: where the journal stops."""

    date: datetime.date
    zone: str
    plan: Plan
    plans: Sequence[tuple[float, Plan]]
    happened: Day
    calls: Sequence[RecordedCall]
    stretches: Mapping[AgentId, Sequence[Stretch]]
    ring_s: Mapping[AgentId, Sequence[float]]
    transfers: int
    unanswered_rings: int
    told_until: float

    def scenario(self) -> Scenario:
        """The day unchanged, as the model has it."""
        day = self.happened
        everybody = [wait_s for waits in self.ring_s.values() for wait_s in waits]
        phones = {
            agent: phone_of(waits if len(waits) >= FEWEST_RINGS else everybody)
            for agent in {one for plan in (self.plan, *(plan for _, plan in self.plans)) for one in plan.agents}
            if (waits := self.ring_s.get(agent, ())) is not None
        }
        return Scenario(
            "replayed unchanged",
            on_simulated_phones(self.plan),
            day.starts_at,
            day.ends_at,
            RecordedDemand(tuple(self.calls)),
            [deed for agent, stretches in self.stretches.items() for deed in desk_deeds(agent, stretches, day)],
            phone=phone_of(everybody),
            phones=phones,
            changes=[(at, on_simulated_phones(plan)) for at, plan in self.plans],
            # Who was still there where the journal stops is still there in the replay.
            run_on_s=min(EVENING_S, max(0.0, self.told_until - day.ends_at)),
            zone=self.zone,
        )


@dataclass(frozen=True, slots=True)
class RecordedDemand:
    """The callers of a recorded day. ``calls_factor``: so many times as many; who is added comes within half an hour of
    somebody real and is like that caller. ``talk_factor``: talks are so many times as long."""

    calls: Sequence[RecordedCall]
    calls_factor: float = 1.0
    talk_factor: float = 1.0

    def arrivals(self, rng: random.Random) -> list[Arrival]:
        """In the order in which they come."""
        model = _Model(self.calls)
        found: list[Arrival] = []
        base = rng.getrandbits(64)
        for call in self.calls:
            # A source of chance for each, so that more callers do not change who the others are.
            own = random.Random(f"{base}/{call.interaction}")  # noqa: S311
            copies = math.floor(self.calls_factor) + (own.random() < self.calls_factor % 1)
            for copy in range(copies):
                at = call.at if copy == 0 else call.at + own.uniform(-0.5, 0.5) * INTERVAL_S
                found.append(model.arrival(call, at, own, self.talk_factor))
        return sorted(found, key=lambda one: one.at)


class _Model:
    """What is estimated from the calls of a day, by queue where a queue has enough of them."""

    def __init__(self, calls: Sequence[RecordedCall]) -> None:
        of_queue: dict[QueueId, list[RecordedCall]] = defaultdict(list)
        for call in calls:
            of_queue[call.queue].append(call)
        everybody, all_talks = patience_of(calls), talks_of(calls)
        all_served = [call for call in calls if call.talk_s is not None]
        self._patience, self._talks, self._served = {}, {}, {}
        for queue, own in of_queue.items():
            patience, talks = patience_of(own), talks_of(own)
            served = [call for call in own if call.talk_s is not None]
            self._patience[queue] = patience if patience.ended >= FEWEST else everybody
            self._talks[queue] = talks if talks.ended >= FEWEST else all_talks
            self._served[queue] = served if len(served) >= FEWEST else all_served

    def arrival(self, call: RecordedCall, at: float, rng: random.Random, talk_factor: float) -> Arrival:
        """The caller to come."""
        drawn_s = self._patience[call.queue].draw(rng, longer_than_s=call.wait_s)
        like = call
        if call.talk_s is None:
            # Never answered: talk and wrap-up of somebody who was.
            like = rng.choice(self._served[call.queue])
        talk_s = like.talk_s or 0.0
        if like.is_talk_cut:
            talk_s = self._talks[call.queue].draw(rng, longer_than_s=talk_s)
        caller = Caller(
            number=call.number,
            name=call.name,
            dnis=call.dnis,
            account=call.account,
            choice=call.choice,
            language=call.language,
            patience_s=call.wait_s if call.has_given_up else drawn_s,
            talk_s=talk_s * talk_factor,
            target=f"queue:{call.queue}",
        )
        return Arrival(at, caller, call.queue, None if like.is_wrap_up_full else like.wrap_up_s, call.variables)


def patience_of(calls: Iterable[RecordedCall]) -> Censored:
    """Of those who gave up it is known, of the others that it was longer than they waited."""
    return Censored((call.wait_s, call.has_given_up) for call in calls)


def talks_of(calls: Iterable[RecordedCall]) -> Censored:
    """How long talks are; of some it is only known how long they had been going on."""
    return Censored((call.talk_s, not call.is_talk_cut) for call in calls if call.talk_s is not None)


def phone_of(waits: Sequence[float]) -> PhoneBehaviour:
    """A person who answers as quickly as was seen: the same mean and spread, in seconds."""
    if not waits:
        return PhoneBehaviour()
    mean_s, half_s = fmean(waits), pstdev(waits) * math.sqrt(3)
    return PhoneBehaviour(answers_after_s=(max(0.0, mean_s - half_s), mean_s + min(half_s, mean_s)))


def desk_deeds(agent: AgentId, stretches: Sequence[Stretch], day: Day) -> Iterator[DeskDeed]:
    """What the agent did at the desk, from when it was there."""
    is_in, is_there = False, False
    for one in stretches:
        at = max(one.since, day.starts_at)
        if one.until <= day.starts_at or at >= day.ends_at or one.is_there is is_there:
            continue
        is_there = one.is_there
        if one.is_there:
            yield DeskDeed(at, agent, Deed.RESUME if is_in else Deed.LOG_IN)
            is_in = True
        elif one.state is AgentState.LOGGED_OUT:
            yield DeskDeed(at, agent, Deed.LOG_OUT)
            is_in = False
        else:
            yield DeskDeed(at, agent, Deed.PAUSE)


def read_day(paths: Sequence[Path], *, day: datetime.date | None, zone: str) -> RecordedDay:
    """One day of journals, from midnight to midnight in ``zone``; ``day`` None: the last one with callers. Raises
    ``BadInput``."""
    place = hours.zone_of(zone)
    sources = [_Source(path) for path in paths]
    if day is None:
        lasts = [at for source in sources if (at := source.last_call_at()) is not None]
        if not lasts:
            raise BadInput("journal", "no caller in it")
        day = datetime.datetime.fromtimestamp(max(lasts), place).date()
    first = datetime.datetime.combine(day, datetime.time(), place)
    starts_at, ends_at = first.timestamp(), (first + datetime.timedelta(days=1)).timestamp()
    reader = _Reader(starts_at, ends_at)
    facts = [fact for source in sources for fact in source.facts(starts_at, ends_at + EVENING_S)]
    for fact in sorted(facts, key=lambda one: one.at) if len(sources) > 1 else facts:
        reader.take(fact)
    return reader.day(day, zone)


class _Source:
    """A journal's folder, or one segment of it."""

    def __init__(self, path: Path) -> None:
        self._folder = path if path.is_dir() else path.parent
        known = journal.segments_of(self._folder)
        if path.is_dir():
            self._segments = known
        elif path.stem.isdigit() and int(path.stem) in known:
            self._segments = [int(path.stem)]
        else:
            raise BadInput(str(path), "no journal")
        if not self._segments:
            raise BadInput(str(path), "no journal in it")

    def last_call_at(self) -> float | None:
        """When the last caller came whom it knows of."""
        for segment in reversed(self._segments):
            queued = [fact.at for fact in self._read(segment) if isinstance(fact, e.InteractionQueued)]
            if queued:
                return max(queued)
        return None

    def facts(self, starts_at: float, ends_at: float) -> Iterator[Event]:
        """From the segment in which ``starts_at`` lies, which tells where everybody stands."""
        first = max(self._segments[0], journal.segment_at(self._folder, starts_at))
        for segment in self._segments:
            if segment < first:
                continue
            for fact in self._read(segment):
                if fact.at > ends_at:
                    return
                yield fact

    def _read(self, segment: int) -> Iterator[Event]:
        for position, fact in journal.read(self._folder, journal.Position(segment, 0)):
            if position.segment != segment:
                return
            yield fact


class _Reader:
    """Gathers a day from facts in the order of the journal."""

    def __init__(self, starts_at: float, ends_at: float) -> None:
        self._starts_at, self._ends_at = starts_at, ends_at
        self._books = Books(starts_at)
        self._plan: Plan | None = None
        self._plans: list[tuple[float, Plan]] = []
        self._started: dict[InteractionId, e.InteractionStarted] = {}
        self._offered: dict[InteractionId, e.CallOffered] = {}
        self._variables: dict[InteractionId, Mapping[str, str]] = {}
        self._answered: dict[InteractionId, tuple[AgentId, float]] = {}
        self._left: dict[InteractionId, float] = {}
        self._talks: dict[InteractionId, float] = {}
        self._chosen: dict[InteractionId, tuple[AgentId, float]] = {}
        self._ring_s: dict[AgentId, list[float]] = defaultdict(list)
        self._states: dict[AgentId, list[e.AgentStateChanged]] = defaultdict(list)
        self._transfers = 0
        self._unanswered_rings = 0
        self._last_at = starts_at

    def take(self, fact: Event) -> None:
        """The next fact."""
        self._books.take(fact)
        self._last_at = max(self._last_at, fact.at)
        is_of_day = self._starts_at <= fact.at < self._ends_at
        match fact:
            case e.PlanChanged():
                self._take_plan(fact)
            case e.InteractionStarted():
                self._started.setdefault(fact.interaction, fact)
            case e.CallerLookedUp() if fact.variables:
                self._variables[fact.interaction] = fact.variables
            case e.AgentChosen() if fact.agent is not None:
                self._chosen[fact.interaction] = (fact.agent, fact.at)
            case e.AgentJoined(role="talk"):
                self._joined(fact)
            case e.AgentLeft() if self._is_answerer(fact.interaction, fact.agent):
                self._left[fact.interaction] = fact.at
            case e.AgentRingEnded() if is_of_day and fact.outcome is e.DialOutcome.NO_ANSWER:
                self._unanswered_rings += 1
            case e.TransferEnded() if is_of_day and fact.outcome in ("completed", "blonde"):
                self._transfers += 1
            case e.CallRecorded() if fact.answered_at is not None:
                self._talks[fact.interaction] = fact.talk_s
                if fact.agent:
                    self._answered.setdefault(fact.interaction, (AgentId(fact.agent), fact.answered_at))
            case e.AgentStateChanged():
                known = self._states[fact.agent]
                if not known or fact.at >= known[-1].at:
                    known.append(fact)
            case _:
                pass

    def _take_plan(self, fact: e.PlanChanged) -> None:
        if self._plan is None or fact.at <= self._starts_at:
            self._plan = fact.plan
        elif fact.at < self._ends_at and fact.plan != (self._plans[-1][1] if self._plans else self._plan):
            self._plans.append((fact.at, fact.plan))

    def _joined(self, fact: e.AgentJoined) -> None:
        if fact.interaction in self._answered:
            return
        self._answered[fact.interaction] = (fact.agent, fact.at)
        agent, chosen_at = self._chosen.get(fact.interaction, (None, 0.0))
        if agent == fact.agent:
            self._ring_s[fact.agent].append(fact.at - chosen_at)

    def day(self, date: datetime.date, zone: str) -> RecordedDay:
        """All of it. Raises ``BadInput`` where there is nothing to replay."""
        whole = self._books.close(self._ends_at)
        offers = {offer.interaction: offer for offer in whole.callers}
        firsts: dict[InteractionId, Offer] = {}
        for offer in whole.offers:
            firsts.setdefault(offer.interaction, offer)
        if self._plan is None or not offers:
            raise BadInput("journal", f"no caller on {date}")
        stretches = {agent: self._stretches(agent, firsts) for agent in self._states}
        present = [one for own in stretches.values() for one in own if one.is_there and one.until > self._starts_at]
        begins = [offer.began_at for offer in offers.values()]
        starts_at = _floor(max(self._starts_at, min([*begins, *(one.since for one in present)])), self._starts_at)
        last = max([*begins, *(one.until for one in present)])
        # A journal that stops in the middle of a day says nothing of the rest of it.
        ends_at = min(self._ends_at, _floor(last, self._starts_at) + INTERVAL_S, max(self._last_at, last))
        day = replace(whole, starts_at=starts_at, ends_at=ends_at, agents=_times(stretches, whole, starts_at, ends_at))
        calls = [self._call(offer, offers[one], stretches) for one, offer in firsts.items()]
        if not any(call.talk_s is not None for call in calls):
            raise BadInput("journal", f"nobody was answered on {date}")
        return RecordedDay(
            date,
            zone,
            self._plan,
            self._plans,
            day,
            calls,
            stretches,
            self._ring_s,
            self._transfers,
            self._unanswered_rings,
            self._last_at,
        )

    def _stretches(self, agent: AgentId, calls: Mapping[InteractionId, Offer]) -> list[Stretch]:
        found: list[Stretch] = []
        facts = self._states[agent]
        for fact, after in zip(facts, [*facts[1:], None], strict=True):
            until = after.at if after is not None else self._last_at
            found.append(Stretch(fact.state, fact.at, until, self._is_there(fact, calls)))
        return found

    def _is_there(self, fact: e.AgentStateChanged, calls: Mapping[InteractionId, Offer]) -> bool:
        if fact.state is AgentState.AVAILABLE:
            return True
        if fact.state in (AgentState.LOGGED_OUT, AgentState.NOT_READY) or fact.interaction is None:
            return False
        if fact.interaction not in calls:
            return False
        return fact.state is AgentState.RESERVED or self._is_answerer(fact.interaction, fact.agent)

    def _is_answerer(self, interaction: InteractionId, agent: AgentId) -> bool:
        """Whether this agent was the first to speak with the caller."""
        return interaction in self._answered and self._answered[interaction][0] == agent

    def _call(self, first: Offer, last: Offer, stretches: Mapping[AgentId, Sequence[Stretch]]) -> RecordedCall:
        one = first.interaction
        started = self._started.get(one)
        call = RecordedCall(one, first.queue, first.began_at, variables=self._variables.get(one, {}))
        if started is not None:
            call.number, call.name, call.dnis = started.ani, started.ani_name, started.dnis
            call.account, call.choice, call.language = started.account, started.choice, started.language
        call.has_given_up = last.outcome in GAVE_UP
        call.wait_s = last.wait_s if last.ended_at is not None else max(0.0, self._last_at - first.began_at)
        agent, answered_at = self._answered.get(one, (None, None))
        if last.outcome is Outcome.ANSWERED and agent is not None and answered_at is not None:
            call.agent, call.answered_at = agent, answered_at
            left_at = self._left.get(one)
            call.talk_s = left_at - answered_at if left_at is not None else self._talks.get(one)
            if call.talk_s is None:
                call.talk_s, call.is_talk_cut = max(0.0, self._last_at - answered_at), True
            self._add_wrap_up(call)
        return call

    def _add_wrap_up(self, call: RecordedCall) -> None:
        assert call.agent is not None
        facts = self._states.get(call.agent, [])
        for fact, after in pairwise(facts):
            if fact.state is AgentState.WRAP_UP and fact.interaction == call.interaction:
                call.wrap_up_s = after.at - fact.at
                call.is_wrap_up_full = fact.until is not None and after.at >= fact.until - TO_THE_LIMIT_S
                return


def _floor(at: float, midnight: float) -> float:
    return midnight + math.floor((at - midnight) / INTERVAL_S) * INTERVAL_S


def _times(
    stretches: Mapping[AgentId, Sequence[Stretch]], day: Day, starts_at: float, ends_at: float
) -> dict[AgentId, AgentTime]:
    """Agents' time as the model counts it: what was not for the queues' callers is absence."""
    found = {}
    for agent, own in stretches.items():
        time = found[agent] = AgentTime(day.agents[agent].calls if agent in day.agents else 0)
        for one in own:
            within_s = max(0.0, min(one.until, ends_at) - max(one.since, starts_at)) if one.is_there else 0.0
            time.there_s += within_s
            time.busy_s += within_s if one.state in IS_AT_WORK else 0.0
    return found
