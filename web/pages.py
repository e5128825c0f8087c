"""Rendering: one Jinja environment per language, autoescape on, missing values an error."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from web.languages import NAMES
from web.rights import Right
from web.sentences import problem_text, word
from web.setting_words import KINDS, choice_word, field_words, kind_word, problem_words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from web.asking import Ask
    from web.languages import Language

TEMPLATES = Path(__file__).parent / "templates"
STATIC = Path(__file__).parent / "static"
JINJA_EXTENSIONS = ("jinja2.ext.i18n",)
SERIOUS_FLAGS = frozenset({"complaint_open", "payment_overdue", "do_not_call", "fraud_watch"})


def is_fragment_asked(request: web.Request) -> bool:
    """Does htmx ask for a part of a page? A restored history entry wants the whole."""
    return request.headers.get("HX-Request") == "true" and request.headers.get("HX-Request-Type", "partial") != "full"


class Pages:
    """The templates in every language."""

    def __init__(self, languages: Mapping[str, Language]) -> None:
        self._environments = {tag: _environment(language) for tag, language in languages.items()}

    async def render(self, ask: Ask, template: str, *, status: int, context: Mapping[str, object]) -> web.Response:
        """An HTML answer in the asker's language."""
        environment = self._environments[ask.language.tag]
        settings = ask.services.settings
        session = ask.session
        is_fragment = is_fragment_asked(ask.request)
        html = await environment.get_template(template).render_async(
            {
                "user": session,
                "csrf": session.csrf if session is not None else "",
                "may_see_floor": session is not None and Right.FLOOR_VIEW in session.rights,
                "may_read_customers": session is not None and Right.CUSTOMERS_READ in session.rights,
                "may_configure": session is not None and Right.ADMIN_CONFIG in session.rights,
                "may_play": session is not None and Right.RECORDINGS_PLAY in session.rights,
                "has_desk": session is not None and session.agent is not None,
                "language": ask.language.tag,
                "languages": NAMES,
                "path": ask.request.path_qs if status < 400 and ask.request.method == "GET" else "/",
                "is_simulated": settings.is_simulated,
                "demo_note": settings.demo_note,
                "is_fragment": is_fragment,
                "layout": "fragment.html" if is_fragment else "base.html",
                "now": ask.now,
                **context,
            }
        )
        return web.Response(
            status=status,
            body=html.encode("utf-8", "replace"),
            content_type="text/html",
            charset="utf-8",
            headers={"Vary": "Cookie, Accept-Language, HX-Request, HX-Request-Type"},
        )

    def problem_text(self, language: Language, code: str) -> str:
        """What is said to a person about an error code."""
        return problem_text(language.gettext, code)


@lru_cache(maxsize=len(NAMES))
def _environment(language: Language) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        enable_async=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=JINJA_EXTENSIONS,
    )
    translations: Any = environment
    translations.install_gettext_translations(language.translations, newstyle=True)
    environment.globals["serious_flags"] = SERIOUS_FLAGS
    environment.filters.update(
        iso=iso,
        moment=moment,
        clock=clock,
        percent=percent,
        word=lambda code, group: word(language.gettext, group, code),
        problem=lambda code: problem_text(language.gettext, code),
        object_word=lambda kind: (
            kind_word(language.gettext, kind) if kind in KINDS else word(language.gettext, "object", kind)
        ),
        kind_word=lambda kind: kind_word(language.gettext, kind),
        choice_word=lambda choice: choice_word(language.gettext, choice),
        said=lambda choice: (choice, choice_word(language.gettext, choice)),
        same=lambda choice: (choice, choice),
        pair=lambda one: (getattr(one, "slug", None) or one.code, one.name),
        field_words=lambda name: field_words(language.gettext, name),
        problem_words=lambda code: problem_words(language.gettext, code),
    )
    return environment


def iso(at: float) -> str:
    """A point in time as ISO 8601 in UTC, for ``<time datetime>``; the browser shows it in the person's own zone."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def moment(at: float) -> str:
    """A point in time for people, until the browser has put it into their own zone."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def percent(share: float) -> str:
    """A share of 0–1 in whole percent."""
    return f"{share * 100:.0f} %"


def clock(seconds: float | None) -> str:
    """A duration as ``m:ss`` or ``h:mm:ss``."""
    if seconds is None:
        return "–"
    whole = max(0, int(seconds))
    hours, rest = divmod(whole, 3600)
    if hours:
        return f"{hours}:{rest // 60:02}:{rest % 60:02}"
    return f"{rest // 60}:{rest % 60:02}"
