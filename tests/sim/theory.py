"""What queueing theory says of a line with ``agents`` alike: M/M/n, with patience, with so many lines."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Theory:
    """Of those who got a line: chance to wait, mean wait of all (seconds), share that gave up; share that found no
    line; occupancy."""

    waits: float
    mean_wait_s: float
    gives_up: float
    blocked: float
    occupancy: float


def line(
    agents: int, calls_per_hour: float, talk_s: float, *, patience_s: float = math.inf, lines: int = 100_000
) -> Theory:
    """The stationary birth-and-death process, exactly."""
    arrival, service, leaving = calls_per_hour / 3600, 1 / talk_s, 1 / patience_s
    weights = [1.0]
    while len(weights) <= lines:
        there = len(weights)
        weights.append(weights[-1] * arrival / (min(there, agents) * service + max(0, there - agents) * leaving))
        if there > agents and weights[-1] < 1e-16 * max(weights):
            break
    total = math.fsum(weights)
    shares = [weight / total for weight in weights]
    blocked = shares[lines] if lines < len(shares) else 0.0
    accepted = 1 - blocked
    waiting = math.fsum((there - agents) * share for there, share in enumerate(shares) if there > agents)
    busy = math.fsum(min(there, agents) * share for there, share in enumerate(shares))
    mean_wait_s = waiting / (arrival * accepted)
    return Theory(
        waits=math.fsum(shares[agents:lines]) / accepted,
        mean_wait_s=mean_wait_s,
        gives_up=leaving * mean_wait_s,
        blocked=blocked,
        occupancy=busy / agents,
    )
