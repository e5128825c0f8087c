"""Durations of which some were seen to their end, and of others only that they were longer.

Callers who gave up show their patience; of the others it is known that it was longer than they waited. The
product-limit estimate (Kaplan and Meier) of such times is the share that lasts beyond each observed end. Beyond the
longest observation it can't say anything; there the chance to end is taken as constant, with the rate seen over all of
them (ends per second observed).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random


class Censored:
    """``seen``: seconds observed, and whether it ended then."""

    def __init__(self, seen: Iterable[tuple[float, bool]]) -> None:
        observed = sorted(seen)
        self.ended = sum(has_ended for _, has_ended in observed)
        total_s = sum(seen_s for seen_s, _ in observed)
        self._rate = self.ended / total_s if total_s > 0 else 0.0
        self._longest_s = observed[-1][0] if observed else 0.0
        self._times: list[float] = []
        self._shares: list[float] = []
        share, at_risk = 1.0, len(observed)
        for seen_s, has_ended in observed:
            if has_ended:
                share *= 1 - 1 / at_risk
                self._times.append(seen_s)
                self._shares.append(share)
            at_risk -= 1

    def share_after(self, length_s: float) -> float:
        """The share that lasts longer, as far as was observed."""
        place = bisect_right(self._times, length_s)
        return self._shares[place - 1] if place else 1.0

    def draw(self, rng: random.Random, *, longer_than_s: float = 0.0) -> float:
        """A duration that is known to be over ``longer_than_s``; infinite if none was ever seen to end."""
        left = rng.random() * self.share_after(longer_than_s)
        for place in range(bisect_right(self._times, longer_than_s), len(self._times)):
            if self._shares[place] <= left:
                return self._times[place]
        if self._rate == 0:
            return math.inf
        return max(longer_than_s, self._longest_s) + rng.expovariate(self._rate)
