"""AMI on the wire: panoramisk's protocol with its receiving, sending and book-keeping of actions replaced.

Bytes in; whole event messages out, undecoded and in the order of the wire, to ``factory.events_received``. Answers to
actions become panoramisk's ``Message`` objects in the futures that ``send`` returned. What panoramisk does otherwise
and why it may not: it decodes each packet by itself, joins buffers anew for each packet, keeps whatever a peer sends,
guesses from English text whether an answer is a list, and sends again what was not answered.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from panoramisk import actions
from panoramisk.ami_protocol import AMIProtocol
from panoramisk.message import Message

from cti.errors import ActionFailed, ActionTimeout, BadInput, LinkDown, LinkError, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cti.asterisk.ami_client import AmiClient

SEPARATOR = b"\r\n\r\n"
GREETING = b"Asterisk Call Manager/"
SUCCESS = b"Response: Success\r\n"
SHUTDOWN = b"Event: Shutdown\r\n"
MAX_GREETING_BYTES = 256
MAX_HEADER_BYTES = 1000
"""Asterisk drops lines of 1,024 bytes and more, and reads the rest as another header."""
MAX_HEADERS = 120
"""Asterisk reads 128 headers of an action and ignores the rest."""
MAX_UNSENT_BYTES = 1 << 20

log = logging.getLogger(__name__)


def header_value(message: bytes, name: bytes) -> bytes | None:
    """The value of the first header ``name`` of a raw message, None if it has none."""
    start = message.find(b"\r\n" + name + b": ")
    if start < 0:
        return message[len(name) + 2 :].partition(b"\r\n")[0] if message.startswith(name + b": ") else None
    start += len(name) + 4
    end = message.find(b"\r\n", start)
    return message[start:] if end < 0 else message[start:end]


def parse_message(raw: bytes) -> Message:
    """A raw message as panoramisk's ``Message``. Never raises: bytes that are no UTF-8 become U+FFFD, lines that are
    no headers are left out; a header that occurs again makes a list, except the three that say what the message is."""
    headers: dict[str, str | list[str]] = {}
    for line in raw.decode("utf-8", "replace").split("\r\n"):
        name, colon, value = line.partition(":")
        if not colon or not name:
            continue
        value = value.removeprefix(" ")
        known = headers.get(name)
        if known is None:
            headers[name] = value
        elif name in ("Event", "Response", "ActionID"):
            continue
        elif isinstance(known, list):
            known.append(value)
        else:
            headers[name] = [known, value]
    message = Message({})
    message.update(headers)
    return message


def encode_action(headers: Iterable[tuple[str, Any]]) -> bytes:
    """The bytes of an action; a list or tuple as a value repeats its header.

    Raises ``BadInput`` (``field`` is the header) for whatever would not arrive as exactly these headers: CR, LF or
    NUL anywhere, a name that is none, a line longer than Asterisk reads, more headers than it reads.
    """
    lines: list[bytes] = []
    for name, values in headers:
        if not (name.isascii() and name.replace("-", "").replace("_", "").isalnum()):
            raise BadInput(repr(name)[:60], "header_name")
        for value in values if isinstance(values, list | tuple) else (values,):
            text = str(value)
            if "\r" in text or "\n" in text or "\0" in text:
                raise BadInput(name, "control_character")
            try:
                line = f"{name}: {text}".encode()
            except UnicodeEncodeError as problem:
                raise BadInput(name, "not_unicode") from problem
            if len(line) > MAX_HEADER_BYTES:
                raise BadInput(name, "too_long")
            lines.append(line)
    if len(lines) > MAX_HEADERS:
        raise BadInput("Action", "too_many_headers")
    return b"\r\n".join(lines) + SEPARATOR


def _problem(answer: Message | list[Message]) -> ActionFailed | None:
    """Why an action was not done, by its answer."""
    message = answer[0] if isinstance(answer, list) else answer
    return None if message.success else ActionFailed(str(message.message))


@dataclass(slots=True, eq=False)
class Pending:
    """An action on its way: its future (or who is called instead), what has come of its list so far, and when it was
    last heard of (loop time)."""

    name: str
    mark: bytes
    future: asyncio.Future[Any] | Callable[[LinkError | None], None]
    as_list: bool | None
    timeout_s: float
    heard_at: float
    messages: list[Message] = field(default_factory=list)
    size: int = 0


class AmiProtocol(AMIProtocol):  # type: ignore[misc]  # panoramisk has no types
    """One AMI connection. ``lost`` becomes the reason once the connection is over; then no future is left pending."""

    def __init__(
        self,
        factory: AmiClient,
        *,
        action_timeout_s: float,
        max_message_bytes: int,
        max_list_bytes: int,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.factory = factory
        self.version: str | None = None
        self.encoding = "utf-8"
        self.log = log
        self.closed = False
        self.greeted: asyncio.Future[str] = loop.create_future()
        self.lost: asyncio.Future[LinkError] = loop.create_future()
        self._loop = loop
        self._action_timeout_s = action_timeout_s
        self._max_message_bytes = max_message_bytes
        self._max_list_bytes = max_list_bytes
        self._prefix = os.urandom(6).hex()
        self._serial = itertools.count(1)
        self._pending: dict[bytes, Pending] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        """When the one timer of all pending actions fires (loop time); not moved when an answer comes."""
        self._lists = 0
        self._buffer = bytearray()
        self._scanned = 0
        self._done: list[Callable[[LinkError | None], None]] = []
        """Who is to be told of the answers of this read, after its events."""
        self._unsent: list[bytes] = []
        """Actions of this turn of the loop: they are written together."""
        self._unsent_bytes = 0
        self._transport: asyncio.Transport | None = None

    # ── the connection's life ─────────────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        self.transport = self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop: the peer or the network ended it."""
        self.fail(LinkDown("connection closed by the PBX" if exc is None else f"connection lost: {exc}"))

    def close(self) -> None:
        """End the connection from our side."""
        self.fail(LinkDown("closed"))

    def fail(self, why: LinkError) -> None:
        """End the connection because of ``why``; every pending action fails with ``LinkDown``. The first reason
        counts."""
        if self.closed:
            return
        self.closed = True
        if self._transport is not None:
            self._transport.abort()
        self._buffer.clear()
        self._unsent.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for pending in list(self._pending.values()):
            self._settle(pending, LinkDown(f"{pending.name}: {why}"))
        self.greeted.cancel()
        self.lost.set_result(why)

    # ── sending ───────────────────────────────────────────────────────────────────────────────────────────

    def send(
        self, data: Mapping[str, Any], as_list: bool | None = None, timeout_s: float | None = None
    ) -> asyncio.Future[Any]:
        """Send an action. The future gets the answer (a ``Message``, also if it is an error) or, for a list, all its
        messages.

        ``as_list`` None: a list if the answer says so (``EventList: start``); True: a list in any case, complete
        with the event that says so; False: only the answer. The future fails with ``ActionTimeout`` or ``LinkDown``;
        it is never sent again. Raises ``BadInput`` before anything is written if a header would not arrive as it is.
        """
        action = data if isinstance(data, actions.Action) else None
        future: asyncio.Future[Any] = action.future if action is not None else self._loop.create_future()
        name, mark = "", ""
        headers: list[tuple[str, Any]] = []
        for header, value in data.items():
            match header.lower():
                case "action":
                    name = name or str(value)
                case "actionid":
                    mark = mark or str(value)
                case _:
                    headers.append((header, value))
        mark = mark or f"{self._prefix}-{next(self._serial)}"
        wire = encode_action((("Action", name), ("ActionID", mark), *headers))
        key = mark.encode()
        if key in self._pending:
            raise BadInput("ActionID", "in_use")
        timeout_s = timeout_s or self._action_timeout_s
        self._send(Pending(name, key, future, as_list, timeout_s, self._loop.time()), wire)
        return future

    def order(self, name: str, headers: Iterable[tuple[str, str]], settled: Callable[[LinkError | None], None]) -> None:
        """Send an action of which only matters whether it is done: ``settled`` is called once, with None or with why
        not (``ActionFailed``, ``ActionTimeout``, ``LinkDown``). Raises ``BadInput`` as ``send``."""
        mark = f"{self._prefix}-{next(self._serial)}"
        wire = encode_action((("Action", name), ("ActionID", mark), *headers))
        self._send(Pending(name, mark.encode(), settled, False, self._action_timeout_s, self._loop.time()), wire)

    def _send(self, pending: Pending, wire: bytes) -> None:
        self._pending[pending.mark] = pending
        if self.closed or self._transport is None:
            self._settle(pending, LinkDown(f"{pending.name}: not connected"))
        elif self._transport.get_write_buffer_size() + self._unsent_bytes > MAX_UNSENT_BYTES:
            self._settle(pending, LinkDown(f"{pending.name}: the PBX does not read"))
        else:
            if not self._unsent:
                self._loop.call_soon(self._write)
            self._unsent.append(wire)
            self._unsent_bytes += len(wire)
            self._look_at(pending.heard_at + pending.timeout_s)

    def _write(self) -> None:
        wire, self._unsent, self._unsent_bytes = b"".join(self._unsent), [], 0
        if wire and self._transport is not None:
            self._transport.write(wire)

    def _look_at(self, at: float) -> None:
        if at < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = at
            self._timer = self._loop.call_at(at, self._check_times)

    def _check_times(self) -> None:
        self._timer, self._timer_at = None, math.inf
        now = self._loop.time()
        for pending in list(self._pending.values()):
            due = pending.heard_at + pending.timeout_s
            if due - now > 0.001:
                self._look_at(due)
            else:
                self._settle(pending, ActionTimeout(f"{pending.name}: no answer in {pending.timeout_s:g} s"))

    def _settle(self, pending: Pending, result: Message | list[Message] | LinkError) -> None:
        if self._pending.pop(pending.mark, None) is None:
            return
        if pending.messages:
            self._lists -= 1
        future = pending.future
        if not isinstance(future, asyncio.Future):
            problem = result if isinstance(result, LinkError) else _problem(result)
            self.factory.settled(future, problem)
            return
        if future.done():
            return
        if isinstance(result, LinkError):
            future.set_exception(result)
            future.exception()  # who does not wait for the answer is not told twice by asyncio's log
        else:
            future.set_result(result)

    # ── receiving ─────────────────────────────────────────────────────────────────────────────────────────

    def data_received(self, data: bytes) -> None:
        """Called by the loop. Work is linear in the bytes received, however they are cut."""
        if self.closed:
            return
        buffer = self._buffer
        if self.version is None:
            buffer += data
            if not self._take_greeting():
                return
            data = b""
        if buffer or data[-4:] != SEPARATOR:
            buffer += data
            end = buffer.rfind(SEPARATOR, max(0, self._scanned - 3))
            if end < 0:
                self._scanned = len(buffer)
                self._check_size()
                return
            whole = bytes(memoryview(buffer)[:end])
            del buffer[: end + 4]
            self._scanned = len(buffer)
            if buffer:
                self._check_size()
        else:
            whole = data[:-4]
        events: list[bytes] = []
        for message in whole.split(SEPARATOR):
            if message[:7] != b"Event: ":
                message = message.lstrip(b"\r\n")
                if message[:7] != b"Event: ":
                    self._take_answer(message)
                    continue
            if not self._lists or not self._take_item(message):
                events.append(message)
        if events:
            self.factory.events_received(events)
            if SHUTDOWN in whole and any(message.startswith(SHUTDOWN) for message in events):
                self.fail(LinkDown("the PBX shuts down"))
        if self._done:
            done, self._done = self._done, []
            for settled in done:
                self.factory.settled(settled, None)

    def _take_greeting(self) -> bool:
        head = bytes(self._buffer[:MAX_GREETING_BYTES])
        line, end, _ = head.partition(b"\r\n")
        may_come = not end and len(head) < MAX_GREETING_BYTES and GREETING.startswith(line[: len(GREETING)])
        if not line.startswith(GREETING) and not may_come:
            self.fail(ProtocolError("the peer does not speak AMI"))
        if self.closed or not end:
            return False
        self.version = line[len(GREETING) :].decode("ascii", "replace").strip()
        del self._buffer[: len(line) + 2]
        if not self.greeted.done():
            self.greeted.set_result(self.version)
        return True

    def _check_size(self) -> None:
        if len(self._buffer) > self._max_message_bytes:
            self.fail(ProtocolError(f"a message of more than {self._max_message_bytes} bytes"))

    def _take_answer(self, raw: bytes) -> None:
        mark = header_value(raw, b"ActionID")
        pending = self._pending.get(mark) if mark is not None else None
        if pending is None or not raw.startswith(b"Response: "):
            return
        if raw.startswith(SUCCESS) and not isinstance(pending.future, asyncio.Future):
            del self._pending[pending.mark]
            self._done.append(pending.future)
            return
        message = parse_message(raw)
        is_list = pending.as_list
        if is_list is None:
            is_list = str(message.get("EventList", "")).lower() == "start"
        if is_list and message.success:
            pending.heard_at = self._loop.time()
            if not pending.messages:
                self._lists += 1
            pending.messages.append(message)
        else:
            self._settle(pending, message)

    def _take_item(self, raw: bytes) -> bool:
        """Whether this event belongs to a list that we asked for; then it is kept for it."""
        mark = header_value(raw, b"ActionID")
        pending = self._pending.get(mark) if mark is not None else None
        if pending is None or not pending.messages:
            return False
        pending.size += len(raw)
        if pending.size > self._max_list_bytes:
            self.fail(ProtocolError(f"{pending.name}: a list of more than {self._max_list_bytes} bytes"))
            return True
        message = parse_message(raw)
        pending.heard_at = self._loop.time()
        pending.messages.append(message)
        name = str(message.event)
        if name.endswith("Complete") or "eventlist" in message or "response" in message:
            self._settle(pending, pending.messages)
        self.factory.list_item_received(raw)
        return True
