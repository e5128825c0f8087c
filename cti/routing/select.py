"""Whom a caller gets, of those who could take the call now: pure policies, and why it was not somebody else.

Reasons why an agent was passed over, and what ``Passed.detail`` means there:

* of the state: ``logged_out``; ``not_ready`` (the reason); ``on_call`` and ``reserved`` (the interaction); ``wrap_up``
  (seconds left); ``desk_stale`` (why: ``gone``, ``silent``, ``asleep``, ``no_phone``, ``no_microphone``);
  ``phone_unreachable``; ``phone_in_use``;
* of the requirement: ``skill_missing``, ``skill_too_low``, ``skill_too_high``, ``skill_unwanted``, ``none_of``,
  ``call_unknown``, ``call_differs`` (see ``cti.routing.expression.Shortfall``);
* could have been taken, but somebody else went first: ``less_idle`` (seconds idle, those of the one taken:
  ``50 < 80``); ``less_skilled`` (sums of the proficiencies asked for: ``5 < 8``); ``more_occupied`` (percent:
  ``83 > 41``); ``more_skills`` (numbers of skills: ``5 > 2``); ``later_in_turn``; ``not_drawn``; ``resting`` (percent
  of the last hour busy: a breather while somebody else can take the call).

An entry without an agent counts all others of its reason (``detail``: how many); there ``unqualified`` stands for every
reason of the requirement.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cti.agent_state import Agent
from cti.events import AgentState, Passed
from cti.ids import AgentId, InteractionId
from cti.routing.expression import Requirement
from cti.routing.plan import AgentPlan, Selection

MOST_PASSED = 20
"""A decision names that many candidates; the rest are counted by reason."""

CODE_OF_STATE = {
    AgentState.LOGGED_OUT: "logged_out",
    AgentState.NOT_READY: "not_ready",
    AgentState.ON_CALL: "on_call",
    AgentState.RESERVED: "reserved",
    AgentState.WRAP_UP: "wrap_up",
}
"""Why an agent in this state can't take a caller."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Who is to be rung, best first (empty: nobody), and why the others are not. ``rule``: a ``Selection``, or
    ``named_agent`` (a transfer), ``picked`` (by a supervisor), ``preferred_owner``, ``preferred_last_agent``,
    ``returning`` (the agent whose phone was lost), ``no_queue``. ``step``: index of the queue's step that counts now,
    ``required``: its text. ``points``: of priority, without the waiting."""

    agents: tuple[AgentId, ...]
    rule: str
    passed: tuple[Passed, ...] = ()
    step: int = 0
    required: str = ""
    waited_s: float = 0.0
    points: int = 0

    @property
    def agent(self) -> AgentId | None:
        """The best."""
        return self.agents[0] if self.agents else None


def may_ring(agent: Agent) -> bool:
    """Whether the agent's desk and phone can take a call now, whatever the agent's state."""
    return agent.is_desk_fresh and agent.is_phone_reachable and not agent.legs


def is_free(agent: Agent) -> bool:
    """Whether the agent can be rung now, by whomever its skills suit."""
    return agent.state is AgentState.AVAILABLE and may_ring(agent)


def condition(agent: Agent) -> str:
    """The code of what keeps this agent from being rung now, whoever calls; empty: nothing."""
    if agent.state is not AgentState.AVAILABLE:
        return CODE_OF_STATE[agent.state]
    if may_ring(agent):
        return ""
    if not agent.is_desk_fresh:
        return "desk_stale"
    return "phone_in_use" if agent.is_phone_reachable else "phone_unreachable"


def why_not(
    agent: Agent,
    plan: AgentPlan,
    required: Requirement | None,
    *,
    now: float,
    variables: Mapping[str, str] | None = None,
) -> Passed | None:
    """Why this agent can't take a caller who requires this now; None if it can. ``variables``: of the call."""
    shortfall = required.why_not(plan.skills, variables or {}) if required is not None else None
    if shortfall is not None:
        return Passed(agent.id, shortfall.reason, shortfall.detail)
    code = condition(agent)
    match code:
        case "":
            return None
        case "not_ready":
            return Passed(agent.id, code, agent.reason)
        case "on_call" | "reserved":
            return Passed(agent.id, code, str(agent.interaction or ""))
        case "wrap_up":
            return Passed(agent.id, code, f"{max(0.0, (agent.until or now) - now):.0f}")
        case "desk_stale":
            return Passed(agent.id, code, agent.desk_why)
        case _:
            return Passed(agent.id, code)


# ── the policies ──────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Candidate:
    """Somebody who can take the call. ``place``: among all agents of the plan, from 0."""

    agent: Agent
    plan: AgentPlan
    place: int


@dataclass(frozen=True, slots=True)
class Occasion:
    """What a policy may look at beside the candidates. ``last_place``: of the agent whom the queue took last, -1 if
    there was none."""

    interaction: InteractionId
    skills: frozenset[str]
    last_place: int
    now: float


def in_order(selection: Selection, candidates: Sequence[Candidate], occasion: Occasion) -> list[Candidate]:
    """The candidates, best first. Ties break by longest idle, then by id, so that a replay agrees."""
    now = occasion.now
    match selection:
        case Selection.LONGEST_IDLE:
            return sorted(candidates, key=_idle)
        case Selection.BEST_SKILLED:
            return sorted(candidates, key=lambda one: (-_skill(one, occasion), *_idle(one)))
        case Selection.LEAST_OCCUPIED:
            return sorted(candidates, key=lambda one: (round(one.agent.occupancy(now), 3), *_idle(one)))
        case Selection.FEWEST_SKILLS:
            return sorted(candidates, key=lambda one: (len(one.plan.skills), *_idle(one)))
        case Selection.ROUND_ROBIN:
            return sorted(candidates, key=lambda one: (one.place <= occasion.last_place, one.place))
        case Selection.WEIGHTED_RANDOM:
            return sorted(candidates, key=lambda one: (_draw(one, occasion), *_idle(one)))


def passed_for(selection: Selection, one: Candidate, best: Candidate, occasion: Occasion) -> Passed:
    """Why ``one`` stood behind ``best``."""
    now = occasion.now
    match selection:
        case Selection.BEST_SKILLED if _skill(one, occasion) != _skill(best, occasion):
            return Passed(one.agent.id, "less_skilled", f"{_skill(one, occasion)} < {_skill(best, occasion)}")
        case Selection.LEAST_OCCUPIED if percent(one.agent, now) != percent(best.agent, now):
            return Passed(one.agent.id, "more_occupied", f"{percent(one.agent, now)} > {percent(best.agent, now)}")
        case Selection.FEWEST_SKILLS if len(one.plan.skills) != len(best.plan.skills):
            return Passed(one.agent.id, "more_skills", f"{len(one.plan.skills)} > {len(best.plan.skills)}")
        case Selection.ROUND_ROBIN:
            return Passed(one.agent.id, "later_in_turn")
        case Selection.WEIGHTED_RANDOM:
            return Passed(one.agent.id, "not_drawn")
        case _:
            return Passed(
                one.agent.id, "less_idle", f"{now - one.agent.idle_since:.0f} < {now - best.agent.idle_since:.0f}"
            )


CODE_OF_SELECTION = {
    Selection.LONGEST_IDLE: "less_idle",
    Selection.BEST_SKILLED: "less_skilled",
    Selection.LEAST_OCCUPIED: "more_occupied",
    Selection.FEWEST_SKILLS: "more_skills",
    Selection.ROUND_ROBIN: "later_in_turn",
    Selection.WEIGHTED_RANDOM: "not_drawn",
}
"""What those are counted as who stood behind and are not named."""


def percent(agent: Agent, now: float) -> int:
    """How much of about the last hour the agent was busy."""
    return round(100 * agent.occupancy(now))


def _idle(one: Candidate) -> tuple[float, AgentId]:
    return one.agent.idle_since, one.agent.id


def _skill(one: Candidate, occasion: Occasion) -> int:
    return sum(one.plan.skills.get(skill, 0) for skill in occasion.skills)


def _draw(one: Candidate, occasion: Occasion) -> float:
    """A lot whose smallest wins with a probability in proportion to the weight (the skill asked for, at least 1). Drawn
    from the names of caller and agent: the same day gives the same lots."""
    digest = hashlib.blake2b(f"{occasion.interaction} {one.agent.id}".encode(), digest_size=7).digest()
    share = (int.from_bytes(digest, "big") + 1) / (2**56 + 1)
    return -math.log(share) / max(1, _skill(one, occasion))
