"""The words of the desk socket (``docs/desk-protocol.md``): strict reading of a page, encoding of what it gets.

A page is hostile until parsed: every field has its type and its bound, what is unknown is refused.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import msgspec

from cti.errors import BadInput

SUBPROTOCOL = "callfloor.desk.1"
MAX_FRAME_BYTES = 4096
"""A page's longest message; the longest real one has about 200 bytes."""

TAKEN_OVER = 4001
BAD_MESSAGE = 4400
NO_SESSION = 4401
TOO_LATE = 4408
TOO_MANY = 4429

_TOKEN = re.compile(r"^[A-Za-z0-9._-]{1,64}$")
_HIGHEST_SEQ = 2**53 - 1
_PHONES = frozenset({"registered", "unregistered", "desk"})
_MICROPHONES = frozenset({"ok", "lost", "unknown", "desk"})


@dataclass(frozen=True, slots=True)
class Hello:
    """A page introduces itself. ``epoch`` and ``last_seq``: up to where it has read, None and 0 for a new page."""

    tab: str
    epoch: str | None
    last_seq: int
    is_taking_over: bool


@dataclass(frozen=True, slots=True)
class Beat:
    """A page says that it lives.

    ``phone``: ``registered``, ``unregistered``, ``desk``; ``microphone``: ``ok``, ``lost``, ``unknown``, ``desk``.
    """

    seen: int
    is_visible: bool
    phone: str
    microphone: str


def parse(frame: str | bytes) -> Hello | Beat:
    """Read one message of a page.

    Raises ``BadInput`` (field, problem) for everything that is not exactly a message of the protocol.
    """
    if not isinstance(frame, str):
        raise BadInput("frame", "binary")
    try:
        message = _decode(frame)
    except (ValueError, RecursionError) as error:
        raise BadInput("frame", "not_json") from error
    if not isinstance(message, dict):
        raise BadInput("frame", "not_an_object")
    match message.get("type"):
        case "hello":
            _only(message, {"type", "tab", "epoch", "last_seq", "take_over"})
            epoch = message.get("epoch")
            return Hello(
                tab=_token(message, "tab"),
                epoch=None if epoch is None else _token(message, "epoch"),
                last_seq=_count(message, "last_seq"),
                is_taking_over=_flag(message, "take_over"),
            )
        case "beat":
            _only(message, {"type", "seen", "visible", "phone", "microphone"})
            return Beat(
                seen=_count(message, "seen"),
                is_visible=_flag(message, "visible"),
                phone=_one_of(message, "phone", _PHONES),
                microphone=_one_of(message, "microphone", _MICROPHONES),
            )
        case _:
            raise BadInput("type", "unknown")


def _refuse_constant(text: str) -> object:
    raise ValueError(text)


_decode = json.JSONDecoder(parse_constant=_refuse_constant).decode
_encode = msgspec.json.Encoder().encode


def body(message: dict[str, Any]) -> bytes:
    """A message without ``seq`` and ``now``, encoded once for any number of desks. It has at least its ``type``."""
    try:
        return _encode(message)
    except UnicodeEncodeError:
        # Half a character from somebody's bytes: the slow way, which replaces it.
        return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def numbered(encoded: bytes, *, seq: int, now: float) -> bytes:
    """The frame of an encoded message for one desk."""
    return b'{"seq":%d,"now":%.3f,%s' % (seq, now, encoded[1:])


def _only(message: dict[str, Any], known: set[str]) -> None:
    if not message.keys() <= known:
        raise BadInput("frame", "unknown_field")


def _token(message: dict[str, Any], field: str) -> str:
    value = message.get(field)
    if not isinstance(value, str) or not _TOKEN.match(value):
        raise BadInput(field, "malformed")
    return value


def _count(message: dict[str, Any], field: str) -> int:
    value = message.get(field)
    if type(value) is not int or not 0 <= value <= _HIGHEST_SEQ:
        raise BadInput(field, "malformed")
    return value


def _flag(message: dict[str, Any], field: str) -> bool:
    value = message.get(field)
    if not isinstance(value, bool):
        raise BadInput(field, "malformed")
    return value


def _one_of(message: dict[str, Any], field: str, known: frozenset[str]) -> str:
    value = message.get(field)
    if not isinstance(value, str) or value not in known:
        raise BadInput(field, "unknown")
    return value
