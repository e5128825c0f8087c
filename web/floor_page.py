"""The floor: agents, queues and calls as they are now, and why a caller waits.

A caller's number and name are shown only to a role that may read them; to others a call is known by its handle.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cti.events import AgentState
from web.schemas import FloorAgent, FloorAnswer, FloorCall, FloorQueue
from web.sentences import repair_told

if TYPE_CHECKING:
    from aiohttp import web

    from crm_core.access import FieldRules, Reader
    from cti.floor import AgentView, CallView
    from web.asking import Ask


async def show(ask: Ask) -> web.StreamResponse:
    """The page."""
    return await ask.page("floor.html", **await _picture(ask))


async def live(ask: Ask) -> web.StreamResponse:
    """The part of the page that is asked for every two seconds."""
    return await ask.page("floor_live.html", **await _picture(ask))


async def picture(ask: Ask) -> FloorAnswer:
    """The live picture as JSON."""
    floor = ask.services.floor
    rules = (await ask.services.configured.current(now=ask.now)).rules
    return FloorAnswer(
        now=ask.now,
        agents=[
            FloorAgent(
                **fields_of_state(agent),
                is_desk_fresh=agent.is_desk_fresh,
                desk_why=agent.desk_why,
                is_phone_reachable=agent.is_phone_reachable,
                queues=list(agent.queues),
            )
            for agent in floor.agents()
        ],
        queues=[
            FloorQueue(
                id=queue.id,
                name=queue.name,
                waiting=queue.waiting,
                longest_wait_since=queue.longest_wait_since,
                talking=queue.talking,
                agents_available=queue.agents_available,
                agents_logged_in=queue.agents_logged_in,
            )
            for queue in floor.queues()
        ],
        calls=[
            FloorCall(
                id=call.id,
                direction=call.direction,
                phase=call.phase,
                queue=call.queue,
                agent=call.agent,
                is_withheld=call.is_withheld,
                dnis=call.dnis,
                started_at=call.started_at,
                queued_at=call.queued_at,
                phase_since=call.phase_since,
                party=call.party,
                recording=call.recording,
                recording_basis=call.recording_basis,
                **_readable(call, rules, ask.reader),
            )
            for call in floor.calls()
        ],
        pbx=floor.pbx_status,
    )


def fields_of_state(agent: AgentView) -> dict[str, Any]:
    """The fields of ``web.schemas.AgentState``."""
    return {
        "agent": agent.id,
        "name": agent.name,
        "state": agent.state.value,
        "reason": agent.reason,
        "since": agent.since,
        "until": agent.until,
        "interaction": agent.interaction,
        "next_state": agent.next_state.value if agent.next_state is not None else None,
    }


def caller_of(call: CallView, rules: FieldRules, ask: Ask) -> str:
    """What a caller is called before anybody knows who it is; by the handle where the role may read nothing else."""
    if call.is_withheld:
        return ask.language.gettext("Number withheld")
    seen = _readable(call, rules, ask.reader)
    return seen.get("number") or seen.get("name") or call.id


def _readable(call: CallView, rules: FieldRules, reader: Reader) -> dict[str, str]:
    seen = rules.visible(reader, "interaction", {"ani_raw": call.ani, "ani_name": call.ani_name})
    shown = {"number": seen.get("ani_raw"), "name": seen.get("ani_name")}
    return {field: value for field, value in shown.items() if value}


@dataclass(frozen=True, slots=True)
class CallRow:
    """One line of the table of calls."""

    id: str
    caller: str
    phase: str
    phase_since: float
    queued_at: float | None
    queue_name: str
    agent_name: str


@dataclass(frozen=True, slots=True)
class AgentRow:
    """One line of the table of agents."""

    id: str
    name: str
    state: str
    reason_label: str
    since: float
    next_state: str
    queue_names: list[str]
    is_desk_fresh: bool
    desk_why: str
    is_phone_reachable: bool


@dataclass(frozen=True, slots=True)
class RepairRow:
    """One line of what was corrected by itself."""

    at: float
    sentence: str
    agent_name: str
    interaction: str


async def _picture(ask: Ask) -> dict[str, Any]:
    floor = ask.services.floor
    configuration = await ask.services.configured.current(now=ask.now)
    names = configuration.names(floor.plan, ask.language)
    return {
        "pbx_status": floor.pbx_status,
        "full_disks": [disk for disk in ask.services.uploads.disks if disk.is_low],
        "queues": floor.queues(),
        "agents": [
            AgentRow(
                id=agent.id,
                name=agent.name,
                state=agent.state.value,
                reason_label=names.reason(agent.reason) if agent.reason else "",
                since=agent.since,
                next_state=agent.next_state.value if agent.next_state is not None else "",
                queue_names=[names.queue(queue) for queue in agent.queues],
                is_desk_fresh=agent.is_desk_fresh,
                desk_why=agent.desk_why,
                is_phone_reachable=agent.is_phone_reachable,
            )
            for agent in sorted(floor.agents(), key=lambda agent: (agent.state is AgentState.LOGGED_OUT, agent.name))
        ],
        "calls": [
            CallRow(
                id=call.id,
                caller=caller_of(call, configuration.rules, ask),
                phase=call.phase,
                phase_since=call.phase_since,
                queued_at=call.queued_at,
                queue_name=names.queue(call.queue) if call.queue is not None else "–",
                agent_name=names.agent(call.agent) if call.agent is not None else "–",
            )
            for call in sorted(floor.calls(), key=lambda call: (call.phase != "waiting", call.started_at, call.id))
        ],
        "repairs": [
            RepairRow(
                at=repair.at,
                sentence=repair_told(ask.language.gettext, repair.what, repair.detail),
                agent_name=names.agent(repair.agent) if repair.agent is not None else "–",
                interaction=repair.interaction or "",
            )
            for repair in floor.repairs()
        ],
    }
