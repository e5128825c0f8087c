"""A transfer under way, and what its target means. Pure.

    blind      the caller goes now: SendToHold (a queue, an agent, whoever has a skill), SendOutside (a number)
    attended   StartConsult ─ the two speak ─▶ JoinLegs (handed over or taken back), JoinConference (all speak)
    take_over  StartTakeOver ─ the taker answers ─▶ the agent is out

Whom an attended transfer to a queue or a skill consults is chosen as if the agent were a caller there; who does not
answer is as absent as for a caller, and the next one is rung.
"""

from __future__ import annotations

from dataclasses import dataclass

from cti.ids import AgentId, LegId

OUTSIDE_RING_S = 45
"""How long a number outside may ring."""


@dataclass(slots=True)
class Transfer:
    """A transfer under way, asked for by ``by``, who speaks on ``by_leg``. Times are Unix seconds."""

    by: AgentId
    by_leg: LegId
    target: str
    kind: str
    at: float
    until: float = 0.0
    """When a take-over that nobody answered is over at the latest."""
    target_agent: AgentId | None = None
    target_leg: LegId | None = None
    is_answered: bool = False
    is_joining: bool = False
    """Two of the three are being connected: another order now would part them again."""
    is_handing_over: bool = False
    """Those two are the caller and the one who was consulted."""
    is_conference: bool = False
    """All of them are being connected."""
    is_in_company: bool = False
    """The caller goes on talking with others meanwhile."""


def outside_number(target: str) -> str:
    """The number outside that a destination names; empty if it names something else."""
    kind, _, value = target.partition(":")
    return value if kind == "number" else ""


def skill_of(target: str) -> str:
    """The expression that a destination asks for; empty if it names something else."""
    kind, _, value = target.partition(":")
    return value if kind == "skill" else ""


def is_chosen(target: str) -> bool:
    """Whether we say who of several is meant."""
    return target.startswith(("queue:", "skill:"))
