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
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from crm_core import interactions, phones, recordings, waiting
from crm_core.database import Database
from crm_core.interactions import DecisionRow, InteractionRow, Kept, LegRow, RecordingRow
from crm_core.one_visit import OneWritingVisit
from crm_core.waiting import MessageRow, OfferRow
from cti import journal
from cti.events import CallRecorded, DialOutcome, Event, RecordedLeg
from cti.ids import AgentId, InteractionId, PbxId
from cti.interaction import Conversations, Leg, LegRole
from cti.journal import START, Position
from cti.stories import Stories, Story

log = logging.getLogger(__name__)

READER = "recorder"
GATHER_S = 0.5
"""How long changes are gathered into one transaction."""
FIRST_RETRY_S, LAST_RETRY_S = 0.5, 15.0
REWRITE_S = 3.0
"""How often a conversation that goes on is written."""
MOST_PER_WRITE = 25
"""Interactions in one transaction: few enough that making their rows does not hold up a pop."""

REBUILD_EVERY = 5_000
"""Facts that are read between two times of writing in a rebuild."""
LATE_WORD_S = 300.0
"""Something may be told of an interaction so long after its end."""
MOST_DIFFERENCES = 20

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
        self._visit = OneWritingVisit(database)
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
        self.written = START
        """Everything in the journal before this is in the database."""
        self.is_behind = False
        """The database can't be reached: what happened waits in memory and in the journal."""

    def follow(self, conversations: Conversations) -> None:
        """The deciding core's own, which folds live what this one would else have to fold once more. To be called
        when both have taken up the same journal."""
        self._stories.follow(conversations)

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
        self._visit.close()

    async def _write_behind(self) -> None:
        retry_s = FIRST_RETRY_S
        while True:
            await self._is_due.wait()
            self._is_due.clear()
            if not self._is_closing:
                await asyncio.sleep(GATHER_S)
            try:
                await self._write_all(self._after, has_time=not self._is_closing)
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
            if self._changed:
                self._is_due.set()

    def _due(self) -> list[InteractionId]:
        """What is to be written now: what is told to its end, and what goes on and was not written for a while."""
        now, stories = self._clock(), self._stories.stories
        return [
            one
            for one in self._changed
            if (story := stories.get(one)) is None
            or story.is_told
            # The clock may be put back.
            or abs(now - story.written_at) >= REWRITE_S
        ]

    async def _write_all(self, position: Position, *, has_time: bool = False) -> None:
        due = self._due() if has_time else list(self._changed)
        for first in range(0, len(due), MOST_PER_WRITE):
            await self._write(set(due[first : first + MOST_PER_WRITE]))
        oldest = self._stories.oldest()
        safe = position if oldest is None else min(oldest, position)
        await self._visit.write(
            lambda connection: interactions.set_position(
                connection, READER, str(safe.segment), safe.offset, at=self._clock()
            )
        )
        self.written = safe

    async def _write(self, chosen: set[InteractionId]) -> None:
        stories = [self._stories.stories[one] for one in chosen if one in self._stories.stories]
        decided = {story.id: len(story.decisions) for story in stories}
        rows = self._rows(chosen)
        self._changed -= chosen
        try:
            await self._visit.write(lambda connection: _put(connection, rows))
        except BaseException:
            self._changed |= chosen
            raise
        for story in stories:
            story.decisions_written = decided[story.id]
            story.written_at = self._clock()
        # Told and not changed again while it was being written.
        self._stories.forget_told(chosen - self._changed)

    def _rows(self, chosen: set[InteractionId]) -> _Rows:
        stories = [self._stories.stories[one] for one in chosen if one in self._stories.stories]
        return _Rows(
            interactions=[self._interaction(story) for story in stories],
            legs=[row for story in stories for row in _legs(story)],
            decisions=[row for story in stories for row in _decisions(story)],
            recordings=[row for story in stories for row in _recordings(story)],
            offers=[row for story in stories for row in _offers(story)],
            messages=[row for story in stories for row in _messages(story)],
            merged=[(story.id, story.merged_into) for story in stories if story.merged_into is not None],
            recorded=[story for story in stories if story.recorded is not None],
        )

    # ── anew ──────────────────────────────────────────────────────────────────────────────────────────────

    async def rebuild(self, folder: Path, *, since_at: float = 0.0, is_dry: bool = False) -> Rebuilt:
        """Write all interactions of the journal that began since ``since_at`` (Unix seconds) and are over anew; with
        ``is_dry`` only look what would change. Those under way are left to the recorder that runs. A recorder that
        rebuilds does nothing else before or after. Raises what the database's driver raises."""
        found = Rebuilt()
        for _, fact in journal.read(folder, Position(journal.segment_at(folder, since_at), 0)):
            found.facts += 1
            self._changed |= self._stories.take(fact, before=START)
            if found.facts % REBUILD_EVERY == 0:
                await self._rebuild_told(found, since_at, fact.at - LATE_WORD_S, is_dry=is_dry)
        await self._rebuild_told(found, since_at, None, is_dry=is_dry)
        found.unfinished = len(self._stories.stories)
        return found

    async def _rebuild_told(self, found: Rebuilt, since_at: float, before: float | None, *, is_dry: bool) -> None:
        """Write what is told; what ended after ``before`` may still be added to."""
        told = [
            story.id
            for story in self._stories.stories.values()
            if story.is_told and (before is None or (story.ended_at or 0.0) < before)
        ]
        for start in range(0, len(told), MOST_PER_WRITE):
            part = set(told[start : start + MOST_PER_WRITE])
            rows = self._rows(part)
            rows.only_since(since_at)
            ids = [row.id for row in rows.interactions]
            async with self._database.begin() as connection:
                was = await interactions.kept(connection, ids)
                attempt = await connection.begin_nested()
                await _put(connection, rows)
                found.compare(was, await interactions.kept(connection, ids))
                await (attempt.rollback() if is_dry else attempt.commit())
            self._changed -= part
            self._stories.forget_told(part)

    def _interaction(self, story: Story) -> InteractionRow:
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
            ani_e164=_e164(story.ani, self._region),
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
            recording_basis=story.recording_basis,
            path=story.path,
        )


@dataclass(slots=True)
class _Rows:
    """What one transaction writes, made before it begins: a story may change while the database is waited for."""

    interactions: list[InteractionRow]
    legs: list[LegRow]
    decisions: list[DecisionRow]
    recordings: list[RecordingRow]
    offers: list[OfferRow]
    messages: list[MessageRow]
    merged: list[tuple[InteractionId, InteractionId]]
    recorded: list[Story]

    def only_since(self, at: float) -> None:
        """Leave out the interactions that began before, with all that is theirs."""
        left_out = {row.id for row in self.interactions if row.started_at < at}
        if not left_out:
            return
        self.interactions = [row for row in self.interactions if row.id not in left_out]
        self.legs = [row for row in self.legs if row.interaction not in left_out]
        self.decisions = [row for row in self.decisions if row.interaction not in left_out]
        self.recordings = [row for row in self.recordings if row.interaction not in left_out]
        self.merged = [(gone, into) for gone, into in self.merged if gone not in left_out]
        self.recorded = [story for story in self.recorded if story.id not in left_out]


@dataclass(slots=True)
class Rebuilt:
    """What a rebuild found. ``new``, ``changed``, ``same``: interactions that were not there, that differed, that stood
    as the journal tells them; ``unfinished``: that are not over."""

    facts: int = 0
    new: int = 0
    changed: int = 0
    same: int = 0
    unfinished: int = 0
    differences: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Interaction → the columns that differed, of the first ones that did."""

    def compare(self, was: Kept, now: Kept) -> None:
        """Count what writing changed."""
        for one, row in now.interactions.items():
            before = was.interactions.get(one)
            if before is None:
                self.new += 1
                continue
            columns = [name for name, value in asdict(row).items() if getattr(before, name) != value]
            if _legs_of(was, one) != _legs_of(now, one):
                columns.append("legs")
            if not columns:
                self.same += 1
                continue
            self.changed += 1
            if len(self.differences) < MOST_DIFFERENCES:
                self.differences[one] = tuple(columns)


def _legs_of(kept: Kept, interaction: str) -> dict[str, LegRow]:
    return {leg.id: leg for leg in kept.legs.values() if leg.interaction == interaction}


async def _put(connection: AsyncConnection, rows: _Rows) -> None:
    grown: list[str] = []
    if rows.recorded:
        known = await interactions.kept(connection, [story.id for story in rows.recorded])
        alone = {str(story.id): story.recorded for story in rows.recorded if story.is_alone}
        rows.interactions = [_over(known, row, alone.get(row.id)) for row in rows.interactions]
        live = {leg.id: leg for leg in rows.legs}
        told = [leg for story in rows.recorded if story.recorded is not None for leg in story.recorded.legs]
        homes = {leg.leg: story.id for story in rows.recorded if story.recorded for leg in story.recorded.legs}
        for leg in told:
            live[leg.leg] = _leg_over(live.get(leg.leg) or known.legs.get(leg.leg), leg, homes[leg.leg])
        rows.legs = list(live.values())
        rows.recordings = [_recording_over(known.recordings.get(row.file), row) for row in rows.recordings]
        grown = [
            row.file
            for row in rows.recordings
            if row.file in known.recordings and known.recordings[row.file].ended_at != row.ended_at
        ]
    await interactions.write(
        connection,
        interactions=rows.interactions,
        legs=rows.legs,
        decisions=rows.decisions,
        recordings=rows.recordings,
    )
    await waiting.write(connection, offers=rows.offers, messages=rows.messages)
    if grown:
        await recordings.look_again(connection, grown)
    merged = [(gone, story.id) for story in rows.recorded if story.recorded for gone in story.recorded.merged]
    for gone, into in (*rows.merged, *merged):
        await interactions.merge(connection, gone, into)
        await waiting.merge(connection, gone, into)


def _over(known: Kept, row: InteractionRow, recorded: CallRecorded | None) -> InteractionRow:
    """A row made of the PBX's record alone, over what was written of the interaction before: what people and the
    routing added to it stays."""
    was = known.interactions.get(row.id)
    if was is None or recorded is None:
        return row
    if not recorded.was_offered:
        row = replace(
            row, ani_e164=was.ani_e164, ani_raw=was.ani_raw, ani_name=was.ani_name, is_withheld=was.is_withheld
        )
    was_found = bool(was.chosen_by or was.match_how or was.party_id is not None)
    was_heard = was.answered_at is not None and row.answered_at is None
    return replace(
        row,
        direction=was.direction,
        party_id=was.party_id if was_found else row.party_id,
        candidates=was.candidates if was_found else row.candidates,
        match_how=was.match_how if was_found else row.match_how,
        chosen_by=was.chosen_by,
        queue=row.queue or was.queue,
        dnis=row.dnis or was.dnis,
        account=row.account or was.account,
        choice=row.choice or was.choice,
        language=row.language or was.language,
        queued_at=row.queued_at if row.queued_at is not None else was.queued_at,
        agent=was.agent if was_heard else row.agent,
        from_agent=was.from_agent if was_heard else row.from_agent,
        answered_at=was.answered_at if was_heard else row.answered_at,
        wait_s=was.wait_s if was_heard or row.wait_s is None else row.wait_s,
        talk_s=was.talk_s if was_heard else row.talk_s,
        hold_s=was.hold_s if was_heard else _most(was.hold_s, row.hold_s),
        wrap_up_s=was.wrap_up_s if was.wrap_up_s is not None else row.wrap_up_s,
        outcome=was.outcome if was_heard else row.outcome,
        disposition=was.disposition,
        note=was.note,
        recording_basis=row.recording_basis or was.recording_basis,
    )


def _most(one: float | None, two: float | None) -> float | None:
    return max((value for value in (one, two) if value is not None), default=None)


def _leg_over(was: LegRow | None, recorded: RecordedLeg, interaction: InteractionId) -> LegRow:
    """A leg as the PBX's record has it. When it rang, and how a ring ended, was heard better live."""
    outcome = recorded.outcome
    if was is not None and was.outcome and outcome in ("", DialOutcome.CANCELLED):
        outcome = was.outcome
    return LegRow(
        id=recorded.leg,
        interaction=interaction,
        role=recorded.role,
        started_at=recorded.started_at,
        agent=recorded.agent,
        endpoint=recorded.endpoint,
        number=recorded.number,
        ringing_at=was.ringing_at if was is not None else None,
        answered_at=recorded.answered_at,
        ended_at=recorded.ended_at,
        outcome=outcome,
        cause=recorded.cause,
    )


def _recording_over(was: RecordingRow | None, row: RecordingRow) -> RecordingRow:
    if was is None:
        return row
    row = replace(row, basis=row.basis or was.basis, objected_at=row.objected_at or was.objected_at)
    return row if row.paused else replace(row, started_at=was.started_at, paused=was.paused)


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


@lru_cache(maxsize=1024)
def _e164(ani: str, region: str) -> str:
    """Asked for each time that an interaction is written."""
    return phones.parse_number(ani, region).e164 or ""


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
            others=decision.others,
            step=decision.step,
            required=decision.required,
            waited_s=round(decision.waited_s, 3),
            points=decision.points,
        )


def _offers(story: Story) -> Iterable[OfferRow]:
    if story.merged_into is not None:
        return
    for offer in story.offers:
        yield OfferRow(
            interaction=story.id,
            queue=offer.queue,
            began_at=offer.began_at,
            ended_at=offer.ended_at,
            outcome=offer.outcome,
            went_to=offer.went_to,
        )


def _messages(story: Story) -> Iterable[MessageRow]:
    for message in story.messages:
        yield MessageRow(
            interaction=story.merged_into or story.id, queue=message.queue, file=message.file, left_at=message.at
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
            basis=tape.basis,
            objected_at=tape.objected_at,
        )
