"""Changing what is configured: the same few handlers for every kind of setting, from the pages' forms and from the API.

A change is checked, stored, kept in the history and audited in one transaction, and holds at once.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from crm_core import centre, configuring
from crm_core.configuring import KINDS, By
from crm_core.errors import BadInputs, CannotUndo, Unfit
from crm_core.shapes import plain, read
from cti.plans import faults
from web import schemas, setting_forms
from web.problems import Problematic, not_found
from web.setting_forms import Form
from web.setting_words import fault_words
from web.site import redirect

if TYPE_CHECKING:
    from aiohttp import web
    from sqlalchemy.ext.asyncio import AsyncConnection

    from crm_core.centre import Centre
    from crm_core.configuring import Change, Kind
    from web.asking import Ask

HOMES = {
    "queue": "/settings/queues",
    "agent": "/settings/agents",
    "calendar": "/settings/hours",
    "menu": "/settings/menus",
    "number": "/settings/numbers",
    "site": "/settings/site",
}
"""Kind → the page where it is configured."""
WITH_PAGES = frozenset({"queue", "agent", "calendar", "menu"})
"""Kinds of which each has a page of its own."""


def kind_of(ask: Ask) -> Kind:
    """The kind of setting named in the path."""
    return KINDS[ask.request.match_info["kind"]]


def by(ask: Ask) -> By:
    """Who changes something."""
    user = ask.user
    return By(at=ask.now, username=user.username, role=user.role, ip=ask.address, session=user.id)


async def stored(ask: Ask) -> Centre:
    """The whole configuration as it is stored now."""
    async with ask.services.database.read() as connection:
        return await centre.load_centre(connection)


# ── the pages' forms ──────────────────────────────────────────────────────────────────────────────────────


async def form_of(ask: Ask, kind: str, one: Any, *, is_new: bool = False) -> Form:
    """A form filled with a setting."""
    key = getattr(one, KINDS[kind].key)
    async with ask.services.database.read() as connection:
        seen = 0 if is_new else await _newest_of(connection, kind, key)
    return Form(kind=kind, key=key, values=setting_forms.texts(KINDS[kind], one), seen=seen, is_new=is_new)


async def saved(ask: Ask, body: schemas.SettingForm) -> Form | None:
    """Store what a form says; None when that was done, else the form with what is wrong beside its fields."""
    kind = kind_of(ask)
    values = {name: value for name, value in (body.model_extra or {}).items() if isinstance(value, str)}
    key = values.get(kind.key, "")
    is_new = body.is_new == "yes"
    shown = Form(kind=kind.name, key=key, values=values, is_new=is_new, seen=body.seen)
    try:
        one = setting_forms.understood(kind, values)
        async with ask.services.database.begin() as connection:
            newest = await _newest_of(connection, kind.name, key)
            is_there = key in kind.of(await centre.load_centre(connection))
            if is_new and is_there:
                return replace(shown, problems={kind.key: "taken"})
            if not is_new and not kind.is_alone and not is_there:
                raise not_found()
            if not is_new and newest != body.seen:
                return replace(shown, seen=newest, problems={"": "changed_meanwhile"})
            await configuring.change(connection, by(ask), one, checker=faults)
    except BadInputs as bad:
        return replace(shown, problems=dict(reversed(bad.faults)))
    except Unfit as unfit:
        return _with_faults(ask, shown, unfit)
    await ask.services.settings.configured()
    return None


def _with_faults(ask: Ask, shown: Form, unfit: Unfit) -> Form:
    own = [one for one in unfit.faults if (one.kind, one.key) == (shown.kind, shown.key)]
    names = _names_in_form(shown)
    return replace(
        shown,
        problems={setting_forms.form_name(one.field, names): one.problem for one in reversed(own)},
        elsewhere=elsewhere(ask, unfit, but=(shown.kind, shown.key)),
    )


def _names_in_form(shown: Form) -> dict[str, str]:
    """Field of a setting → the same field in the form it came from."""
    names: dict[str, str] = {}
    for part in setting_forms.LISTS.get(shown.kind, frozenset()):
        names |= {f"{part}.{place}": f"{part}.{row}" for place, row in enumerate(shown.rows(part))}
    for part in setting_forms.ROWS.get(shown.kind, frozenset()):
        for row in shown.rows(part):
            names[f"{part}.{shown.values.get(f'{part}.{row}.key', '').strip()}"] = f"{part}.{row}"
    return names


def elsewhere(ask: Ask, unfit: Unfit, *, but: tuple[str, str] = ("", "")) -> tuple[str, ...]:
    """What a change would make wrong in other settings, in words."""
    gettext = ask.language.gettext
    return tuple(
        fault_words(gettext, one.kind, one.key, one.field, one.problem)
        for one in unfit.faults
        if (one.kind, one.key) != but
    )


async def removed(ask: Ask, kind: str, key: str) -> tuple[str, ...]:
    """Take a setting away; empty when that was done, else what still needs it, in words."""
    try:
        async with ask.services.database.begin() as connection:
            await configuring.remove(connection, by(ask), kind, key, checker=faults)
    except Unfit as unfit:
        return elsewhere(ask, unfit)
    await ask.services.settings.configured()
    return ()


async def _newest_of(connection: AsyncConnection, kind: str, key: str) -> int:
    found = await configuring.history(connection, limit=1, kind=kind, key=key) if key else []
    return found[0].id if found else 0


# ── the API ───────────────────────────────────────────────────────────────────────────────────────────────


async def get_all(ask: Ask) -> schemas.SettingsAnswer:
    """All settings of a kind."""
    kind = kind_of(ask)
    return _answer(kind, await stored(ask))


async def put(ask: Ask, *, body: schemas.SettingBody) -> schemas.SettingsAnswer:
    """A setting, new or changed, whole; what is left out has its default."""
    kind, key = kind_of(ask), ask.setting
    if body.setting.get(kind.key, key) != key:
        raise Problematic(422, "bad_input", [(kind.key, "not_a_choice")])
    try:
        one = read(kind.type, {**body.setting, kind.key: key})
        async with ask.services.database.begin() as connection:
            await configuring.change(connection, by(ask), one, checker=faults)
    except BadInputs as bad:
        raise Problematic(422, "bad_input", [_told(*one) for one in bad.faults]) from None
    except Unfit as unfit:
        raise _unfit(unfit) from None
    await ask.services.settings.configured()
    return _answer(kind, await stored(ask))


async def delete(ask: Ask) -> schemas.SettingsAnswer:
    """A setting taken away."""
    kind = kind_of(ask)
    try:
        async with ask.services.database.begin() as connection:
            await configuring.remove(connection, by(ask), kind.name, ask.setting, checker=faults)
    except Unfit as unfit:
        raise _unfit(unfit) from None
    await ask.services.settings.configured()
    return _answer(kind, await stored(ask))


async def get_history(ask: Ask, *, query: schemas.HistoryQuery) -> schemas.HistoryAnswer:
    """What was configured, newest first."""
    changes, before = await changes_of(ask, query)
    return schemas.HistoryAnswer(
        changes=[
            schemas.SettingChange(
                id=one.id,
                at=one.at,
                username=one.username,
                role=one.role,
                action=one.action,
                kind=one.kind,
                key=one.key,
                fields=[schemas.ChangedField(field=name, before=was, after=now) for name, was, now in one.fields()],
                undoes=one.undoes,
                undone_by=one.undone_by,
            )
            for one in changes
        ],
        before=before,
    )


async def undo(ask: Ask) -> schemas.Accepted:
    """A change taken back."""
    try:
        await undone(ask, ask.change)
    except CannotUndo as refused:
        raise Problematic(409, "conflict", [_told(refused.field or "change", refused.why)]) from None
    except Unfit as unfit:
        raise _unfit(unfit) from None
    return schemas.Accepted(now=ask.now)


async def undone(ask: Ask, change: int) -> None:
    """Take a change back. Raises ``CannotUndo``, ``Unfit`` and ``Missing``."""
    async with ask.services.database.begin() as connection:
        await configuring.undo(connection, by(ask), change, checker=faults)
    await ask.services.settings.configured()


async def changes_of(ask: Ask, query: schemas.HistoryQuery) -> tuple[list[Change], int | None]:
    """Changes, and before which one there are more."""
    async with ask.services.database.read() as connection:
        found = await configuring.history(
            connection, limit=query.limit + 1, before=query.before, kind=query.kind, key=query.key
        )
    shown = found[: query.limit]
    return shown, shown[-1].id if len(found) > query.limit else None


def _answer(kind: Kind, whole: Centre) -> schemas.SettingsAnswer:
    return schemas.SettingsAnswer(settings=[plain(one) for _, one in sorted(kind.of(whole).items())])


def _told(field: str, problem: str) -> tuple[str, str]:
    """The name of an unknown field was made by whoever sent it."""
    return ("body" if problem == "unknown_field" else field, problem)


def _unfit(unfit: Unfit) -> Problematic:
    return Problematic(422, "bad_input", [(f"{one.kind} {one.key} {one.field}", one.problem) for one in unfit.faults])


def saved_to(kind: str, key: str) -> web.Response:
    """Back to the page of a setting."""
    return redirect(f"{HOMES[kind]}/{key}?saved=yes" if kind in WITH_PAGES else f"{HOMES[kind]}?saved=yes")
