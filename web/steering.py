"""What a supervisor does on the floor: listen to a talk, take it over, give a waiting caller to somebody, set a state,
write to desks. The floor decides what may be done now; whatever it takes is written to the audit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cti.errors import Refused
from cti.events import AgentState, SpyMode
from cti.ids import AgentId
from web.schemas import Accepted

if TYPE_CHECKING:
    from web import schemas
    from web.asking import Ask

AUDITED_AS = {SpyMode.LISTEN: "listened", SpyMode.WHISPER: "whispered", SpyMode.BARGE: "barged_in"}


async def spy(ask: Ask, *, body: schemas.SpyBody) -> Accepted:
    """Hear a talk on the own phone, or change how."""
    mode = SpyMode(body.mode)
    ask.services.floor.spy(_own_phone(ask), ask.interaction, AgentId(body.agent), mode, by=ask.user.username)
    ask.note(AUDITED_AS[mode], "interaction", ask.interaction, agent=body.agent)
    return Accepted(now=ask.now)


async def end_spying(ask: Ask) -> Accepted:
    """Heard enough."""
    ask.services.floor.end_spying(_own_phone(ask), ask.interaction, by=ask.user.username)
    ask.note("listening_ended", "interaction", ask.interaction)
    return Accepted(now=ask.now)


async def take_over(ask: Ask, *, body: schemas.TakeOverBody) -> Accepted:
    """Have the caller on the own phone."""
    ask.services.floor.take_over(_own_phone(ask), ask.interaction, AgentId(body.agent), by=ask.user.username)
    ask.note("taken_over", "interaction", ask.interaction, agent=body.agent)
    return Accepted(now=ask.now)


async def pick(ask: Ask, *, body: schemas.PickBody) -> Accepted:
    """Give a waiting caller to an agent."""
    ask.services.floor.pick(ask.interaction, AgentId(body.agent), by=ask.user.username)
    ask.note("picked", "interaction", ask.interaction, agent=body.agent)
    return Accepted(now=ask.now)


async def force_state(ask: Ask, *, body: schemas.ForcedStateBody) -> Accepted:
    """Set an agent's state; during a call it is the next one."""
    floor, agent, by = ask.services.floor, ask.other_agent, ask.user.username
    before = floor.agent(agent).state
    if body.state == AgentState.LOGGED_OUT:
        if before is AgentState.LOGGED_OUT:
            raise Refused("target_logged_out")
        floor.log_out(agent, by=by)
    elif before is AgentState.LOGGED_OUT:
        raise Refused("target_logged_out")
    else:
        floor.set_state(agent, body.state, body.reason, by=by)
    ask.note("state_set", "agent", agent, state=[before.value, body.state], reason=body.reason)
    return Accepted(now=ask.now)


async def send_message(ask: Ask, *, body: schemas.MessageBody) -> Accepted:
    """Write to one desk, to a team, or to everybody."""
    floor = ask.services.floor
    if body.agent is not None:
        to = [AgentId(body.agent)]
    else:
        to = [
            agent.id
            for agent in floor.agents()
            if agent.state is not AgentState.LOGGED_OUT and (body.team is None or agent.team == body.team)
        ]
    floor.send_message(to, body.text, by=ask.user.username, name=ask.user.name)
    kind, key = ("agent", body.agent) if body.agent is not None else ("team", body.team or "")
    ask.note("message_sent", kind, key, text=body.text, people=len(to))
    return Accepted(now=ask.now)


def _own_phone(ask: Ask) -> AgentId:
    """The seat whose phone a supervisor listens on. Raises ``Refused`` where there is none."""
    agent = ask.user.agent
    if agent is None or agent not in ask.services.floor.plan.agents:
        raise Refused("no_phone_of_your_own")
    return agent
