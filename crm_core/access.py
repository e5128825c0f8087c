"""The one place where a role's field rules apply. Every function that returns customer data passes its rows through
``FieldRules.visible``; every search asks ``may_search``; every change asks ``require_write``.

Only restrictions are stored (``field_rule``); the strictest wins. A rule on one field governs every other place where
the same thing shows: who may not read ``phone.e164`` finds no number in an interaction, a leg or a card either, and
runs of digits that could be one are blotted out of free text. Masks are applied here, on the server.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from crm_core.errors import Refused
from crm_core.schema import agent, field_rule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sqlalchemy.ext.asyncio import AsyncConnection

Row = dict[str, Any]


class Access(IntEnum):
    """What a role may do with a field, strictest first."""

    NONE = 0
    MASK = 1
    READ = 2
    WRITE = 3


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads: user name, role, and the agent's slug if the user is one."""

    user: str
    role: str
    agent: str | None = None


PHONE = ("phone", "e164")
EMAIL = ("party", "email")
NAME = ("party", "name")

# A rule on the field on the left also governs these.
_ALSO: dict[tuple[str, str], tuple[tuple[str, str], ...]] = {
    PHONE: (
        ("party", "numbers"),
        ("phone", "digits"),
        ("phone", "extension"),
        ("interaction", "ani_e164"),
        ("interaction", "ani_raw"),
        ("leg", "number"),
    ),
    EMAIL: (("email", "address"),),
    NAME: (("party", "company"), ("party", "name_key"), ("interaction", "ani_name")),
    ("party", "company"): (("party", "company_key"),),
    ("party", "account_number"): (("interaction", "account"), ("party", "account_digits")),
    ("party", "birthday"): (("party", "birthday_month"), ("party", "birthday_day"), ("party", "birthday_year")),
    ("party", "created_at"): (("party", "since"),),
    ("party", "owner"): (("party", "owner_name"),),
    ("interaction", "started_at"): (("interaction", "at"),),
    ("interaction", "party_id"): (("interaction", "party"), ("interaction", "candidates")),
    ("interaction", "queue"): (("interaction", "queue_name"),),
    ("interaction", "agent"): (("interaction", "agent_name"), ("interaction", "from_agent")),
    ("recording", "file"): (("interaction", "has_recording"),),
}
# Free text in which a number may stand.
_TEXT_WITH_NUMBERS = (
    NAME,
    ("party", "company"),
    ("interaction", "ani_name"),
    ("interaction", "note"),
    ("interaction", "account"),
    ("leg", "endpoint"),
)
_RUN_OF_DIGITS = re.compile(r"\+?\d(?:[\s().\-/]{0,2}\d){6,}")
BLOT = "•••"


def mask_number(value: str) -> str:
    """The last three digits only."""
    return f"{BLOT}{value[-3:]}" if len(value) >= 7 else BLOT


def mask_email(value: str) -> str:
    """The first letter only."""
    return f"{value[:1]}{BLOT}@{BLOT}"


def mask_text(value: str) -> str:
    """The first letter only."""
    return f"{value[:1]}{BLOT}" if value else value


def without_numbers(value: str) -> str:
    """A text without the runs of seven and more digits in it."""
    return _RUN_OF_DIGITS.sub(BLOT, value)


@dataclass(frozen=True, slots=True)
class _Limit:
    access: Access
    mask: Callable[[str], str]


_MASKS: dict[tuple[str, str], Callable[[str], str]] = {PHONE: mask_number, EMAIL: mask_email}


class FieldRules:
    """The field rules of all roles, compiled once per role. ``rules``: (role, object, field, access);
    ``blind_agents``: agents who may not see numbers whatever their role."""

    def __init__(self, rules: Iterable[tuple[str, str, str, str]] = (), blind_agents: Iterable[str] = ()) -> None:
        self._rules = tuple((role, kind, field, Access[access.upper()]) for role, kind, field, access in rules)
        self._blind_agents = frozenset(blind_agents)
        self._compiled: dict[tuple[str, bool], Mapping[str, Mapping[str, tuple[_Limit, ...]]]] = {}

    @classmethod
    async def load(cls, connection: AsyncConnection) -> FieldRules:
        """The rules as stored now."""
        rules = await connection.execute(
            select(field_rule.c.role, field_rule.c.object, field_rule.c.field, field_rule.c.access)
        )
        blind = await connection.scalars(select(agent.c.slug).where(agent.c.may_see_numbers.is_(False)))
        return cls([(role, kind, field, access) for role, kind, field, access in rules], list(blind))

    def access(self, reader: Reader, kind: str, field: str) -> Access:
        """What ``reader`` may do with ``field`` of a ``kind`` of record."""
        limits = self._limits(reader).get(kind, {}).get(field, ())
        return min((limit.access for limit in limits if limit.mask is not without_numbers), default=Access.WRITE)

    def may_read(self, reader: Reader, kind: str, field: str) -> bool:
        """Whether the whole value may be shown."""
        return self.access(reader, kind, field) >= Access.READ

    def may_search(self, reader: Reader, kind: str, field: str) -> bool:
        """Whether records may be found or sorted by this field. A masked field may not: guessing would reveal it."""
        return self.may_read(reader, kind, field)

    def require_write(self, reader: Reader, kind: str, fields: Iterable[str]) -> None:
        """``Refused`` unless all these fields may be changed."""
        for field in fields:
            if self.access(reader, kind, field) < Access.WRITE:
                raise Refused("field_not_writable", f"{kind}.{field}")

    def visible(self, reader: Reader, kind: str, row: Row) -> Row:
        """``row`` as ``reader`` may see it: hidden fields are absent, masked ones masked."""
        limits = self._limits(reader).get(kind)
        if not limits:
            return row
        seen: Row = {}
        for field, value in row.items():
            for limit in limits.get(field, ()):
                if limit.access is Access.NONE:
                    break
                if limit.access is Access.MASK:
                    value = _masked(value, limit.mask)
                    if value is None:
                        break
            else:
                seen[field] = value
        if isinstance(custom := seen.get("custom"), dict):
            seen["custom"] = self._visible_custom(custom, limits)
        return seen

    def visible_detail(self, reader: Reader, kind: str, detail: Row) -> Row:
        """An audit record's detail: field → value or [before, after]."""
        return self.visible(reader, kind, detail)

    def _visible_custom(self, custom: Row, limits: Mapping[str, tuple[_Limit, ...]]) -> Row:
        renamed = {f"custom.{key}": value for key, value in custom.items()}
        seen: Row = {}
        for field, value in renamed.items():
            shown: Any = value
            for limit in limits.get(field, ()):
                shown = _masked(shown, limit.mask) if limit.access is Access.MASK else shown
                shown = None if limit.access is Access.NONE else shown
            if shown is not None or value is None:
                seen[field.removeprefix("custom.")] = shown
        return seen

    def _limits(self, reader: Reader) -> Mapping[str, Mapping[str, tuple[_Limit, ...]]]:
        key = (reader.role, reader.agent in self._blind_agents)
        if key not in self._compiled:
            self._compiled[key] = self._compile(*key)
        return self._compiled[key]

    def _compile(self, role: str, is_blind: bool) -> Mapping[str, Mapping[str, tuple[_Limit, ...]]]:
        stated = [(kind, field, access) for whose, kind, field, access in self._rules if whose == role]
        if is_blind:
            stated.append((*PHONE, Access.NONE))
        found: dict[str, dict[str, tuple[_Limit, ...]]] = {}

        def limit(kind: str, field: str, access: Access, mask: Callable[[str], str]) -> None:
            fields = found.setdefault(kind, {})
            fields[field] = (*fields.get(field, ()), _Limit(access, mask))

        for kind, field, access in stated:
            source = (kind, field)
            mask = _MASKS.get(source, mask_text)
            for also_kind, also_field in (source, *_ALSO.get(source, ())):
                limit(also_kind, also_field, access, mask)
            if source == PHONE and access < Access.READ:
                for text_kind, text_field in _TEXT_WITH_NUMBERS:
                    limit(text_kind, text_field, Access.MASK, without_numbers)
        return found


def _masked(value: Any, mask: Callable[[str], str]) -> Any:
    """A masked value, or None where nothing of it can be shown."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, list):
        return [shown for item in value if (shown := _masked(item, mask)) is not None]
    return None
