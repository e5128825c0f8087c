"""Who hears whose call: a supervisor's own phone, one leg of one call, and the end of it. Pure; ``now`` is passed in.

    SpyRequested ─▶ StartSpy (RESERVED, "listening") ─ answered ─▶ SpyPlaced ─▶ SpyStarted (ON_CALL, "listening")
                        │ not to be had                               │ asked again: ChangeSpy ─▶ SpyPlaced …
                        ▼                                             ▼ the call ends, SpyEndRequested, hang-up
                     SpyEnded ("refused")                          SpyEnded

A listener hears the leg that was named, never the next one: another call needs another order. The leg on which somebody
listens is no party of the conversation until it is connected with it (a take-over); ``cti.ids.is_spy`` tells it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cti.events import SpyMode, SpyRequested
from cti.ids import AgentId, InteractionId, LegId, PbxId, pbx_of, spy_leg

RING_S = 20
"""How long a listener's phone rings."""
ANSWER_S = 5.0
"""A phone that has no leg by then has none; nor has a ring that should have ended ended by itself."""


@dataclass(slots=True)
class Session:
    """One listener, one leg of one call. Times are Unix seconds. ``leg`` is the listener's, ``spied`` the agent's."""

    leg: LegId
    interaction: InteractionId
    agent: AgentId
    spied: LegId
    listener: AgentId
    mode: SpyMode
    by: str
    ordered_at: float
    has_leg: bool = False
    heard: SpyMode | None = None
    """The mode in which the listener hears the call; None before."""
    why: str = ""
    """Why it is being ended."""

    @property
    def due_at(self) -> float | None:
        """When it counts as failed if nothing happens until then."""
        if self.why:
            return self.ordered_at + ANSWER_S
        if self.heard is not None:
            return None
        return self.ordered_at + ANSWER_S + (RING_S if self.has_leg else 0)


class Supervision:
    """All sessions; each listener has one at most."""

    def __init__(self) -> None:
        self._sessions: dict[AgentId, Session] = {}

    def begin(self, event: SpyRequested, spied: LegId, pbx: PbxId, *, now: float) -> Session:
        """A listener's phone is about to be rung on ``pbx``. The leg's id follows from the request alone, so that a
        start of ours that reads the request in the journal finds the same."""
        session = Session(
            leg=spy_leg(pbx, event.listener, event.at),
            interaction=event.interaction,
            agent=event.agent,
            spied=spied,
            listener=event.listener,
            mode=event.mode,
            by=event.by,
            ordered_at=now,
        )
        self._sessions[event.listener] = session
        return session

    def end(self, session: Session) -> None:
        """It is over."""
        self._sessions.pop(session.listener, None)

    def of(self, listener: AgentId) -> Session | None:
        """What this agent listens to, or is about to."""
        return self._sessions.get(listener)

    def of_leg(self, leg: LegId) -> Session | None:
        """Whose listening leg this is."""
        return next((session for session in self._sessions.values() if session.leg == leg), None)

    def of_call(self, interaction: InteractionId) -> list[Session]:
        """Who listens to this call."""
        return [session for session in self._sessions.values() if session.interaction == interaction]

    def hearing(self, leg: LegId) -> list[Session]:
        """Who listens to this leg."""
        return [session for session in self._sessions.values() if session.spied == leg]

    def on(self, pbx: PbxId) -> list[Session]:
        """The sessions of one PBX."""
        return [session for session in self._sessions.values() if pbx_of(session.leg) == pbx]

    def live_legs(self, pbx: PbxId) -> dict[LegId, float]:
        """The listening legs that live on a PBX, and since when (Unix seconds)."""
        return {session.leg: session.ordered_at for session in self.on(pbx) if session.has_leg}

    def due(self) -> Iterator[float]:
        """When to look again."""
        return (at for session in self._sessions.values() if (at := session.due_at) is not None)

    def overdue(self, now: float) -> list[Session]:
        """What should have happened long ago."""
        return [session for session in self._sessions.values() if session.due_at is not None and session.due_at <= now]
