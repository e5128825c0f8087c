"""Recordings: which files wait to be measured, what was found, and which file belongs to an interaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import false, func, select, update

from crm_core import fields
from crm_core.errors import Missing
from crm_core.schema import interaction, queue, recording

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from crm_core.access import FieldRules, Reader, Row

STATES = ("pending", "complete", "silent", "missing", "objected")


_IS_TO_DELETE = recording.c.objected_at.is_not(None) & ~func.coalesce(queue.c.keeps_objected, false())


@dataclass(frozen=True, slots=True)
class PendingRecording:
    """A recording whose file was not measured yet, or is to be deleted. ``ended_at`` None: it may still grow."""

    file: str
    interaction: str
    leg: str
    started_at: float
    ended_at: float | None
    paused: tuple[tuple[float, float | None], ...]
    is_to_delete: bool = False
    """The caller objected, and the queue keeps nothing of it."""


async def pending(connection: AsyncConnection, *, started_before: float, limit: int = 100) -> list[PendingRecording]:
    """Recordings that wait to be measured or deleted, each oldest first; at most ``limit`` of each."""
    wanted = (
        select(
            recording.c.file,
            recording.c.interaction,
            recording.c.leg,
            recording.c.started_at,
            recording.c.ended_at,
            recording.c.paused,
            _IS_TO_DELETE,
        )
        .select_from(
            recording.outerjoin(interaction, interaction.c.id == recording.c.interaction).outerjoin(
                queue, queue.c.slug == interaction.c.queue
            )
        )
        .where(recording.c.started_at < started_before)
        .limit(limit)
    )
    # Two questions, because each has an index of its own: a site keeps millions of complete recordings.
    to_measure = wanted.where(recording.c.state == "pending").order_by(recording.c.started_at)
    to_delete = wanted.where(_IS_TO_DELETE, recording.c.state.in_(("complete", "silent"))).order_by(
        recording.c.objected_at
    )
    return [
        PendingRecording(file, home, leg, started_at, ended_at, tuple((span[0], span[1]) for span in paused), gone)
        for question in (to_measure, to_delete)
        for file, home, leg, started_at, ended_at, paused, gone in await connection.execute(question)
    ]


async def look_again(connection: AsyncConnection, files: Sequence[str]) -> None:
    """What was found in these files is not the last word: they grew, or came only now."""
    await connection.execute(
        update(recording)
        .where(recording.c.file.in_(files), recording.c.state.in_(("missing", "complete", "silent")))
        .values(state="pending")
    )


async def is_wanted(connection: AsyncConnection, file: str) -> bool:
    """Whether a file that comes from elsewhere may be kept: not one that was deleted because the caller objected."""
    return await connection.scalar(select(recording.c.state).where(recording.c.file == file)) != "objected"


async def settle(
    connection: AsyncConnection,
    file: str,
    *,
    state: str,
    audio_s: float | None = None,
    silent_s: float | None = None,
    sha256: str | None = None,
    size_bytes: int | None = None,
) -> None:
    """What was found in a file that grows no more. ``state``: ``complete``, ``silent``, ``missing``, or ``objected``
    for one that was deleted."""
    fields.choice("state", state, STATES)
    done = await connection.execute(
        update(recording)
        .where(recording.c.file == file)
        .values(state=state, audio_s=audio_s, silent_s=silent_s, sha256=sha256, bytes=size_bytes)
    )
    if done.rowcount != 1:
        raise Missing("recording", file)


async def known(connection: AsyncConnection, files: Sequence[str]) -> set[str]:
    """Which of these files the database knows of."""
    return set(await connection.scalars(select(recording.c.file).where(recording.c.file.in_(files))))


async def of_interaction(connection: AsyncConnection, reader: Reader, rules: FieldRules, interaction: str) -> list[Row]:
    """The recordings of an interaction, oldest first, all columns of the table."""
    rows = await connection.execute(
        select(recording).where(recording.c.interaction == interaction).order_by(recording.c.started_at)
    )
    return [rules.visible(reader, "recording", dict(row)) for row in rows.mappings()]
