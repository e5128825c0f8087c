"""Who gets whom: pure policies. Each early return is one sentence of policy.

Agents are weighed for one caller of one queue; the one that is free, qualified and has been idle longest is taken.
Every other candidate comes back with the reason why not, as a stable code plus what completes the sentence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from cti.agent_state import Agent
from cti.events import AgentState, Passed
from cti.ids import AgentId
from cti.routing.plan import AgentPlan, QueuePlan

MOST_PASSED = 20
"""A decision names that many candidates; the rest are counted by reason."""

RULE_LONGEST_IDLE = "longest_idle"

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
    """The agent taken (None: nobody) and why the others were not."""

    agent: AgentId | None
    rule: str
    passed: tuple[Passed, ...]


def may_ring(agent: Agent) -> bool:
    """Whether the agent's desk and phone can take a call now, whatever the agent's state."""
    return agent.is_desk_fresh and agent.is_phone_reachable and not agent.legs


def is_free(agent: Agent) -> bool:
    """Whether the agent can be rung now, by whomever its skills suit."""
    return agent.state is AgentState.AVAILABLE and may_ring(agent)


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
    if may_ring(agent):
        return None
    if not agent.is_desk_fresh:
        return Passed(agent.id, "desk_stale", agent.desk_why)
    if not agent.is_phone_reachable:
        return Passed(agent.id, "phone_unreachable")
    return Passed(agent.id, "phone_in_use")


def choose(
    queue: QueuePlan | None,
    candidates: Iterable[tuple[Agent, AgentPlan]],
    *,
    now: float,
) -> Choice:
    """Take the longest idle among those who can; ties break by id."""
    passed: list[Passed] = []
    unnamed: list[str] = []
    able: list[Agent] = []
    required = tuple(queue.required.items()) if queue is not None else ()
    for agent, plan in candidates:
        is_named = len(passed) < MOST_PASSED
        if agent.state is not AgentState.AVAILABLE and not is_named:
            unnamed.append(CODE_OF_STATE[agent.state])
            continue
        if agent.state is AgentState.AVAILABLE and may_ring(agent):
            skills = plan.skills
            for skill, least in required:
                if skills.get(skill, -1) < least:
                    break
            else:
                # Most of a big queue: nothing more to ask.
                able.append(agent)
                continue
        reason = why_not(agent, plan, queue, now=now)
        if reason is None:
            able.append(agent)
        elif is_named:
            passed.append(reason)
        else:
            unnamed.append(reason.reason)
    counts = Counter(unnamed)
    taken = min(able, key=_longest_idle, default=None)
    if taken is not None:
        idle_s = f"{now - taken.idle_since:.0f}"
        room = max(0, MOST_PASSED - len(passed))
        named = list(islice((agent for agent in able if agent is not taken), room))
        passed.extend(Passed(agent.id, "less_idle", f"{now - agent.idle_since:.0f} < {idle_s}") for agent in named)
        if len(able) - 1 > len(named):
            counts["less_idle"] = len(able) - 1 - len(named)
    passed.extend(Passed(AgentId(""), code, str(count)) for code, count in sorted(counts.items()))
    return Choice(taken.id if taken is not None else None, RULE_LONGEST_IDLE, tuple(passed))


def _longest_idle(agent: Agent) -> tuple[float, AgentId]:
    return agent.idle_since, agent.id
