"""The live driver: gives the deciding core the clock, one timer, the journal and the wires.

Facts come in by ``post`` from anywhere on the loop. One turn takes all that has gathered: journal, decide, journal what
was decided, tell the listeners, carry out the commands, set the timer anew. No ``await`` lies between reading and
changing state.

While the journal can't be written (a full disk) nothing is decided and no beat is sent, so that the dialplan takes the
callers to its fall-back; what came in is kept and goes on when the journal can be written again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from cti.commands import Command
from cti.events import Event
from cti.inbound import Output
from cti.journal import Journal, JournalBroken

log = logging.getLogger(__name__)

RETRY_S = 1.0
"""How often a journal that can't be written is tried again."""

Listener = Callable[[Event], None]
CarryOut = Callable[[Command], None]


class Core(Protocol):
    """A deciding machine."""

    def handle_all(self, events: Sequence[Event], *, now: float) -> list[Output]: ...
    def wake_at(self) -> float | None: ...
    def wake(self, *, now: float) -> list[Output]: ...


class Driver:
    """Runs one deciding core on the event loop."""

    def __init__(
        self,
        core: Core,
        *,
        journal: Journal,
        clock: Callable[[], float],
        carry_out: CarryOut,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._core = core
        self._journal = journal
        self._clock = clock
        self._carry_out = carry_out
        self._loop = loop
        self._inbox: list[Event] = []
        self._is_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._listeners: list[Listener] = []
        self._is_closed = False
        self._is_broken = False
        self._held: list[Output] = []

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Have every journaled fact, in order; returns its own unsubscribe."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def post(self, event: Event) -> None:
        """Put a fact into the inbox; it is handled in this turn of the loop's next round."""
        if self._is_closed:
            return
        self._inbox.append(event)
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._turn)

    def close(self) -> None:
        """Take nothing more."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()

    def _turn(self) -> None:
        self._is_due = False
        if self._is_closed or self._is_broken or not self._inbox:
            return
        try:
            self._journal.append(self._inbox)
        except JournalBroken as error:
            self._break(error)
            return
        batch, self._inbox = self._inbox, []
        # In the order of the journal, so that whoever listens live hears just what a replay tells.
        for event in batch:
            self._tell(event)
        self._follow(self._core.handle_all(batch, now=self._clock()))
        self._journal.sync_soon()
        self._set_timer()

    def _woken(self) -> None:
        self._timer = None
        if self._is_broken:
            return
        self._follow(self._core.wake(now=self._clock()))
        self._set_timer()

    def _break(self, error: JournalBroken) -> None:
        if not self._is_broken:
            log.error("! %s; nothing is decided until it can be written", error)
            self._is_broken = True
        self._loop.call_later(RETRY_S, self._mend)

    def _mend(self) -> None:
        held, self._held = self._held, []
        self._is_broken = False
        self._follow(held)
        if not self._is_broken:
            log.warning("= the journal can be written again")
            self._turn()
            self._set_timer()

    def _follow(self, outputs: Sequence[Output]) -> None:
        if not outputs:
            return
        if self._is_broken:
            self._held.extend(outputs)
            return
        facts = [output for output in outputs if isinstance(output, Event)]
        if facts:
            try:
                self._journal.append(facts)
            except JournalBroken as error:
                self._held.extend(outputs)
                self._break(error)
                return
            self._journal.sync_soon()
        for output in outputs:
            if isinstance(output, Event):
                self._tell(output)
            else:
                self._carry_out(output)

    def _tell(self, event: Event) -> None:
        for listener in self._listeners:
            listener(event)

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._core.wake_at()
        if due is not None and not self._is_closed and not self._is_broken:
            self._timer = self._loop.call_later(max(0.0, due - self._clock()), self._woken)
