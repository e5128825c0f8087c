"""The configured call centre as the deciding core sees it: queues, agents, phones and numbers.

Immutable; a change is a new plan (``PlanChanged``). Made by ``cti.daemon`` from what ``crm_core.centre`` reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from cti.ids import AgentId, PbxId, QueueId


class RecordingPolicy(StrEnum):
    """Whether talks are recorded: never, after an announcement that the caller may object to, or by the caller's own
    yes."""

    OFF = "off"
    ANNOUNCED = "announced"
    CONSENT = "consent"


STRICTNESS = (RecordingPolicy.ANNOUNCED, RecordingPolicy.CONSENT, RecordingPolicy.OFF)
"""From what the caller is protected by least to most; of two policies the later one counts."""
UNKNOWN_NUMBER = "unknown"
"""Stands for the leading digits of a number that is withheld or was not sent."""


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
    recording: RecordingPolicy = RecordingPolicy.ANNOUNCED
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
    jurisdictions: Mapping[str, RecordingPolicy] = field(default_factory=dict)
    """Leading digits of callers' numbers (or ``UNKNOWN_NUMBER``) → the least that the law there asks for."""

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

    def recording_policy(self, queue: QueueId | None, ani: str) -> RecordingPolicy:
        """How a caller of ``queue`` is recorded: the strictest of the queue's policy and the rule of the longest
        leading digits of ``ani`` (empty: withheld). Without a queue: not at all."""
        found = self.queues.get(queue) if queue is not None else None
        if found is None:
            return RecordingPolicy.OFF
        digits = ani.removeprefix("+").removeprefix("00")
        keys = (digits[:length] for length in range(len(digits), 0, -1)) if digits else (UNKNOWN_NUMBER,)
        rules = [self.jurisdictions[key] for key in keys if key in self.jurisdictions]
        return max((found.recording, *rules[:1]), key=STRICTNESS.index)


def recording_settings(plan: Plan) -> Mapping[str, str]:
    """What the dialplan needs to follow the same policy without the daemon: key of a ``MirrorSetting`` → value."""
    settings = {f"recording/{queue.id}": queue.recording.value for queue in plan.queues.values()}
    return settings | {f"recording-prefix/{digits}": rule.value for digits, rule in plan.jurisdictions.items()}
