"""A day to be played: a plan, who calls when and how long they stay, and who sits at which desk when."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from cti.asterisk.sim_pbx import Caller, PhoneBehaviour
from cti.ids import AgentId, PbxId, QueueId
from cti.routing.plan import Phone, PhoneKind, Plan, RecordingPolicy

if TYPE_CHECKING:
    import random

PBX = PbxId("sim1")
AS_USUAL = PhoneBehaviour()
AT_ONCE = PhoneBehaviour(answers_after_s=(0.0, 0.0))
"""No ring time at all: what the formulas of queueing theory assume."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One caller to come, at ``at`` (Unix seconds). ``queue``: the one that the number dialled leads to, for callers
    who find no free line. ``wrap_up_s``: how long the agent works on the call afterwards, at most as long as the queue
    allows; None: as long as it allows. ``variables``: what the CRM knows of the customer."""

    at: float
    caller: Caller
    queue: QueueId
    wrap_up_s: float | None = None
    variables: Mapping[str, str] = field(default_factory=dict)


class Deed(StrEnum):
    """What an agent does at the desk."""

    LOG_IN = "log_in"
    """And be available."""
    PAUSE = "pause"
    RESUME = "resume"
    LOG_OUT = "log_out"


@dataclass(frozen=True, slots=True)
class DeskDeed:
    """``agent`` does ``deed`` at ``at`` (Unix seconds)."""

    at: float
    agent: AgentId
    deed: Deed


class Demand(Protocol):
    """Who calls. The same ``rng`` gives the same callers, whatever the plan is."""

    def arrivals(self, rng: random.Random) -> Sequence[Arrival]:
        """All callers of the day, in the order in which they come."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A day from ``starts_at`` to ``ends_at`` (Unix seconds); then nobody new comes, and whoever is there is served for
    at most ``run_on_s`` more. ``lines``: so many callers fit, further ones hear the busy tone. ``phones``: how agents
    answer, if not as ``phone``. ``changes``: plans that come into force during the day. Callers who came before
    ``counts_from`` are not counted."""

    name: str
    plan: Plan
    starts_at: float
    ends_at: float
    demand: Demand
    desks: Sequence[DeskDeed]
    lines: float = math.inf
    phone: PhoneBehaviour = AS_USUAL
    phones: Mapping[AgentId, PhoneBehaviour] = field(default_factory=dict)
    changes: Sequence[tuple[float, Plan]] = ()
    run_on_s: float = 3600.0
    counts_from: float = -math.inf
    zone: str = "UTC"


def on_simulated_phones(plan: Plan) -> Plan:
    """The same plan with a desk phone for everybody on the one simulated PBX, and nothing recorded."""
    agents = {
        one.id: replace(one, phone=Phone(PBX, str(one.id), PhoneKind.DESK), may_see_numbers=True)
        for one in plan.agents.values()
    }
    queues = {one.id: replace(one, recording=RecordingPolicy.OFF) for one in plan.queues.values()}
    return replace(plan, agents=agents, queues=queues)
