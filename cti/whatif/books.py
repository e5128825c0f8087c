"""The books of a day: every offer of a caller to a queue, with its one outcome, and every agent's time.

Told by facts alone, so that a simulated day and a recorded one are counted by the same rules. An offer belongs to the
queue in which it began; overflow closes it there and opens one in the next queue; the site counts the caller once, by
the last offer.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field
from enum import StrEnum

from cti import events as e
from cti.events import AgentState, Event
from cti.ids import AgentId, InteractionId, QueueId


class Outcome(StrEnum):
    """What came of an offer."""

    ANSWERED = "answered"
    ABANDONED = "abandoned"
    SHORT_ABANDONED = "short_abandoned"
    OVERFLOWED = "overflowed"
    CALLBACK = "callback"
    CLOSED = "closed"
    FELL_BACK = "fell_back"
    OTHER = "other"
    """It ended and nobody can say how; a fault of a line."""
    IN_PROGRESS = "in_progress"


OF_INTERACTION = {
    "abandoned": Outcome.ABANDONED,
    "short_abandoned": Outcome.SHORT_ABANDONED,
    "fell_back": Outcome.FELL_BACK,
    "answered": Outcome.ANSWERED,
}
IS_THERE = frozenset({AgentState.AVAILABLE, AgentState.RESERVED, AgentState.ON_CALL, AgentState.WRAP_UP})
IS_AT_WORK = frozenset({AgentState.ON_CALL, AgentState.WRAP_UP})


@dataclass(slots=True)
class Offer:
    """A caller (``interaction``) offered to ``queue`` at ``began_at``, until ``ended_at``: answered or gone. Unix
    seconds; while it lasts ``ended_at`` is None."""

    interaction: InteractionId
    queue: QueueId
    began_at: float
    ended_at: float | None = None
    outcome: Outcome = Outcome.IN_PROGRESS
    agent: AgentId | None = None

    @property
    def wait_s(self) -> float:
        """How long the caller waited; 0 while nobody can say."""
        return self.ended_at - self.began_at if self.ended_at is not None else 0.0

    def close(self, outcome: Outcome, at: float, agent: AgentId | None = None) -> None:
        """The offer is over."""
        self.outcome, self.ended_at, self.agent = outcome, at, agent


@dataclass(slots=True)
class AgentTime:
    """An agent's day in seconds: ``there_s`` free or at work, ``busy_s`` of it in talk and wrap-up. ``calls``: how many
    were answered."""

    calls: int = 0
    there_s: float = 0.0
    busy_s: float = 0.0

    @property
    def occupancy(self) -> float:
        """Share of the time there spent at work (0–1)."""
        return self.busy_s / self.there_s if self.there_s else 0.0


@dataclass(slots=True)
class Day:
    """What happened from ``starts_at`` to ``ends_at``. ``callers``: each one's last offer, that is the site's view.
    ``blocked``: callers who found no free line, by the queue that they meant; they are in no offer."""

    starts_at: float
    ends_at: float
    offers: list[Offer] = field(default_factory=list)
    callers: list[Offer] = field(default_factory=list)
    blocked: dict[QueueId, int] = field(default_factory=dict)
    agents: dict[AgentId, AgentTime] = field(default_factory=dict)
    most_waiting: int = 0


class Books:
    """Keeps the books of what happens from ``starts_at`` on. Facts come in the order of the journal."""

    def __init__(self, starts_at: float) -> None:
        self._starts_at = starts_at
        self._offers: list[Offer] = []
        self._firsts: dict[InteractionId, Offer] = {}
        self._open: dict[InteractionId, Offer] = {}
        self._lasts: dict[InteractionId, Offer] = {}
        self._blocked: dict[QueueId, int] = defaultdict(int)
        self._states: dict[AgentId, tuple[AgentState, float]] = {}
        self._stretches: list[tuple[AgentId, AgentState, float, float]] = []

    def block(self, queue: QueueId, at: float) -> None:
        """A caller found no free line."""
        if at >= self._starts_at:
            self._blocked[queue] += 1

    def take(self, fact: Event) -> None:
        """A fact, of which the floor facts count."""
        match fact:
            case e.InteractionQueued():
                self._queued(fact)
            case e.AgentJoined(role="talk"):
                self._close(fact.interaction, Outcome.ANSWERED, fact.at, fact.agent)
            case e.CallerOverflowed():
                if fact.interaction not in self._open:
                    # Sent on before it ever waited.
                    self._begin(fact.interaction, fact.queue, fact.at)
                self._close(fact.interaction, Outcome.CLOSED if fact.why == "closed" else Outcome.OVERFLOWED, fact.at)
            case e.CallbackPlaced():
                self._close(fact.interaction, Outcome.CALLBACK, fact.at)
            case e.InteractionEnded():
                self._close(fact.interaction, OF_INTERACTION.get(fact.outcome, Outcome.OTHER), fact.at)
            case e.InteractionMerged() if fact.gone in self._open and fact.into not in self._open:
                self._open[fact.into] = self._open.pop(fact.gone)
            case e.CallRecorded() if fact.queue and fact.queued_at is not None:
                self._recorded(fact, QueueId(fact.queue), fact.queued_at)
            case e.AgentStateChanged():
                self._state_changed(fact)
            case _:
                pass

    def close(self, ends_at: float) -> Day:
        """The books up to ``ends_at``: of callers who came, and of agents' time, until then."""
        for agent, (state, since) in self._states.items():
            self._stretches.append((agent, state, since, ends_at))
        day = Day(self._starts_at, ends_at, blocked=dict(self._blocked))
        day.offers = [offer for offer in self._offers if self._starts_at <= offer.began_at <= ends_at]
        day.callers = [
            Offer(one, last.queue, self._firsts[one].began_at, last.ended_at, last.outcome, last.agent)
            for one, last in self._lasts.items()
            if self._starts_at <= self._firsts[one].began_at <= ends_at
        ]
        day.most_waiting = most_at_once(day.offers, ends_at)
        for agent, state, since, until in self._stretches:
            time = day.agents.setdefault(agent, AgentTime())
            within_s = max(0.0, min(until, ends_at) - max(since, self._starts_at))
            time.there_s += within_s if state in IS_THERE else 0.0
            time.busy_s += within_s if state in IS_AT_WORK else 0.0
        for offer in day.offers:
            if offer.agent is not None and offer.outcome is Outcome.ANSWERED:
                day.agents.setdefault(offer.agent, AgentTime()).calls += 1
        return day

    def _queued(self, fact: e.InteractionQueued) -> None:
        last = self._lasts.get(fact.interaction)
        if last is None:
            self._begin(fact.interaction, fact.queue, fact.queued_at)
        elif last.outcome is Outcome.IN_PROGRESS and last.queue != fact.queue:
            # Moved by hand: the offer goes along.
            last.queue = fact.queue
        elif last.outcome in (Outcome.OVERFLOWED, Outcome.CLOSED):
            self._begin(fact.interaction, fact.queue, fact.at)

    def _begin(self, interaction: InteractionId, queue: QueueId, at: float) -> None:
        offer = Offer(interaction, queue, at)
        self._offers.append(offer)
        self._firsts.setdefault(interaction, offer)
        self._lasts[interaction] = self._open[interaction] = offer

    def _close(self, interaction: InteractionId, outcome: Outcome, at: float, agent: AgentId | None = None) -> None:
        offer = self._open.pop(interaction, None)
        if offer is not None:
            offer.close(outcome, at, agent)

    def _recorded(self, fact: e.CallRecorded, queue: QueueId, queued_at: float) -> None:
        """Told by the PBX's own records, of a time that nobody heard."""
        if fact.interaction not in self._lasts:
            self._begin(fact.interaction, queue, queued_at)
        answered_at = fact.answered_at
        self._close(
            fact.interaction,
            Outcome.ANSWERED if answered_at is not None else OF_INTERACTION.get(fact.outcome, Outcome.OTHER),
            answered_at if answered_at is not None else fact.ended_at,
            AgentId(fact.agent) if fact.agent else None,
        )

    def _state_changed(self, fact: e.AgentStateChanged) -> None:
        was = self._states.get(fact.agent)
        if was is not None and fact.at < was[1]:
            # A journal's new segment tells again where everybody stands.
            return
        if was is not None:
            self._stretches.append((fact.agent, was[0], was[1], fact.at))
        self._states[fact.agent] = (fact.state, fact.at)


def most_at_once(offers: list[Offer], ends_at: float) -> int:
    """How many waited at the same moment, at most."""
    begun = sorted(offer.began_at for offer in offers)
    ended = sorted(offer.ended_at if offer.ended_at is not None else ends_at for offer in offers)
    return max((index + 1 - bisect_left(ended, at) for index, at in enumerate(begun)), default=0)
