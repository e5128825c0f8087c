"""The agent's desk: the page, and what its scripts ask for. The floor decides what may be done now."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from aiohttp import web

from cti.events import AgentState
from cti.routing.plan import PhoneKind
from web import phone_pass, schemas
from web.configured import label_in
from web.floor_page import fields_of_state
from web.ice import servers_for
from web.route import JSON
from web.schemas import Accepted, Desk, Phone, Targets

if TYPE_CHECKING:
    from cti.ids import AgentId
    from web.asking import Ask


async def show(ask: Ask) -> web.StreamResponse:
    """The page that stays open for the whole shift. Opening it logs the agent in on the floor."""
    _take_seat(ask)
    desk = await _desk(ask)
    answer = await ask.page("desk.html", desk=desk.model_dump(), messages=ask.language.js_messages())
    phone_pass.give(ask, answer)
    return answer


async def setup(ask: Ask) -> Desk:
    """All that the page needs to begin; asked for by an open desk, which is thus logged in on the floor."""
    _take_seat(ask)
    return await _desk(ask)


async def renew_phone(ask: Ask) -> web.StreamResponse:
    """The phone's way in, for some hours more: the gate's pass, and what its media may use. Asked for by an open desk
    now and then; changes nothing on the floor."""
    servers = servers_for(ask.services.settings.ice_servers, ask.agent, now=ask.now)
    told = schemas.PhoneWay(now=ask.now, ice_servers=servers)
    answer = web.Response(body=told.model_dump_json().encode(), content_type=JSON)
    phone_pass.give(ask, answer)
    return answer


async def set_state(ask: Ask, *, body: schemas.StateBody) -> Accepted:
    """Ask to be available or not ready."""
    ask.services.floor.set_state(ask.agent, body.state, body.reason, by=ask.user.username)
    return Accepted(now=ask.now)


async def finish_wrap_up(ask: Ask) -> Accepted:
    """The after-call work is done."""
    ask.services.floor.finish_wrap_up(ask.agent)
    return Accepted(now=ask.now)


async def targets(ask: Ask) -> Targets:
    """Where the caller may be sent: other agents, queues and skills, as they are now."""
    floor = ask.services.floor
    held = Counter(skill for plan in floor.plan.agents.values() for skill in plan.skills)
    free = Counter(
        skill for agent in floor.agents() if agent.state is AgentState.AVAILABLE for skill, _level in agent.skills
    )
    return Targets(
        agents=[
            schemas.AgentTarget(
                id=agent.id,
                name=agent.name,
                state=agent.state.value,
                reason=agent.reason,
                since=agent.since,
                queues=list(agent.queues),
                is_reachable=agent.is_phone_reachable and agent.is_desk_fresh,
            )
            for agent in floor.agents()
            if agent.id != ask.agent
        ],
        queues=[
            schemas.QueueTarget(
                id=queue.id, name=queue.name, waiting=queue.waiting, agents_available=queue.agents_available
            )
            for queue in floor.queues()
        ],
        skills=[schemas.SkillTarget(id=skill, agents_available=free[skill]) for skill in sorted(held)],
        may_leave=bool(floor.plan.outside.allowed),
    )


async def save_note(ask: Ask, *, body: schemas.NoteBody) -> Accepted:
    """The note as it stands now."""
    ask.services.floor.save_note(ask.agent, ask.interaction, body.text)
    return Accepted(now=ask.now)


async def set_disposition(ask: Ask, *, body: schemas.DispositionBody) -> Accepted:
    """What came of the contact."""
    ask.services.floor.set_disposition(ask.agent, ask.interaction, body.code)
    return Accepted(now=ask.now)


async def choose_customer(ask: Ask, *, body: schemas.CustomerBody) -> Accepted:
    """Whose contact it is."""
    ask.services.floor.choose_customer(ask.agent, ask.interaction, body.party)
    ask.note("customer_chosen", "interaction", ask.interaction, party=body.party)
    return Accepted(now=ask.now)


async def hang_up(ask: Ask) -> Accepted:
    """End the agent's talk."""
    ask.services.floor.hang_up(ask.agent, ask.interaction)
    return Accepted(now=ask.now)


async def pause_recording(ask: Ask, *, body: schemas.RecordingBody) -> Accepted:
    """Write silence into the recording, or sound again."""
    ask.services.floor.pause_recording(ask.agent, ask.interaction, is_paused=body.is_paused)
    ask.note("recording_paused" if body.is_paused else "recording_resumed", "interaction", ask.interaction)
    return Accepted(now=ask.now)


async def object_to_recording(ask: Ask) -> Accepted:
    """The caller does not want to be recorded."""
    ask.services.floor.object_to_recording(ask.agent, ask.interaction)
    ask.note("recording_objected", "interaction", ask.interaction)
    return Accepted(now=ask.now)


async def transfer(ask: Ask, *, body: schemas.TransferBody) -> Accepted:
    """Send the caller on, now or after a word with the target."""
    ask.services.floor.transfer(ask.agent, ask.interaction, body.target, is_attended=body.is_attended)
    ask.note("transfer", "interaction", ask.interaction, target=body.target, attended=body.is_attended)
    return Accepted(now=ask.now)


async def complete_transfer(ask: Ask) -> Accepted:
    """Join caller and target."""
    ask.services.floor.complete_transfer(ask.agent, ask.interaction)
    ask.note("transfer_completed", "interaction", ask.interaction)
    return Accepted(now=ask.now)


async def cancel_transfer(ask: Ask) -> Accepted:
    """Back to the caller."""
    ask.services.floor.cancel_transfer(ask.agent, ask.interaction)
    ask.note("transfer_cancelled", "interaction", ask.interaction)
    return Accepted(now=ask.now)


async def confer(ask: Ask) -> Accepted:
    """All three speak together."""
    ask.services.floor.confer(ask.agent, ask.interaction)
    ask.note("conference", "interaction", ask.interaction)
    return Accepted(now=ask.now)


async def read_message(ask: Ask) -> Accepted:
    """A supervisor's message need not be shown again."""
    ask.services.floor.read_message(ask.agent, ask.request.match_info["message"])
    return Accepted(now=ask.now)


def _take_seat(ask: Ask) -> None:
    floor = ask.services.floor
    if floor.agent(ask.agent).state is AgentState.LOGGED_OUT:
        floor.log_in(ask.agent)


async def _desk(ask: Ask) -> Desk:
    floor, settings = ask.services.floor, ask.services.settings
    configuration = await ask.services.configured.current(now=ask.now)
    tag = ask.language.tag
    return Desk(
        agent=schemas.AgentState(**fields_of_state(floor.agent(ask.agent))),
        phone=await _phone(ask, ask.agent),
        reasons=[
            schemas.ReasonChoice(code=reason.code, label=label_in(reason.labels, tag, reason.code))
            for reason in configuration.reasons
            if reason.is_active
        ],
        dispositions=[
            schemas.DispositionChoice(
                code=one.code, label=label_in(one.labels, tag, one.code), key=one.key, queue=one.queue
            )
            for one in configuration.dispositions
            if one.is_active
        ],
        queues=[schemas.QueueChoice(id=queue.id, name=queue.name) for queue in floor.plan.queues.values()],
        language=tag,
        socket_url=settings.desk_socket_url,
        csrf=ask.user.csrf,
    )


async def _phone(ask: Ask, agent: AgentId) -> Phone:
    settings = ask.services.settings
    plan = ask.services.floor.plan.agents[agent]
    is_browser = plan.phone.kind is PhoneKind.BROWSER
    credentials = await settings.phone_account(agent, ask.user.id) if is_browser else None
    ws_url = settings.sip_ws_urls.get(plan.phone.pbx)
    if credentials is None or ws_url is None:
        return Phone(kind="desk", ws_url="", uri="", username="", password="", display_name=plan.name, ice_servers=[])
    return Phone(
        kind="browser",
        ws_url=ws_url,
        uri=credentials.uri,
        username=credentials.username,
        password=credentials.password,
        display_name=plan.name,
        ice_servers=servers_for(settings.ice_servers, agent, now=ask.now),
    )
