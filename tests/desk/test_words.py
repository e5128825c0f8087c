"""Every sentence that a script shows is listed for translation, and no list entry is left over."""

from __future__ import annotations

import re

from tests.desk.stage import WEB
from web.js_messages import JS_MESSAGES

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
