"""A described centre: from a file to a scenario. ``docs/simulate.md`` shows one."""

from __future__ import annotations

import datetime
import math
from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from cti.asterisk.sim_pbx import Caller, PhoneBehaviour
from cti.errors import BadInput
from cti.ids import AgentId, QueueId
from cti.routing import hours
from cti.routing.plan import AgentPlan, Calendar, DnisRoute, Phone, PhoneKind, Plan, QueuePlan
from cti.whatif.draws import Draw
from cti.whatif.scenario import PBX, Arrival, Deed, DeskDeed, Scenario, on_simulated_phones
from cti.whatif.words import (
    CalendarWords,
    Clock,
    Duration,
    GroupWords,
    QueueWords,
    Seconds,
    Slug,
    Words,
    Zone,
    draw_of,
    shift_moments,
)

if TYPE_CHECKING:
    import random

HALF_HOUR_S = 1800.0
Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]


class KindWords(Words):
    """A share of a queue's callers, and what is known of them."""

    share: Share
    language: str = ""
    choice: str = ""
    variables: Mapping[str, str] = {}


class DescribedQueueWords(QueueWords):
    """A queue and who calls it: ``calls_per_hour``, or the calls of each half hour from the day's beginning.
    ``patience`` left out: nobody gives up. ``wrap_up``: how long agents take, at most ``wrap_up_s``."""

    dnis: Annotated[str, Field(pattern=r"^\+?[0-9]{1,20}$")] | None = None
    calls_per_hour: Rate | None = None
    calls_per_half_hour: tuple[Rate, ...] | None = None
    talk: Duration
    patience: Duration | None = None
    wrap_up: Duration | None = None
    kinds: tuple[KindWords, ...] = ()


class CentreWords(Words):
    """The file."""

    name: str = "described centre"
    day: datetime.date = datetime.date(2026, 3, 2)
    zone: Zone = "UTC"
    opens: Clock = 8 * 60
    closes: Clock = 16 * 60
    lines: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    ring_s: tuple[Annotated[float, Field(ge=0, le=300)], Annotated[float, Field(ge=0, le=300)]] = (1.0, 4.0)
    run_on_s: Seconds = 3600
    warm_up_s: Seconds = 0
    most_occupied: Annotated[float, Field(gt=0, le=1)] = 1.0
    tiers: Mapping[str, int] = {}
    queues: Mapping[Slug, DescribedQueueWords] = Field(min_length=1)
    agents: tuple[GroupWords, ...] = Field(min_length=1)
    calendars: Mapping[Slug, CalendarWords] = {}


@dataclass(frozen=True, slots=True)
class Kind:
    """A share of the callers of a queue."""

    share: float
    language: str = ""
    choice: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stream:
    """The callers of one queue. ``rates``: calls per second, half hour by half hour from the beginning; the last one
    goes on."""

    queue: QueueId
    dnis: str
    rates: Sequence[float]
    talk: Draw
    patience: Draw
    wrap_up: Draw | None = None
    kinds: Sequence[Kind] = ()

    def callers(self, rng: random.Random, starts_at: float, ends_at: float) -> list[Arrival]:
        """Poisson arrivals with everything that a caller brings along."""
        found: list[Arrival] = []
        bounds = list(accumulate(kind.share for kind in self.kinds))
        for number, rate in enumerate(self.rates):
            first = starts_at + number * HALF_HOUR_S
            until = ends_at if number == len(self.rates) - 1 else min(ends_at, first + HALF_HOUR_S)
            while rate > 0 and (first := first + rng.expovariate(rate)) < until:
                chosen = bisect_right(bounds, rng.random()) if bounds else 0
                kind = self.kinds[chosen] if chosen < len(self.kinds) else Kind(1.0)
                caller = Caller(
                    number=f"+49301{rng.randrange(10**6):06}",
                    dnis=self.dnis,
                    choice=kind.choice,
                    language=kind.language,
                    patience_s=self.patience.draw(rng),
                    talk_s=self.talk.draw(rng),
                )
                wrap_up_s = self.wrap_up.draw(rng) if self.wrap_up is not None else None
                found.append(Arrival(first, caller, self.queue, wrap_up_s, kind.variables))
        return found


@dataclass(frozen=True, slots=True)
class DescribedDemand:
    """All streams of a day."""

    starts_at: float
    ends_at: float
    streams: Sequence[Stream]

    def arrivals(self, rng: random.Random) -> list[Arrival]:
        """In the order in which they come."""
        found = [one for stream in self.streams for one in stream.callers(rng, self.starts_at, self.ends_at)]
        return sorted(found, key=lambda one: one.at)


def scenario_of(words: CentreWords) -> Scenario:
    """The described centre as a day to be played. Raises ``BadInput`` naming the field."""
    if words.opens >= words.closes:
        raise BadInput("closes", "must be after opens")
    starts_at, ends_at = moment(words, words.opens), moment(words, words.closes)
    calendars = {id_: one.calendar(id_, words.zone) for id_, one in words.calendars.items()}
    dnis = {QueueId(id_): queue.dnis or f"9{number:03}" for number, (id_, queue) in enumerate(words.queues.items(), 1)}
    queues = {QueueId(id_): _queue(id_, one, words, calendars) for id_, one in words.queues.items()}
    agents, desks = _agents(words)
    routes = tuple(DnisRoute(dnis[queue], queue) for queue in queues)
    if len({route.dnis for route in routes}) < len(routes):
        raise BadInput("queues", "two queues with the same dnis")
    plan = Plan(
        queues,
        agents,
        routes,
        next(iter(queues)),
        calendars=calendars,
        tiers=dict(words.tiers),
        most_occupied=words.most_occupied,
    )
    streams = [_stream(QueueId(id_), one, dnis[QueueId(id_)]) for id_, one in words.queues.items()]
    return Scenario(
        words.name,
        on_simulated_phones(plan),
        starts_at,
        ends_at,
        DescribedDemand(starts_at, ends_at, streams),
        desks,
        lines=words.lines if words.lines is not None else math.inf,
        phone=PhoneBehaviour(answers_after_s=(min(words.ring_s), max(words.ring_s))),
        run_on_s=words.run_on_s,
        counts_from=starts_at + words.warm_up_s,
        zone=words.zone,
    )


def one_queue(
    *, agents: int, calls_per_hour: float, hours: float, talk_s: float, patience_s: float, wrap_up_s: int = 15
) -> Scenario:
    """A centre with one queue and agents alike; means in seconds, talk and patience exponential. Raises ``BadInput``
    naming the field."""
    given = {"agents": agents, "calls_per_hour": calls_per_hour, "hours": hours, "talk_s": talk_s}
    for name, value in (given | {"patience_s": patience_s}).items():
        if not 0 < value < 1_000_000:
            raise BadInput(name, "out_of_range")
    queue = QueuePlan(QueueId("main"), "Main", wrap_up_s=wrap_up_s)
    names = [AgentId(f"agent{number}") for number in range(1, agents + 1)]
    plans = {one: AgentPlan(one, one, Phone(PBX, one, PhoneKind.DESK), {}, (queue.id,)) for one in names}
    plan = Plan({queue.id: queue}, plans, (DnisRoute("4001", queue.id),), queue.id)
    stream = Stream(queue.id, "4001", (calls_per_hour / 3600,), Draw(talk_s), Draw(patience_s))
    starts_at = moment(CentreWords.model_construct(), 8 * 60)
    ends_at = starts_at + hours * 3600
    demand = DescribedDemand(starts_at, ends_at, (stream,))
    desks = [DeskDeed(starts_at, one, Deed.LOG_IN) for one in names]
    return Scenario("one queue", on_simulated_phones(plan), starts_at, ends_at, demand, desks)


def moment(words: CentreWords, minutes: int) -> float:
    """A time of the described day as Unix seconds."""
    midnight = datetime.datetime.combine(words.day, datetime.time(), hours.zone_of(words.zone))
    return (midnight + datetime.timedelta(minutes=minutes)).timestamp()


def _queue(id_: str, one: DescribedQueueWords, words: CentreWords, calendars: Mapping[str, Calendar]) -> QueuePlan:
    if (one.calls_per_hour is None) is (one.calls_per_half_hour is None):
        raise BadInput(f"queues.{id_}", "one of calls_per_hour and calls_per_half_hour")
    if one.calendar and one.calendar not in calendars:
        raise BadInput(f"queues.{id_}.calendar", f"no calendar {one.calendar}")
    check_destinations(id_, one, words.queues)
    return one.applied_to(QueuePlan(QueueId(id_), id_))


def check_destinations(id_: str, one: QueueWords, queues: Collection[str]) -> None:
    """Callers can't be sent to a queue that is not there. Raises ``BadInput``."""
    for place, destination in (
        ("closed_to", one.closed_to or ""),
        *((f"overflows.{number}.to", overflow.to) for number, overflow in enumerate(one.overflows or ())),
    ):
        kind, _, value = destination.partition(":")
        if kind == "queue" and value not in queues:
            raise BadInput(f"queues.{id_}.{place}", f"no queue {value}")


def _stream(queue: QueueId, one: DescribedQueueWords, dnis: str) -> Stream:
    if one.calls_per_half_hour is not None:
        # After the profile's end nobody calls.
        rates = [calls / HALF_HOUR_S for calls in one.calls_per_half_hour] + [0.0]
    else:
        rates = [(one.calls_per_hour or 0.0) / 3600]
    kinds = [Kind(kind.share, kind.language, kind.choice, kind.variables) for kind in one.kinds]
    if sum(kind.share for kind in kinds) > 1 + 1e-9:
        raise BadInput(f"queues.{queue}.kinds", "the shares are more than 1 together")
    wrap_up = one.wrap_up.draw() if one.wrap_up is not None else None
    return Stream(queue, dnis, rates, draw_of(one.talk), draw_of(one.patience), wrap_up, kinds)


def _agents(words: CentreWords) -> tuple[dict[AgentId, AgentPlan], list[DeskDeed]]:
    agents: dict[AgentId, AgentPlan] = {}
    desks: list[DeskDeed] = []
    for number, group in enumerate(words.agents):
        place = f"agents.{number}"
        names = group.queues if group.queues is not None else tuple(words.queues)
        if unknown := [name for name in names if name not in words.queues]:
            raise BadInput(f"{place}.queues", f"no queue {unknown[0]}")
        moments = shift_moments(group.shifts, words.opens, words.closes)
        for one in group.ids():
            if one in agents:
                raise BadInput(f"{place}.name", f"two agents {one}")
            plan = AgentPlan(one, one, Phone(PBX, one, PhoneKind.DESK), {}, tuple(QueueId(name) for name in names))
            agents[one] = group.applied_to(plan)
            desks += [
                DeskDeed(moment(words, at), one, Deed.LOG_IN if is_coming else Deed.LOG_OUT)
                for at, is_coming in moments
            ]
    return agents, desks
