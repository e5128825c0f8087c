"""Settings as forms. A field inside another has its whole name (``steps.1.text``); rows of a table that is filled in
by hand are numbered, with ``key`` and ``value`` (``days.0.key``). Rows that were left empty are not there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from crm_core.errors import BadInputs
from crm_core.shapes import plain, read

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crm_core.configuring import Kind

PERCENT = frozenset({"service_level_target", "most_occupied"})
"""Shares that people write in percent."""
ROWS: Mapping[str, frozenset[str]] = {
    "agent": frozenset({"skills"}),
    "calendar": frozenset({"days"}),
    "site": frozenset({"tiers"}),
}
"""Kind → tables of key and value."""
LISTS: Mapping[str, frozenset[str]] = {"queue": frozenset({"steps", "overflows"}), "agent": frozenset({"queues"})}
OPTIONAL: Mapping[str, frozenset[str]] = {"queue": frozenset({"callback"})}
"""Kind → parts that are there when ``<part>.is_on`` is ticked."""
WORDS: Mapping[str, tuple[str, ...]] = {
    "site": ("outside_allowed", "outside_refused"),
    "queue": ("callback.prefixes",),
}
"""Kind → lists that people write in one field, with blanks between."""
MOST_ROWS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A setting as a form shows it. ``values``: field → text; ``problems``: field → code; ``elsewhere``: faults of
    other settings, in words; ``seen``: the newest change of it when the form was made."""

    kind: str
    key: str
    values: Mapping[str, str]
    problems: Mapping[str, str] = field(default_factory=dict)
    elsewhere: tuple[str, ...] = ()
    seen: int = 0
    is_new: bool = False

    def rows(self, name: str) -> list[int]:
        """The numbers of the rows of ``name`` in which something stands."""
        prefix = f"{name}."
        parts = {one.removeprefix(prefix).split(".")[0] for one in self.values if one.startswith(prefix)}
        return sorted(int(one) for one in parts if one.isdecimal() and len(one) < 5 and self._is_filled(prefix + one))

    def _is_filled(self, row: str) -> bool:
        return any(value.strip() for name, value in self.values.items() if name == row or name.startswith(f"{row}."))


def texts(kind: Kind, one: Any) -> dict[str, str]:
    """The texts of a form's fields."""
    data = plain(one)
    for name in ROWS.get(kind.name, ()):
        data[name] = [{"key": key, "value": value} for key, value in data[name].items()]
    for name in OPTIONAL.get(kind.name, ()):
        data[name] = {"is_on": False} if data[name] is None else {"is_on": True, **data[name]}
    flat: dict[str, str] = {}
    _flatten(data, "", flat)
    for name in WORDS.get(kind.name, ()):
        words = [flat.pop(one) for one in list(flat) if one.startswith(f"{name}.")]
        flat[name] = " ".join(words)
    for name in PERCENT & flat.keys():
        flat[name] = f"{float(flat[name]) * 100:.4g}"
    return flat


def understood(kind: Kind, values: Mapping[str, str]) -> Any:
    """The setting that a form describes. Raises ``BadInputs``, by the form's own names."""
    data: dict[str, Any] = {}
    faults: list[tuple[str, str]] = []
    for name, value in values.items():
        _put(data, name.split("."), value)
    for name in PERCENT & data.keys():
        data[name] = _share(data[name])
    for name in WORDS.get(kind.name, ()):
        _split(data, name.split("."))
    for name in OPTIONAL.get(kind.name, ()):
        part = data.pop(name, {})
        if isinstance(part, dict) and part.pop("is_on", ""):
            data[name] = part
    places: dict[str, str] = {}
    for name in LISTS.get(kind.name, frozenset()) | ROWS.get(kind.name, frozenset()):
        rows = _filled(name, data.get(name), places)
        if name in ROWS.get(kind.name, ()):
            data[name] = _table(name, rows, places, faults)
        else:
            data[name] = [value for _, value in rows]
    if kind.name == "menu":
        chosen = data.get("options")
        data["options"] = {key: to for key, to in chosen.items() if to != ""} if isinstance(chosen, dict) else {}
    try:
        made = read(kind.type, data, is_typed=False)
    except BadInputs as bad:
        faults += bad.faults
    if faults:
        raise BadInputs([(_whole(kind, form_name(name, places)), problem) for name, problem in faults])
    return made


def _whole(kind: Kind, name: str) -> str:
    """A word of a list that is written in one field is that field's."""
    return next((one for one in WORDS.get(kind.name, ()) if name.startswith(f"{one}.")), name)


def _split(data: dict[str, Any], path: list[str]) -> None:
    *way, last = path
    for part in way:
        inner = data.get(part)
        if not isinstance(inner, dict):
            return
        data = inner
    if isinstance(data.get(last), str):
        data[last] = data[last].replace(",", " ").split()


def form_name(name: str, places: Mapping[str, str]) -> str:
    """The form's own name of a field."""
    for inside, outside in places.items():
        if name == inside or name.startswith(f"{inside}."):
            return outside + name.removeprefix(inside)
    return name


def _flatten(data: Any, name: str, flat: dict[str, str]) -> None:
    if isinstance(data, dict):
        for key, value in data.items():
            _flatten(value, f"{name}.{key}" if name else str(key), flat)
    elif isinstance(data, list):
        for place, value in enumerate(data):
            _flatten(value, f"{name}.{place}", flat)
    elif isinstance(data, bool):
        flat[name] = "yes" if data else ""
    else:
        flat[name] = "" if data is None else str(data)


def _put(data: dict[str, Any], path: list[str], value: str) -> None:
    *way, last = path[:4]
    for part in way:
        inner = data.get(part)
        if not isinstance(inner, dict):
            inner = data[part] = {}
        data = inner
    data[last] = value


def _share(value: Any) -> Any:
    try:
        return f"{float(str(value).strip().removesuffix('%')) / 100:.6f}"
    except ValueError:
        return value


def _filled(name: str, rows: Any, places: dict[str, str]) -> list[tuple[str, Any]]:
    """(number in the form, row) of the rows in which something stands; notes where each went."""
    if not isinstance(rows, dict):
        return []
    numbers = sorted((one for one in rows if one.isdecimal() and len(one) < 5), key=int)[:MOST_ROWS]
    filled: list[tuple[str, Any]] = []
    for number in numbers:
        row = rows[number]
        if any(str(one).strip() for one in (row.values() if isinstance(row, dict) else [row])):
            places[f"{name}.{len(filled)}"] = f"{name}.{number}"
            filled.append((number, row))
    return filled


def _table(
    name: str, rows: list[tuple[str, Any]], places: dict[str, str], faults: list[tuple[str, str]]
) -> dict[str, str]:
    table: dict[str, str] = {}
    for number, row in rows:
        key = str(row.get("key", "")).strip() if isinstance(row, dict) else ""
        if key in table:
            faults.append((f"{name}.{number}", "twice"))
        places[f"{name}.{key}"] = f"{name}.{number}"
        table[key] = str(row.get("value", "")) if isinstance(row, dict) else ""
    return table
