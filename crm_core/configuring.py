"""Changing the configured centre: checked as a whole, kept in a history, audited, and taken back again.

Every change runs inside the caller's transaction, history and audit with it. What is wrong already does not stop
somebody from changing something else: only faults that a change brings refuse it. ``Checker`` is handed in by who knows
what the core cannot: the language of expressions, how menus lead into each other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Table, delete, func, insert, select, update

from crm_core import audit, centre
from crm_core.centre import Centre
from crm_core.errors import CannotUndo, Fault, Missing, Unfit
from crm_core.schema import (
    agent,
    agent_skill,
    app_user,
    calendar,
    disposition,
    dnis_route,
    jurisdiction,
    menu,
    party_product,
    product,
    queue,
    queue_agent,
    reason,
    setting_change,
    site_rules,
)
from crm_core.shapes import check, loaded, plain, read

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping

    from sqlalchemy.ext.asyncio import AsyncConnection

    Checker = Callable[[Centre], Iterable[Fault]]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of setting. ``plural``: where it is in a ``Centre`` and in files; ``key``: the field that names one;
    ``is_alone``: there is always exactly one."""

    name: str
    plural: str
    type: type[Any]
    key: str
    table: Table
    put: Callable[[AsyncConnection, Any], Awaitable[None]]
    is_alone: bool = False

    def of(self, stored: Centre) -> dict[str, Any]:
        """All of the kind: key → setting."""
        found = getattr(stored, self.plural)
        return {getattr(one, self.key): one for one in ((found,) if self.is_alone else found)}


# Each only refers to what stands before it.
_KINDS = (
    Kind("product", "products", centre.Product, "code", product, centre.put_product),
    Kind("calendar", "calendars", centre.Calendar, "slug", calendar, centre.put_calendar),
    Kind("menu", "menus", centre.Menu, "slug", menu, centre.put_menu),
    Kind("queue", "queues", centre.Queue, "slug", queue, centre.put_queue),
    Kind("agent", "agents", centre.Agent, "slug", agent, centre.put_agent),
    Kind("number", "routes", centre.Route, "dnis", dnis_route, centre.put_route),
    Kind("reason", "reasons", centre.Reason, "code", reason, centre.put_reason),
    Kind("disposition", "dispositions", centre.Disposition, "code", disposition, centre.put_disposition),
    Kind("jurisdiction", "jurisdictions", centre.Jurisdiction, "digits", jurisdiction, centre.put_jurisdiction),
    Kind("site", "site", centre.SiteRules, "slug", site_rules, centre.put_site_rules, is_alone=True),
)
KINDS: Mapping[str, Kind] = {one.name: one for one in _KINDS}


@dataclass(frozen=True, slots=True, kw_only=True)
class By:
    """Who changes something, when (Unix seconds) and from where."""

    at: float
    username: str
    role: str = ""
    ip: str = ""
    session: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One setting before and after, as plain data; None: there was or is none."""

    kind: str
    key: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None

    @property
    def action(self) -> str:
        """``create``, ``change`` or ``remove``."""
        return "create" if self.before is None else "remove" if self.after is None else "change"

    def fields(self) -> list[tuple[str, Any, Any]]:
        """What differs: field (``steps.1.text``), value before, value after; None where there is no such field."""
        before, after = self._leaves_of(self.before), self._leaves_of(self.after)
        if self.before is None or self.after is None:
            # What is as it is anyway says nothing about something new or gone.
            brief = self._leaves_of(self.before or self.after, is_brief=True)
            before, after = ({name: one for name, one in side.items() if name in brief} for side in (before, after))
        names = list(dict.fromkeys([*before, *after]))
        return [
            (name, before.get(name), after.get(name))
            for name in names
            if before.get(name, _NOTHING) != after.get(name, _NOTHING)
        ]

    def _leaves_of(self, data: Mapping[str, Any] | None, *, is_brief: bool = False) -> dict[str, Any]:
        # A database may keep the fields in an order of its own.
        return {} if data is None else dict(_leaves(plain(loaded(KINDS[self.kind].type, data), is_brief=is_brief)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Change(Difference):
    """A change as the history keeps it. ``undoes``: the change that it took back; ``undone_by``: the one that took it
    back."""

    id: int
    at: float
    username: str
    role: str
    undoes: int | None
    undone_by: int | None


_NOTHING = object()


async def change(connection: AsyncConnection, by: By, one: Any, *, checker: Checker) -> None:
    """Store a setting, new or changed. Raises ``BadInputs`` for its fields and ``Unfit`` for what does not fit."""
    kind = next(kind for kind in _KINDS if isinstance(one, kind.type))
    one = check(one)
    await _apply(connection, by, {(kind.name, getattr(one, kind.key)): one}, checker)


async def remove(connection: AsyncConnection, by: By, kind: str, key: str, *, checker: Checker) -> None:
    """Take a setting away. Raises ``Missing``, and ``Unfit`` while something else refers to it."""
    if key not in KINDS[kind].of(await centre.load_centre(connection)):
        raise Missing(kind, key)
    await _apply(connection, by, {(kind, key): None}, checker)


async def replace_all(
    connection: AsyncConnection, by: By, wanted: Centre, *, checker: Checker, is_dry: bool = False
) -> list[Difference]:
    """Make the stored centre equal to ``wanted``; what is not in it is taken away. Gives what differs. ``is_dry``:
    nothing is stored, all else is the same. Raises ``Unfit``."""
    before = await centre.load_centre(connection)
    changed: dict[tuple[str, str], Any] = {}
    for kind in _KINDS:
        have, want = kind.of(before), kind.of(wanted)
        changed |= {(kind.name, key): want.get(key) for key in have | want if have.get(key) != want.get(key)}
    return await _apply(connection, by, changed, checker, is_dry=is_dry)


async def undo(connection: AsyncConnection, by: By, number: int, *, checker: Checker) -> Difference:
    """Take a change back, and nothing that was changed later. Raises ``Missing`` (no such change), ``CannotUndo``, and
    ``Unfit`` when what it refers to is gone."""
    found = next(iter(await history(connection, limit=1, number=number)), None)
    if found is None:
        raise Missing("setting_change", number)
    if found.undone_by is not None:
        raise CannotUndo("is_undone")
    kind = KINDS[found.kind]
    now = kind.of(await centre.load_centre(connection)).get(found.key)
    wanted = _taken_back(found, None if now is None else plain(now))
    one = None if wanted is None else read(kind.type, wanted)
    done = await _apply(connection, by, {(found.kind, found.key): one}, checker, undoes=found)
    return next(one for one in done if (one.kind, one.key) == (found.kind, found.key))


async def history(
    connection: AsyncConnection,
    *,
    limit: int,
    before: int | None = None,
    kind: str = "",
    key: str = "",
    number: int | None = None,
) -> list[Change]:
    """Changes, newest first. ``before``: those older than this one; ``number``: only this one."""
    later = setting_change.alias("later")
    undone_by = select(later.c.id).where(later.c.undoes == setting_change.c.id).limit(1).scalar_subquery()
    statement = select(setting_change, undone_by.label("undone_by")).order_by(setting_change.c.id.desc())
    statement = statement.limit(max(1, min(limit, 500)))
    for column, wanted in (("kind", kind), ("key", key)):
        if wanted:
            statement = statement.where(setting_change.c[column] == wanted)
    if before is not None:
        statement = statement.where(setting_change.c.id < before)
    if number is not None:
        statement = statement.where(setting_change.c.id == number)
    return [Change(**row) for row in (await connection.execute(statement)).mappings()]


async def newest(connection: AsyncConnection) -> int:
    """The id of the last change, 0 if there was none."""
    return await connection.scalar(select(func.max(setting_change.c.id))) or 0


def references(stored: Centre) -> Iterator[Fault]:
    """Everything in the centre that refers to what is not there, or that two want for themselves."""
    names = {kind.name: kind.of(stored).keys() for kind in _KINDS}
    idle = {("queue", one.slug) for one in stored.queues if not one.is_active}
    idle |= {("agent", one.slug) for one in stored.agents if not one.is_active}

    def missing(kind: str, key: str, field: str, target: str, wanted: str) -> Iterator[Fault]:
        if wanted and wanted not in names[target]:
            yield Fault(kind, key, field, f"unknown_{target}")

    def nowhere(kind: str, key: str, field: str, destination: str) -> Iterator[Fault]:
        what, _, value = destination.partition(":")
        what = "queue" if what == "voicemail" else what
        if what in ("queue", "agent", "menu"):
            yield from missing(kind, key, field, what, value)
        if (what, value) in idle:
            yield Fault(kind, key, field, f"{what}_not_in_use")

    for one in stored.queues:
        yield from missing("queue", one.slug, "product", "product", one.product)
        yield from missing("queue", one.slug, "calendar", "calendar", one.calendar)
        if one.callback is not None:
            yield from missing("queue", one.slug, "callback.calendar", "calendar", one.callback.calendar)
        yield from nowhere("queue", one.slug, "closed_to", one.closed_to)
        for place, flow in enumerate(one.overflows):
            yield from nowhere("queue", one.slug, f"overflows.{place}.to", flow.to)
    for menu_ in stored.menus:
        yield from nowhere("menu", menu_.slug, "otherwise", menu_.otherwise)
        for pressed, destination in menu_.options.items():
            yield from nowhere("menu", menu_.slug, f"options.{pressed}", destination)
    phones: dict[tuple[str, str], str] = {}
    for agent_ in stored.agents:
        for place, served in enumerate(agent_.queues):
            yield from missing("agent", agent_.slug, f"queues.{place}", "queue", served)
        if phones.setdefault((agent_.pbx, agent_.endpoint), agent_.slug) != agent_.slug:
            yield Fault("agent", agent_.slug, "endpoint", "taken")
    for route in stored.routes:
        yield from nowhere("number", route.dnis, "queue", f"queue:{route.queue}")
        yield from missing("number", route.dnis, "product", "product", route.product)
        yield from missing("number", route.dnis, "menu", "menu", route.menu)
    yield from _dispositions(stored)


def _dispositions(stored: Centre) -> Iterator[Fault]:
    queues = {one.slug for one in stored.queues}
    for one in stored.dispositions:
        if one.queue is not None and one.queue not in queues:
            yield Fault("disposition", one.code, "queue", "unknown_queue")
        for other in stored.dispositions:
            if (
                other.code < one.code
                and one.key == other.key != ""
                and (one.is_active and other.is_active)
                and (one.queue is None or other.queue is None or one.queue == other.queue)
            ):
                yield Fault("disposition", one.code, "key", "taken")


async def _apply(
    connection: AsyncConnection,
    by: By,
    wanted: Mapping[tuple[str, str], Any],
    checker: Checker,
    *,
    undoes: Change | None = None,
    is_dry: bool = False,
) -> list[Difference]:
    before = await centre.load_centre(connection)
    after = _with(before, wanted)
    known = {*references(before), *checker(before)}
    faults = [one for one in (*references(after), *checker(after)) if one not in known]
    done = _differences(before, after)
    faults += [fault for one in done if one.after is None for fault in await _held(connection, one)]
    if faults:
        raise Unfit(faults)
    if is_dry:
        return done
    await _store(connection, before, after, done)
    for one in done:
        await connection.execute(
            insert(setting_change),
            {
                "at": by.at,
                "username": by.username[:40],
                "role": by.role[:40],
                "kind": one.kind,
                "key": one.key,
                "before": one.before,
                "after": one.after,
                "undoes": undoes.id
                if undoes is not None and (undoes.kind, undoes.key) == (one.kind, one.key)
                else None,
            },
        )
        await audit.write(
            connection,
            at=by.at,
            user=by.username,
            role=by.role,
            action=one.action,
            object=one.kind,
            object_id=one.key,
            detail={name: [was, now] for name, was, now in one.fields()} if one.after is not None else {},
            ip=by.ip,
            session=by.session,
        )
    return done


def _with(before: Centre, wanted: Mapping[tuple[str, str], Any]) -> Centre:
    sides: dict[str, Any] = {}
    for kind in _KINDS:
        changed = {key: one for (name, key), one in wanted.items() if name == kind.name}
        if kind.is_alone:
            sides[kind.plural] = next(iter(changed.values()), None) or getattr(before, kind.plural)
            continue
        merged = {key: one for key, one in {**kind.of(before), **changed}.items() if one is not None}
        sides[kind.plural] = tuple(merged[key] for key in sorted(merged))
    # A new default queue replaces the old one.
    default = next((one.slug for (_, _), one in wanted.items() if isinstance(one, centre.Queue) and one.is_default), "")
    if default:
        sides["queues"] = tuple(
            replace(one, is_default=False) if one.is_default and one.slug != default else one for one in sides["queues"]
        )
    return Centre(**sides)


def _differences(before: Centre, after: Centre) -> list[Difference]:
    done = []
    for kind in _KINDS:
        had, has = kind.of(before), kind.of(after)
        for key in sorted(had | has):
            was, now = had.get(key), has.get(key)
            if was != now:
                done.append(
                    Difference(
                        kind=kind.name,
                        key=key,
                        before=None if was is None else plain(was),
                        after=None if now is None else plain(now),
                    )
                )
    return done


async def _held(connection: AsyncConnection, gone: Difference) -> list[Fault]:
    """What outside the configuration still needs a setting that is to go."""
    if gone.kind == "agent" and await connection.scalar(
        select(app_user.c.id).where(app_user.c.agent == gone.key).limit(1)
    ):
        return [Fault("agent", gone.key, "slug", "somebody_logs_in_as")]
    if gone.kind == "product" and await connection.scalar(
        select(party_product.c.party_id).where(party_product.c.product_code == gone.key).limit(1)
    ):
        return [Fault("product", gone.key, "code", "customers_have_it")]
    return []


async def _store(connection: AsyncConnection, before: Centre, after: Centre, done: list[Difference]) -> None:
    # First what stands in the way of others: references to what goes, endpoints and keys that change hands.
    for place, one in enumerate(done):
        if one.kind == "agent" and one.before is not None:
            await connection.execute(delete(queue_agent).where(queue_agent.c.agent == one.key))
            await connection.execute(delete(agent_skill).where(agent_skill.c.agent == one.key))
            await connection.execute(update(agent).where(agent.c.slug == one.key).values(endpoint=f"~{place}"))
        elif one.kind in ("number", "disposition"):
            kind = KINDS[one.kind]
            await connection.execute(delete(kind.table).where(kind.table.c[kind.key] == one.key))
    for one in done:
        if one.after is not None:
            kind = KINDS[one.kind]
            await kind.put(connection, kind.of(after)[one.key])
    for one in reversed(done):
        if one.after is None:
            kind = KINDS[one.kind]
            await connection.execute(delete(kind.table).where(kind.table.c[kind.key] == one.key))


def _leaves(data: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """Field → value, down to what is neither a mapping nor a list. A list of words is one value."""
    if isinstance(data, list) and all(isinstance(one, str) for one in data):
        data = ", ".join(data)
    inside = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list | tuple) else None
    if inside is None:
        yield where, data
        return
    for name, value in inside:
        yield from _leaves(value, f"{where}.{name}" if where else str(name))


def _parts(data: Any, where: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Path → value; a list is one value."""
    if isinstance(data, dict):
        for name, value in data.items():
            yield from _parts(value, (*where, name))
    else:
        yield where, data


def _taken_back(done: Change, now: dict[str, Any] | None) -> Mapping[str, Any] | None:
    """What there is now, with what ``done`` changed as it was before."""
    if done.before is None:
        if now is None:
            raise CannotUndo("is_gone")
        if now != done.after:
            raise CannotUndo("changed_since")
        return None
    if done.after is None:
        if now is not None:
            raise CannotUndo("is_back")
        return done.before
    if now is None:
        raise CannotUndo("is_gone")
    was, became, have = dict(_parts(done.before)), dict(_parts(done.after)), dict(_parts(now))
    touched = [path for path in {**became, **was} if was.get(path, _NOTHING) != became.get(path, _NOTHING)]
    for path in touched:
        if have.get(path, _NOTHING) != became.get(path, _NOTHING):
            raise CannotUndo("changed_since", ".".join(path))
    for path in touched:
        if path not in was:
            _take(now, path)
    for path in touched:
        if path in was:
            _set(now, path, was[path])
    return now


def _take(data: dict[str, Any], path: tuple[str, ...]) -> None:
    *way, last = path
    for name in way:
        data = data[name]
    del data[last]


def _set(data: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    *way, last = path
    for name in way:
        inner = data.get(name)
        if not isinstance(inner, dict):
            inner = data[name] = {}
        data = inner
    data[last] = value
