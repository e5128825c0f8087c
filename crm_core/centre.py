"""The configured call centre: queues, agents, numbers, hours, menus, reasons, dispositions, products.

Read whole, changed piece by piece. What is stored is checked here, by field, whoever sends it. What the expressions of
steps may say is checked by who knows their language (``crm_core.configuring``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy import Select, Table, delete, insert, select, update

from crm_core import fields
from crm_core.dialects import is_sqlite, upsert
from crm_core.errors import BadInput
from crm_core.schema import (
    WEEKDAYS,
    agent,
    agent_skill,
    calendar,
    disposition,
    dnis_route,
    field_rule,
    jurisdiction,
    menu,
    product,
    queue,
    queue_agent,
    reason,
    site_rules,
)
from crm_core.shapes import Keys, check, formed, line, loaded, one_of, plain, slugs, whole, within

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

DNIS = re.compile(r"\+?[0-9]{1,19}")
JURISDICTION = re.compile(r"[0-9]{1,10}|unknown")
RECORDING_POLICIES = ("off", "announced", "consent")
SELECTIONS = ("longest_idle", "best_skilled", "least_occupied", "fewest_skills", "round_robin", "weighted_random")
PREFERRED = ("none", "owner", "last_agent")
OVERFLOW_WHEN = ("waited", "length", "expected_wait", "no_agents")
PHONE_KINDS = ("browser", "desk", "outside")
MENU_KEYS = (*"1234567890*#",)
SITE = "site"
FIELD = re.compile(r"[a-z][a-z0-9_]{0,39}(\.[a-z0-9][a-z0-9._-]{0,39})?")
DAY_MIN = 24 * 60
_SLUG = r"[a-z0-9][a-z0-9._-]{0,39}"
_DESTINATION = rf"(queue|agent|message|voicemail|menu):{_SLUG}|number:\+?[0-9]{{3,20}}"
DESTINATION = re.compile(_DESTINATION)
CHOICE = re.compile(rf"{_DESTINATION}|language:[a-z]{{2,3}}(-[A-Za-z]{{2,8}})?")
_HOURS = re.compile(r"([0-9]{1,2}):([0-9]{2})\s*[-–]\s*([0-9]{1,2}):([0-9]{2})")
_LABELS = Annotated[Mapping[str, Annotated[str, line(200)]], Keys(formed(fields.LANGUAGE))]
_Slug = Annotated[str, slugs()]
_MaybeSlug = Annotated[str, slugs(may_be_empty=True)]
_Language = Annotated[str, formed(fields.LANGUAGE, may_be_empty=True)]
_Destination = Annotated[str, formed(DESTINATION, may_be_empty=True)]
_Time = Annotated[int, whole(0, 86_400)]


def intervals(text: str) -> tuple[tuple[int, int], ...]:
    """Opening hours of a day, ``08:00-12:00 13:00-18:00``, as minutes of the day; nothing: closed. Raises
    ``ValueError`` unless they are in order and apart."""
    found = []
    latest = -1
    for part in (one for one in re.split(r"[\s,;]+(?=[0-9]{1,2}:[0-9]{2}\s*[-–])", text.strip()) if one):
        match = _HOURS.fullmatch(part.strip(" ,;"))
        if match is None:
            raise ValueError(part)
        hour, minute, end_hour, end_minute = (int(one) for one in match.groups())
        start, end = hour * 60 + minute, end_hour * 60 + end_minute
        if max(minute, end_minute) > 59 or not latest < start < end <= DAY_MIN:
            raise ValueError(part)
        found.append((start, end))
        latest = end
    return tuple(found)


def _hours(where: str, value: str) -> str:
    try:
        found = intervals(value[:500])
    except ValueError:
        raise BadInput(where, "not_hours") from None
    return " ".join(f"{a // 60:02}:{a % 60:02}-{b // 60:02}:{b % 60:02}" for a, b in found)


def _date(where: str, value: str) -> str:
    try:
        if date.fromisoformat(value).isoformat() == value:
            return value
    except ValueError:
        pass
    raise BadInput(where, "not_a_date")


def _zone(where: str, value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BadInput(where, "unknown_zone") from None
    return value


def _english(where: str, value: Mapping[str, str]) -> Mapping[str, str]:
    if not value.get("en"):
        raise BadInput(f"{where}.en", "required")
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What is required of agents for a caller who has waited ``after_s``: an expression; empty: nothing."""

    after_s: _Time
    text: Annotated[str, line(1_000)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overflow:
    """What sends a caller away, and where to. ``limit``: seconds, or callers for ``length``."""

    when: Annotated[str, one_of(*OVERFLOW_WHEN)]
    limit: _Time
    to: Annotated[str, formed(DESTINATION)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comfort:
    """What a caller hears while waiting: prompts and music by name, empty: none; times in seconds, 0: never."""

    greeting: _MaybeSlug = ""
    music: _MaybeSlug = ""
    message: _MaybeSlug = ""
    every_s: Annotated[int, whole(0, 3_600)] = 0
    says_position: bool = False
    says_wait: bool = False
    callback_after_s: Annotated[int, whole(0, 3_600)] = 0
    voicemail_key: Annotated[str, formed(re.compile("[0-9*#]"), may_be_empty=True)] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Callback:
    """How places kept for callers are called back. ``calendar``: when that is allowed, empty: always; ``trunk``: the
    endpoint to call through, without one nobody is; ``prefixes``: how numbers begin that callers may type instead of
    their own."""

    calendar: _MaybeSlug = ""
    expires_s: Annotated[int, whole(60, 7 * 86_400)] = 4 * 3600
    trunk: _MaybeSlug = ""
    shown_number: Annotated[str, formed(DNIS, may_be_empty=True)] = ""
    ring_s: Annotated[int, whole(5, 120)] = 30
    prefixes: tuple[Annotated[str, formed(re.compile("[0-9]{1,10}"))], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A queue. Times in seconds; ``steps``: what is required, by the time waited; ``parallel``: how many phones ring at
    once, 0: all that are free; ``ageing_s``: a point of priority is worth so many seconds of waiting, 0: points come
    before all waiting; ``is_default``: for all else; ``recording``: one of ``RECORDING_POLICIES``; ``keeps_objected``:
    what was recorded until the caller objected; ``calendar``: when it is open, empty: always; ``closed_to``,
    ``overflows``: where callers go then, ``<kind>:<value>``; ``emergency_message``: a prompt that all hear first."""

    slug: _Slug
    name: Annotated[str, line(100, is_required=True)]
    steps: tuple[Step, ...] = ()
    selection: Annotated[str, one_of(*SELECTIONS)] = "longest_idle"
    preferred: Annotated[str, one_of(*PREFERRED)] = "none"
    preferred_patience_s: Annotated[int, whole(0, 3_600)] = 30
    parallel: Annotated[int, whole(0, 100)] = 1
    priority: Annotated[int, whole(-100, 100)] = 0
    ageing_s: Annotated[int, whole(0, 3_600)] = 60
    ring_timeout_s: Annotated[int, whole(5, 120)] = 20
    hold_recall_s: Annotated[int, whole(0, 3_600)] = 120
    wrap_up_s: Annotated[int, whole(0, 3_600)] = 30
    breather_after_s: Annotated[int, whole(0, 86_400)] = 0
    breather_s: Annotated[int, whole(0, 3_600)] = 0
    service_level_s: Annotated[int, whole(1, 3_600)] = 20
    service_level_target: Annotated[float, within(0.0, 1.0)] = 0.8
    short_abandon_s: Annotated[int, whole(0, 600)] = 5
    calendar: _MaybeSlug = ""
    closed_to: _Destination = ""
    overflows: tuple[Overflow, ...] = ()
    comfort: Comfort = field(default_factory=Comfort)
    callback: Callback | None = None
    emergency_message: _MaybeSlug = ""
    recording: Annotated[str, one_of(*RECORDING_POLICIES)] = "announced"
    keeps_objected: bool = False
    product: _MaybeSlug = ""
    is_default: bool = False
    is_active: bool = True

    def faults(self) -> Iterator[tuple[str, str]]:
        """What is wrong between the fields."""
        latest = -1
        for place, step in enumerate(self.steps):
            if place == 0 and step.after_s != 0:
                yield "steps.0.after_s", "not_from_the_start"
            elif step.after_s <= latest:
                yield f"steps.{place}.after_s", "not_ascending"
            latest = step.after_s
        for place, overflow in enumerate(self.overflows):
            if overflow.to == f"queue:{self.slug}":
                yield f"overflows.{place}.to", "to_itself"
        if self.closed_to == f"queue:{self.slug}":
            yield "closed_to", "to_itself"
        if self.comfort.callback_after_s and self.callback is None:
            yield "comfort.callback_after_s", "no_callback"


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """An agent and the phone. ``phone_kind``: one of ``PHONE_KINDS``; ``endpoint``: the phone's name on ``pbx``, or the
    number outside; ``language``: what a phone outside is asked in, empty: the telephone system's own; ``skills``:
    skill → proficiency 1–10."""

    slug: _Slug
    name: Annotated[str, line(100, is_required=True)]
    pbx: _Slug
    endpoint: Annotated[str, formed(re.compile(rf"{_SLUG}|{DNIS.pattern}"))]
    phone_kind: Annotated[str, one_of(*PHONE_KINDS)]
    language: _Language = ""
    team: _MaybeSlug = ""
    skills: Annotated[Mapping[str, Annotated[int, whole(1, 10)]], Keys(slugs())] = field(default_factory=dict)
    queues: tuple[_Slug, ...] = ()
    may_see_numbers: bool = True
    is_active: bool = True

    def faults(self) -> Iterator[tuple[str, str]]:
        """What is wrong between the fields."""
        form = DNIS if self.phone_kind == "outside" else fields.SLUG
        if not form.fullmatch(self.endpoint):
            yield "endpoint", "malformed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A dialled number and the queue behind it. ``dnis``: digits, and a ``+`` in front if it has one; ``menu``: what
    comes before the queue, empty: nothing."""

    dnis: Annotated[str, formed(DNIS)]
    queue: _Slug
    product: _MaybeSlug = ""
    language: _Language = ""
    menu: _MaybeSlug = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """When something is open. Hours of a day: ``08:00-12:00 13:00-18:00``, empty: closed. ``days``: ISO date → hours of
    that day instead. ``zone``: a name of the time zone database."""

    slug: _Slug
    name: Annotated[str, line(100, is_required=True)]
    zone: Annotated[str, line(60, is_required=True), _zone]
    monday: Annotated[str, line(200), _hours] = ""
    tuesday: Annotated[str, line(200), _hours] = ""
    wednesday: Annotated[str, line(200), _hours] = ""
    thursday: Annotated[str, line(200), _hours] = ""
    friday: Annotated[str, line(200), _hours] = ""
    saturday: Annotated[str, line(200), _hours] = ""
    sunday: Annotated[str, line(200), _hours] = ""
    days: Annotated[Mapping[str, Annotated[str, line(200), _hours]], Keys(_date)] = field(default_factory=dict)

    @property
    def weekly(self) -> tuple[str, ...]:
        """The hours of Monday to Sunday."""
        return tuple(getattr(self, day) for day in WEEKDAYS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Menu:
    """A menu that callers hear. ``options``: key → destination, or ``language:<tag>``; ``otherwise``: where callers go
    who chose nothing ``tries`` times. With ``account_digits`` it asks for an account number of so many digits and goes
    to ``options["#"]``."""

    slug: _Slug
    name: Annotated[str, line(100, is_required=True)]
    prompt: _Slug
    options: Annotated[Mapping[str, Annotated[str, formed(CHOICE)]], Keys(one_of(*MENU_KEYS))]
    otherwise: Annotated[str, formed(DESTINATION)]
    timeout_s: Annotated[int, whole(1, 60)] = 5
    tries: Annotated[int, whole(1, 10)] = 3
    account_digits: Annotated[int, whole(0, 20)] = 0
    has_check_digit: bool = False

    def faults(self) -> Iterator[tuple[str, str]]:
        """What is wrong between the fields."""
        if self.account_digits and "#" not in self.options:
            yield "options.#", "required"


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteRules:
    """What holds for the whole site. ``tiers``: a customer's tier → points of priority; ``most_occupied``: share of the
    last hour above which an agent gets a breather, 1: never; ``is_spying_shown``: agents see who listens;
    ``outside_allowed``: how numbers begin that callers may be handed on to, ``outside_refused``: exceptions."""

    slug: Annotated[str, one_of(SITE)] = SITE
    tiers: Annotated[Mapping[str, Annotated[int, whole(-100, 100)]], Keys(slugs())] = field(default_factory=dict)
    most_occupied: Annotated[float, within(0.3, 1.0)] = 1.0
    is_spying_shown: bool = True
    outside_allowed: tuple[Annotated[str, formed(DNIS)], ...] = ()
    outside_refused: tuple[Annotated[str, formed(DNIS)], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Jurisdiction:
    """What the law asks for when callers of a country or region are recorded. ``digits``: how their numbers begin,
    without ``+``; ``unknown`` for callers without a number. ``citation``: which law says so."""

    digits: Annotated[str, formed(JURISDICTION)]
    policy: Annotated[str, one_of(*RECORDING_POLICIES)]
    citation: Annotated[str, line(500)] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why an agent is not ready. ``labels``: by language tag."""

    code: _Slug
    labels: Annotated[_LABELS, _english]
    position: Annotated[int, whole(0, 1_000)] = 0
    is_active: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Disposition:
    """What can come of an interaction. ``queue`` None: of every queue; ``key``: the key that chooses it."""

    code: _Slug
    labels: Annotated[_LABELS, _english]
    queue: Annotated[str, slugs()] | None = None
    key: Annotated[str, formed(re.compile("[0-9a-z]"), may_be_empty=True)] = ""
    position: Annotated[int, whole(0, 1_000)] = 0
    is_active: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A product as a reference record. ``names`` and ``summaries``: by language tag, beside the plain ones."""

    code: _Slug
    name: Annotated[str, line(200, is_required=True)]
    summary: Annotated[str, line(2_000, has_lines=True)] = ""
    names: _LABELS = field(default_factory=dict)
    summaries: Annotated[Mapping[str, Annotated[str, line(2_000, has_lines=True)]], Keys(formed(fields.LANGUAGE))] = (
        field(default_factory=dict)
    )
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
    calendars: tuple[Calendar, ...] = ()
    menus: tuple[Menu, ...] = ()
    site: SiteRules = field(default_factory=SiteRules)

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

    skills = grouped(await rows(agent_skill, "agent", "skill"), "agent")
    served = grouped(await rows(queue_agent, "agent", "queue"), "agent")
    return Centre(
        queues=tuple(loaded(Queue, row) for row in await rows(queue, "slug")),
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
        calendars=tuple(Calendar(**row) for row in await rows(calendar, "slug")),
        menus=tuple(Menu(**row) for row in await rows(menu, "slug")),
        site=next((loaded(SiteRules, row) for row in await rows(site_rules, "slug")), SiteRules()),
    )


async def _put(connection: AsyncConnection, table: Table, keys: Sequence[str], row: dict[str, Any]) -> None:
    changed = {name: value for name, value in row.items() if name not in keys}
    await connection.execute(
        upsert(table, is_sqlite=is_sqlite(connection))
        .values(**row)
        .on_conflict_do_update(index_elements=list(keys), set_=changed)
    )


async def _require(connection: AsyncConnection, table: Table, key: str, value: str, where: str) -> None:
    if value and await connection.scalar(select(table.c[key]).where(table.c[key] == value)) is None:
        raise BadInput(where, "unknown")


async def put_product(connection: AsyncConnection, one: Product) -> None:
    """Store a product, new or changed."""
    await _put(connection, product, ["code"], plain(check(one)))


async def put_queue(connection: AsyncConnection, one: Queue) -> None:
    """Store a queue, new or changed. A new default queue replaces the old one."""
    one = check(one)
    await _require(connection, product, "code", one.product, "product")
    await _require(connection, calendar, "slug", one.calendar, "calendar")
    if one.callback is not None:
        await _require(connection, calendar, "slug", one.callback.calendar, "callback.calendar")
    if one.is_default:
        await connection.execute(update(queue).where(queue.c.slug != one.slug).values(is_default=False))
    await _put(connection, queue, ["slug"], plain(one))


async def put_agent(connection: AsyncConnection, one: Agent) -> None:
    """Store an agent with skills and queues, new or changed."""
    one = check(one)
    for place, served in enumerate(one.queues):
        await _require(connection, queue, "slug", served, f"queues.{place}")
    owner = await connection.scalar(
        select(agent.c.slug).where(agent.c.pbx == one.pbx, agent.c.endpoint == one.endpoint)
    )
    if owner is not None and owner != one.slug:
        raise BadInput("endpoint", "taken")
    row = plain(one)
    del row["skills"], row["queues"]
    await _put(connection, agent, ["slug"], row)
    await connection.execute(delete(agent_skill).where(agent_skill.c.agent == one.slug))
    await connection.execute(delete(queue_agent).where(queue_agent.c.agent == one.slug))
    if one.skills:
        await connection.execute(
            insert(agent_skill),
            [{"agent": one.slug, "skill": skill, "proficiency": level} for skill, level in one.skills.items()],
        )
    if one.queues:
        await connection.execute(
            insert(queue_agent), [{"queue": served, "agent": one.slug} for served in sorted(set(one.queues))]
        )


async def put_route(connection: AsyncConnection, one: Route) -> None:
    """Store the route of a dialled number, new or changed."""
    one = check(one)
    await _require(connection, queue, "slug", one.queue, "queue")
    await _require(connection, product, "code", one.product, "product")
    await _require(connection, menu, "slug", one.menu, "menu")
    await _put(connection, dnis_route, ["dnis"], plain(one))


async def put_calendar(connection: AsyncConnection, one: Calendar) -> None:
    """Store opening hours, new or changed."""
    await _put(connection, calendar, ["slug"], plain(check(one)))


async def put_menu(connection: AsyncConnection, one: Menu) -> None:
    """Store a menu, new or changed."""
    await _put(connection, menu, ["slug"], plain(check(one)))


async def put_site_rules(connection: AsyncConnection, one: SiteRules) -> None:
    """Store what holds for the whole site."""
    await _put(connection, site_rules, ["slug"], plain(check(one)))


async def put_jurisdiction(connection: AsyncConnection, one: Jurisdiction) -> None:
    """Store the rule for callers whose numbers begin with these digits, new or changed."""
    await _put(connection, jurisdiction, ["digits"], plain(check(one)))


async def put_reason(connection: AsyncConnection, one: Reason) -> None:
    """Store a not-ready reason, new or changed."""
    await _put(connection, reason, ["code"], plain(check(one)))


async def put_disposition(connection: AsyncConnection, one: Disposition) -> None:
    """Store a disposition, new or changed. A key chooses one disposition of a queue only."""
    one = check(one)
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
    await _put(connection, disposition, ["code"], plain(one))


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
