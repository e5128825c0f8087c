"""No message is left untranslated, and no translation loses what is filled in."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from babel.messages.pofile import read_po

import web
from web.js_messages import JS_MESSAGES
from web.languages import DOMAIN, FOLDERS, LOCALES, load_languages
from web.sentences import Decision, Names, PassedOver, problem_text, told, word

if TYPE_CHECKING:
    from babel.messages.catalog import Catalog

WEB = Path(web.__file__).parent
PLACEHOLDER = re.compile(r"%\(\w+\)s|\{\w+\}")


def catalogue(folder: str) -> Catalog:
    with (LOCALES / folder / "LC_MESSAGES" / f"{DOMAIN}.po").open("rb") as file:
        return read_po(file)


@pytest.fixture(scope="module")
def extracted(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """Every message in sources and templates, as they are now."""
    path = tmp_path_factory.mktemp("messages") / "all.pot"
    command = [sys.executable, "-m", "babel.messages.frontend", "-q", "extract", "-F", "locales/babel.cfg"]
    subprocess.run([*command, "-k", "_", "-o", str(path), "."], cwd=WEB, check=True)
    with path.open("rb") as file:
        return read_po(file)


@pytest.mark.parametrize("folder", sorted(FOLDERS.values()))
def test_every_message_is_translated(extracted: Catalog, folder: str) -> None:
    translated = catalogue(folder)
    missing = []
    for message in extracted:
        if not message.id:
            continue
        found = translated.get(message.id)
        texts = found.string if found is not None else ""
        if not all(texts if isinstance(texts, tuple | list) else [texts]):
            missing.append(message.id)
    assert missing == []


@pytest.mark.parametrize("folder", sorted(FOLDERS.values()))
def test_a_translation_fills_in_what_the_message_fills_in(folder: str) -> None:
    for message in catalogue(folder):
        sources = message.id if isinstance(message.id, tuple | list) else [message.id]
        texts = message.string if isinstance(message.string, tuple | list) else [message.string]
        for text in texts:
            assert set(PLACEHOLDER.findall(text)) == set(PLACEHOLDER.findall(sources[0])), message.id


def test_traditional_and_simplified_characters_are_not_mixed() -> None:
    foreign_in = {"zh_Hans": "戶號話錄轉線與為這個時間頁電腦網", "zh_Hant": "户号话录转线与为这个时间页电脑网"}
    for folder, foreign in foreign_in.items():
        texts = "".join(str(message.string) for message in catalogue(folder) if message.id)
        assert not set(texts) & set(foreign), folder


def test_every_message_of_the_scripts_is_listed() -> None:
    used = set()
    for path in sorted((WEB / "static" / "js").rglob("*.js")):
        used |= set(re.findall(r"""\bt\(\s*"((?:[^"\\]|\\.)*)\"""", path.read_text("utf-8")))
    assert used
    assert used - set(JS_MESSAGES) == set()


@pytest.mark.parametrize("tag", sorted(FOLDERS))
def test_codes_of_tomorrow_are_shown_as_they_are(tag: str) -> None:
    gettext = load_languages()[tag].gettext
    names = Names({}, {}, {})
    decision = Decision(0.0, "", "anna", "a_new_rule", [PassedOver("bo", "a_new_reason"), PassedOver("", "other", "3")])
    words = told(gettext, decision, names)
    assert "a new rule" in words.sentence
    assert "a new reason" in words.others[0]
    assert "3" in words.others[1]
    assert word(gettext, "state", "ON_FIRE") == "ON FIRE"
    assert "on fire" in problem_text(gettext, "on_fire")
