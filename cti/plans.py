"""The plan from the database: what ``crm_core.centre`` stores, as the deciding core wants it."""

from __future__ import annotations

from collections.abc import Iterator

from crm_core import centre as stored
from crm_core.centre import Centre, intervals
from crm_core.errors import Fault
from cti.ids import AgentId, PbxId, QueueId
from cti.routing import menus
from cti.routing.expression import VARIABLES, WORDS, ExpressionError, parse
from cti.routing.plan import (
    AgentPlan,
    Calendar,
    CallbackPlan,
    Comfort,
    DnisRoute,
    Menu,
    Outside,
    Overflow,
    OverflowWhen,
    Phone,
    PhoneKind,
    Plan,
    Preferred,
    QueuePlan,
    RecordingPolicy,
    Selection,
    Step,
)


def plan_of(centre: Centre, *, has_real_phones: bool = True) -> Plan:
    """The active part of the configuration. On a simulated PBX no browser can ring, so every phone is a desk phone."""
    default = centre.default_queue
    return Plan(
        queues={QueueId(one.slug): _queue(one) for one in centre.queues if one.is_active},
        agents={
            AgentId(one.slug): _agent(one, has_real_phones=has_real_phones) for one in centre.agents if one.is_active
        },
        routes=tuple(
            DnisRoute(one.dnis, QueueId(one.queue), one.product, one.language, one.menu) for one in centre.routes
        ),
        default_queue=QueueId(default) if default is not None else None,
        jurisdictions={one.digits: RecordingPolicy(one.policy) for one in centre.jurisdictions},
        calendars={one.slug: _calendar(one) for one in centre.calendars},
        menus={one.slug: _menu(one) for one in centre.menus},
        tiers=dict(centre.site.tiers),
        most_occupied=centre.site.most_occupied,
        is_spying_shown=centre.site.is_spying_shown,
        outside=Outside(centre.site.outside_allowed, centre.site.outside_refused),
    )


def faults(centre: Centre) -> Iterator[Fault]:
    """What the store can't know to be wrong: expressions, skills that none can ask for, menus without an end."""
    for queue in centre.queues:
        for place, step in enumerate(queue.steps):
            try:
                parse(step.text)
            except ExpressionError as error:
                yield Fault("queue", queue.slug, f"steps.{place}.text", error.problem, error.position)
    for agent in centre.agents:
        for skill in agent.skills.keys() & (VARIABLES | WORDS):
            yield Fault("agent", agent.slug, f"skills.{skill}", "taken_by_the_language")
    for menu in menus.faults(plan_of(centre)):
        if menu.problem == "no_way_out":
            yield Fault("menu", menu.where.removeprefix("menu:"), menu.key, menu.problem)


def _queue(one: stored.Queue) -> QueuePlan:
    comfort, callback = one.comfort, one.callback
    return QueuePlan(
        id=QueueId(one.slug),
        name=one.name,
        ring_timeout_s=one.ring_timeout_s,
        wrap_up_s=one.wrap_up_s,
        service_level_s=one.service_level_s,
        short_abandon_s=one.short_abandon_s,
        priority=one.priority,
        recording=RecordingPolicy(one.recording),
        product=one.product,
        steps=tuple(Step(step.after_s, step.text) for step in one.steps),
        selection=Selection(one.selection),
        preferred=Preferred(one.preferred),
        preferred_patience_s=one.preferred_patience_s,
        parallel=one.parallel,
        ageing_s=one.ageing_s,
        service_level_target=one.service_level_target,
        breather_after_s=one.breather_after_s,
        breather_s=one.breather_s,
        calendar=one.calendar,
        closed_to=one.closed_to,
        overflows=tuple(Overflow(OverflowWhen(flow.when), flow.limit, flow.to) for flow in one.overflows),
        comfort=Comfort(
            greeting=comfort.greeting,
            music=comfort.music,
            message=comfort.message,
            every_s=comfort.every_s,
            says_position=comfort.says_position,
            says_wait=comfort.says_wait,
            callback_after_s=comfort.callback_after_s,
            voicemail_key=comfort.voicemail_key,
        ),
        callback=None
        if callback is None
        else CallbackPlan(
            calendar=callback.calendar,
            expires_s=callback.expires_s,
            trunk=callback.trunk,
            shown_number=callback.shown_number,
            ring_s=callback.ring_s,
            prefixes=callback.prefixes,
        ),
        emergency_message=one.emergency_message,
        hold_recall_s=one.hold_recall_s,
    )


def _agent(one: stored.Agent, *, has_real_phones: bool) -> AgentPlan:
    return AgentPlan(
        id=AgentId(one.slug),
        name=one.name,
        phone=Phone(PbxId(one.pbx), one.endpoint, PhoneKind(one.phone_kind) if has_real_phones else PhoneKind.DESK),
        skills=dict(one.skills),
        queues=tuple(QueueId(queue) for queue in one.queues),
        may_see_numbers=one.may_see_numbers,
        team=one.team,
        language=one.language,
    )


def _calendar(one: stored.Calendar) -> Calendar:
    return Calendar(
        id=one.slug,
        name=one.name,
        zone=one.zone,
        weekly=tuple(intervals(hours) for hours in one.weekly),
        days={day: intervals(hours) for day, hours in one.days.items()},
    )


def _menu(one: stored.Menu) -> Menu:
    return Menu(
        id=one.slug,
        name=one.name,
        prompt=one.prompt,
        options=dict(one.options),
        otherwise=one.otherwise,
        timeout_s=one.timeout_s,
        tries=one.tries,
        account_digits=one.account_digits,
        has_check_digit=one.has_check_digit,
    )
