"""Menus as the dialplan keeps them, and what is wrong with the destinations that a plan names.

The dialplan serves menus by itself (``dialplans/menus.conf``), from settings that are mirrored into the PBX: a change
counts from the next caller on, and a dead daemon changes nothing. So whatever is wrong must be found before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cti.ids import AgentId, QueueId
from cti.routing.plan import DESTINATION_KINDS, Menu, Plan

KEYS = "0123456789*#"
NAME_OF_KEY = {"*": "star", "#": "hash"}
MOST_ACCOUNT_DIGITS = 20

_NUMBER = re.compile(r"\+?[0-9]{3,20}")
_PROMPT = re.compile(r"[a-z0-9][a-z0-9._-]{0,59}")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z]{2,8})?")


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong with a destination. ``where``: ``menu:<id>``, ``route:<number>`` or ``queue:<id>``; ``key``: the
    option, ``otherwise``, ``closed_to``, ``overflow`` or ``prompt``. ``problem``: ``unknown`` (there is none of that
    name), ``malformed``, ``no_such_key``, ``no_way_out`` (who presses nothing goes round for ever),
    ``needs_account_way`` (an account number was typed, and ``#`` leads nowhere)."""

    where: str
    key: str
    problem: str


def faults(plan: Plan) -> tuple[Fault, ...]:
    """Everything that is wrong with the plan's menus and destinations; empty: nothing."""
    return tuple(_faults(plan))


def _faults(plan: Plan) -> Iterator[Fault]:
    for route in plan.routes:
        if route.menu and route.menu not in plan.menus:
            yield Fault(f"route:{route.dnis}", "menu", "unknown")
    for queue in plan.queues.values():
        named = [("closed_to", queue.closed_to)] if queue.closed_to else []
        named += [("overflow", one.to) for one in queue.overflows]
        for key, to in named:
            if (problem := destination_problem(plan, to)) is not None:
                yield Fault(f"queue:{queue.id}", key, problem)
    for menu in plan.menus.values():
        yield from _faults_of(plan, menu)


def _faults_of(plan: Plan, menu: Menu) -> Iterator[Fault]:
    where = f"menu:{menu.id}"
    if _PROMPT.fullmatch(menu.prompt) is None:
        yield Fault(where, "prompt", "malformed")
    for key, to in menu.options.items():
        if len(key) != 1 or key not in KEYS:
            yield Fault(where, key, "no_such_key")
        elif (problem := destination_problem(plan, to, is_option=True)) is not None:
            yield Fault(where, key, problem)
    if menu.account_digits > 0 and "#" not in menu.options:
        yield Fault(where, "#", "needs_account_way")
    if (problem := destination_problem(plan, menu.otherwise)) is not None:
        yield Fault(where, "otherwise", problem)
    elif not _leads_out(plan, menu):
        yield Fault(where, "otherwise", "no_way_out")


def _leads_out(plan: Plan, menu: Menu) -> bool:
    """Whether a caller who presses nothing, in this menu and in all that follow, comes to an end of menus."""
    seen = {menu.id}
    to = menu.otherwise
    while to.startswith("menu:"):
        found = plan.menus.get(to.removeprefix("menu:"))
        if found is None or found.id in seen:
            return False
        seen.add(found.id)
        to = found.otherwise
    return True


def destination_problem(plan: Plan, to: str, *, is_option: bool = False) -> str | None:
    """What is wrong with a destination of a waiting caller or (``is_option``) of a menu's key; None: nothing."""
    kind, _, value = to.partition(":")
    match kind:
        case "language" if is_option:
            return None if _LANGUAGE.fullmatch(value) else "malformed"
        case "queue" | "voicemail":
            return None if QueueId(value) in plan.queues else "unknown"
        case "agent":
            return None if AgentId(value) in plan.agents else "unknown"
        case "menu":
            return None if value in plan.menus else "unknown"
        case "number":
            return None if _NUMBER.fullmatch(value) else "malformed"
        case "message":
            return None if _PROMPT.fullmatch(value) else "malformed"
        case _:
            # A skill is asked of agents by agents: the dialplan knows none.
            return "unknown" if kind in DESTINATION_KINDS else "malformed"


def menu_settings(plan: Plan) -> Mapping[str, str]:
    """What the dialplan needs: key of a ``MirrorSetting`` → value. Destinations that do not exist are left out."""
    settings: dict[str, str] = {}
    for route in plan.routes:
        digits = re.sub("[^0-9]", "", route.dnis)
        if digits and route.menu in plan.menus:
            settings[f"route-menu/{digits}"] = route.menu
        if digits and _LANGUAGE.fullmatch(route.language):
            settings[f"route-language/{digits}"] = route.language.replace("_", "-")
    for queue in plan.queues.values():
        if _PROMPT.fullmatch(queue.comfort.music):
            settings[f"music/{queue.id}"] = queue.comfort.music
    for menu in plan.menus.values():
        is_sound = _PROMPT.fullmatch(menu.prompt) and destination_problem(plan, menu.otherwise) is None
        if not is_sound:
            continue
        digits = str(min(max(0, menu.account_digits), MOST_ACCOUNT_DIGITS))
        has_check_digit = "1" if menu.has_check_digit else "0"
        settings[f"menu/{menu.id}"] = ":".join(
            (menu.prompt, str(menu.timeout_s), str(menu.tries), digits, has_check_digit, menu.otherwise)
        )
        for key, to in menu.options.items():
            if key in KEYS and len(key) == 1 and destination_problem(plan, to, is_option=True) is None:
                settings[f"menu-key/{menu.id}.{NAME_OF_KEY.get(key, key)}"] = to
    return settings
