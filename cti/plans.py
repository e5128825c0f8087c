"""The plan from the database: what ``crm_core.centre`` stores, as the deciding core wants it."""

from __future__ import annotations

from crm_core.centre import Centre
from cti.ids import AgentId, PbxId, QueueId
from cti.routing.plan import AgentPlan, DnisRoute, Phone, PhoneKind, Plan, QueuePlan, RecordingPolicy


def plan_of(centre: Centre, *, has_real_phones: bool = True) -> Plan:
    """The active part of the configuration. On a simulated PBX no browser can ring, so every phone is a desk phone."""
    queues = {
        QueueId(one.slug): QueuePlan(
            id=QueueId(one.slug),
            name=one.name,
            required=dict(one.required),
            ring_timeout_s=one.ring_timeout_s,
            wrap_up_s=one.wrap_up_s,
            service_level_s=one.service_level_s,
            short_abandon_s=one.short_abandon_s,
            priority=one.priority,
            recording=RecordingPolicy(one.recording),
            product=one.product,
        )
        for one in centre.queues
        if one.is_active
    }
    agents = {
        AgentId(one.slug): AgentPlan(
            id=AgentId(one.slug),
            name=one.name,
            phone=Phone(PbxId(one.pbx), one.endpoint, PhoneKind(one.phone_kind) if has_real_phones else PhoneKind.DESK),
            skills=dict(one.skills),
            queues=tuple(QueueId(queue) for queue in one.queues),
            may_see_numbers=one.may_see_numbers,
        )
        for one in centre.agents
        if one.is_active
    }
    routes = tuple(DnisRoute(one.dnis, QueueId(one.queue), one.product, one.language) for one in centre.routes)
    default = centre.default_queue
    return Plan(
        queues,
        agents,
        routes,
        QueueId(default) if default is not None else None,
        {one.digits: RecordingPolicy(one.policy) for one in centre.jurisdictions},
    )
