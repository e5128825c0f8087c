"""One PBX's own records, read where the live link has a gap.

A gap begins where the daemon last heard the PBX (it was stopped, it stood still, the link broke) and ends with the next
full reading. While there is one, and until all calls that touch it are told, the PBX's records are followed
(``cti.asterisk.cel``), folded (``cti.completion``) and each such call goes into the journal once, as ``CallRecorded``.
Without a gap nothing is read.

Which gaps are open, and which of their calls
were told, outlives a restart in a small file; whatever is read twice is told the same and counted once.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from cti import events as e
from cti.asterisk.cel import CelTranslator, at_of_cel, at_of_queue_log, rang_out_of
from cti.completion import MARGIN_S, Completion, Gap
from cti.events import Event
from cti.ids import InteractionId, LegId, PbxId
from cti.record_files import BEFORE_S, CEL, QUEUE_LOG, RecordFiles
from cti.routing.plan import Plan

log = logging.getLogger(__name__)

LOOK_S = 1.0
RETRY_S = 5.0
STALL_S = 5.0
"""A loop that comes round so late stood still, and what it heard then carries the wrong time."""
UNNOTICED_S = 120.0
"""So long a link may be dead before it is known to be."""
LONGEST_CALL_S = 24 * 3600.0
QUIET_S = 60.0
"""Records in a folder of this machine are complete so long after the PBX was read."""
MOST_GAPS = 50
TIDY_EVERY_S = 3600.0
KEEP_COPIES_S = 7 * 86_400.0
"""Longer than any gap is looked for; what a ``pbx-agent`` brought is still on its PBX."""

LookUp = Callable[[str, str], Awaitable[tuple[tuple[int, ...], str]]]
"""(account, number) → customers and how they were found."""


@dataclass(frozen=True, slots=True)
class RecordSource:
    """Where the records of a PBX are. ``is_shared``: written there by the PBX itself, so that they are never late."""

    pbx: PbxId
    cel_folder: Path
    queue_log_folder: Path
    is_shared: bool


class PbxRecords:
    """Completes what happened on one PBX while it was not heard.

    ``post`` takes ``CallRecorded``; ``listen`` must hear every journaled fact; ``oldest_live`` tells since when the
    oldest conversation lives that the core knows of (Unix seconds), None without one. ``state`` is a file of its own.
    """

    def __init__(
        self,
        source: RecordSource,
        *,
        state: Path,
        plan: Callable[[], Plan],
        post: Callable[[Event], None],
        look_up: LookUp,
        oldest_live: Callable[[], float | None],
        clock: Callable[[], float],
    ) -> None:
        self._source = source
        self._state = state
        self._plan = plan
        self._post = post
        self._look_up = look_up
        self._oldest_live = oldest_live
        self._clock = clock
        self._cel = RecordFiles(source.cel_folder, CEL, at_of_cel)
        self._queue_log = RecordFiles(source.queue_log_folder, QUEUE_LOG, at_of_queue_log)
        self._gaps: list[Gap] = []
        self._read_from = 0.0
        self._told: set[InteractionId] = set()
        self._reading: tuple[CelTranslator, Completion] | None = None
        self._read_until = 0.0
        self._pending: list[e.CallRecorded] = []
        self._posted: set[InteractionId] = set()
        self._living: tuple[frozenset[LegId], float] | None = None
        self._has_warned = False
        self._saved = ""
        self._tidied_at = 0.0
        self._follower: asyncio.Task[None] | None = None

    # ── gaps ──────────────────────────────────────────────────────────────────────────────────────────────

    def begin(self, heard_at: float) -> None:
        """Take up what the last run left. ``heard_at``: until when it heard the PBX (Unix seconds)."""
        self._load()
        self._open_gap(heard_at)

    def start(self) -> None:
        """Follow the records from now on."""
        self._follower = asyncio.get_running_loop().create_task(self._follow())

    async def close(self) -> None:
        """Stop; what was not told yet is told after the next start."""
        if self._follower is not None:
            self._follower.cancel()
            await asyncio.gather(self._follower, return_exceptions=True)

    def listen(self, fact: Event) -> None:
        """One fact, just journaled."""
        if isinstance(fact, e.CallRecorded):
            if fact.interaction in self._posted:
                self._posted.discard(fact.interaction)
                self._told.add(fact.interaction)
        elif isinstance(fact, e.LinkLost):
            if fact.pbx == self._source.pbx and all(gap.until is not None for gap in self._gaps):
                self._open_gap(fact.at - UNNOTICED_S)
        elif isinstance(fact, e.PbxRead) and fact.pbx == self._source.pbx:
            self._living = (frozenset(leg.leg for leg in fact.legs), fact.at)
            self._gaps = [gap if gap.until is not None else replace(gap, until=fact.at) for gap in self._gaps]
            self._save()

    def _open_gap(self, since: float, until: float | None = None, *, oldest: float | None = None) -> None:
        if oldest is None:
            oldest = self._oldest_live()
        began_at = max(since - LONGEST_CALL_S, min(since, since if oldest is None else oldest)) - BEFORE_S - MARGIN_S
        # What was read already, for another gap, may hold calls that touch this one.
        self._reading = None
        self._read_from = min(self._read_from, began_at) if self._gaps else began_at
        self._gaps.append(Gap(since, until))
        if len(self._gaps) > MOST_GAPS:
            untils = [gap.until for gap in self._gaps if gap.until is not None]
            is_open = any(gap.until is None for gap in self._gaps)
            self._gaps = [Gap(min(gap.since for gap in self._gaps), None if is_open else max(untils))]
        self._save()

    # ── following ─────────────────────────────────────────────────────────────────────────────────────────

    async def _follow(self) -> None:
        while True:
            pause_s = LOOK_S
            try:
                if not self._gaps and not self._source.is_shared:
                    await asyncio.to_thread(self._tidy_spool)
                if self._gaps and await self.step():
                    pause_s = 0.02
            except (SQLAlchemyError, OSError, TimeoutError) as error:
                log.warning("! records of %s can't be completed now: %s", self._source.pbx, type(error).__name__)
                pause_s = RETRY_S
            before, oldest = self._clock(), self._oldest_live()
            await asyncio.sleep(pause_s)
            now = self._clock()
            if now - before > pause_s + STALL_S:
                log.warning("! the daemon stood still for %.0f s", now - before)
                self._open_gap(before, now, oldest=oldest)

    def _tidy_spool(self) -> None:
        """Copies of records that nothing asks for any more. Raises ``OSError``."""
        now = self._clock()
        if now - self._tidied_at < TIDY_EVERY_S:
            return
        self._tidied_at = now
        for name in (CEL, QUEUE_LOG):
            for path in self._source.cel_folder.glob(f"{name}.*"):
                if now - path.stat().st_mtime > KEEP_COPIES_S:
                    path.unlink()

    async def step(self) -> bool:
        """Read on and tell what is whole; False when there is nothing more to read for now. Raises ``OSError`` and what
        the database's driver raises."""
        if self._reading is None:
            self._begin()
        assert self._reading is not None
        translator, completion = self._reading
        notes, lines = await asyncio.to_thread(self._next_lines)
        for note in notes:
            if (rang_out := rang_out_of(self._source.pbx, note)) is not None:
                completion.rang_out(rang_out.caller, rang_out.endpoint, rang_out.at)
        for line in lines:
            for fact in translator.facts(line):
                self._read_until = max(self._read_until, fact.at)
                self._want(completion.take(fact))
        if not lines:
            self._end_what_died(completion)
            if not self._read_until and not self._has_warned:
                self._has_warned = True
                log.info("= no records of %s in %s yet", self._source.pbx, self._source.cel_folder)
        await self._tell()
        if not lines:
            self._close_gaps(completion)
        return bool(lines)

    def _begin(self) -> None:
        self._reading = (
            CelTranslator(self._source.pbx),
            Completion(self._source.pbx, self._plan),
        )
        self._read_until = 0.0
        self._cel.begin(self._read_from)
        self._queue_log.begin(self._read_from)

    def _next_lines(self) -> tuple[list[bytes], list[bytes]]:
        # The log of the queues first, and all of it: it explains rings of calls that the records then end.
        notes: list[bytes] = []
        while more := self._queue_log.read():
            notes += more
        return notes, self._cel.read()

    def _want(self, calls: Iterable[e.CallRecorded]) -> None:
        for call in calls:
            is_new = call.interaction not in self._told and call.interaction not in self._posted
            if is_new and any(gap.touches(call.started_at, call.ended_at) for gap in self._gaps):
                self._pending.append(call)

    def _end_what_died(self, completion: Completion) -> None:
        if self._living is None:
            return
        living, at = self._living
        is_whole = self._read_until > at or (self._source.is_shared and self._clock() - at > QUIET_S)
        if is_whole:
            self._living = None
            self._want(completion.end_unheard(living, at))

    async def _tell(self) -> None:
        while self._pending:
            call = self._pending[0]
            parties: tuple[int, ...] = ()
            how = "none"
            if call.direction != "internal":
                parties, how = await self._look_up(call.account, call.ani)
            self._pending.pop(0)
            self._posted.add(call.interaction)
            self._post(replace(call, at=self._clock(), parties=parties, how=how))

    def _close_gaps(self, completion: Completion) -> None:
        """Nothing that touches a gap can come any more when the records speak of later times and all calls that began
        before its end are over."""
        if self._pending or self._posted:
            return
        told = len(self._told)
        self._gaps = [
            gap
            for gap in self._gaps
            if gap.until is None
            or self._read_until <= gap.until + MARGIN_S
            or completion.has_begun_before(gap.until + MARGIN_S)
        ]
        if not self._gaps:
            self._reading = None
            self._told.clear()
            log.info("= records of %s: %d calls completed", self._source.pbx, told)
        self._save()

    # ── what outlives a restart ───────────────────────────────────────────────────────────────────────────

    def _save(self) -> None:
        kept = {
            "read_from": self._read_from,
            "gaps": [[gap.since, gap.until] for gap in self._gaps],
            "told": sorted(self._told),
        }
        text = json.dumps(kept)
        if text == self._saved:
            return
        self._state.parent.mkdir(parents=True, exist_ok=True)
        new = self._state.with_suffix(".new")
        with new.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._state)
        self._saved = text

    def _load(self) -> None:
        try:
            kept = json.loads(self._state.read_text(encoding="utf-8"))
            self._gaps = [Gap(float(since), None if until is None else float(until)) for since, until in kept["gaps"]]
            self._read_from = float(kept["read_from"])
            self._told = {InteractionId(str(one)) for one in kept["told"]}
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError):
            log.warning("! %s can't be read; calls that were told before are told again", self._state)
