"""When a recording counts as played. Pure: the clock is passed in.

A player asks for a recording in many ranges, seeking included. The first request of a person for a recording is a
play; those that follow while it is being listened to belong to the same play; starting again from the beginning is a
new one.
"""

from __future__ import annotations

from collections import OrderedDict

QUIET_S = 600.0
PROBE_S = 5.0
MAX_OPEN = 10_000


class Plays:
    """The plays under way, in memory: forgetting one costs one more line in the audit, never one less."""

    def __init__(self) -> None:
        self._last: OrderedDict[tuple[str, str], float] = OrderedDict()

    def is_new(self, session: str, file: str, first_byte: int, *, now: float) -> bool:
        """Does a request for ``file`` from ``first_byte`` on begin a play? Remembers it."""
        key = (session, file)
        last = self._last.get(key)
        self._last[key] = now
        self._last.move_to_end(key)
        while len(self._last) > MAX_OPEN:
            self._last.popitem(last=False)
        if last is None or now - last > QUIET_S:
            return True
        # Browsers ask for the first bytes, then at once for all: one play.
        return first_byte == 0 and now - last > PROBE_S
