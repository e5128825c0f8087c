"""The configured call centre as the deciding core sees it: queues, agents, phones and numbers.

Immutable; a change is a new plan (``PlanChanged``). Made by ``cti.daemon`` from what ``crm_core.centre`` reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from cti.ids import AgentId, PbxId, QueueId


class PhoneKind(StrEnum):
    """Where an agent's phone lives: in the page (WebRTC) or on the desk (any PJSIP endpoint)."""

    BROWSER = "browser"
    DESK = "desk"


@dataclass(frozen=True, slots=True)
class Phone:
    """A phone of ours. ``endpoint`` is the PJSIP endpoint's name, a slug from our own table."""

    pbx: PbxId
    endpoint: str
    kind: PhoneKind


@dataclass(frozen=True, slots=True)
class AgentPlan:
    """One agent. ``skills``: skill → proficiency 1–10 (higher is better)."""

    id: AgentId
    name: str
    phone: Phone
    skills: Mapping[str, int] = field(default_factory=dict)
    queues: tuple[QueueId, ...] = ()
    may_see_numbers: bool = True


@dataclass(frozen=True, slots=True)
class QueuePlan:
    """One queue. ``required``: skill → least proficiency. Times in seconds."""

    id: QueueId
    name: str
    required: Mapping[str, int] = field(default_factory=dict)
    ring_timeout_s: int = 20
    wrap_up_s: int = 30
    service_level_s: int = 20
    short_abandon_s: int = 5
    priority: int = 0
    is_recorded: bool = True
    product: str = ""


@dataclass(frozen=True, slots=True)
class DnisRoute:
    """A number that callers dial, and the queue behind it. ``dnis`` holds digits and ``+`` only."""

    dnis: str
    queue: QueueId
    product: str = ""
    language: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole configured centre."""

    queues: Mapping[QueueId, QueuePlan]
    agents: Mapping[AgentId, AgentPlan]
    routes: tuple[DnisRoute, ...]
    default_queue: QueueId | None

    def owner_of(self, pbx: PbxId, endpoint: str) -> AgentId | None:
        """The agent whose phone is ``endpoint`` on ``pbx``."""
        for agent in self.agents.values():
            if agent.phone.endpoint == endpoint and agent.phone.pbx == pbx:
                return agent.id
        return None

    def route(self, dnis: str) -> DnisRoute | None:
        """The route of a dialled number."""
        for route in self.routes:
            if route.dnis == dnis:
                return route
        return None
