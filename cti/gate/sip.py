"""Who a SIP message claims to be from: just enough reading to hold a browser's phone to its own name.

The PBX asks for the password; this makes sure that a pass for one phone is of no use for another's. Strict on purpose:
what can be read in two ways is refused, because the PBX might read it in the other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cti.errors import BadInput
from cti.phone_pass import PhonePass

LONGEST_MESSAGE = 32 * 1024
SHORT_NAMES = {"f": "from", "t": "to", "i": "call-id", "l": "content-length", "m": "contact", "v": "via"}
ONCE = frozenset({"from", "to", "call-id", "cseq", "content-length"})

_REQUEST = re.compile(rb"([A-Z]{1,20}) (\S{1,512}) SIP/2\.0")
_RESPONSE = re.compile(rb"SIP/2\.0 [1-6][0-9]{2}( .*)?")
# Nothing below can match one text in two ways: hostile text costs no more than its length.
_HEADER = re.compile(rb"([A-Za-z0-9.!%*_+`'~-]+)[ \t]*:(.*)")
_ADDRESS = re.compile(
    rb'(?:(?:"(?:[^"\\]|\\.)*"[ \t]*|[^"<>,;]*)<sips?:([^@<>;:?]+)@[^@<>]+>[ \t]*|sips?:([^@<>;:?,]+)@[^@<>;?,]+)'
    rb"((?:;[^;<>,\"]+)*)"
)
_USERNAME = re.compile(rb'[ ,]username[ \t]*=[ \t]*"([^"\\]*)"', re.IGNORECASE)
_TAG = re.compile(rb";[ \t]*tag[ \t]*=", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Message:
    """One message. ``method`` is empty in an answer; ``headers``: values by name, long and in small letters."""

    method: str
    headers: Mapping[str, Sequence[bytes]]


def read(frame: bytes) -> Message:
    """One WebSocket frame as one SIP message. Raises ``BadInput``."""
    if len(frame) > LONGEST_MESSAGE:
        raise BadInput("sip", "too_long")
    head, end, body = frame.partition(b"\r\n\r\n")
    if not end:
        raise BadInput("sip", "no_end_of_head")
    first, *lines = head.split(b"\r\n")
    found: dict[str, list[bytes]] = {}
    for line in lines:
        parts = _HEADER.fullmatch(line)
        if parts is None or b"\r" in line or b"\0" in line:
            raise BadInput("sip", "bad_header")
        name = parts[1].decode("ascii").lower()
        found.setdefault(SHORT_NAMES.get(name, name), []).append(parts[2].strip(b" \t"))
    if any(len(found.get(name, ())) != 1 for name in ONCE):
        raise BadInput("sip", "header_missing_or_twice")
    if found["content-length"][0] != str(len(body)).encode():
        raise BadInput("sip", "wrong_length")
    request = _REQUEST.fullmatch(first)
    if request is None and _RESPONSE.fullmatch(first) is None:
        raise BadInput("sip", "bad_first_line")
    return Message(request[1].decode("ascii") if request is not None else "", found)


def check(frame: bytes, given: PhonePass) -> None:
    """May the phone with this pass say this to the PBX? Raises ``BadInput`` when not.

    An answer, and a request within a call, repeats names that the other side chose: a caller must not be able to have a
    phone cut off by being called something odd. The PBX knows whose call it is.
    """
    if frame.strip(b"\r\n") == b"":
        return
    message = read(frame)
    if not message.method:
        return
    for credentials in (*message.headers.get("authorization", ()), *message.headers.get("proxy-authorization", ())):
        if _name(credentials) != given.username:
            raise BadInput("authorization", "not_this_phone")
    (sender,), (to,) = message.headers["from"], message.headers["to"]
    if message.method == "REGISTER":
        if _user(sender) != given.user or _user(to) != given.user:
            raise BadInput("register", "not_this_phone")
    elif not _has_tag(to) and _user(sender) != given.user:
        raise BadInput("from", "not_this_phone")


def _user(value: bytes) -> str:
    address = _ADDRESS.fullmatch(value)
    if address is None:
        raise BadInput("sip", "bad_address")
    return str((address[1] or address[2]).decode("utf-8", "replace"))


def _has_tag(value: bytes) -> bool:
    """Only what stands behind the address counts, whatever the other side is called."""
    _address, is_bracketed, parameters = value.rpartition(b">")
    if not is_bracketed:
        parameters = value
    return b'"' not in parameters and _TAG.search(parameters) is not None


def _name(credentials: bytes) -> str:
    names = _USERNAME.findall(b" " + credentials)
    if len(names) != 1:
        raise BadInput("authorization", "no_name")
    return str(names[0].decode("utf-8", "replace"))
