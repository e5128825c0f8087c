"""Settings as typed dataclasses, and as plain data: JSON columns, files, forms. One reading for all of them, which
checks each field and names every one that is wrong: ``overflows.1.to``.

A field's type says what it holds (``str``, ``int``, ``float``, ``bool``, ``tuple[X, ...]``, ``Mapping[str, X]``, a
dataclass, ``X | None``); ``Annotated`` adds checks, which are called with the field's name and the value, give the
value and raise ``BadInput``. On a mapping, ``Keys`` checks the keys. What several fields must be together says the
dataclass's method ``faults()``: (field, problem).
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache, partial
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

from crm_core.errors import BadInput, BadInputs
from crm_core.fields import choice, flag, matching, number, slug, text

T = TypeVar("T")
Check = Callable[[str, Any], Any]
MOST_ENTRIES = 1_000


def whole(least: int, most: int) -> Check:
    """A whole number within bounds."""
    return lambda where, value: number(where, value, least=least, most=most)


def line(longest: int, *, is_required: bool = False, has_lines: bool = False) -> Check:
    """A text without control characters; spaces around it are taken away."""
    return lambda where, value: text(where, value, longest=longest, is_required=is_required, has_lines=has_lines)


def formed(pattern: Any, *, may_be_empty: bool = False) -> Check:
    """A text of one form."""
    return lambda where, value: matching(where, value, pattern, may_be_empty=may_be_empty)


def slugs(*, may_be_empty: bool = False) -> Check:
    """A slug."""
    return lambda where, value: slug(where, value, may_be_empty=may_be_empty)


def one_of(*choices: str) -> Check:
    """One of the choices."""
    return lambda where, value: choice(where, value, choices)


def within(least: float, most: float) -> Check:
    """A number within bounds, both included."""

    def check(where: str, value: float) -> float:
        if not least <= value <= most:
            raise BadInput(where, "out_of_range")
        return value

    return check


@dataclass(frozen=True, slots=True)
class Keys:
    """On a mapping: what its keys must be. They are named as the mapping's field and the key."""

    check: Check


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    hint: Any
    is_required: bool
    default: Callable[[], Any]


def _same(value: Any) -> Any:
    return value


@cache
def _fields_of(kind: Any) -> tuple[_Field, ...]:
    hints = get_type_hints(kind, include_extras=True)
    return tuple(
        _Field(
            one.name,
            hints[one.name],
            one.default is MISSING and one.default_factory is MISSING,
            one.default_factory if one.default_factory is not MISSING else partial(_same, one.default),
        )
        for one in fields(kind)
    )


def read(kind: type[T], data: object, *, is_typed: bool = True, where: str = "") -> T:
    """The setting that ``data`` describes; what is left out has its default. ``is_typed`` False: all values are texts,
    as in a form, and a flag is on if there is any text. Raises ``BadInputs`` with every field that is wrong."""
    faults: list[tuple[str, str]] = []
    made = _read(kind, data, where, faults, is_typed=is_typed)
    if faults:
        raise BadInputs(faults)
    return made  # type: ignore[no-any-return]


def check(one: T) -> T:
    """The same setting with its fields checked. Raises ``BadInputs``."""
    return read(type(one), plain(one))


def loaded(kind: type[T], row: Mapping[str, Any]) -> T:
    """A setting from where only checked ones are stored: nothing is checked again."""
    made = _loaded(kind, row)
    assert isinstance(made, kind)
    return made


def _loaded(hint: Any, value: Any) -> Any:
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if value is None:
        return None
    if get_origin(hint) in (Union, types.UnionType):
        (hint,) = (one for one in get_args(hint) if one is not type(None))
        return _loaded(hint, value)
    if is_dataclass(hint):
        kind: Any = hint
        return kind(**{one.name: _loaded(one.hint, value[one.name]) for one in _fields_of(kind) if one.name in value})
    if get_origin(hint) is tuple:
        return tuple(_loaded(get_args(hint)[0], one) for one in value)
    return value


def plain(one: Any, *, is_brief: bool = False) -> Any:
    """As JSON and files hold it: mappings, lists, texts, numbers, flags, None. ``is_brief``: without what is as it is
    anyway."""
    if is_dataclass(one) and not isinstance(one, type):
        return {
            field.name: plain(value, is_brief=is_brief)
            for field in _fields_of(type(one))
            if (value := getattr(one, field.name)) is not None or not is_brief
            if not is_brief or field.is_required or value != field.default()
        }
    if isinstance(one, Mapping):
        return {str(key): plain(one[key], is_brief=is_brief) for key in sorted(one)}
    if isinstance(one, Sequence) and not isinstance(one, str):
        return [plain(value, is_brief=is_brief) for value in one]
    return one


def _read(hint: Any, value: Any, where: str, faults: list[tuple[str, str]], *, is_typed: bool) -> Any:
    """None in place of what is wrong, which is then in ``faults``."""
    checks: tuple[Any, ...] = ()
    if get_origin(hint) is Annotated:
        hint, *rest = get_args(hint)
        checks = tuple(rest)
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        if value is None or (not is_typed and value == ""):
            return None
        (hint,) = (one for one in get_args(hint) if one is not type(None))
        return _read(hint, value, where, faults, is_typed=is_typed)
    before = len(faults)
    if is_dataclass(hint):
        value = _read_fields(hint, value, where, faults, is_typed=is_typed)
    elif origin is tuple:
        value = _read_list(get_args(hint)[0], value, where, faults, is_typed=is_typed)
    elif origin is Mapping:
        keys = next((one.check for one in checks if isinstance(one, Keys)), None)
        value = _read_mapping(get_args(hint)[1], keys, value, where, faults, is_typed=is_typed)
    else:
        value = _checked(lambda: _scalar(hint, where, value, is_typed=is_typed), faults)
    for one in checks:
        if len(faults) == before and not isinstance(one, Keys):
            value = _checked(lambda one=one, value=value: one(where, value), faults)  # type: ignore[misc]
    return value


def _checked(make: Callable[[], Any], faults: list[tuple[str, str]]) -> Any:
    try:
        return make()
    except BadInput as bad:
        faults.append((bad.field, bad.problem))
        return None


def _scalar(kind: Any, where: str, value: Any, *, is_typed: bool) -> Any:
    if kind is bool:
        return flag(where, value) if is_typed else value not in ("", False)
    if kind in (int, float):
        return _number(kind, where, value, is_typed=is_typed)
    if not isinstance(value, str):
        raise BadInput(where, "not_a_text")
    return value


def _number(kind: type[int] | type[float], where: str, value: Any, *, is_typed: bool) -> int | float:
    if not is_typed and isinstance(value, str):
        value = value.strip()
        if not value:
            raise BadInput(where, "required")
        if len(value) > 20 or not value.isascii() or any(char not in "+-.0123456789" for char in value):
            raise BadInput(where, "not_a_number")
        try:
            return kind(value)
        except ValueError:
            raise BadInput(where, "not_a_number") from None
    is_number = isinstance(value, int if kind is int else (int, float)) and not isinstance(value, bool)
    if not is_number:
        raise BadInput(where, "not_a_number")
    return kind(value)


def _read_fields(kind: Any, value: Any, where: str, faults: list[tuple[str, str]], *, is_typed: bool) -> Any:
    if not isinstance(value, Mapping):
        faults.append((where, "not_a_table"))
        return None
    before = len(faults)
    known = _fields_of(kind)
    faults.extend((_inside(where, str(name)), "unknown_field") for name in value.keys() - {one.name for one in known})
    made = {}
    for one in known:
        if one.name in value:
            made[one.name] = _read(one.hint, value[one.name], _inside(where, one.name), faults, is_typed=is_typed)
        elif not is_typed and one.hint is bool:
            made[one.name] = False
        elif one.is_required:
            faults.append((_inside(where, one.name), "required"))
        else:
            made[one.name] = one.default()
    if len(faults) > before:
        return None
    one = kind(**made)
    between = getattr(one, "faults", None)
    if between is not None:
        faults.extend((_inside(where, name), problem) for name, problem in between())
    return one


def _read_list(hint: Any, value: Any, where: str, faults: list[tuple[str, str]], *, is_typed: bool) -> Any:
    if not isinstance(value, Sequence) or isinstance(value, str):
        faults.append((where, "not_a_list"))
        return None
    if len(value) > MOST_ENTRIES:
        faults.append((where, "too_many"))
        return None
    return tuple(
        _read(hint, one, _inside(where, str(place)), faults, is_typed=is_typed) for place, one in enumerate(value)
    )


def _read_mapping(
    hint: Any, keys: Check | None, value: Any, where: str, faults: list[tuple[str, str]], *, is_typed: bool
) -> Any:
    if not isinstance(value, Mapping):
        faults.append((where, "not_a_table"))
        return None
    if len(value) > MOST_ENTRIES:
        faults.append((where, "too_many"))
        return None
    made = {}
    for key in sorted(value, key=str):
        inside = _inside(where, str(key))
        checked = _checked(lambda key=key, inside=inside: keys(inside, key) if keys else key, faults)  # type: ignore[misc]
        made[checked] = _read(hint, value[key], inside, faults, is_typed=is_typed)
    return made


def _inside(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name
