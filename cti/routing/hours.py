"""Opening hours: whether something is open at a moment, and when it opens next.

A calendar speaks of the clock on the wall in its zone. An hour that the clock goes through twice in autumn is open (or
closed) twice; one that it jumps over in spring never comes.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from cti.errors import BadInput
from cti.routing.plan import Calendar

DAYS_AHEAD = 400
"""How far ``opens_at`` looks: over a year of holidays."""
DAY_MINUTES = 24 * 60


@lru_cache(maxsize=256)
def zone_of(name: str) -> tzinfo:
    """The zone of that name in the time zone database. Raises ``BadInput``."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise BadInput("zone", "unknown") from None


def is_open(calendar: Calendar, at: float) -> bool:
    """Whether it is open at ``at`` (Unix seconds). Raises ``BadInput`` for an unknown zone."""
    local = datetime.fromtimestamp(at, zone_of(calendar.zone))
    minute = local.hour * 60 + local.minute
    return any(first <= minute < end for first, end in _intervals(calendar, local.date()))


def opens_at(calendar: Calendar, at: float) -> float | None:
    """When it is open next (Unix seconds): ``at`` if it is open then, None if not within ``DAYS_AHEAD`` days. Raises
    ``BadInput`` for an unknown zone."""
    if is_open(calendar, at):
        return at
    first_day = datetime.fromtimestamp(at, zone_of(calendar.zone)).date()
    for ahead in range(DAYS_AHEAD):
        try:
            day = first_day + timedelta(days=ahead)
        except OverflowError:
            return None
        # The candidates: each interval's beginning, on either side of a clock that was put back, and where it jumps.
        openings = [one for one in _candidates(calendar, day) if one >= at and is_open(calendar, one)]
        if openings:
            return min(openings)
    return None


def _intervals(calendar: Calendar, day: date) -> tuple[tuple[int, int], ...]:
    special = calendar.days.get(day.isoformat())
    return calendar.weekly[day.weekday()] if special is None else special


def _candidates(calendar: Calendar, day: date) -> Iterator[float]:
    intervals = _intervals(calendar, day)
    if not intervals:
        return
    zone = zone_of(calendar.zone)
    for first, end in intervals:
        if 0 <= first < min(end, DAY_MINUTES):
            local = datetime.combine(day, time(first // 60, first % 60), zone)
            yield from (local.replace(fold=fold).timestamp() for fold in (0, 1))
    begin = datetime.combine(day, time(0), zone).timestamp()
    until = begin + 26 * 3600
    if (changed := _change(zone, begin, until)) is not None:
        yield changed


def _change(zone: tzinfo, first: float, until: float) -> float | None:
    """The moment between two at which the zone's offset changes, to the second."""
    before = _offset(zone, first)
    if _offset(zone, until) == before:
        return None
    while until - first > 1:
        middle = float(int((first + until) / 2))
        first, until = (middle, until) if _offset(zone, middle) == before else (first, middle)
    return until


def _offset(zone: tzinfo, at: float) -> timedelta | None:
    return datetime.fromtimestamp(at, UTC).astimezone(zone).utcoffset()
