"""What stands beside the cards of a desk: who listens to the agent's call, whose call this desk's person listens to,
and what a supervisor wrote that nobody has read yet (``beside`` in ``docs/desk-protocol.md``).

Pure. Fed with every fact, live and from the journal of the last run.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cti import events as e

if TYPE_CHECKING:
    from cti.ids import AgentId, InteractionId
    from cti.routing.plan import Plan

MOST_MESSAGES = 10
"""Unread messages of one agent; the oldest gives way."""

_SHOWN = frozenset(
    {
        e.PlanChanged,
        e.SpyRequested,
        e.SpyStarted,
        e.SpyEnded,
        e.InteractionMerged,
        e.InteractionEnded,
        e.MessageSent,
        e.MessageRead,
    }
)


@dataclass(frozen=True, slots=True)
class _Spying:
    """``listener`` hears ``agent`` in ``interaction``; ``is_on`` False: only asked for so far. ``at``: Unix seconds."""

    interaction: InteractionId
    agent: AgentId
    listener: AgentId
    mode: str
    is_on: bool
    at: float


class Margins:
    """What stands beside the cards, of all desks."""

    def __init__(self, plan: Plan | None = None) -> None:
        self._plan = plan
        self._spying: dict[AgentId, _Spying] = {}
        self._unread: dict[AgentId, dict[str, e.MessageSent]] = {}

    def listen(self, fact: e.Event) -> tuple[AgentId, ...]:
        """Take in a fact. Returns the agents whose desks show something else now."""
        if type(fact) not in _SHOWN:
            return ()
        match fact:
            case e.PlanChanged():
                self._plan = fact.plan
                return tuple({one.agent for one in self._spying.values()})
            case e.SpyRequested():
                known = self._spying.get(fact.listener)
                if known is not None and known.is_on and known.interaction == fact.interaction:
                    return ()
                return self._spy(
                    _Spying(fact.interaction, fact.agent, fact.listener, fact.mode.value, is_on=False, at=fact.at)
                )
            case e.SpyStarted():
                return self._spy(
                    _Spying(fact.interaction, fact.agent, fact.listener, fact.mode.value, is_on=True, at=fact.at)
                )
            case e.SpyEnded():
                known = self._spying.get(fact.listener)
                return self._end(known) if known is not None and known.interaction == fact.interaction else ()
            case e.InteractionMerged():
                for known in [one for one in self._spying.values() if one.interaction == fact.gone]:
                    self._spying[known.listener] = replace(known, interaction=fact.into)
                return ()
            case e.InteractionEnded():
                over = [one for one in self._spying.values() if one.interaction == fact.interaction]
                return tuple(agent for known in over for agent in self._end(known))
            case e.MessageSent():
                for agent in fact.agents:
                    unread = self._unread.setdefault(agent, {})
                    unread[fact.message] = fact
                    while len(unread) > MOST_MESSAGES:
                        del unread[next(iter(unread))]
                return fact.agents
            case e.MessageRead():
                unread = self._unread.get(fact.agent, {})
                return () if unread.pop(fact.message, None) is None else (fact.agent,)
            case _:
                return ()

    def of(self, agent: AgentId) -> dict[str, Any]:
        """What the desk of this agent shows, JSON-ready."""
        own = self._spying.get(agent)
        is_told = self._plan is None or self._plan.is_spying_shown
        return {
            "listeners": [
                {"name": self._name(one.listener), "mode": one.mode, "interaction": one.interaction}
                for one in self._spying.values()
                if is_told and one.agent == agent and one.is_on
            ],
            "spying": None
            if own is None
            else {
                "interaction": own.interaction,
                "agent": own.agent,
                "name": self._name(own.agent),
                "mode": own.mode,
                "is_on": own.is_on,
                "at": own.at,
            },
            "messages": [
                {"id": one.message, "from": one.name or one.by, "text": one.text, "at": one.at}
                for one in self._unread.get(agent, {}).values()
            ],
        }

    def _spy(self, spying: _Spying) -> tuple[AgentId, ...]:
        before = self._spying.get(spying.listener)
        self._spying[spying.listener] = spying
        others = () if before is None or before.agent == spying.agent else (before.agent,)
        return (spying.agent, spying.listener, *others)

    def _end(self, known: _Spying) -> tuple[AgentId, ...]:
        del self._spying[known.listener]
        return known.agent, known.listener

    def _name(self, agent: AgentId) -> str:
        return self._plan.agents[agent].name if self._plan is not None and agent in self._plan.agents else agent
