"""The configured centre as TOML files, for those who keep it in git: one file, or a folder with a file for each kind.

The same centre always gives the same text. What is as it is anyway is left out. A kind of which a file says nothing at
all stays as it is stored; an empty table of a kind means that there are none.
"""

from __future__ import annotations

import json
import re
import tomllib
from typing import TYPE_CHECKING, Any

from crm_core.centre import Centre
from crm_core.configuring import KINDS
from crm_core.errors import BadInputs, CrmError, Unfit
from crm_core.shapes import plain, read

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from crm_core.configuring import Difference, Kind

WIDEST = 110
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_NOT_LITERAL = re.compile(r"['\\\x00-\x1f\x7f-\x9f]")
_CONTROLS = re.compile(r"[\x7f-\x9f]")


class BadFiles(CrmError):
    """The files can't be taken; ``lines`` says for each fault file, field and why."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = tuple(lines)


def written(stored: Centre) -> dict[str, str]:
    """File name → text, a file for each kind."""
    return {f"{kind.plural}.toml": "\n".join(_kind(kind, stored)) + "\n" for kind in KINDS.values()}


def written_as_one(stored: Centre) -> str:
    """The same as one text."""
    return "\n".join(written(stored).values())


def understood(texts: Mapping[str, str], stored: Centre) -> Centre:
    """The centre that these files (name → text) describe, with what they say nothing of as it is ``stored``. Raises
    ``BadFiles`` with everything that is wrong."""
    lines: list[str] = []
    found: dict[str, Any] = {}
    homes: dict[str, str] = {}
    for name in sorted(texts):
        try:
            tables = tomllib.loads(texts[name])
        except tomllib.TOMLDecodeError as error:
            lines.append(f"{name}: is not valid TOML: {error}")
            continue
        for plural, table in tables.items():
            if plural in found:
                lines.append(f"{name}: {plural}: is in {homes[plural]} already")
            elif not isinstance(table, dict):
                lines.append(f"{name}: {plural}: is not a table")
            else:
                found[plural], homes[plural] = table, name
    known = {kind.plural: kind for kind in KINDS.values()}
    lines += [f"{homes[plural]}: {plural}: there is no such kind of setting" for plural in found.keys() - known.keys()]
    sides = {
        plural: _read(kind, found[plural], homes[plural], lines) if plural in found else getattr(stored, plural)
        for plural, kind in known.items()
    }
    if lines:
        raise BadFiles(sorted(lines))
    return Centre(**sides)


def blamed(unfit: Unfit, texts: Mapping[str, str]) -> BadFiles:
    """What does not fit together, by file and field."""
    lines = []
    for one in unfit.faults:
        plural = KINDS[one.kind].plural
        name = next((name for name in texts if len(texts) == 1 or name == f"{plural}.toml"), plural)
        at = "" if one.position is None else f" at character {one.position + 1}"
        lines.append(f"{name}: {plural}.{one.key}.{one.field}: {one.problem}{at}")
    return BadFiles(lines)


def shown(differences: list[Difference]) -> Iterator[str]:
    """What changes, line by line, as people read it."""
    for one in differences:
        sign = {"create": "+", "remove": "-", "change": "~"}[one.action]
        yield f"{sign} {one.kind} {one.key}"
        if one.action == "remove":
            continue
        for field, was, now in one.fields():
            yield f"    {field}: {_value(now)}" if was is None else f"    {field}: {_value(was)} → {_value(now)}"


def _read(kind: Kind, table: dict[str, Any], home: str, lines: list[str]) -> Any:
    entries = {next(iter(kind.of(_EMPTY))): table} if kind.is_alone else table
    made = []
    for key, entry in entries.items():
        where = kind.plural if kind.is_alone else f"{kind.plural}.{key}"
        if not isinstance(entry, dict) or kind.key in entry:
            lines.append(
                f"{home}: {where}: {'is not a table' if not isinstance(entry, dict) else 'has its name twice'}"
            )
            continue
        try:
            made.append(read(kind.type, {kind.key: key, **entry}, where=where))
        except BadInputs as bad:
            lines += [f"{home}: {field}: {problem}" for field, problem in bad.faults]
    return made[0] if kind.is_alone and made else tuple(made)


def _kind(kind: Kind, stored: Centre) -> Iterator[str]:
    entries = kind.of(stored)
    if kind.is_alone:
        yield from _table((kind.plural,), _brief(kind, next(iter(entries.values()))), is_empty_shown=True)
        return
    if not entries:
        yield f"[{kind.plural}]"
    for place, key in enumerate(sorted(entries)):
        if place:
            yield ""
        yield from _table((kind.plural, key), _brief(kind, entries[key]), is_empty_shown=True)


def _brief(kind: Kind, one: Any) -> dict[str, Any]:
    return {name: value for name, value in plain(one, is_brief=True).items() if name != kind.key}


def _table(path: tuple[str, ...], fields: dict[str, Any], *, is_empty_shown: bool) -> Iterator[str]:
    lines, inner = [], []
    for name, value in fields.items():
        line = f"{_key(name)} = {_inline(value)}"
        is_list_of_tables = isinstance(value, list) and any(isinstance(one, dict) for one in value)
        if len(line) <= WIDEST and not is_list_of_tables:
            lines.append(line)
        elif isinstance(value, dict):
            inner.append((name, value))
        elif isinstance(value, list):
            lines += [f"{_key(name)} = [", *(f"    {_inline(one)}," for one in value), "]"]
        else:
            lines.append(line)
    if lines or is_empty_shown:
        yield f"[{'.'.join(_key(part) for part in path)}]"
    yield from lines
    for name, value in inner:
        yield ""
        yield from _table((*path, name), value, is_empty_shown=True)


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        inside = ", ".join(f"{_key(name)} = {_inline(one)}" for name, one in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, list):
        return f"[{', '.join(_inline(one) for one in value)}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return _text(value) if isinstance(value, str) else repr(value)


def _text(value: str) -> str:
    if '"' in value and not _NOT_LITERAL.search(value):
        return f"'{value}'"
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _text(name)


def _value(value: object) -> str:
    return "nothing" if value is None else json.dumps(value, ensure_ascii=False)


_EMPTY = Centre((), (), (), (), (), ())
