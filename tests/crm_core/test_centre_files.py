"""The centre as files: written, read, and the same again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm_core import centre, centre_files
from crm_core.centre import Centre
from crm_core.centre_files import BadFiles
from tests.crm_core.test_centre import (
    AGENT,
    CALENDAR,
    DISPOSITION,
    JURISDICTION,
    MENU,
    PRODUCT,
    QUEUE,
    REASON,
    ROUTE,
    SITE,
)

if TYPE_CHECKING:
    from collections.abc import Callable

WHOLE = Centre(
    (QUEUE,), (AGENT,), (ROUTE,), (REASON,), (DISPOSITION,), (PRODUCT,), (JURISDICTION,), (CALENDAR,), (MENU,), SITE
)
NOTHING = Centre((), (), (), (), (), ())
texts = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), max_size=300).map(str.strip)
slugs = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,12}", fullmatch=True)


def queues(slug: str) -> st.SearchStrategy[centre.Queue]:
    steps = st.lists(texts, max_size=4).map(
        lambda said: tuple(centre.Step(after_s=place * 30, text=one) for place, one in enumerate(said))
    )
    return st.builds(
        centre.Queue,
        slug=st.just(slug),
        name=texts.map(lambda one: one[:80] or "-"),
        steps=steps,
        service_level_target=st.floats(0, 1),
        priority=st.integers(-100, 100),
        is_active=st.booleans(),
        callback=st.none() | st.builds(centre.Callback, ring_s=st.integers(5, 120)),
    )


centres = st.builds(
    Centre,
    queues=st.lists(slugs, max_size=3, unique=True).flatmap(
        lambda names: st.tuples(*(queues(one) for one in sorted(names)))
    ),
    agents=st.just(()) | st.just((AGENT, replace(AGENT, slug="zoe", endpoint="agent2"))),
    routes=st.just(()) | st.just((ROUTE,)),
    reasons=st.just(()),
    dispositions=st.just(()),
    products=texts.map(lambda said: (replace(PRODUCT, summary=f'"{said}\n\\'),)),
    site=st.builds(
        centre.SiteRules,
        tiers=st.dictionaries(slugs, st.integers(-100, 100), max_size=30),
        is_spying_shown=st.booleans(),
    ),
)


@settings(max_examples=30, deadline=None)
@given(centres)
def test_what_was_written_is_read_and_written_the_same(stored: Centre) -> None:
    files = centre_files.written(stored)
    again = centre_files.understood(files, WHOLE)
    assert centre_files.written(again) == files
    assert again == stored
    assert centre_files.understood({"all.toml": centre_files.written_as_one(stored)}, WHOLE) == stored


def test_a_kind_that_is_in_no_file_stays_as_it_is() -> None:
    files = {"queues.toml": centre_files.written(NOTHING)["queues.toml"]}
    assert centre_files.understood(files, WHOLE) == replace(WHOLE, queues=())


def test_a_file_reads_well() -> None:
    assert centre_files.written(WHOLE)["queues.toml"] == (
        "[queues.sales]\n"
        'name = "Sales"\n'
        "steps = [\n"
        '    { after_s = 0, text = "english >= 3" },\n'
        '    { after_s = 30, text = "" },\n'
        "]\n"
        'calendar = "office"\n'
        'closed_to = "voicemail:sales"\n'
        "overflows = [\n"
        '    { when = "waited", limit = 300, to = "number:+8610123" },\n'
        "]\n"
        'comfort = { music = "calm", says_wait = true, callback_after_s = 60 }\n'
        'callback = { calendar = "office", trunk = "carrier" }\n'
        'product = "fiber"\n'
        "is_default = true\n"
    )


def edited(name: str, old: str, new: str) -> dict[str, str]:
    files = centre_files.written(WHOLE)
    assert old in files[name]
    return {**files, name: files[name].replace(old, new)}


WRONG: tuple[tuple[Callable[[], dict[str, Any]], str], ...] = (
    (lambda: edited("queues.toml", "= 30,", '= "30",'), "queues.toml: queues.sales.steps.1.after_s: not_a_number"),
    (lambda: edited("queues.toml", "waited", "later"), "queues.toml: queues.sales.overflows.0.when: not_a_choice"),
    (lambda: edited("queues.toml", "is_def", "is_dfe"), "queues.toml: queues.sales.is_dfeault: unknown_field"),
    (lambda: edited("agents.toml", 'name = "李伟"\n', ""), "agents.toml: agents.li.wei.name: required"),
    (lambda: edited("menus.toml", "[menus.", "[menu."), "menus.toml: menu: there is no such kind of setting"),
    (lambda: {**centre_files.written(WHOLE), "z.toml": "[queues]"}, "z.toml: queues: is in queues.toml already"),
    (lambda: {"a.toml": "queues = 3"}, "a.toml: queues: is not a table"),
    (lambda: {"a.toml": "[queues]\nsales = 3"}, "a.toml: queues.sales: is not a table"),
)


@pytest.mark.parametrize(("make", "line"), WRONG)
def test_what_is_wrong_is_named_by_file_and_field(make: Callable[[], dict[str, str]], line: str) -> None:
    with pytest.raises(BadFiles) as refused:
        centre_files.understood(make(), NOTHING)
    assert refused.value.lines == (line,)


def test_everything_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(BadFiles) as refused:
        centre_files.understood({"a.toml": "[queues\n", "b.toml": '[queues.A]\nname = ""\nwrap_up_s = -1'}, NOTHING)
    assert [line.split(": ")[:2] for line in refused.value.lines] == [
        ["a.toml", "is not valid TOML"],
        ["b.toml", "queues.A.name"],
        ["b.toml", "queues.A.slug"],
        ["b.toml", "queues.A.wrap_up_s"],
    ]
