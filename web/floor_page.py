"""The floor: agents, queues and calls as they are now, and why a caller waits.

A caller's number and name are shown only to a role that may read them; to others a call is known by its handle.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from cti.events import AgentState
from cti.ids import InteractionId
from web.configured import label_in
from web.interactions import decision_of
from web.rights import Right
from web.schemas import FloorAgent, FloorAnswer, FloorCall, FloorCallback, FloorListener, FloorQueue
from web.sentences import counted, repair_told, required_told, word

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aiohttp import web

    from crm_core.access import FieldRules, Reader
    from cti.floor import AgentView, CallView, ListenerView, Waiting
    from web.asking import Ask
    from web.configured import Configuration
    from web.sentences import Names

N = TypeVar("N", int, float)

TALKING = frozenset({"talking", "held", "consulting"})
EXPLAINED = 8
"""So many callers, first served first, come with a sentence why they wait: each costs a look at every agent."""


async def show(ask: Ask) -> web.StreamResponse:
    """The page."""
    configuration = await ask.services.configured.current(now=ask.now)
    tag = ask.language.tag
    return await ask.page(
        "floor.html",
        **await _picture(ask),
        messages=ask.language.js_messages(),
        reasons=[
            {"code": reason.code, "label": label_in(reason.labels, tag, reason.code)}
            for reason in configuration.reasons
            if reason.is_active
        ],
        may_steer=Right.FLOOR_STEER in ask.user.rights,
        has_phone=ask.user.agent is not None and ask.user.agent in ask.services.floor.plan.agents,
    )


async def live(ask: Ask) -> web.StreamResponse:
    """The part of the page that is asked for every two seconds."""
    return await ask.page("floor_live.html", **await _picture(ask))


async def picture(ask: Ask) -> FloorAnswer:
    """The live picture as JSON."""
    floor = ask.services.floor
    rules = (await ask.services.configured.current(now=ask.now)).rules
    waiting, listeners = floor.waiting(), _by_call(floor.listeners())
    return FloorAnswer(
        now=ask.now,
        agents=[
            FloorAgent(
                **fields_of_state(agent),
                is_desk_fresh=agent.is_desk_fresh,
                desk_why=agent.desk_why,
                is_phone_reachable=agent.is_phone_reachable,
                queues=list(agent.queues),
                team=agent.team,
                set_by=agent.set_by,
                calls_taken=agent.calls_taken,
                occupancy=agent.occupancy,
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
                listeners=[
                    FloorListener(listener=one.listener, agent=one.agent, mode=one.mode, since=one.since)
                    for one in listeners.get(call.id, ())
                ],
                **(_place_of(waiting.get(call.id)) | _readable(call.ani, call.ani_name, rules, ask.reader)),
            )
            for call in floor.calls()
        ],
        callbacks=[
            FloorCallback(
                id=one.id,
                interaction=one.interaction,
                queue=one.queue,
                queued_at=one.queued_at,
                expires_at=one.expires_at,
                is_dialled=one.is_dialled,
                **_readable(one.number, "", rules, ask.reader),
            )
            for one in floor.callbacks()
        ],
        counted_since=floor.counted_since,
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
    seen = _readable(call.ani, call.ani_name, rules, ask.reader)
    return seen.get("number") or seen.get("name") or call.id


def _readable(number: str, name: str, rules: FieldRules, reader: Reader) -> dict[str, str]:
    seen = rules.visible(reader, "interaction", {"ani_raw": number, "ani_name": name})
    shown = {"number": seen.get("ani_raw"), "name": seen.get("ani_name")}
    return {field: value for field, value in shown.items() if value}


def _place_of(waiting: Waiting | None) -> dict[str, Any]:
    return asdict(waiting) if waiting is not None else {}


def _by_call(listeners: Sequence[ListenerView]) -> dict[str, list[ListenerView]]:
    found: dict[str, list[ListenerView]] = {}
    for one in listeners:
        found.setdefault(one.interaction, []).append(one)
    return found


@dataclass(frozen=True, slots=True)
class WaitingRow:
    """One line of the table of those who wait. ``why``: in one sentence, empty for those far back in the line."""

    id: str
    caller: str
    phase: str
    since: float
    queue_name: str
    position: int | None
    expected_s: float | None
    at_most_s: float | None
    required: str
    next_at: float | None
    required_next: str
    why: str


@dataclass(frozen=True, slots=True)
class CallRow:
    """One line of the table of talks."""

    id: str
    caller: str
    phase: str
    phase_since: float
    queue_name: str
    agent: str
    agent_name: str
    listeners: list[str]


@dataclass(frozen=True, slots=True)
class CallbackRow:
    """One line of the table of places kept."""

    caller: str
    interaction: str
    queue_name: str
    queued_at: float
    expires_at: float
    is_dialled: bool


@dataclass(frozen=True, slots=True)
class AgentRow:
    """One line of the table of agents. ``interaction``: the talk that can be listened to, empty: none; ``mode``: how
    the person who looks listens to it, empty: not. ``calls_share``: of the most that anybody of the team took, 0–1."""

    id: str
    name: str
    state: str
    reason_label: str
    set_by: str
    since: float
    next_state: str
    next_reason: str
    queue_names: list[str]
    is_desk_fresh: bool
    desk_why: str
    is_phone_reachable: bool
    interaction: str
    caller: str
    mode: str
    listeners: list[str]
    calls_taken: int
    calls_share: float
    occupancy: float | None


@dataclass(frozen=True, slots=True)
class TeamPart:
    """A team's agents, and how evenly work is spread among those who were at work today: least, mean and most."""

    name: str
    agents: list[AgentRow]
    calls: tuple[int, float, int] | None
    occupancy: tuple[float, float, float] | None


@dataclass(frozen=True, slots=True)
class RepairRow:
    """One line of what was corrected by itself."""

    at: float
    sentence: str
    agent_name: str
    interaction: str


async def _picture(ask: Ask) -> dict[str, Any]:
    floor, _ = ask.services.floor, ask.language.gettext
    configuration = await ask.services.configured.current(now=ask.now)
    names = configuration.names(floor.plan, ask.language)
    calls, waiting, listeners = floor.calls(), floor.waiting(), _by_call(floor.listeners())
    callers = {call.id: caller_of(call, configuration.rules, ask) for call in calls}
    talks = {call.agent: call.id for call in calls if call.phase in TALKING and call.agent is not None}
    # Whoever comes next is explained at once; for those behind, a click asks.
    explained = set(list(waiting)[:EXPLAINED])

    def waiting_row(call: CallView) -> WaitingRow:
        place = waiting.get(call.id)
        reasons = floor.reasons(call.id) if call.id in explained else ()
        return WaitingRow(
            id=call.id,
            caller=callers[call.id],
            phase=call.phase,
            since=call.queued_at if call.queued_at is not None else call.phase_since,
            queue_name=names.queue(call.queue) if call.queue is not None else "–",
            position=place.position if place is not None else None,
            expected_s=place.expected_s if place is not None else None,
            at_most_s=place.at_most_s if place is not None else None,
            required=required_told(_, place.required) if place is not None else "",
            next_at=place.next_at if place is not None else None,
            required_next=required_told(_, place.required_next) if place is not None else "",
            why=counted(_, decision_of(reasons[-1]), names) if reasons else "",
        )

    def agent_row(agent: AgentView, most_calls: int) -> AgentRow:
        interaction = talks.get(agent.id, "")
        heard_by = [one for one in listeners.get(interaction, ()) if one.agent == agent.id]
        return AgentRow(
            id=agent.id,
            name=agent.name,
            state=agent.state.value,
            reason_label=names.reason(agent.reason) if agent.reason else "",
            set_by=_set_by(ask, agent, configuration),
            since=agent.since,
            next_state=agent.next_state.value if agent.next_state is not None else "",
            next_reason=names.reason(agent.next_reason) if agent.next_state is not None and agent.next_reason else "",
            queue_names=[names.queue(queue) for queue in agent.queues],
            is_desk_fresh=agent.is_desk_fresh,
            desk_why=agent.desk_why,
            is_phone_reachable=agent.is_phone_reachable,
            interaction=interaction,
            caller=callers.get(InteractionId(interaction), ""),
            mode=next((one.mode for one in heard_by if one.listener == ask.user.agent), ""),
            listeners=[_listener(ask, one, names) for one in heard_by],
            calls_taken=agent.calls_taken,
            calls_share=agent.calls_taken / most_calls if most_calls else 0.0,
            occupancy=agent.occupancy,
        )

    teams: dict[str, list[AgentView]] = {}
    for agent in sorted(floor.agents(), key=lambda agent: (agent.state is AgentState.LOGGED_OUT, agent.name)):
        teams.setdefault(agent.team, []).append(agent)
    return {
        "pbx_status": floor.pbx_status,
        "full_disks": [disk for disk in ask.services.uploads.disks if disk.is_low],
        "queues": floor.queues(),
        "waiting": [
            waiting_row(call)
            for call in sorted(calls, key=lambda call: (_rank(waiting, call), call.started_at, call.id))
            if call.phase not in TALKING
        ],
        "calls": [
            CallRow(
                id=call.id,
                caller=callers[call.id],
                phase=call.phase,
                phase_since=call.phase_since,
                queue_name=names.queue(call.queue) if call.queue is not None else "–",
                agent=call.agent or "",
                agent_name=names.agent(call.agent) if call.agent is not None else "–",
                listeners=[_listener(ask, one, names) for one in listeners.get(call.id, ())],
            )
            for call in sorted(calls, key=lambda call: (call.started_at, call.id))
            if call.phase in TALKING
        ],
        "callbacks": [
            CallbackRow(
                caller=_readable(one.number, "", configuration.rules, ask.reader).get("number", one.interaction),
                interaction=one.interaction,
                queue_name=names.queue(one.queue),
                queued_at=one.queued_at,
                expires_at=one.expires_at,
                is_dialled=one.is_dialled,
            )
            for one in floor.callbacks()
        ],
        "teams": [
            TeamPart(
                name=team,
                agents=[agent_row(agent, max(one.calls_taken for one in agents)) for agent in agents],
                calls=_spread([agent.calls_taken for agent in agents if agent.occupancy is not None]),
                occupancy=_spread([agent.occupancy for agent in agents if agent.occupancy is not None]),
            )
            for team, agents in sorted(teams.items(), key=lambda item: (item[0] == "", item[0]))
        ],
        "counted_since": floor.counted_since,
        "repairs": [
            RepairRow(
                at=repair.at,
                sentence=repair_told(_, repair.what, repair.detail),
                agent_name=names.agent(repair.agent) if repair.agent is not None else "–",
                interaction=repair.interaction or "",
            )
            for repair in floor.repairs()
        ],
    }


def _rank(waiting: Mapping[InteractionId, Waiting], call: CallView) -> int:
    """First those whose phone rings or who just came, then those who wait, in the order of their places."""
    place = waiting.get(call.id)
    return place.position if place is not None else 0


def _spread(values: Sequence[N]) -> tuple[N, float, N] | None:
    """Least, mean and most; None for fewer than two: nothing is spread among one."""
    return (min(values), sum(values) / len(values), max(values)) if len(values) > 1 else None


def _set_by(ask: Ask, agent: AgentView, configuration: Configuration) -> str:
    """Who set the state, where that is news: the person at the desk is not."""
    name, seat = configuration.seats.get(agent.set_by, (agent.set_by, None))
    if agent.set_by in {"", "agent"} or seat == agent.id:
        return ""
    if agent.state not in {AgentState.NOT_READY, AgentState.AVAILABLE, AgentState.LOGGED_OUT}:
        return ""
    _ = ask.language.gettext
    if agent.set_by != "system":
        return _("set by {name}").format(name=name)
    # To be free again after a call is the way of things.
    return "" if agent.state is AgentState.AVAILABLE else _("set by itself")


def _listener(ask: Ask, one: ListenerView, names: Names) -> str:
    return f"{names.agent(one.listener)} {word(ask.language.gettext, 'spy', one.mode)}"
