"""Blending: whether agents of a queue may be given to outbound now. Inbound goes first.

Outbound may take agents after ``CALM_S`` in which nobody waited, more agents were free than callers may be expected to
come in the next moment, and the share of callers who were answered in time in the last quarter of an hour was above the
target by ``MARGIN``. It gives all of them back as soon as a caller waits or that share is below the target. Between the
two it stays as it was: what is lent in one minute and recalled in the next helps nobody.

Pure: ``now`` is passed in (Unix seconds). One ``Blending`` for each queue whose agents are shared.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

WINDOW_S = 900.0
CALM_S = 120.0
MARGIN = 0.05
LEAST_ANSWERS = 5
"""Fewer answers than that in the window say nothing: then it counts that nobody waits, and who is free."""


@dataclass(slots=True)
class Blending:
    """``target``: share of callers to be answered in time, 0 to 1."""

    target: float
    may_lend: bool = False
    _answers: deque[tuple[float, bool]] = field(default_factory=deque)
    _calm_since: float | None = None

    def answered(self, *, is_in_time: bool, now: float) -> None:
        """A caller was answered, or gave up (not in time)."""
        self._answers.append((now, is_in_time))

    def service_level(self, *, now: float) -> float | None:
        """Share answered in time in the last ``WINDOW_S``; None: too few to say."""
        while self._answers and self._answers[0][0] <= now - WINDOW_S:
            self._answers.popleft()
        if len(self._answers) < LEAST_ANSWERS:
            return None
        return sum(is_in_time for _, is_in_time in self._answers) / len(self._answers)

    def to_lend(self, *, waiting: int, free: int, busy: int, now: float) -> int:
        """How many of the ``free`` agents outbound may take now. ``waiting``: callers; ``busy``: agents with inbound
        callers."""
        level = self.service_level(now=now)
        # Calls come at random: with ``busy`` of them at a time, so many more may be there a moment later.
        spare = free - math.ceil(math.sqrt(busy))
        is_safe = waiting == 0 and spare > 0 and (level is None or level >= min(1.0, self.target + MARGIN))
        is_bad = waiting > 0 or (level is not None and level < self.target)
        if is_bad or not is_safe:
            self._calm_since = None
        elif self._calm_since is None:
            self._calm_since = now
        if is_bad:
            self.may_lend = False
        elif self._calm_since is not None and now >= self._calm_since + CALM_S:
            self.may_lend = True
        return max(0, spare) if self.may_lend and waiting == 0 else 0
