"""The pages on which a site is configured. What they store goes through ``web.configuration``."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from crm_core import centre, configuring
from crm_core.configuring import KINDS
from crm_core.errors import BadInputs, CannotUndo, Unfit
from crm_core.fields import SLUG
from crm_core.schema import WEEKDAYS
from cti.events import AgentState
from cti.plans import faults, plan_of
from cti.routing.expression import VARIABLES, ExpressionError, parse
from cti.routing.hours import is_open, opens_at
from web import configuration, prompts_page, schemas
from web.configuration import by, form_of, stored
from web.problems import not_found
from web.setting_forms import Form
from web.setting_words import problem_words
from web.site import redirect

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp import web

    from crm_core.centre import Centre
    from cti.floor import AgentView
    from web.asking import Ask

AGENTS_SHOWN = 50
"""Agents on one page of a list."""
NAMED = 12
"""How many of those who qualify are named."""
SPARE_ROWS = 1
_LISTS = {"queue": "queues", "agent": "agents", "calendar": "hours", "menu": "menus"}


@dataclass(frozen=True, slots=True)
class Trial:
    """An expression, tried. ``before``, ``at``, ``after``: the text around the character at fault; ``met``: who meets
    it; ``asked``: of how many; ``logged_in``: how many of those who meet it are; ``unknown``: what would have to be
    known of a call."""

    text: str
    problem: str = ""
    before: str = ""
    at: str = ""
    after: str = ""
    met: tuple[AgentView, ...] = ()
    asked: int = 0
    logged_in: int = 0
    unknown: tuple[str, ...] = ()


# ── pages ─────────────────────────────────────────────────────────────────────────────────────────────────


async def home(ask: Ask) -> web.StreamResponse:
    """To the first page of the settings."""
    return redirect("/settings/queues")


async def show_list(ask: Ask, *, query: schemas.SettingsQuery) -> web.StreamResponse:
    """Queues, agents, opening hours or menus."""
    (kind,) = (kind for kind, place in _LISTS.items() if ask.request.path == f"/settings/{place}")
    new = Form(kind=kind, key="", values={}, is_new=True)
    return await _list_page(ask, kind, new, query=query)


async def show_one(ask: Ask, *, query: schemas.SettingsQuery) -> web.StreamResponse:
    """One queue, one agent, one calendar or one menu."""
    (kind,) = (kind for kind, place in _LISTS.items() if ask.request.path.startswith(f"/settings/{place}/"))
    one = KINDS[kind].of(await stored(ask)).get(ask.setting)
    if one is None:
        raise not_found()
    return await _one_page(ask, await form_of(ask, kind, one), is_saved=query.saved == "yes")


async def show_numbers(ask: Ask, *, query: schemas.SettingsQuery) -> web.StreamResponse:
    """The numbers that callers dial."""
    return await _numbers_page(ask, None, is_saved=query.saved == "yes")


async def show_site(ask: Ask, *, query: schemas.SettingsQuery) -> web.StreamResponse:
    """What holds for the whole site."""
    form = await form_of(ask, "site", (await stored(ask)).site)
    return await _site_page(ask, form, is_saved=query.saved == "yes")


async def save(ask: Ask, *, body: schemas.SettingForm) -> web.StreamResponse:
    """A form of any of these pages."""
    kind = configuration.kind_of(ask).name
    if kind not in configuration.HOMES:
        raise not_found()
    form = await configuration.saved(ask, body)
    if form is None:
        return configuration.saved_to(kind, str((body.model_extra or {}).get(KINDS[kind].key, "")))
    if kind == "site":
        return await _site_page(ask, form, status=422)
    if kind == "number":
        return await _numbers_page(ask, form, status=422)
    if form.is_new:
        return await _list_page(ask, kind, form, status=422)
    return await _one_page(ask, form, status=422)


async def remove(ask: Ask, *, body: schemas.SettingRemovalForm) -> web.StreamResponse:
    """The button that takes a setting away."""
    kind = configuration.kind_of(ask).name
    if kind not in configuration.HOMES or kind == "site":
        raise not_found()
    held = await configuration.removed(ask, kind, body.key)
    if not held:
        return redirect(configuration.HOMES[kind])
    one = KINDS[kind].of(await stored(ask)).get(body.key)
    if one is None:
        raise not_found()
    form = replace(await form_of(ask, kind, one), elsewhere=held)
    return await (_numbers_page if kind == "number" else _one_page)(ask, form, status=409)


async def _list_page(
    ask: Ask, kind: str, new: Form, *, query: schemas.SettingsQuery | None = None, status: int = 200
) -> web.StreamResponse:
    whole = await stored(ask)
    query = query or schemas.SettingsQuery()
    found = _matching(KINDS[kind].of(whole).values(), query.q)
    pages = max(1, -(-len(found) // AGENTS_SHOWN))
    page = min(query.page, pages)
    shown = found[(page - 1) * AGENTS_SHOWN : page * AGENTS_SHOWN]
    return await ask.page(
        f"settings_{_LISTS[kind]}.html",
        status=status,
        shown=shown,
        found=len(found),
        query=query,
        page=page,
        pages=pages,
        form=new,
        whole=whole,
        pbxs=sorted({*ask.services.floor.pbx_status, *(one.pbx for one in whole.agents)}),
        views={view.id: view for view in ask.services.floor.agents()},
        opens=_opening(ask, whole),
        destinations=_destinations(whole),
        prompts=await prompts_page.names(ask),
        weekdays=WEEKDAYS,
        calendar_names={one.slug: one.name for one in whole.calendars},
        queue_names={one.slug: one.name for one in whole.queues},
        served=Counter(queue for one in whole.agents if one.is_active for queue in one.queues),
    )


async def _one_page(ask: Ask, form: Form, *, is_saved: bool = False, status: int = 200) -> web.StreamResponse:
    whole = await stored(ask)
    return await ask.page(
        f"settings_{form.kind}.html",
        status=status,
        form=form,
        whole=whole,
        is_saved=is_saved,
        spare=SPARE_ROWS,
        trials={row: _trial(ask, _step(form, row), form.key, "") for row in form.rows("steps")},
        skills=_skills(whole),
        pbxs=sorted({*ask.services.floor.pbx_status, *(one.pbx for one in whole.agents)}),
        teams=sorted({one.team for one in whole.agents if one.team}),
        destinations=_destinations(whole),
        prompts=await prompts_page.names(ask),
        opens=_opening(ask, whole),
        choices=centre,
        weekdays=WEEKDAYS,
        served=frozenset(value for name, value in form.values.items() if name.startswith("queues.")),
        recent=await _recent(ask, form),
    )


async def _numbers_page(
    ask: Ask, form: Form | None, *, is_saved: bool = False, status: int = 200
) -> web.StreamResponse:
    whole = await stored(ask)
    forms = [await form_of(ask, "number", one) for one in whole.routes]
    new = Form(kind="number", key="", values={}, is_new=True)
    if form is not None and form.is_new:
        new = form
    elif form is not None:
        forms = [form if one.key == form.key else one for one in forms]
    return await ask.page("settings_numbers.html", status=status, forms=forms, form=new, whole=whole, is_saved=is_saved)


async def _site_page(ask: Ask, form: Form, *, is_saved: bool = False, status: int = 200) -> web.StreamResponse:
    return await ask.page(
        "settings_site.html",
        status=status,
        form=form,
        is_saved=is_saved,
        spare=SPARE_ROWS,
        recent=await _recent(ask, form),
    )


async def _recent(ask: Ask, form: Form) -> Sequence[configuring.Change]:
    if form.is_new:
        return ()
    query = schemas.HistoryQuery(kind=form.kind, key=form.key, limit=3)
    return (await configuration.changes_of(ask, query))[0]


def _matching(found: Any, wanted: str) -> list[Any]:
    words = wanted.casefold().split()
    return [
        one
        for one in found
        if all(word in f"{one.name} {one.slug} {getattr(one, 'team', '')}".casefold() for word in words)
    ]


def _skills(whole: Centre) -> list[str]:
    return sorted({skill for one in whole.agents for skill in one.skills})


def _destinations(whole: Centre) -> list[tuple[str, str]]:
    """What a destination may be → what it is called; numbers are typed."""
    return [
        *((f"queue:{one.slug}", one.name) for one in whole.queues),
        *((f"voicemail:{one.slug}", one.name) for one in whole.queues),
        *((f"menu:{one.slug}", one.name) for one in whole.menus),
        *((f"agent:{one.slug}", one.name) for one in whole.agents[:200]),
    ]


def _opening(ask: Ask, whole: Centre) -> dict[str, tuple[bool, float | None]]:
    """Calendar → whether it is open now, and when it opens next."""
    calendars = plan_of(replace(whole, queues=(), agents=(), routes=())).calendars
    return {key: (is_open(one, ask.now), opens_at(one, ask.now)) for key, one in calendars.items()}


# ── expressions, tried ────────────────────────────────────────────────────────────────────────────────────


async def try_expression(ask: Ask, *, query: schemas.TryQuery) -> web.StreamResponse:
    """Who meets an expression now, or what is wrong with it."""
    trial = _trial(ask, query.text, query.queue, query.given)
    return await ask.page("setting_trial.html", trial=trial, named=NAMED)


def _step(form: Form, row: int) -> str:
    return form.values.get(f"steps.{row}.text", "")


def _trial(ask: Ask, text: str, queue: str, given: str) -> Trial:
    try:
        requirement = parse(text)
    except ExpressionError as error:
        at = error.position
        said = problem_words(ask.language.gettext, error.problem)
        return Trial(text, said, text[:at], text[at : at + 1], text[at + 1 :])
    known = {name: value for name, _, value in (pair.partition("=") for pair in given.split()) if name in VARIABLES}
    asked = [one for one in ask.services.floor.agents() if not queue or queue in one.queues]
    met = sorted(
        (one for one in asked if requirement.meets(dict(one.skills), known)),
        key=lambda one: (one.state is AgentState.LOGGED_OUT, one.name),
    )
    return Trial(
        text,
        met=tuple(met),
        asked=len(asked),
        logged_in=sum(1 for one in met if one.state is not AgentState.LOGGED_OUT),
        unknown=tuple(sorted(requirement.variables - known.keys())),
    )


# ── skills ────────────────────────────────────────────────────────────────────────────────────────────────


async def show_skills(ask: Ask, *, query: schemas.SettingsQuery) -> web.StreamResponse:
    """Who holds what."""
    whole = await stored(ask)
    found = _matching((one for one in whole.agents if one.is_active), query.q)
    pages = max(1, -(-len(found) // AGENTS_SHOWN))
    page = min(query.page, pages)
    skills = _skills(whole)
    added = query.add.strip().lower()
    is_added = bool(SLUG.fullmatch(added))
    if is_added and added not in skills:
        skills = sorted([*skills, added])
    return await ask.page(
        "settings_skills.html",
        shown=found[(page - 1) * AGENTS_SHOWN : page * AGENTS_SHOWN],
        found=len(found),
        query=query,
        page=page,
        pages=pages,
        skills=skills,
        holders={skill: sum(1 for one in whole.agents if one.is_active and skill in one.skills) for skill in skills},
        is_add_wrong=bool(added) and not is_added,
    )


async def set_skill(ask: Ask, *, body: schemas.SkillForm) -> web.StreamResponse:
    """One field of the table."""
    problem = ""
    try:
        async with ask.services.database.begin() as connection:
            one = KINDS["agent"].of(await centre.load_centre(connection)).get(body.agent)
            if one is None:
                raise not_found()
            skills = {skill: level for skill, level in one.skills.items() if skill != body.skill}
            if body.level:
                skills[body.skill] = int(body.level)
            await configuring.change(connection, by(ask), replace(one, skills=skills), checker=faults)
        await ask.services.settings.configured()
    except BadInputs as bad:
        problem = bad.problem
    except Unfit as unfit:
        problem = unfit.faults[0].problem
    return await ask.page("setting_skill.html", status=422 if problem else 200, problem=problem)


# ── history ───────────────────────────────────────────────────────────────────────────────────────────────


async def show_history(ask: Ask, *, query: schemas.HistoryQuery) -> web.StreamResponse:
    """What was configured, by whom."""
    return await _history_page(ask, query)


async def undo(ask: Ask, *, body: schemas.UndoForm) -> web.StreamResponse:
    """The button that takes a change back."""
    try:
        await configuration.undone(ask, body.change)
    except CannotUndo as refused:
        why = problem_words(ask.language.gettext, refused.why)
        return await _history_page(ask, schemas.HistoryQuery(), refused=(why,), of=body.change, status=409)
    except Unfit as unfit:
        told = configuration.elsewhere(ask, unfit)
        return await _history_page(ask, schemas.HistoryQuery(), refused=told, of=body.change, status=409)
    return redirect("/settings/history")


async def _history_page(
    ask: Ask, query: schemas.HistoryQuery, *, refused: Sequence[str] = (), of: int = 0, status: int = 200
) -> web.StreamResponse:
    changes, before = await configuration.changes_of(ask, query)
    return await ask.page(
        "settings_history.html",
        status=status,
        changes=changes,
        query=query,
        before=before,
        refused=refused,
        refused_of=of,
        homes=configuration.HOMES,
        with_pages=configuration.WITH_PAGES,
        quoted=quote,
    )
