"""Carries the frames of one WebSocket between a browser and what stands behind the gate, both ways, until one ends.

How it ended is told to the other side: a page that leaves says so with its code, and the desk's server acts on it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import ClientWebSocketResponse, WSMsgType, web

from cti.errors import BadInput

Socket = web.WebSocketResponse | ClientWebSocketResponse[bool]
Admit = Callable[[bytes], None]
"""Called with each frame of the browser. Raises ``BadInput`` for one that must not pass."""

SEND_S = 30.0
"""Who does not read for so long is gone."""

POLICY, BROKEN, AGAIN = 1008, 1011, 1012
"""Close codes: against the rules; broken on the browser's side; broken behind the gate, come back."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a side ended. ``code`` 0: without a word."""

    code: int = 0
    reason: str = ""

    def code_or(self, other: int) -> int:
        """The code if it is one that may be sent on, else ``other``."""
        is_sendable = self.code in range(1000, 1015) and self.code not in (1004, 1005, 1006)
        return self.code if is_sendable or 3000 <= self.code < 5000 else other


async def relay(browser: web.WebSocketResponse, behind: ClientWebSocketResponse[bool], admit: Admit) -> None:
    """Until both are closed."""
    upwards = asyncio.create_task(_pump(browser, behind, admit))
    downwards = asyncio.create_task(_pump(behind, browser, lambda _frame: None))
    ending, refusal = Ending(), ""
    try:
        done, _ = await asyncio.wait({upwards, downwards}, return_when=asyncio.FIRST_COMPLETED)
        ending = (upwards if upwards in done else downwards).result()
    except BadInput as bad:
        refusal = bad.problem
    except (OSError, TimeoutError):
        pass
    finally:
        for task in (upwards, downwards):
            task.cancel()
        await asyncio.gather(upwards, downwards, return_exceptions=True)
        # A browser that says goodbye and goes at once ends this request before its word was read here.
        ending = ending if ending.code else Ending(browser.close_code or 0)
        reason = ending.reason.encode()[:120]
        # Who closed already is not told again; close() knows.
        with contextlib.suppress(OSError, TimeoutError):
            await behind.close(code=ending.code_or(BROKEN), message=reason)
        with contextlib.suppress(OSError, TimeoutError, RuntimeError):
            code = POLICY if refusal else ending.code_or(AGAIN)
            await browser.close(code=code, message=refusal.encode() or reason)


async def _pump(source: Socket, sink: Socket, admit: Admit) -> Ending:
    while True:
        message = await source.receive()
        match message.type:
            case WSMsgType.TEXT:
                admit(message.data.encode("utf-8", "replace"))
                async with asyncio.timeout(SEND_S):
                    await sink.send_str(message.data)
            case WSMsgType.BINARY:
                admit(message.data)
                async with asyncio.timeout(SEND_S):
                    await sink.send_bytes(message.data)
            case WSMsgType.CLOSE:
                return Ending(message.data or 0, message.extra or "")
            case _:
                # An error of the protocol was answered with its code; a broken line says nothing.
                return Ending(source.close_code or 0)


class Pace:
    """So many frames a second, with some to spare. ``clock``: seconds, monotonic."""

    def __init__(self, *, per_s: float, at_once: float, clock: Callable[[], float]) -> None:
        self._per_s = per_s
        self._at_once = at_once
        self._clock = clock
        self._allowance = at_once
        self._at = clock()

    def count(self) -> None:
        """One more. Raises ``BadInput`` when it is one too many."""
        now = self._clock()
        self._allowance = min(self._at_once, self._allowance + (now - self._at) * self._per_s) - 1
        self._at = now
        if self._allowance < 0:
            raise BadInput("socket", "too_many_messages")
