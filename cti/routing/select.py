"""Who gets whom: pure policies. Each early return is one sentence of policy.

Agents are weighed for one caller of one queue; the one that is free, qualified and has been idle longest is taken.
Every other candidate comes back with the reason why not, as a stable code plus what completes the sentence.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cti.agent_state import Agent
from cti.events import AgentState, Passed
from cti.ids import AgentId
from cti.routing.plan import AgentPlan, QueuePlan

MOST_PASSED = 40
"""A decision names that many candidates; the rest are counted by reason."""

RULE_LONGEST_IDLE = "longest_idle"


@dataclass(frozen=True, slots=True)
class Choice:
    """The agent taken (None: nobody) and why the others were not."""

    agent: AgentId | None
    rule: str
    passed: tuple[Passed, ...]


def why_not(agent: Agent, plan: AgentPlan, queue: QueuePlan | None, *, now: float) -> Passed | None:
    """Why this agent can't take a caller of this queue now; None if it can."""
    if queue is not None:
        for skill, least in queue.required.items():
            held = plan.skills.get(skill)
            if held is None:
                return Passed(agent.id, "skill_missing", skill)
            if held < least:
                return Passed(agent.id, "skill_too_low", f"{skill} {held} < {least}")
    if agent.state is AgentState.LOGGED_OUT:
        return Passed(agent.id, "logged_out")
    if agent.state is AgentState.NOT_READY:
        return Passed(agent.id, "not_ready", agent.reason)
    if agent.state is AgentState.ON_CALL:
        return Passed(agent.id, "on_call", str(agent.interaction or ""))
    if agent.state is AgentState.RESERVED:
        return Passed(agent.id, "reserved", str(agent.interaction or ""))
    if agent.state is AgentState.WRAP_UP:
        left_s = max(0.0, (agent.until or now) - now)
        return Passed(agent.id, "wrap_up", f"{left_s:.0f}")
    if not agent.is_desk_fresh:
        return Passed(agent.id, "desk_stale", agent.desk_why)
    if not agent.is_phone_reachable:
        return Passed(agent.id, "phone_unreachable")
    if agent.legs:
        return Passed(agent.id, "phone_in_use")
    return None


def choose(
    queue: QueuePlan | None,
    candidates: Iterable[tuple[Agent, AgentPlan]],
    *,
    now: float,
) -> Choice:
    """Take the longest idle among those who can; ties break by id."""
    passed: list[Passed] = []
    able: list[Agent] = []
    for agent, plan in candidates:
        reason = why_not(agent, plan, queue, now=now)
        if reason is None:
            able.append(agent)
        else:
            passed.append(reason)
    if not able:
        return Choice(None, RULE_LONGEST_IDLE, _bounded(passed))
    taken = min(able, key=lambda agent: (agent.idle_since, agent.id))
    passed.extend(
        Passed(agent.id, "less_idle", f"{now - agent.idle_since:.0f} < {now - taken.idle_since:.0f}")
        for agent in able
        if agent is not taken
    )
    return Choice(taken.id, RULE_LONGEST_IDLE, _bounded(passed))


def _bounded(passed: list[Passed]) -> tuple[Passed, ...]:
    if len(passed) <= MOST_PASSED:
        return tuple(passed)
    counts: dict[str, int] = {}
    for one in passed[MOST_PASSED:]:
        counts[one.reason] = counts.get(one.reason, 0) + 1
    rest = (Passed(AgentId(""), reason, str(count)) for reason, count in sorted(counts.items()))
    return (*passed[:MOST_PASSED], *rest)
