"""Facts as JSON and back, for the journal.

A fact is ``{"e": "<class>", "<field>": …}``. Fields that a class has gained since are filled from their defaults;
fields that it has lost are passed over; a class that is gone is skipped by the reader. So an older journal stays
readable.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Union, get_args, get_origin, get_type_hints

from cti.errors import CallfloorError
from cti.events import Event

Decode = Callable[[Any], Any]


class UnknownFact(CallfloorError):
    """The journal holds a fact of a class that this version does not know, or one that it can't read."""


def _leaf_classes(root: type[Event]) -> dict[str, type[Event]]:
    found: dict[str, type[Event]] = {}
    for cls in root.__subclasses__():
        found[cls.__name__] = cls
        found.update(_leaf_classes(cls))
    return found


CLASSES = _leaf_classes(Event)
_FIELDS = {cls: tuple(field.name for field in dataclasses.fields(cls)) for cls in CLASSES.values()}


def _default(value: object) -> object:
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"no JSON form for {type(value).__name__}")


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_default).encode


def encode(event: Event) -> str:
    """One line of JSON, without a line end."""
    cls = type(event)
    fields = {"e": cls.__name__}
    for name in _FIELDS[cls]:
        fields[name] = getattr(event, name)
    return _encode(fields)


def decode(line: str) -> Event:
    """The fact that ``encode`` wrote. Raises ``UnknownFact``."""
    try:
        fields = json.loads(line)
        cls = CLASSES[fields.pop("e")]
        return typing.cast("Event", _decoder(cls)(fields))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnknownFact(f"{type(error).__name__} in a fact") from error


_decoders: dict[object, Decode] = {}


def _decoder(kind: Any) -> Decode:
    known = _decoders.get(kind)
    if known is None:
        known = _decoders[kind] = _build(kind)
    return known


def _same(value: Any) -> Any:
    return value


def _build(kind: Any) -> Decode:
    if isinstance(kind, typing.NewType):
        return _decoder(kind.__supertype__)
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        inner = [_decoder(arm) for arm in get_args(kind) if arm is not type(None)]
        return lambda value: None if value is None else inner[0](value)
    if origin is tuple:
        arms = get_args(kind)
        if len(arms) == 2 and arms[1] is Ellipsis:
            each = _decoder(arms[0])
            return lambda value: tuple(each(one) for one in value)
        eaches = [_decoder(arm) for arm in arms]
        return lambda value: tuple(each(one) for each, one in zip(eaches, value, strict=True))
    if origin is not None and issubclass(origin, Mapping):
        of_key, of_value = (_decoder(arm) for arm in get_args(kind))
        return lambda value: {of_key(k): of_value(v) for k, v in value.items()}
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _dataclass_decoder(kind)
    return _same


def _dataclass_decoder(cls: type) -> Decode:
    hints = get_type_hints(cls)
    decoders = {field.name: _decoder(hints[field.name]) for field in dataclasses.fields(cls)}

    def build(value: Any) -> Any:
        return cls(**{name: decoders[name](one) for name, one in value.items() if name in decoders})

    return build
