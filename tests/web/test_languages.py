from __future__ import annotations

import pytest

from web.languages import negotiate


@pytest.mark.parametrize(
    ("accept", "tag"),
    [
        (None, "en"),
        ("", "en"),
        ("de-DE,de;q=0.9", "en"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh-Hans"),
        ("zh-SG", "zh-Hans"),
        ("zh", "zh-Hans"),
        ("zh-TW,zh;q=0.9", "zh-Hant"),
        ("zh-HK", "zh-Hant"),
        ("zh-MO", "zh-Hant"),
        ("zh-Hant-CN", "zh-Hant"),
        ("zh-Hans-TW", "zh-Hans"),
        ("ZH-hant", "zh-Hant"),
        ("fr, zh-TW;q=0.4, en;q=0.6", "en"),
        ("en;q=0, zh-CN;q=0.1", "zh-Hans"),
        ("en;q=bad, zh-CN;q=0.1", "zh-Hans"),
        (";;;,,,q=", "en"),
        ("*", "en"),
    ],
)
def test_the_browser_is_asked_when_nobody_chose(accept: str | None, tag: str) -> None:
    assert negotiate(chosen=None, cookie=None, accept=accept) == tag


def test_the_persons_choice_outranks_the_cookie_and_the_cookie_the_browser() -> None:
    assert negotiate(chosen="zh-Hant", cookie="zh-Hans", accept="en") == "zh-Hant"
    assert negotiate(chosen="", cookie="zh-Hans", accept="en") == "zh-Hans"
    assert negotiate(chosen=None, cookie="../../etc", accept="en") == "en"
