"""The recorder: writes what the journal tells into the CRM's database, behind the journal.

Live, it hears every fact from the driver right after the journal has it, folds it (``cti.stories``) and writes the
changed rows in groups. With the database away it goes on folding and keeps only the latest state of what changed. The
position it has reached is stored behind the rows, so after a stop it reads the journal again from the beginning of the
oldest unfinished story; all rows are upserts, so what is read twice is counted once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from crm_core import interactions, phones
from crm_core.database import Database
from crm_core.interactions import DecisionRow, InteractionRow, LegRow, RecordingRow
from cti import journal
from cti.events import Event
from cti.ids import AgentId, InteractionId, PbxId
from cti.interaction import Leg, LegRole
from cti.journal import START, Position
from cti.stories import Stories, Story

log = logging.getLogger(__name__)

READER = "recorder"
GATHER_S = 0.5
"""How long changes are gathered into one transaction."""
FIRST_RETRY_S, LAST_RETRY_S = 0.5, 15.0
MOST_PER_WRITE = 25
"""Interactions in one transaction: few enough that making their rows does not hold up a pop."""

DATABASE_AWAY = (SQLAlchemyError, OSError, TimeoutError)
"""What the drivers raise while the database can't be had."""


class Recorder:
    """Writes stories to the database. ``where``: the journal's end, asked at each fact."""

    def __init__(
        self,
        database: Database,
        *,
        owner_of: Callable[[PbxId, str], AgentId | None],
        where: Callable[[], Position],
        clock: Callable[[], float],
        region: str,
    ) -> None:
        self._database = database
        self._stories = Stories(owner_of)
        self._where = where
        self._clock = clock
        self._region = region
        self._before = START
        self._after = START
        self._changed: set[InteractionId] = set()
        self._is_due = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._is_closing = False
        self.is_behind = False
        """The database can't be reached: what happened waits in memory and in the journal."""

    # ── hearing ───────────────────────────────────────────────────────────────────────────────────────────

    def listen(self, fact: Event) -> None:
        """One fact, just journaled."""
        after = self._where()
        if after != self._after:
            self._before, self._after = self._after, after
        self._take(fact, self._before)

    def _take(self, fact: Event, before: Position) -> None:
        changed = self._stories.take(fact, before=before)
        if changed:
            self._changed |= changed
            self._is_due.set()

    # ── life ──────────────────────────────────────────────────────────────────────────────────────────────

    async def catch_up(self, folder: Path) -> int:
        """Read the journal from where the last run left it; returns how many facts were read. Raises if the database is
        away: a start without it would not know where to begin."""
        async with self._database.read() as connection:
            stored = await interactions.position(connection, READER)
        since = START if stored is None else Position(int(stored[0]), stored[1])
        count = 0
        before = since
        for position, fact in journal.read(folder, since):
            self._take(fact, before)
            before = position
            count += 1
            if len(self._changed) >= MOST_PER_WRITE:
                await self._write_all(before)
        self._before = self._after = before
        await self._write_all(before)
        return count

    def start(self) -> None:
        """Write from now on whenever something changed."""
        self._before = self._after = self._where()
        self._writer = asyncio.get_running_loop().create_task(self._write_behind())

    async def close(self) -> None:
        """Write what is left, if the database can be had."""
        self._is_closing = True
        self._is_due.set()
        if self._writer is not None:
            await self._writer

    async def _write_behind(self) -> None:
        retry_s = FIRST_RETRY_S
        while True:
            await self._is_due.wait()
            self._is_due.clear()
            if not self._is_closing:
                await asyncio.sleep(GATHER_S)
            try:
                await self._write_all(self._after)
            except DATABASE_AWAY as error:
                if not self.is_behind:
                    log.warning("! the database is away (%s); the journal keeps everything", type(error).__name__)
                self.is_behind = True
                if self._is_closing:
                    return
                self._is_due.set()
                await asyncio.sleep(retry_s)
                retry_s = min(retry_s * 2, LAST_RETRY_S)
                continue
            if self.is_behind:
                log.warning("= the database can be written again; everything is")
                self.is_behind, retry_s = False, FIRST_RETRY_S
            if self._is_closing and not self._changed:
                return

    async def _write_all(self, position: Position) -> None:
        while self._changed:
            await self._write(set(list(self._changed)[:MOST_PER_WRITE]))
        async with self._database.begin() as connection:
            await self._set_position(connection, position)

    async def _write(self, chosen: set[InteractionId]) -> None:
        stories = [self._stories.stories[one] for one in chosen if one in self._stories.stories]
        rows = [self._interaction(story) for story in stories]
        legs = [row for story in stories for row in _legs(story)]
        decided = {story.id: len(story.decisions) for story in stories}
        decisions = [row for story in stories for row in _decisions(story)]
        recordings = [row for story in stories for row in _recordings(story)]
        merged = [(story.id, story.merged_into) for story in stories if story.merged_into is not None]
        self._changed -= chosen
        try:
            async with self._database.begin() as connection:
                await interactions.write(
                    connection, interactions=rows, legs=legs, decisions=decisions, recordings=recordings
                )
                for gone, into in merged:
                    await interactions.merge(connection, gone, into)
        except BaseException:
            self._changed |= chosen
            raise
        for story in stories:
            story.decisions_written = decided[story.id]
        # Told and not changed again while it was being written.
        self._stories.forget_told(chosen - self._changed)

    async def _set_position(self, connection: AsyncConnection, position: Position) -> None:
        oldest = self._stories.oldest()
        safe = position if oldest is None else min(oldest, position)
        await interactions.set_position(connection, READER, str(safe.segment), safe.offset, at=self._clock())

    def _interaction(self, story: Story) -> InteractionRow:
        number = phones.parse_number(story.ani, self._region)
        answered_at = story.answered_at
        wait_s = None
        if story.queued_at is not None:
            until = answered_at if answered_at is not None else story.ended_at
            wait_s = None if until is None else max(0.0, until - story.queued_at)
        return InteractionRow(
            id=story.id,
            direction=story.direction,
            started_at=story.started_at,
            party_id=story.party,
            candidates=story.candidates,
            queue=story.queue,
            agent=story.agent,
            from_agent=story.from_agent,
            dnis=story.dnis,
            ani_e164=number.e164 or "",
            ani_raw=story.ani,
            ani_name=story.ani_name,
            is_withheld=story.is_withheld,
            account=story.account,
            choice=story.choice,
            language=story.language,
            queued_at=story.queued_at,
            answered_at=answered_at,
            ended_at=story.ended_at,
            wait_s=wait_s,
            talk_s=story.talk_s if answered_at is not None else None,
            hold_s=story.hold_s if answered_at is not None else None,
            wrap_up_s=story.wrap_up_s if answered_at is not None else None,
            outcome=story.outcome,
            disposition=story.disposition,
            note=story.note,
            match_how=story.how,
            chosen_by=story.chosen_by,
        )


def _legs(story: Story) -> Iterable[LegRow]:
    if story.live is None or story.merged_into is not None:
        return
    for leg in story.live.legs.values():
        if leg.role is LegRole.LOCAL:
            continue
        yield LegRow(
            id=leg.id,
            interaction=story.id,
            role=_role(leg),
            started_at=leg.started_at,
            agent=leg.agent or "",
            endpoint=leg.endpoint,
            # A withheld number came along in the signalling; it is not ours to keep.
            number="" if story.is_withheld and leg.role is LegRole.CUSTOMER else leg.number,
            ringing_at=leg.ringing_at,
            answered_at=leg.answered_at,
            ended_at=leg.ended_at,
            outcome=leg.outcome or "",
            cause=leg.cause or "",
        )


def _role(leg: Leg) -> str:
    return {LegRole.CUSTOMER: "customer", LegRole.AGENT: "agent"}.get(leg.role, "other")


def _decisions(story: Story) -> Iterable[DecisionRow]:
    for decision in story.decisions[story.decisions_written :]:
        yield DecisionRow(
            interaction=story.id,
            at=decision.at,
            rule=decision.rule,
            queue=decision.queue or "",
            agent=decision.agent or "",
            passed=tuple((one.agent, one.reason, one.detail) for one in decision.passed),
        )


def _recordings(story: Story) -> Iterable[RecordingRow]:
    for tape in story.tapes:
        yield RecordingRow(
            file=tape.file,
            interaction=story.id,
            started_at=tape.started_at,
            leg=tape.leg,
            ended_at=tape.ended_at,
            paused=tuple(tape.paused),
        )
