"""The configured call centre: queues, agents, numbers, reasons, dispositions, products.

Read whole, changed piece by piece. What is stored is checked here, by field, whoever sends it.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, Table, delete, insert, select, update

from crm_core import fields
from crm_core.dialects import is_sqlite, upsert
from crm_core.errors import BadInput, Missing
from crm_core.schema import (
    agent,
    agent_skill,
    disposition,
    dnis_route,
    field_rule,
    jurisdiction,
    product,
    queue,
    queue_agent,
    queue_skill,
    reason,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

DNIS = re.compile(r"\+?[0-9]{1,19}")
JURISDICTION = re.compile(r"[0-9]{1,10}|unknown")
RECORDING_POLICIES = ("off", "announced", "consent")
FIELD = re.compile(r"[a-z][a-z0-9_]{0,39}(\.[a-z0-9][a-z0-9._-]{0,39})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A queue. ``required``: skill → least proficiency 1–10; times in seconds; ``is_default``: for all else;
    ``recording``: one of ``RECORDING_POLICIES``; ``keeps_objected``: what was recorded until the caller objected."""

    slug: str
    name: str
    required: Mapping[str, int] = field(default_factory=dict)
    ring_timeout_s: int = 20
    wrap_up_s: int = 30
    service_level_s: int = 20
    short_abandon_s: int = 5
    priority: int = 0
    recording: str = "announced"
    keeps_objected: bool = False
    product: str = ""
    is_default: bool = False
    is_active: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """An agent and the phone. ``phone_kind``: ``browser`` or ``desk``; ``skills``: skill → proficiency 1–10."""

    slug: str
    name: str
    pbx: str
    endpoint: str
    phone_kind: str
    skills: Mapping[str, int] = field(default_factory=dict)
    queues: tuple[str, ...] = ()
    may_see_numbers: bool = True
    is_active: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A dialled number and the queue behind it. ``dnis``: digits, and a ``+`` in front if it has one."""

    dnis: str
    queue: str
    product: str = ""
    language: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Jurisdiction:
    """What the law asks for when callers of a country or region are recorded. ``digits``: how their numbers begin,
    without ``+``; ``unknown`` for callers without a number. ``citation``: which law says so."""

    digits: str
    policy: str
    citation: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why an agent is not ready. ``labels``: by language tag."""

    code: str
    labels: Mapping[str, str]
    position: int = 0
    is_active: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Disposition:
    """What can come of an interaction. ``queue`` None: of every queue; ``key``: the key that chooses it."""

    code: str
    labels: Mapping[str, str]
    queue: str | None = None
    key: str = ""
    position: int = 0
    is_active: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A product as a reference record. ``names`` and ``summaries``: by language tag, beside the plain ones."""

    code: str
    name: str
    summary: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    summaries: Mapping[str, str] = field(default_factory=dict)
    is_active: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldRule:
    """What a role may not do with a field. ``access``: ``none``, ``mask``, ``read``."""

    role: str
    object: str
    field: str
    access: str


@dataclass(frozen=True, slots=True)
class Centre:
    """The whole configuration, with what is not active (``is_active``)."""

    queues: tuple[Queue, ...]
    agents: tuple[Agent, ...]
    routes: tuple[Route, ...]
    reasons: tuple[Reason, ...]
    dispositions: tuple[Disposition, ...]
    products: tuple[Product, ...]
    jurisdictions: tuple[Jurisdiction, ...] = ()

    @property
    def default_queue(self) -> str | None:
        """The queue for numbers without a route."""
        return next((one.slug for one in self.queues if one.is_default and one.is_active), None)


async def load_centre(connection: AsyncConnection) -> Centre:
    """The whole configuration as stored now."""

    async def rows(table: Table, *order: str) -> list[dict[str, Any]]:
        statement: Select[Any] = select(table).order_by(*(table.c[name] for name in order))
        return [dict(row) for row in (await connection.execute(statement)).mappings()]

    def grouped(pairs: list[dict[str, Any]], key: str) -> dict[str, list[dict[str, Any]]]:
        groups: dict[str, list[dict[str, Any]]] = {}
        for pair in pairs:
            groups.setdefault(pair[key], []).append(pair)
        return groups

    required = grouped(await rows(queue_skill, "queue", "skill"), "queue")
    skills = grouped(await rows(agent_skill, "agent", "skill"), "agent")
    served = grouped(await rows(queue_agent, "agent", "queue"), "agent")
    return Centre(
        queues=tuple(
            Queue(**row, required={one["skill"]: one["proficiency"] for one in required.get(row["slug"], [])})
            for row in await rows(queue, "slug")
        ),
        agents=tuple(
            Agent(
                **row,
                skills={one["skill"]: one["proficiency"] for one in skills.get(row["slug"], [])},
                queues=tuple(one["queue"] for one in served.get(row["slug"], [])),
            )
            for row in await rows(agent, "slug")
        ),
        routes=tuple(Route(**row) for row in await rows(dnis_route, "dnis")),
        reasons=tuple(Reason(**row) for row in await rows(reason, "position", "code")),
        dispositions=tuple(Disposition(**row) for row in await rows(disposition, "position", "code")),
        products=tuple(Product(**row) for row in await rows(product, "code")),
        jurisdictions=tuple(Jurisdiction(**row) for row in await rows(jurisdiction, "digits")),
    )


async def _put(connection: AsyncConnection, table: Table, keys: Sequence[str], row: dict[str, Any]) -> None:
    changed = {name: value for name, value in row.items() if name not in keys}
    await connection.execute(
        upsert(table, is_sqlite=is_sqlite(connection))
        .values(**row)
        .on_conflict_do_update(index_elements=list(keys), set_=changed)
    )


async def _require(connection: AsyncConnection, table: Table, key: str, value: str, where: str) -> None:
    if await connection.scalar(select(table.c[key]).where(table.c[key] == value)) is None:
        raise BadInput(where, "unknown")


def _skills(where: str, skills: Mapping[str, int]) -> list[tuple[str, int]]:
    return [
        (fields.slug(f"{where}.{skill}", skill), fields.number(f"{where}.{skill}", level, least=1, most=10))
        for skill, level in sorted(skills.items())
    ]


async def put_product(connection: AsyncConnection, one: Product) -> None:
    """Store a product, new or changed."""
    row = {
        "code": fields.slug("code", one.code),
        "name": fields.text("name", one.name, longest=200, is_required=True),
        "summary": fields.text("summary", one.summary, longest=2_000, has_lines=True),
        "names": fields.labels("names", one.names, is_required=False),
        "summaries": {
            fields.matching("summaries.language", tag, fields.LANGUAGE): fields.text(
                f"summaries.{tag}", value, longest=2_000, has_lines=True
            )
            for tag, value in one.summaries.items()
        },
        "is_active": fields.flag("is_active", one.is_active),
    }
    await _put(connection, product, ["code"], row)


async def put_queue(connection: AsyncConnection, one: Queue) -> None:
    """Store a queue with its required skills, new or changed. A new default queue replaces the old one."""
    row = {
        "slug": fields.slug("slug", one.slug),
        "name": fields.text("name", one.name, longest=100, is_required=True),
        "ring_timeout_s": fields.number("ring_timeout_s", one.ring_timeout_s, least=5, most=120),
        "wrap_up_s": fields.number("wrap_up_s", one.wrap_up_s, least=0, most=3_600),
        "service_level_s": fields.number("service_level_s", one.service_level_s, least=1, most=3_600),
        "short_abandon_s": fields.number("short_abandon_s", one.short_abandon_s, least=0, most=600),
        "priority": fields.number("priority", one.priority, least=-100, most=100),
        "recording": fields.choice("recording", one.recording, RECORDING_POLICIES),
        "keeps_objected": fields.flag("keeps_objected", one.keeps_objected),
        "product": fields.slug("product", one.product, may_be_empty=True),
        "is_default": fields.flag("is_default", one.is_default),
        "is_active": fields.flag("is_active", one.is_active),
    }
    required = _skills("required", one.required)
    if one.product:
        await _require(connection, product, "code", one.product, "product")
    if one.is_default:
        await connection.execute(update(queue).where(queue.c.slug != one.slug).values(is_default=False))
    await _put(connection, queue, ["slug"], row)
    await connection.execute(delete(queue_skill).where(queue_skill.c.queue == one.slug))
    if required:
        await connection.execute(
            insert(queue_skill),
            [{"queue": one.slug, "skill": skill, "proficiency": level} for skill, level in required],
        )


async def put_agent(connection: AsyncConnection, one: Agent) -> None:
    """Store an agent with skills and queues, new or changed."""
    row = {
        "slug": fields.slug("slug", one.slug),
        "name": fields.text("name", one.name, longest=100, is_required=True),
        "pbx": fields.slug("pbx", one.pbx),
        "endpoint": fields.slug("endpoint", one.endpoint),
        "phone_kind": fields.choice("phone_kind", one.phone_kind, ("browser", "desk")),
        "may_see_numbers": fields.flag("may_see_numbers", one.may_see_numbers),
        "is_active": fields.flag("is_active", one.is_active),
    }
    skills = _skills("skills", one.skills)
    for served in one.queues:
        await _require(connection, queue, "slug", fields.slug("queues", served), "queues")
    owner = await connection.scalar(
        select(agent.c.slug).where(agent.c.pbx == one.pbx, agent.c.endpoint == one.endpoint)
    )
    if owner is not None and owner != one.slug:
        raise BadInput("endpoint", "taken")
    await _put(connection, agent, ["slug"], row)
    await connection.execute(delete(agent_skill).where(agent_skill.c.agent == one.slug))
    await connection.execute(delete(queue_agent).where(queue_agent.c.agent == one.slug))
    if skills:
        await connection.execute(
            insert(agent_skill),
            [{"agent": one.slug, "skill": skill, "proficiency": level} for skill, level in skills],
        )
    if one.queues:
        await connection.execute(
            insert(queue_agent), [{"queue": served, "agent": one.slug} for served in sorted(set(one.queues))]
        )


async def put_route(connection: AsyncConnection, one: Route) -> None:
    """Store the route of a dialled number, new or changed."""
    row = {
        "dnis": fields.matching("dnis", one.dnis, DNIS),
        "queue": fields.slug("queue", one.queue),
        "product": fields.slug("product", one.product, may_be_empty=True),
        "language": fields.language("language", one.language),
    }
    await _require(connection, queue, "slug", one.queue, "queue")
    if one.product:
        await _require(connection, product, "code", one.product, "product")
    await _put(connection, dnis_route, ["dnis"], row)


async def remove_route(connection: AsyncConnection, dnis: str) -> None:
    """A number is no longer routed."""
    await connection.execute(delete(dnis_route).where(dnis_route.c.dnis == dnis))


async def put_jurisdiction(connection: AsyncConnection, one: Jurisdiction) -> None:
    """Store the rule for callers whose numbers begin with these digits, new or changed."""
    row = {
        "digits": fields.matching("digits", one.digits, JURISDICTION),
        "policy": fields.choice("policy", one.policy, RECORDING_POLICIES),
        "citation": fields.text("citation", one.citation, longest=500),
    }
    await _put(connection, jurisdiction, ["digits"], row)


async def remove_jurisdiction(connection: AsyncConnection, digits: str) -> bool:
    """These callers have no rule of their own any more; False: they had none."""
    done = await connection.execute(delete(jurisdiction).where(jurisdiction.c.digits == digits))
    return done.rowcount == 1


async def set_recording(connection: AsyncConnection, slug: str, *, recording: str, keeps_objected: bool) -> None:
    """How a queue is recorded from now on. Raises ``Missing``."""
    done = await connection.execute(
        update(queue)
        .where(queue.c.slug == slug)
        .values(
            recording=fields.choice("recording", recording, RECORDING_POLICIES),
            keeps_objected=fields.flag("keeps_objected", keeps_objected),
        )
    )
    if done.rowcount != 1:
        raise Missing("queue", slug)


async def put_reason(connection: AsyncConnection, one: Reason) -> None:
    """Store a not-ready reason, new or changed."""
    row = {
        "code": fields.slug("code", one.code),
        "labels": fields.labels("labels", one.labels),
        "position": fields.number("position", one.position, least=0, most=1_000),
        "is_active": fields.flag("is_active", one.is_active),
    }
    await _put(connection, reason, ["code"], row)


async def put_disposition(connection: AsyncConnection, one: Disposition) -> None:
    """Store a disposition, new or changed. A key chooses one disposition of a queue only."""
    row = {
        "code": fields.slug("code", one.code),
        "labels": fields.labels("labels", one.labels),
        "queue": None if one.queue is None else fields.slug("queue", one.queue),
        "key": fields.matching("key", one.key, re.compile(r"[0-9a-z]"), may_be_empty=True),
        "position": fields.number("position", one.position, least=0, most=1_000),
        "is_active": fields.flag("is_active", one.is_active),
    }
    if one.queue is not None:
        await _require(connection, queue, "slug", one.queue, "queue")
    if one.key and one.is_active:
        others = await connection.execute(
            select(disposition.c.queue).where(
                disposition.c.key == one.key, disposition.c.code != one.code, disposition.c.is_active
            )
        )
        if any(other is None or one.queue is None or other == one.queue for (other,) in others):
            raise BadInput("key", "taken")
    await _put(connection, disposition, ["code"], row)


async def put_field_rule(connection: AsyncConnection, one: FieldRule) -> None:
    """Store what a role may not do with a field; ``access`` ``write`` lifts the restriction."""
    fields.slug("role", one.role)
    fields.matching("object", one.object, FIELD)
    fields.matching("field", one.field, FIELD)
    fields.choice("access", one.access, ("none", "mask", "read", "write"))
    if one.access == "write":
        await connection.execute(
            delete(field_rule).where(
                field_rule.c.role == one.role, field_rule.c.object == one.object, field_rule.c.field == one.field
            )
        )
        return
    await _put(connection, field_rule, ["role", "object", "field"], asdict(one))
