"""The life of an agent as a table.

    LOGGED_OUT ──log_in──▶ NOT_READY ◀──be_not_ready──▶ be_available──▶ AVAILABLE
                               ▲                                            │ reserve
                               │ fail (RONA, rejected, phone gone)          ▼
                               └──────────────────────────────────────── RESERVED ──release──▶ where the agent was
                                                                            │ join
        next state ◀──finish── WRAP_UP ◀──leave────────────────────────  ON_CALL  ──leave_free──▶ next state
                                                                            │ keep (the phone was lost, the caller not)
                                                                            ▼
                                                                         RESERVED ──leave (the caller left)──▶ WRAP_UP

What an agent asks for during RESERVED or ON_CALL is kept as the *next state* and comes when the call is over; asked for
in WRAP_UP it ends the wrap-up. A state that a move is not written for refuses it: ``IllegalMove`` is a fault of ours,
never of a person's or a PBX's (``cti.inbound`` turns what comes from outside into moves that exist).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum

from cti.errors import CallfloorError
from cti.events import AgentState
from cti.ids import AgentId, InteractionId, LegId


class Move(StrEnum):
    """What can happen to an agent."""

    LOG_IN = "log_in"
    LOG_OUT = "log_out"
    BE_AVAILABLE = "be_available"
    BE_NOT_READY = "be_not_ready"
    RESERVE = "reserve"
    RELEASE = "release"
    FAIL = "fail"
    JOIN = "join"
    KEEP = "keep"
    LEAVE = "leave"
    LEAVE_FREE = "leave_free"
    FINISH = "finish"


NEXT = None
"""In the table: where the agent asked to go, or where it came from."""

_S = AgentState
_M = Move

TABLE: dict[AgentState, dict[Move, AgentState | None]] = {
    _S.LOGGED_OUT: {
        _M.LOG_IN: _S.NOT_READY,
        # A phone may ring and be answered without a log-in: the call is real, so the state follows it.
        _M.RESERVE: _S.RESERVED,
        _M.JOIN: _S.ON_CALL,
    },
    _S.NOT_READY: {
        _M.BE_AVAILABLE: _S.AVAILABLE,
        _M.BE_NOT_READY: _S.NOT_READY,
        _M.RESERVE: _S.RESERVED,
        _M.JOIN: _S.ON_CALL,
        _M.LOG_OUT: _S.LOGGED_OUT,
    },
    _S.AVAILABLE: {
        _M.BE_AVAILABLE: _S.AVAILABLE,
        _M.BE_NOT_READY: _S.NOT_READY,
        _M.RESERVE: _S.RESERVED,
        _M.JOIN: _S.ON_CALL,
        _M.LOG_OUT: _S.LOGGED_OUT,
    },
    _S.RESERVED: {
        _M.RELEASE: NEXT,
        _M.FAIL: _S.NOT_READY,
        _M.JOIN: _S.ON_CALL,
        _M.LEAVE: _S.WRAP_UP,
    },
    _S.ON_CALL: {
        _M.JOIN: _S.ON_CALL,
        _M.KEEP: _S.RESERVED,
        _M.LEAVE: _S.WRAP_UP,
        _M.LEAVE_FREE: NEXT,
    },
    _S.WRAP_UP: {
        _M.BE_AVAILABLE: _S.AVAILABLE,
        _M.BE_NOT_READY: _S.NOT_READY,
        _M.FINISH: NEXT,
        _M.RESERVE: _S.RESERVED,
        _M.JOIN: _S.ON_CALL,
        _M.LOG_OUT: _S.LOGGED_OUT,
    },
}


BUSY = (_S.RESERVED, _S.ON_CALL, _S.WRAP_UP)
"""States that belong to an interaction."""


HOUR_S = 3600.0
LEAST_STAFFED_S = 900.0
"""Who has been ready or busy for less than this counts as having been so for this long: nobody is worn out by one
call."""


class IllegalMove(CallfloorError):
    """The table has no such move from this state."""


@dataclass(slots=True)
class Workload:
    """How busy an agent was over about the last hour. Both are seconds, and fade: what lies an hour back counts 37 %.

    ``busy_s``: RESERVED, ON_CALL or WRAP_UP; ``staffed_s``: these, or AVAILABLE. A break is neither."""

    busy_s: float = 0.0
    staffed_s: float = 0.0
    at: float = 0.0

    def add(self, state: AgentState, now: float) -> None:
        """The time until ``now`` was spent in ``state``."""
        if now > self.at:
            self.busy_s, self.staffed_s = self._at(now, state)
            self.at = now

    def share(self, state: AgentState, now: float) -> float:
        """How busy, 0 to 1, if the time until ``now`` was spent in ``state``."""
        busy_s, staffed_s = self._at(now, state)
        return busy_s / max(staffed_s, LEAST_STAFFED_S)

    def _at(self, now: float, state: AgentState) -> tuple[float, float]:
        kept = math.exp(min(0.0, self.at - now) / HOUR_S)
        gained_s = HOUR_S * (1.0 - kept)
        is_busy = state in BUSY
        is_staffed = is_busy or state is AgentState.AVAILABLE
        return (
            self.busy_s * kept + (gained_s if is_busy else 0.0),
            self.staffed_s * kept + (gained_s if is_staffed else 0.0),
        )


@dataclass(slots=True)
class Agent:
    """One agent as the deciding core keeps it. Times are Unix seconds.

    ``idle_since``: since when nobody has spoken with this agent while it was free; routing's *longest idle* reads it,
    and a call that only rang does not reset it.
    """

    id: AgentId
    state: AgentState = AgentState.LOGGED_OUT
    reason: str = ""
    since: float = 0.0
    until: float | None = None
    idle_since: float = 0.0
    interaction: InteractionId | None = None
    next_state: AgentState | None = None
    next_reason: str = ""
    is_desk_fresh: bool = False
    desk_why: str = "gone"
    is_phone_reachable: bool = False
    legs: set[LegId] = field(default_factory=set)
    came_from: tuple[AgentState, str] = (AgentState.LOGGED_OUT, "")
    workload: Workload = field(default_factory=Workload)

    def occupancy(self, now: float) -> float:
        """How busy this agent was over about the last hour, 0 to 1."""
        return self.workload.share(self.state, now)

    def may(self, move: Move) -> bool:
        """Whether the table has this move from the present state."""
        return move in TABLE[self.state]

    def move(
        self,
        move: Move,
        *,
        now: float,
        reason: str = "",
        interaction: InteractionId | None = None,
        until: float | None = None,
    ) -> None:
        """Make a move. Raises ``IllegalMove`` where the table has none."""
        try:
            target = TABLE[self.state][move]
        except KeyError:
            raise IllegalMove(f"{self.id}: no {move} from {self.state}") from None
        was = self.state
        self.workload.add(was, now)
        if move in (Move.RESERVE, Move.JOIN) and was not in (AgentState.RESERVED, AgentState.ON_CALL):
            self.came_from = (was, self.reason) if was is not AgentState.WRAP_UP else (AgentState.AVAILABLE, "")
            if was is AgentState.WRAP_UP and self.next_state is not None:
                self.came_from = (self.next_state, self.next_reason)
                self.next_state = None
        if target is NEXT:
            if self.next_state is not None:
                target, reason = self.next_state, self.next_reason
            else:
                target, reason = self.came_from
            self.next_state, self.next_reason = None, ""
        elif move in (Move.BE_AVAILABLE, Move.BE_NOT_READY, Move.LOG_OUT):
            self.next_state, self.next_reason = None, ""
        if move is Move.FAIL and self.next_state is AgentState.LOGGED_OUT:
            target, reason = AgentState.LOGGED_OUT, ""
            self.next_state = None
        if target is AgentState.AVAILABLE:
            reason = ""
            # A ring that came to nothing leaves the agent's place in the line of the idle as it was.
            if was not in (AgentState.RESERVED, AgentState.AVAILABLE):
                self.idle_since = now
        self.state = target
        self.reason = reason
        self.since = now
        self.until = until
        self.interaction = interaction if target in BUSY else None

    def ask_next(self, state: AgentState, reason: str) -> None:
        """Keep what the agent asked for until the call is over."""
        self.next_state = state
        self.next_reason = reason
