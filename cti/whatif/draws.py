"""How long something lasts: draws from a few well-known shapes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random


class Shape(StrEnum):
    """The shape of a distribution of durations."""

    EXPONENTIAL = "exponential"
    LOGNORMAL = "lognormal"
    GAMMA = "gamma"
    UNIFORM = "uniform"
    FIXED = "fixed"


@dataclass(frozen=True, slots=True)
class Draw:
    """A duration of ``mean_s`` seconds on average. ``cv``: standard deviation by mean; ``EXPONENTIAL`` has 1 and
    ``FIXED`` 0, whatever it says. An infinite mean: never over."""

    mean_s: float
    shape: Shape = Shape.EXPONENTIAL
    cv: float = 1.0

    def draw(self, rng: random.Random) -> float:
        """One duration in seconds, never negative."""
        mean_s, cv = self.mean_s, self.cv
        if mean_s == 0 or mean_s == math.inf:
            return mean_s
        match self.shape:
            case Shape.EXPONENTIAL:
                return rng.expovariate(1 / mean_s)
            case Shape.LOGNORMAL:
                spread = math.log1p(cv * cv)
                return rng.lognormvariate(math.log(mean_s) - spread / 2, math.sqrt(spread))
            case Shape.GAMMA:
                return rng.gammavariate(1 / cv**2, mean_s * cv**2)
            case Shape.UNIFORM:
                half_s = min(mean_s, mean_s * cv * math.sqrt(3))
                return rng.uniform(mean_s - half_s, mean_s + half_s)
            case Shape.FIXED:
                return mean_s


NEVER = Draw(math.inf, Shape.FIXED)
