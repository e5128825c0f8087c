"""The figures of a day, and their means with intervals over many.

Definitions, the same for a simulated and a recorded day:

* offered = answered + abandoned + short-abandoned + overflowed + callback + closed + fell back + other + in progress;
* service level: answered within the queue's own time, of all offered but short-abandoned, closed and in progress;
* ASA and the percentiles of the wait: of those who were answered; mean wait: of all whose wait is over;
* occupancy: talk and wrap-up, of the time that agents were there and not paused;
* unevenness: the Gini coefficient of occupancy among agents with equal skills and queues, 0 if all worked alike.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from statistics import NormalDist, fmean, stdev

from cti.ids import QueueId
from cti.routing.plan import Plan
from cti.whatif.books import AgentTime, Day, Offer, Outcome

INTERVAL_S = 1800.0
CONFIDENCE = 0.95
OUTCOMES = tuple(Outcome)


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one day: of one queue, or of all (then with what agents did). Waits in seconds, shares from 0 to 1. None:
    there was nothing to count. ``waited``: the share of those who did not get through at once."""

    offered: float
    answered: float
    abandoned: float
    short_abandoned: float
    overflowed: float
    callback: float
    closed: float
    fell_back: float
    other: float
    in_progress: float
    blocked: float
    service_level: float | None
    abandon_rate: float | None
    waited: float | None
    asa_s: float | None
    mean_wait_s: float | None
    wait_p50_s: float | None
    wait_p80_s: float | None
    wait_p90_s: float | None
    wait_p95_s: float | None
    longest_wait_s: float | None
    occupancy: float | None = None
    unevenness: float | None = None
    most_waiting: float | None = None

    @property
    def is_balanced(self) -> bool:
        """Whether every offer has its one outcome."""
        counted: float = sum(getattr(self, outcome.value) for outcome in OUTCOMES)
        return self.offered == counted


NAMES = tuple(one.name for one in fields(Figures))
AT_ONCE_S = 1e-6
"""Who waited less did not wait: the clock's own grain."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over ``days`` days; the true one lies within ``± half`` with the confidence asked for. One day alone says
    nothing about that: ``half`` is None then."""

    mean: float
    half: float | None
    days: int


def figures(day: Day, plan: Plan) -> dict[QueueId | None, Figures]:
    """Of each queue, and of all under None."""
    by_queue: dict[QueueId, list[Offer]] = {queue: [] for queue in plan.queues}
    for offer in day.offers:
        by_queue.setdefault(offer.queue, []).append(offer)
    found: dict[QueueId | None, Figures] = {None: _of(day.callers, sum(day.blocked.values()), plan, day)}
    return found | {queue: _of(offers, day.blocked.get(queue, 0), plan) for queue, offers in by_queue.items()}


def _of(offers: Sequence[Offer], blocked: int, plan: Plan, day: Day | None = None) -> Figures:
    counts = dict.fromkeys(OUTCOMES, 0)
    for offer in offers:
        counts[offer.outcome] += 1
    waits = sorted(offer.wait_s for offer in offers if offer.outcome is Outcome.ANSWERED)
    over = [offer.wait_s for offer in offers if offer.outcome is not Outcome.IN_PROGRESS]
    meant = len(over) - counts[Outcome.SHORT_ABANDONED] - counts[Outcome.CLOSED]
    in_time = sum(is_in_time(offer, plan) for offer in offers)
    return Figures(
        offered=len(offers),
        **{outcome.value: counts[outcome] for outcome in OUTCOMES},
        blocked=blocked,
        service_level=_share(in_time, meant),
        abandon_rate=_share(counts[Outcome.ABANDONED] + counts[Outcome.SHORT_ABANDONED], len(over)),
        waited=_share(sum(wait_s > AT_ONCE_S for wait_s in over), len(over)),
        asa_s=fmean(waits) if waits else None,
        mean_wait_s=fmean(over) if over else None,
        wait_p50_s=percentile(waits, 0.5),
        wait_p80_s=percentile(waits, 0.8),
        wait_p90_s=percentile(waits, 0.9),
        wait_p95_s=percentile(waits, 0.95),
        longest_wait_s=max(over, default=None),
        occupancy=occupancy(day.agents.values()) if day is not None else None,
        unevenness=unevenness(day, plan) if day is not None else None,
        most_waiting=day.most_waiting if day is not None else None,
    )


def is_in_time(offer: Offer, plan: Plan) -> bool:
    """Whether it was answered within its queue's service level."""
    queue = plan.queues.get(offer.queue)
    return offer.outcome is Outcome.ANSWERED and queue is not None and offer.wait_s <= queue.service_level_s


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """The smallest value that ``share`` of all do not exceed; None of nothing."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


def occupancy(times: Iterable[AgentTime]) -> float | None:
    """Work by presence of all of them together."""
    there = list(times)
    return _share(sum(one.busy_s for one in there), sum(one.there_s for one in there))


def unevenness(day: Day, plan: Plan) -> float | None:
    """Gini coefficient of occupancy among equals, averaged over the kinds of agents by their number; None if nobody has
    an equal."""
    kinds: dict[object, list[float]] = defaultdict(list)
    for agent in plan.agents.values():
        time = day.agents.get(agent.id)
        if time is not None and time.there_s > 0:
            kinds[tuple(sorted(agent.skills.items())), frozenset(agent.queues)].append(time.occupancy)
    compared = [shares for shares in kinds.values() if len(shares) > 1]
    if not compared:
        return None
    return sum(gini(shares) * len(shares) for shares in compared) / sum(map(len, compared))


def gini(shares: Sequence[float]) -> float:
    """0: all equal; near 1: one has it all."""
    total = sum(shares)
    if not total:
        return 0.0
    ordered = sorted(shares)
    count = len(ordered)
    return 2 * sum(rank * share for rank, share in enumerate(ordered, 1)) / (count * total) - (count + 1) / count


def student(confidence: float, freedom: int) -> float:
    """The two-sided quantile of Student's distribution: 2.26 for 95 % and 9 degrees of freedom."""
    p = 0.5 + confidence / 2
    if freedom == 1:
        return math.tan(math.pi * (p - 0.5))
    if freedom == 2:
        return confidence * math.sqrt(2 / (1 - confidence**2))
    z = NormalDist().inv_cdf(p)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return math.fsum(term / freedom**power for power, term in enumerate(terms))


def estimate(values: Sequence[float], confidence: float = CONFIDENCE) -> Estimate:
    """The mean of independent values, with its interval."""
    count = len(values)
    half = student(confidence, count - 1) * stdev(values) / math.sqrt(count) if count > 1 else None
    return Estimate(fmean(values), half, count)


Estimates = Mapping[str, Estimate]


def estimates(days: Sequence[Figures], confidence: float = CONFIDENCE) -> dict[str, Estimate]:
    """Each figure over the days on which there was something to count."""
    found = {}
    for name in NAMES:
        values = [value for one in days if (value := getattr(one, name)) is not None]
        if values:
            found[name] = estimate(values, confidence)
    return found


def differences(
    before: Sequence[Figures], after: Sequence[Figures], confidence: float = CONFIDENCE
) -> dict[str, Estimate]:
    """Each figure's change, day by day with the same callers: far surer than the difference of two means."""
    found = {}
    for name in NAMES:
        pairs = [(getattr(one, name), getattr(other, name)) for one, other in zip(before, after, strict=True)]
        values = [there - here for here, there in pairs if here is not None and there is not None]
        if values:
            found[name] = estimate(values, confidence)
    return found


@dataclass(frozen=True, slots=True)
class Interval:
    """Half an hour from ``at`` (Unix seconds): callers who came in it. ``halves``: half widths of the intervals, where
    these are means of several days."""

    at: float
    offered: float
    service_level: float | None
    abandon_rate: float | None
    asa_s: float | None
    halves: Mapping[str, float] = field(default_factory=dict)


def intervals(day: Day, plan: Plan) -> list[Interval]:
    """The day in half hours."""
    count = max(1, math.ceil((day.ends_at - day.starts_at) / INTERVAL_S - 1e-9))
    parts: list[list[Offer]] = [[] for _ in range(count)]
    for offer in day.callers:
        parts[min(count - 1, int((offer.began_at - day.starts_at) // INTERVAL_S))].append(offer)
    found = []
    for number, offers in enumerate(parts):
        one = _of(offers, 0, plan)
        at = day.starts_at + number * INTERVAL_S
        found.append(Interval(at, one.offered, one.service_level, one.abandon_rate, one.asa_s))
    return found


def mean_intervals(days: Sequence[Sequence[Interval]]) -> list[Interval]:
    """The mean of several days, half hour by half hour."""
    found = []
    for parts in zip(*days, strict=True):
        means: dict[str, Estimate] = {}
        for name in ("offered", "service_level", "abandon_rate", "asa_s"):
            values = [value for part in parts if (value := getattr(part, name)) is not None]
            if values:
                means[name] = estimate(values)
        level, rate, asa = (means.get(name) for name in ("service_level", "abandon_rate", "asa_s"))
        found.append(
            Interval(
                parts[0].at,
                means["offered"].mean,
                level.mean if level is not None else None,
                rate.mean if rate is not None else None,
                asa.mean if asa is not None else None,
                {name: one.half for name, one in means.items() if one.half is not None},
            )
        )
    return found
