"""Checks of what people and programs send. Each names the field and a stable code of the problem."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from crm_core.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SLUG = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")
LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,2}")
ACCOUNT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,39}")
EMAIL = re.compile(r"[^\s@<>\"(),:;\\\[\]]{1,64}@[^\s@<>\"(),:;\\\[\]]{1,180}\.[^\s@<>\"(),:;\\\[\].]{2,63}")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u2028\u2029\ud800-\udfff]")
_LINE_BREAK = re.compile(r"[\r\n\t]")


def text(field: str, value: Any, *, longest: int, is_required: bool = False, has_lines: bool = False) -> str:
    """A text without control characters."""
    if not isinstance(value, str):
        raise BadInput(field, "not_a_text")
    value = value.strip()
    if len(value) > longest:
        raise BadInput(field, "too_long")
    if _CONTROL.search(value) or (not has_lines and _LINE_BREAK.search(value)):
        raise BadInput(field, "control_characters")
    if is_required and not value:
        raise BadInput(field, "required")
    return str(value)


def matching(field: str, value: Any, pattern: re.Pattern[str], *, may_be_empty: bool = False) -> str:
    """A text of one form."""
    if value == "" and may_be_empty:
        return ""
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise BadInput(field, "malformed")
    return str(value)


def slug(field: str, value: Any, *, may_be_empty: bool = False) -> str:
    """A slug: ``^[a-z0-9][a-z0-9._-]{0,39}$``."""
    return matching(field, value, SLUG, may_be_empty=may_be_empty)


def language(field: str, value: Any) -> str:
    """A language tag, or nothing."""
    return matching(field, value, LANGUAGE, may_be_empty=True)


def number(field: str, value: Any, *, least: int, most: int) -> int:
    """A whole number within bounds."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise BadInput(field, "not_a_number")
    if not least <= value <= most:
        raise BadInput(field, "out_of_range")
    return value


def choice(field: str, value: Any, choices: Iterable[str]) -> str:
    """One of the choices."""
    if value not in set(choices):
        raise BadInput(field, "not_a_choice")
    return str(value)


def flag(field: str, value: Any) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise BadInput(field, "not_yes_or_no")
    return value


def labels(field: str, value: Mapping[str, str], *, is_required: bool = True) -> dict[str, str]:
    """Labels by language tag; English must be there when any must."""
    checked = {
        matching(f"{field}.language", tag, LANGUAGE): text(f"{field}.{tag}", label, longest=200)
        for tag, label in value.items()
    }
    if is_required and not checked.get("en"):
        raise BadInput(f"{field}.en", "required")
    return checked
