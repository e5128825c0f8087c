"""How fast one person may ask. Pure: the clock is passed in.

Generous for a person at work, too slow for a program that copies the customers. What is counted belongs to the person,
not to the session: logging in again gives nothing new.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

TELL_EVERY_S = 60.0
MOST_KEPT = 10_000
READS_PER_RECORD = 100


@dataclass(frozen=True, slots=True)
class Pace:
    """``per_s`` requests a second for ever, ``at_once`` more after a rest."""

    name: str
    per_s: float
    at_once: float


ASKING = Pace("asking", 20.0, 300.0)
"""Everything that a person with a session asks for."""
READING = Pace("reading", 2.0, 240.0)
"""Of that, customers and contacts. Recordings are asked for in many ranges, and each play is audited anyway."""
UPLOADING = Pace("uploading", 50.0, 500.0)
"""Parts of files from the agent of one PBX."""


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float
    told_at: float = -math.inf


class Paces:
    """What everybody has left, in memory."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[tuple[str, str], _Bucket] = OrderedDict()

    def take(self, who: str, pace: Pace, *, now: float) -> float:
        """One request of ``who``: 0 when it may go on, else how many seconds to wait."""
        key = (who, pace.name)
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(pace.at_once, now)
            while len(self._buckets) > MOST_KEPT:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(key)
        bucket.left = min(pace.at_once, bucket.left + max(0.0, now - bucket.at) * pace.per_s)
        bucket.at = now
        if bucket.left < 1:
            return (1 - bucket.left) / pace.per_s
        bucket.left -= 1
        return 0.0

    def is_news(self, who: str, pace: Pace, *, now: float) -> bool:
        """Was this refusal not told of lately? Remembers it."""
        bucket = self._buckets[(who, pace.name)]
        if 0 <= now - bucket.told_at < TELL_EVERY_S:
            return False
        bucket.told_at = now
        return True


class Reads:
    """Counts what each person reads of customers and contacts: every hundredth reading becomes an audit record."""

    def __init__(self) -> None:
        self._counts: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def count(self, who: str, *, now: float) -> float | None:
        """One more. In which time (seconds) the last hundred were read, when it is the hundredth."""
        number, since = self._counts.pop(who, (0, now))
        if number + 1 >= READS_PER_RECORD:
            return max(0.0, now - since)
        self._counts[who] = (number + 1, since)
        while len(self._counts) > MOST_KEPT:
            self._counts.popitem(last=False)
        return None
