"""What is changed in a recorded day: from a file to another scenario."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated

from pydantic import Field

from cti.errors import BadInput
from cti.ids import AgentId, QueueId
from cti.routing import hours
from cti.routing.plan import AgentPlan, Phone, PhoneKind, Plan, QueuePlan
from cti.whatif.described import check_destinations
from cti.whatif.recorded import RecordedDay, RecordedDemand
from cti.whatif.scenario import PBX, Deed, DeskDeed, Scenario
from cti.whatif.words import (
    DAY_MINUTES,
    AgentWords,
    CalendarWords,
    GroupWords,
    QueueWords,
    Slug,
    Words,
    shift_moments,
)

Factor = Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]


class AddedWords(GroupWords):
    """Agents who were not there. ``like``: an agent whose queues, skills and hours they have, as far as nothing else is
    said."""

    name: Annotated[Slug, Field(max_length=30)] = "added"
    like: Slug | None = None


class ChangeWords(Words):
    """The file. ``calls`` and ``talk`` are factors: 1.1 is ten per cent more."""

    name: str = "changed"
    calls: Factor = 1.0
    talk: Factor = 1.0
    most_occupied: Annotated[float, Field(gt=0, le=1)] | None = None
    tiers: Mapping[str, int] | None = None
    remove: tuple[Slug, ...] = ()
    add: tuple[AddedWords, ...] = ()
    agents: Mapping[Slug, AgentWords] = {}
    queues: Mapping[Slug, QueueWords] = {}
    calendars: Mapping[Slug, CalendarWords] = {}


def changed(day: RecordedDay, scenario: Scenario, words: ChangeWords) -> Scenario:
    """The unchanged ``scenario`` of ``day`` with what ``words`` says. Raises ``BadInput`` naming the field."""
    plan = plan_with(scenario.plan, words, scenario.zone)
    desks = [deed for deed in scenario.desks if deed.agent in plan.agents]
    for id_, one in words.agents.items():
        if one.shifts is not None:
            desks = [deed for deed in desks if deed.agent != id_]
            desks += _shifts(AgentId(id_), one, day, scenario)
    for group in words.add:
        for agent in group.ids():
            if group.shifts is None and group.like is not None:
                desks += [replace(deed, agent=agent) for deed in scenario.desks if deed.agent == group.like]
            else:
                desks += _shifts(agent, group, day, scenario)
    return replace(
        scenario,
        name=words.name,
        plan=plan,
        desks=desks,
        demand=RecordedDemand(tuple(day.calls), words.calls, words.talk),
        changes=[(at, plan_with(later, words, scenario.zone)) for at, later in scenario.changes],
    )


def plan_with(plan: Plan, words: ChangeWords, zone: str) -> Plan:
    """A plan with what is changed. Raises ``BadInput`` naming the field."""
    calendars = dict(plan.calendars)
    calendars |= {id_: one.calendar(id_, zone) for id_, one in words.calendars.items()}
    queues = dict(plan.queues)
    for id_, one in words.queues.items():
        if id_ not in queues:
            raise BadInput(f"queues.{id_}", "no such queue")
        check_destinations(id_, one, queues)
        if one.calendar and one.calendar not in calendars:
            raise BadInput(f"queues.{id_}.calendar", f"no calendar {one.calendar}")
        queues[QueueId(id_)] = one.applied_to(queues[QueueId(id_)])
    return replace(
        plan,
        queues=queues,
        agents=_agents(plan, words, queues),
        calendars=calendars,
        most_occupied=plan.most_occupied if words.most_occupied is None else words.most_occupied,
        tiers=plan.tiers if words.tiers is None else dict(words.tiers),
    )


def _agents(plan: Plan, words: ChangeWords, queues: Mapping[QueueId, QueuePlan]) -> dict[AgentId, AgentPlan]:
    agents = dict(plan.agents)
    for number, gone in enumerate(words.remove):
        if agents.pop(AgentId(gone), None) is None:
            raise BadInput(f"remove.{number}", f"no agent {gone}")
    for id_, one in words.agents.items():
        if id_ not in agents:
            raise BadInput(f"agents.{id_}", "no such agent")
        _check_queues(f"agents.{id_}", one, queues)
        agents[AgentId(id_)] = one.applied_to(agents[AgentId(id_)])
    for number, group in enumerate(words.add):
        _check_queues(f"add.{number}", group, queues)
        like = plan.agents.get(AgentId(group.like)) if group.like is not None else None
        if group.like is not None and like is None:
            raise BadInput(f"add.{number}.like", f"no agent {group.like}")
        for agent in group.ids():
            if agent in agents:
                raise BadInput(f"add.{number}.name", f"there is an agent {agent}")
            phone = Phone(PBX, agent, PhoneKind.DESK)
            copied = AgentPlan(agent, agent, phone, queues=tuple(queues))
            if like is not None:
                copied = replace(like, id=agent, name=agent, phone=phone)
            agents[agent] = group.applied_to(copied)
    return agents


def _check_queues(place: str, words: AgentWords, queues: Mapping[QueueId, QueuePlan]) -> None:
    for name in words.queues or ():
        if name not in queues:
            raise BadInput(f"{place}.queues", f"no queue {name}")


def _shifts(agent: AgentId, words: AgentWords, day: RecordedDay, scenario: Scenario) -> Sequence[DeskDeed]:
    """At the desk in these stretches of the day; none: as long as there was anybody."""
    if words.shifts is None:
        return [DeskDeed(scenario.starts_at, agent, Deed.LOG_IN)]
    midnight = datetime.datetime.combine(day.date, datetime.time(), hours.zone_of(day.zone))
    moments = shift_moments(words.shifts, 0, DAY_MINUTES)
    deeds = [
        DeskDeed((midnight + datetime.timedelta(minutes=at)).timestamp(), agent, Deed.LOG_IN if comes else Deed.LOG_OUT)
        for at, comes in moments
    ]
    return [replace(deed, at=max(deed.at, scenario.starts_at)) for deed in deeds if deed.at < scenario.ends_at]
