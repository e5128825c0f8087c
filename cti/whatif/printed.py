"""Results as text for people and as plain data for programs."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence

from cti.ids import QueueId
from cti.routing import hours
from cti.whatif.books import Outcome
from cti.whatif.figures import CONFIDENCE, Estimate, Estimates, Interval

ROWS: tuple[tuple[str, str], ...] = (
    ("offered", "offered"),
    ("answered", "= answered"),
    ("abandoned", "+ abandoned"),
    ("short_abandoned", "+ short-abandoned"),
    ("overflowed", "+ overflowed"),
    ("callback", "+ call back"),
    ("closed", "+ closed"),
    ("fell_back", "+ fell back"),
    ("other", "+ other"),
    ("in_progress", "+ in progress"),
    ("blocked", "no free line"),
    ("service_level", "service level"),
    ("abandon_rate", "abandoned of all"),
    ("asa_s", "ASA"),
    ("mean_wait_s", "mean wait of all"),
    ("wait_p50_s", "wait, 50 % within"),
    ("wait_p80_s", "wait, 80 % within"),
    ("wait_p90_s", "wait, 90 % within"),
    ("wait_p95_s", "wait, 95 % within"),
    ("longest_wait_s", "longest wait"),
    ("most_waiting", "most waiting at once"),
    ("occupancy", "occupancy"),
    ("unevenness", "unevenness of work (Gini)"),
)
SHARES = frozenset({"service_level", "abandon_rate", "waited", "occupancy"})
RARE = frozenset({"overflowed", "callback", "closed", "fell_back", "other", "in_progress", "blocked"})
"""Rows that are left out where all is zero."""
assert {row for row, _ in ROWS} >= {outcome.value for outcome in Outcome}


def cell(name: str, found: Estimate | None, *, is_signed: bool = False) -> str:
    """One figure: ``83.1 % ± 1.2``."""
    if found is None:
        return "–"
    factor, unit, digits = 1.0, "", 1
    if name in SHARES:
        factor, unit = 100.0, " %"
    elif name.endswith("_s"):
        unit = " s"
    elif name == "unevenness":
        digits = 3
    # A zero never carries a sign.
    mean = round(found.mean * factor, digits) + 0.0
    text = f"{mean:+.{digits}f}{unit}" if is_signed else f"{mean:.{digits}f}{unit}"
    return text if found.half is None else f"{text} ± {found.half * factor:.{digits}f}"


def table(columns: Sequence[tuple[str, Estimates]], *, signed: Sequence[str] = ()) -> str:
    """Columns beside each other, a figure a row. Columns named in ``signed`` hold changes."""
    lines = [["", *(title for title, _ in columns)]]
    for name, label in ROWS:
        found = [one.get(name) for _, one in columns]
        known = [one for one in found if one is not None]
        if not known or (name in RARE and all(one.mean == 0 for one in known)):
            continue
        cells = [cell(name, one, is_signed=title in signed) for (title, _), one in zip(columns, found, strict=True)]
        lines.append([label, *cells])
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            [line[0].ljust(widths[0]), *(one.rjust(width) for one, width in zip(line[1:], widths[1:], strict=True))]
        ).rstrip()
        for line in lines
    )


def of_centre(name: str, seeds: Sequence[int], found: Mapping[QueueId | None, Estimates]) -> str:
    """A described centre's result: all, and each queue where there are several."""
    queues = [queue for queue in found if queue is not None]
    columns = [("all", found[None]), *((str(queue), found[queue]) for queue in queues)]
    days = f"{len(seeds)} days, {CONFIDENCE:.0%} intervals" if len(seeds) > 1 else f"one day, seed {seeds[0]}"
    return f"{name}: {days}\n\n" + table(columns if len(queues) > 1 else columns[:1])


def clock(at: float, zone: str) -> str:
    """``08:30`` on the wall."""
    return f"{datetime.datetime.fromtimestamp(at, hours.zone_of(zone)):%H:%M}"


def as_data(found: Mapping[QueueId | None, Estimates]) -> dict[str, dict[str, dict[str, float | int | None]]]:
    """By queue (``all`` for the site's), by figure: mean, half width of the interval, days counted."""
    return {
        "all" if queue is None else str(queue): {
            name: {"mean": one.mean, "half": one.half, "days": one.days} for name, one in figures.items()
        }
        for queue, figures in found.items()
    }


def intervals_as_data(found: Sequence[Interval]) -> list[dict[str, object]]:
    """Half hours as plain data."""
    return [
        {
            "at": one.at,
            "offered": one.offered,
            "service_level": one.service_level,
            "abandon_rate": one.abandon_rate,
            "asa_s": one.asa_s,
            "halves": dict(one.halves),
        }
        for one in found
    ]
