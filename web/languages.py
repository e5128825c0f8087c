"""Languages of the pages: which one a person gets, and the catalogue behind it.

The catalogues are gettext PO files, read once at start; there are no compiled files to forget.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import Translations

from web.js_messages import JS_MESSAGES

if TYPE_CHECKING:
    from collections.abc import Mapping

LOCALES = Path(__file__).parent / "locales"
DOMAIN = "callfloor"
COOKIE = "callfloor_language"
DEFAULT = "en"

FOLDERS: Mapping[str, str] = {"en": "en", "zh-Hans": "zh_Hans", "zh-Hant": "zh_Hant"}
"""Language tag (BCP 47, as in ``<html lang>``) → folder of its catalogue."""

NAMES: Mapping[str, str] = {"en": "English", "zh-Hans": "简体中文", "zh-Hant": "繁體中文"}
"""Each language under its own name."""

_TRADITIONAL = frozenset({"hant", "tw", "hk", "mo"})
_MOST_ASKED = 20


def known(tag: str | None) -> str | None:
    """The tag itself if it is a language of ours."""
    return tag if tag in FOLDERS else None


def negotiate(*, chosen: str | None, cookie: str | None, accept: str | None) -> str:
    """The person's own choice, else the browser's cookie, else what the browser asks for, else English."""
    return known(chosen) or known(cookie) or _accepted(accept or "") or DEFAULT


def _accepted(header: str) -> str | None:
    asked: list[tuple[float, str]] = []
    for part in header.split(",")[:_MOST_ASKED]:
        tag, _semicolon, weight = part.strip().partition(";")
        try:
            quality = float(weight.strip().removeprefix("q=")) if weight else 1.0
        except ValueError:
            continue
        ours = _ours(tag.strip().lower())
        if ours is not None and quality > 0:
            asked.append((quality, ours))
    return max(asked, key=lambda one: one[0])[1] if asked else None


def _ours(tag: str) -> str | None:
    first, *rest = tag.split("-")
    if first == "en":
        return "en"
    if first == "zh":
        if "hans" in rest:
            return "zh-Hans"
        return "zh-Hant" if _TRADITIONAL.intersection(rest) else "zh-Hans"
    return None


@dataclass(frozen=True, slots=True)
class Language:
    """One language: its tag and its catalogue."""

    tag: str
    translations: Translations

    def gettext(self, message: str) -> str:
        """The message in this language; English where there is no translation."""
        return self.translations.ugettext(message)

    def js_messages(self) -> dict[str, str]:
        """Everything that scripts may show: English text → translation."""
        return {message: self.gettext(message) for message in JS_MESSAGES}


def load_languages(folder: Path = LOCALES) -> dict[str, Language]:
    """Tag → language. Raises ``OSError`` when a catalogue is missing."""
    return {tag: Language(tag, _read(folder / name / "LC_MESSAGES" / f"{DOMAIN}.po")) for tag, name in FOLDERS.items()}


@lru_cache(maxsize=len(FOLDERS))
def _read(path: Path) -> Translations:
    compiled = io.BytesIO()
    with path.open("rb") as file:
        write_mo(compiled, read_po(file))
    compiled.seek(0)
    return Translations(compiled, DOMAIN)
