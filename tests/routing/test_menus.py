"""Menus: what is wrong with them is found before a caller meets it, and what is right reaches the dialplan."""

from __future__ import annotations

from dataclasses import replace

from cti.routing.menus import Fault, faults, menu_settings
from cti.routing.plan import Comfort, DnisRoute, Menu, Overflow, OverflowWhen, Plan
from tests.core.plans import SALES, SUPPORT, small_plan

MAIN = Menu(
    "main",
    "Main",
    "welcome",
    {"1": "queue:sales", "2": "menu:who", "*": "language:zh-CN", "9": "voicemail:support", "0": "number:+493099"},
    "queue:support",
)
WHO = Menu("who", "Who", "account", {"#": "queue:sales"}, "menu:main", account_digits=8, has_check_digit=True)


def plan(*menus: Menu, **changes: object) -> Plan:
    base = small_plan(**changes)
    return replace(
        base,
        menus={one.id: one for one in menus},
        routes=(DnisRoute("+49 30 1", SALES, language="zh_CN", menu="main"), DnisRoute("4002", SUPPORT)),
    )


def test_a_sound_plan_has_no_faults_and_reaches_the_dialplan_whole() -> None:
    sound = plan(MAIN, WHO, comfort=Comfort(music="jazz"))
    assert faults(sound) == ()
    assert menu_settings(sound) == {
        "route-menu/49301": "main",
        "route-language/49301": "zh-CN",
        "music/sales": "jazz",
        "menu/main": "welcome:5:3:0:0:queue:support",
        "menu-key/main.1": "queue:sales",
        "menu-key/main.2": "menu:who",
        "menu-key/main.star": "language:zh-CN",
        "menu-key/main.9": "voicemail:support",
        "menu-key/main.0": "number:+493099",
        "menu/who": "account:5:3:8:1:menu:main",
        "menu-key/who.hash": "queue:sales",
    }


def test_everything_that_leads_nowhere_is_named() -> None:
    broken = plan(
        replace(MAIN, options={"1": "queue:gone", "2": "menu:gone", "12": "queue:sales", "3": "skill:english >= 3"}),
        replace(WHO, options={}),
        overflows=(Overflow(OverflowWhen.WAITED, 60, "agent:nobody"),),
        closed_to="message:../../etc/passwd",
    )
    assert set(faults(broken)) == {
        Fault("menu:main", "1", "unknown"),
        Fault("menu:main", "2", "unknown"),
        Fault("menu:main", "12", "no_such_key"),
        Fault("menu:main", "3", "unknown"),
        Fault("menu:who", "#", "needs_account_way"),
        Fault("queue:sales", "overflow", "unknown"),
        Fault("queue:sales", "closed_to", "malformed"),
    }
    assert not any(key.startswith("menu-key/main") for key in menu_settings(broken))


def test_a_caller_who_presses_nothing_must_come_to_an_end() -> None:
    assert faults(plan(replace(MAIN, otherwise="menu:who"), WHO)) == (
        Fault("menu:main", "otherwise", "no_way_out"),
        Fault("menu:who", "otherwise", "no_way_out"),
    )


def test_a_number_that_leads_to_a_menu_that_is_gone_says_so() -> None:
    assert faults(plan(WHO))[0] == Fault("route:+49 30 1", "menu", "unknown")
