"""Every sentence that a script shows is listed for translation, and no list entry is left over."""

from __future__ import annotations

import re

from cti.routing.plan import Preferred, Selection
from tests.desk.stage import WEB
from web.js_messages import JS_MESSAGES
from web.words import WORDS

SHOWN = re.compile(r'\bt\(\s*"((?:[^"\\]|\\.)*)"')
SCRIPTS = sorted((WEB / "static" / "js").glob("*.js"))


def test_scripts_show_exactly_the_listed_sentences() -> None:
    shown = {text for script in SCRIPTS for text in SHOWN.findall(script.read_text())}
    assert shown == set(JS_MESSAGES)
    assert len(JS_MESSAGES) == len(set(JS_MESSAGES))


def test_scripts_never_make_markup_of_data() -> None:
    forbidden = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function")
    swap = '"innerHTML"'
    found = [script.name for script in SCRIPTS if forbidden.search(script.read_text().replace(swap, ""))]
    assert found == []


def test_modules_stay_small() -> None:
    assert [script.name for script in SCRIPTS if len(script.read_text().splitlines()) >= 300] == []


def words_of_scripts() -> dict[str, set[str]]:
    """Group → codes that ``words.js`` has a word for."""
    text = (WEB / "static" / "js" / "words.js").read_text()
    groups = re.findall(r"^  (\w+): \(\) => \(\{(.*?)\}\)", text, re.DOTALL | re.MULTILINE)
    return {group: set(re.findall(r"(\w+): t\(", body)) for group, body in groups}


def test_every_code_that_a_desk_shows_has_a_word() -> None:
    said = words_of_scripts()
    known: dict[str, set[str]] = {}
    for word in WORDS:
        group, _, code = word.partition(".")
        known.setdefault(group, set()).add(code)
    for group in ("state", "reason", "tier", "status", "flag", "relation"):
        assert known[group] - said[group] == set(), group
    assert known["desk"] - said["reason"] - said["stale"] == set()
    assert known["basis"] - {"announced", "consent"} - said["unrecorded"] == set()
    assert {phase for phase in known["phase"] if phase not in {"offered", "waiting", "fallback"}} <= said["phase"]
    rules = {choice.value for choice in Selection} | {
        f"preferred_{one.value}" for one in Preferred if one.value != "none"
    }
    assert rules - said["why"] == set()
