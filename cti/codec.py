"""Facts as JSON and back, for the journal: ``["<class>", {"<field>": …}]``.

Fields that a class has gained since are filled from their defaults; fields that it has lost are passed over; a class
that is gone is skipped by the reader. So an older journal stays readable.
"""

from __future__ import annotations

import msgspec

from cti.errors import CallfloorError
from cti.events import Event


class UnknownFact(CallfloorError):
    """The journal holds a fact of a class that this version does not know, or one that it can't read."""


def _leaf_classes(root: type[Event]) -> dict[str, type[Event]]:
    found: dict[str, type[Event]] = {}
    for cls in root.__subclasses__():
        found[cls.__name__] = cls
        found.update(_leaf_classes(cls))
    return found


CLASSES = _leaf_classes(Event)
_encode = msgspec.json.Encoder().encode
_decode_frame = msgspec.json.Decoder(tuple[str, msgspec.Raw]).decode
_decoders = {name: msgspec.json.Decoder(cls) for name, cls in CLASSES.items()}


def encode(event: Event) -> bytes:
    """One line of JSON, without a line end."""
    try:
        return _encode((type(event).__name__, event))
    except UnicodeEncodeError:
        # A lone surrogate from somebody's bytes: nothing that JSON can hold. Kept as an escape.
        return _encode((type(event).__name__, _without_surrogates(event)))


def decode(line: bytes) -> Event:
    """The fact that ``encode`` wrote. Raises ``UnknownFact``."""
    try:
        name, body = _decode_frame(line)
        return _decoders[name].decode(body)
    except (KeyError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UnknownFact(f"{type(error).__name__} in a fact") from error


def _without_surrogates(value: object) -> object:
    plain = msgspec.to_builtins(value) if isinstance(value, Event) else value
    if isinstance(plain, str):
        return plain.encode("utf-8", "backslashreplace").decode()
    if isinstance(plain, dict):
        return {key: _without_surrogates(one) for key, one in plain.items()}
    if isinstance(plain, list | tuple):
        return [_without_surrogates(one) for one in plain]
    return plain
