"""Recordings: which files wait to be measured, what was found, and which file belongs to an interaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select, update

from crm_core import fields
from crm_core.errors import Missing
from crm_core.schema import recording

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from crm_core.access import FieldRules, Reader, Row

STATES = ("pending", "complete", "silent", "missing")


@dataclass(frozen=True, slots=True)
class PendingRecording:
    """A recording whose file was not measured yet. ``ended_at`` None: it may still grow."""

    file: str
    interaction: str
    leg: str
    started_at: float
    ended_at: float | None
    paused: tuple[tuple[float, float | None], ...]


async def pending(connection: AsyncConnection, *, started_before: float, limit: int = 100) -> list[PendingRecording]:
    """Recordings that wait to be measured, oldest first."""
    rows = await connection.execute(
        select(
            recording.c.file,
            recording.c.interaction,
            recording.c.leg,
            recording.c.started_at,
            recording.c.ended_at,
            recording.c.paused,
        )
        .where(recording.c.state == "pending", recording.c.started_at < started_before)
        .order_by(recording.c.started_at)
        .limit(limit)
    )
    return [
        PendingRecording(file, interaction, leg, started_at, ended_at, tuple((span[0], span[1]) for span in paused))
        for file, interaction, leg, started_at, ended_at, paused in rows
    ]


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
    """What was found in a file that grows no more. ``state``: ``complete``, ``silent``, ``missing``."""
    fields.choice("state", state, STATES)
    done = await connection.execute(
        update(recording)
        .where(recording.c.file == file)
        .values(state=state, audio_s=audio_s, silent_s=silent_s, sha256=sha256, bytes=size_bytes)
    )
    if done.rowcount != 1:
        raise Missing("recording", file)


async def of_interaction(connection: AsyncConnection, reader: Reader, rules: FieldRules, interaction: str) -> list[Row]:
    """The recordings of an interaction, oldest first, all columns of the table."""
    rows = await connection.execute(
        select(recording).where(recording.c.interaction == interaction).order_by(recording.c.started_at)
    )
    return [rules.visible(reader, "recording", dict(row)) for row in rows.mappings()]
