"""A recorded day beside the model of it, and beside the same day with changes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import stdev

from cti.ids import QueueId
from cti.whatif.change import ChangeWords, changed
from cti.whatif.chart import Series, chart
from cti.whatif.figures import (
    CONFIDENCE,
    Estimate,
    Estimates,
    Figures,
    Interval,
    differences,
    estimates,
    figures,
    intervals,
    mean_intervals,
    student,
)
from cti.whatif.printed import ROWS, cell, intervals_as_data, table
from cti.whatif.printed import as_data as figures_as_data
from cti.whatif.recorded import RecordedDay
from cti.whatif.run import run_all

CHECKED = ("service_level", "asa_s", "abandon_rate", "occupancy", "unevenness")
"""The figures by which the model is judged."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """A scenario's days by queue (None: all), and their mean in half hours."""

    name: str
    days: dict[QueueId | None, list[Figures]]
    halves: list[Interval]


@dataclass(frozen=True, slots=True)
class Compared:
    """What happened, what the model makes of the same day, and what of the day with changes."""

    day: RecordedDay
    happened: dict[QueueId | None, Figures]
    happened_halves: list[Interval]
    unchanged: Replayed
    changed: Replayed | None
    seeds: Sequence[int]


def compare(day: RecordedDay, words: ChangeWords | None, seeds: Sequence[int], *, jobs: int | None = None) -> Compared:
    """Replay a day unchanged, and with what ``words`` says. Raises ``BadInput``."""
    unchanged = day.scenario()
    scenarios = [unchanged] if words is None else [unchanged, changed(day, unchanged, words)]
    runs = run_all(scenarios, seeds, jobs=jobs)
    replayed = []
    for scenario, days in zip(scenarios, runs, strict=True):
        of_days = [figures(one, scenario.plan) for one in days]
        by_queue = {queue: [one[queue] for one in of_days] for queue in of_days[0]}
        halves = mean_intervals([intervals(one, scenario.plan) for one in days])
        replayed.append(Replayed(scenario.name, by_queue, halves))
    return Compared(
        day,
        figures(day.happened, day.plan),
        intervals(day.happened, day.plan),
        replayed[0],
        replayed[1] if len(replayed) > 1 else None,
        seeds,
    )


def as_text(told: Compared) -> str:
    """For people: how the day was read, how good the model is, then the figures beside each other."""
    day = told.day
    calls = day.calls
    given_up = sum(call.has_given_up for call in calls)
    lines = [
        f"{day.date} ({day.zone}): {len(calls)} callers, {len(day.stretches)} agents, replayed with"
        f" {len(told.seeds)} seeds; {CONFIDENCE:.0%} intervals",
        f"patience: seen of {given_up} who gave up, of the other {len(calls) - given_up} only that it was longer;"
        " drawn from the product-limit estimate",
        f"taken as pauses: {day.transfers} transfers, {day.unanswered_rings} rings that nobody answered",
        "",
        *_model_check(told),
    ]
    for queue, happened in told.happened.items():
        if queue is not None and len(told.happened) <= 2:
            continue
        columns: list[tuple[str, Estimates]] = [
            ("happened", estimates([happened])),
            (told.unchanged.name, estimates(told.unchanged.days[queue])),
        ]
        if told.changed is not None and queue in told.changed.days:
            columns.append((told.changed.name, estimates(told.changed.days[queue])))
            columns.append(("change", differences(told.unchanged.days[queue], told.changed.days[queue])))
        lines += ["", f"queue {queue}" if queue is not None else "all queues", table(columns, signed=("change",))]
    return "\n".join(lines)


def is_expected(happened: float, days: Sequence[float]) -> bool | None:
    """Whether one day more like ``days`` could well be like ``happened``: inside the range in which 95 of 100 are. None
    if too few days were played to say."""
    if len(days) < 3:
        return None
    half = student(CONFIDENCE, len(days) - 1) * stdev(days) * math.sqrt(1 + 1 / len(days))
    mean = sum(days) / len(days)
    # Rounding is no finding.
    return abs(happened - mean) <= half + 1e-9


def _model_check(told: Compared) -> list[str]:
    lines = ["how far the model is from what happened, all queues:"]
    labels = dict(ROWS)
    happened = told.happened[None]
    for name in CHECKED:
        real = getattr(happened, name)
        days = [value for one in told.unchanged.days[None] if (value := getattr(one, name)) is not None]
        if real is None or not days:
            continue
        off = Estimate(sum(days) / len(days) - real, None, len(days))
        verdict = {True: "within", False: "OUTSIDE", None: ""}[is_expected(real, days)]
        said = f" ({verdict} what chance alone would do)" if verdict else ""
        lines.append(f"  {labels[name]}: {cell(name, off, is_signed=True)}{said}")
    return lines


def as_data(told: Compared) -> dict[str, object]:
    """For programs."""
    found: dict[str, object] = {
        "date": told.day.date.isoformat(),
        "zone": told.day.zone,
        "seeds": list(told.seeds),
        "callers": len(told.day.calls),
        "transfers": told.day.transfers,
        "unanswered_rings": told.day.unanswered_rings,
        "happened": figures_as_data({queue: estimates([one]) for queue, one in told.happened.items()}),
        "happened_intervals": intervals_as_data(told.happened_halves),
        "unchanged": figures_as_data({queue: estimates(days) for queue, days in told.unchanged.days.items()}),
        "unchanged_intervals": intervals_as_data(told.unchanged.halves),
    }
    if told.changed is not None:
        found["changed"] = figures_as_data({queue: estimates(days) for queue, days in told.changed.days.items()})
        found["changed_intervals"] = intervals_as_data(told.changed.halves)
        found["change"] = figures_as_data(
            {
                queue: differences(told.unchanged.days[queue], days)
                for queue, days in told.changed.days.items()
                if queue in told.unchanged.days
            }
        )
    return found


def drawn(told: Compared) -> str:
    """The day as a picture."""
    series = [Series("happened", told.happened_halves), Series(told.unchanged.name, told.unchanged.halves)]
    if told.changed is not None:
        series.append(Series(told.changed.name, told.changed.halves))
    return chart(f"{told.day.date}: what happened, and what if", series, zone=told.day.zone)
