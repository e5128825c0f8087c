"""What happened, as the journal's reader writes it and as people read it.

Writing is idempotent: rows carry ids of ours, the same rows written twice change nothing, and the reader's position in
the journal commits with them. What was later found in a recording (its length, its hash) is not undone by writing
its row again.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Table, bindparam, func, select, update

from crm_core.dialects import is_sqlite, upsert
from crm_core.schema import (
    agent,
    interaction,
    interaction_decision,
    interaction_leg,
    journal_position,
    party,
    queue,
    recording,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Insert
    from sqlalchemy.ext.asyncio import AsyncConnection

    from crm_core.access import FieldRules, Reader, Row


@dataclass(frozen=True, slots=True, kw_only=True)
class InteractionRow:
    """One interaction as it stands. Times: Unix seconds; ``agent``: who talked last; ``candidates``: the customers that
    it could have been; ``match_how``: how they were found; ``chosen_by``: the agent who chose the customer;
    ``recording_basis``: why it is, or is not, recorded (``announced``, ``consent``; ``off``, ``no_consent``,
    ``objected``, ``unannounced``)."""

    id: str
    direction: str
    started_at: float
    party_id: int | None = None
    candidates: tuple[int, ...] = ()
    channel: str = "voice"
    queue: str = ""
    agent: str = ""
    from_agent: str = ""
    dnis: str = ""
    ani_e164: str = ""
    ani_raw: str = ""
    ani_name: str = ""
    is_withheld: bool = False
    account: str = ""
    choice: str = ""
    language: str = ""
    queued_at: float | None = None
    answered_at: float | None = None
    ended_at: float | None = None
    wait_s: float | None = None
    talk_s: float | None = None
    hold_s: float | None = None
    wrap_up_s: float | None = None
    outcome: str = ""
    disposition: str = ""
    note: str = ""
    match_how: str = ""
    chosen_by: str = ""
    recording_basis: str = ""
    path: str = ""
    """The way through the menus: ``main:2>orders:1``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LegRow:
    """One leg of an interaction. ``role``: ``customer``, ``agent``, ``consult``, ``other``."""

    id: str
    interaction: str
    role: str
    started_at: float
    agent: str = ""
    endpoint: str = ""
    number: str = ""
    ringing_at: float | None = None
    answered_at: float | None = None
    ended_at: float | None = None
    outcome: str = ""
    cause: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRow:
    """One answer of the routing. ``agent`` empty: nobody. ``passed``: (agent, reason, detail) of those not taken;
    ``others``: rung at the same time; ``required``: the expression that counted then, the queue's ``step`` from 0;
    ``points`` of priority."""

    interaction: str
    at: float
    rule: str
    queue: str = ""
    agent: str = ""
    passed: tuple[tuple[str, str, str], ...] = ()
    others: tuple[str, ...] = ()
    step: int = 0
    required: str = ""
    waited_s: float = 0.0
    points: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingRow:
    """One recording as ordered. ``file``: relative to the recording folder; ``paused``: (from, to) spans in Unix
    seconds, ``to`` None while it lasts; ``ended_at``: from when on the file will not grow; ``basis``: ``announced`` or
    ``consent``; ``objected_at``: the caller took it back."""

    file: str
    interaction: str
    started_at: float
    leg: str = ""
    ended_at: float | None = None
    paused: tuple[tuple[float, float | None], ...] = ()
    basis: str = ""
    objected_at: float | None = None


# Widths of columns; what a network sends may be longer.
_WIDTHS: dict[str, dict[str, int]] = {
    table.name: {
        column.name: length for column in table.c if (length := getattr(column.type, "length", None)) is not None
    }
    for table in (interaction, interaction_leg, interaction_decision, recording)
}


_COLUMNS: dict[type, tuple[str, ...]] = {
    kind: tuple(field.name for field in fields(kind)) for kind in (InteractionRow, LegRow, DecisionRow, RecordingRow)
}


def _stored(table: Table, row: Any) -> Row:
    """A row for the database: lists for tuples, texts cut to their column, without what PostgreSQL cannot hold."""
    widths = _WIDTHS[table.name]
    stored: Row = {}
    for name in _COLUMNS[type(row)]:
        value = getattr(row, name)
        if isinstance(value, str):
            if value and not (value.isascii() and value.isprintable()):
                value = value.replace("\x00", "").encode("utf-8", "replace").decode()
            width = widths.get(name)
            stored[name] = value if width is None else value[:width]
        elif isinstance(value, tuple):
            stored[name] = [list(item) if isinstance(item, tuple) else item for item in value]
        else:
            stored[name] = value
    return stored


_KEYS: dict[str, tuple[str, ...]] = {
    "interaction": ("id",),
    "interaction_leg": ("id",),
    "interaction_decision": ("interaction", "at", "queue", "agent"),
    "recording": ("file",),
}


@lru_cache(maxsize=2 * len(_KEYS))
def _statement(table: Table, columns: tuple[str, ...], *, is_sqlite: bool) -> Insert:
    statement = upsert(table, is_sqlite=is_sqlite).values({name: bindparam(name) for name in columns})
    if table is interaction:
        survivor = select(func.coalesce(party.c.merged_into, party.c.id)).where(party.c.id == bindparam("party_id"))
        statement = statement.values(party_id=survivor.scalar_subquery())
    keys = _KEYS[table.name]
    return statement.on_conflict_do_update(
        index_elements=list(keys), set_={name: statement.excluded[name] for name in columns if name not in keys}
    )


async def _put(connection: AsyncConnection, table: Table, rows: Sequence[Any]) -> None:
    if not rows:
        return
    # Within one batch the last state of a row is the one that counts.
    stored = {tuple(one[key] for key in _KEYS[table.name]): one for one in (_stored(table, row) for row in rows)}
    batch = list(stored.values())
    await connection.execute(_statement(table, tuple(batch[0]), is_sqlite=is_sqlite(connection)), batch)


async def write(
    connection: AsyncConnection,
    *,
    interactions: Sequence[InteractionRow] = (),
    legs: Sequence[LegRow] = (),
    decisions: Sequence[DecisionRow] = (),
    recordings: Sequence[RecordingRow] = (),
) -> None:
    """Store rows as they stand now, in bulk. A customer who was merged away is replaced by the survivor, one that does
    not exist by nobody."""
    await _put(connection, interaction, interactions)
    await _put(connection, interaction_leg, legs)
    await _put(connection, interaction_decision, decisions)
    await _put(connection, recording, recordings)


@dataclass(frozen=True, slots=True)
class Kept:
    """What the database holds of some interactions: rows by their keys."""

    interactions: dict[str, InteractionRow]
    legs: dict[str, LegRow]
    recordings: dict[str, RecordingRow]


async def kept(connection: AsyncConnection, ids: Sequence[str]) -> Kept:
    """The rows of these interactions, those that were merged into others left out."""

    async def rows(table: Table, column: Any, kind: type, *conditions: Any) -> list[Any]:
        if not ids:
            return []
        columns = [table.c[name] for name in _COLUMNS[kind]]
        found = await connection.execute(select(*columns).where(column.in_(ids), *conditions))
        return [kind(**{name: _tupled(value) for name, value in row.items()}) for row in found.mappings()]

    return Kept(
        {
            row.id: row
            for row in await rows(interaction, interaction.c.id, InteractionRow, interaction.c.merged_into.is_(None))
        },
        {row.id: row for row in await rows(interaction_leg, interaction_leg.c.interaction, LegRow)},
        {row.file: row for row in await rows(recording, recording.c.interaction, RecordingRow)},
    )


def _tupled(value: Any) -> Any:
    return tuple(_tupled(one) for one in value) if isinstance(value, list) else value


async def merge(connection: AsyncConnection, gone: str, into: str) -> None:
    """Two interactions turned out to be one: ``gone`` leads to ``into`` and hands over its parts. What was merged into
    ``gone`` before follows."""
    for table in (interaction_leg, recording):
        await connection.execute(update(table).where(table.c.interaction == gone).values(interaction=into))
    decisions = (
        await connection.execute(select(interaction_decision).where(interaction_decision.c.interaction == gone))
    ).mappings()
    moved = [{**one, "interaction": into} for one in decisions]
    if moved:
        await connection.execute(
            upsert(interaction_decision, is_sqlite=is_sqlite(connection)).on_conflict_do_nothing(
                index_elements=list(_KEYS["interaction_decision"])
            ),
            moved,
        )
        await connection.execute(interaction_decision.delete().where(interaction_decision.c.interaction == gone))
    await connection.execute(
        update(interaction)
        .where((interaction.c.id == gone) | (interaction.c.merged_into == gone))
        .values(merged_into=into)
    )


async def position(connection: AsyncConnection, reader_name: str) -> tuple[str, int] | None:
    """How far a reader of the journal came: (segment, offset in bytes); None: not begun."""
    row = (
        await connection.execute(
            select(journal_position.c.segment, journal_position.c.byte_offset).where(
                journal_position.c.reader == reader_name
            )
        )
    ).first()
    return None if row is None else (row[0], row[1])


async def set_position(connection: AsyncConnection, reader_name: str, segment: str, offset: int, *, at: float) -> None:
    """How far a reader of the journal came, in the same transaction as the rows that it made of it."""
    values = {"segment": segment, "byte_offset": offset, "at": at}
    await connection.execute(
        upsert(journal_position, is_sqlite=is_sqlite(connection))
        .values(reader=reader_name, **values)
        .on_conflict_do_update(index_elements=["reader"], set_=values)
    )


async def get(connection: AsyncConnection, reader: Reader, rules: FieldRules, interaction_id: str) -> Row | None:
    """One interaction with its ``legs``, ``decisions`` and ``recordings``; a merged one leads to the one that it
    became. ``queue_name``, ``agent_name``, ``party_name``
    stand beside the ids. None: there is no such interaction."""
    row = (
        (
            await connection.execute(
                select(
                    interaction,
                    func.coalesce(queue.c.name, interaction.c.queue).label("queue_name"),
                    func.coalesce(agent.c.name, interaction.c.agent).label("agent_name"),
                )
                .select_from(
                    interaction.outerjoin(queue, queue.c.slug == interaction.c.queue).outerjoin(
                        agent, agent.c.slug == interaction.c.agent
                    )
                )
                .where(interaction.c.id == interaction_id)
            )
        )
        .mappings()
        .first()
    )
    if row is None:
        return None
    if row["merged_into"] is not None:
        return await get(connection, reader, rules, row["merged_into"])

    async def rows(table: Table, kind: str, order: Any) -> list[Row]:
        found = await connection.execute(select(table).where(table.c.interaction == interaction_id).order_by(order))
        return [rules.visible(reader, kind, dict(one)) for one in found.mappings()]

    seen = rules.visible(reader, "interaction", dict(row))
    if row["party_id"] is not None and rules.may_read(reader, "interaction", "party_id"):
        name = await connection.scalar(select(party.c.name).where(party.c.id == row["party_id"]))
        shown = rules.visible(reader, "party", {"name": name})
        if "name" in shown:
            seen["party_name"] = shown["name"]
    return {
        **seen,
        "legs": await rows(interaction_leg, "leg", interaction_leg.c.started_at),
        "decisions": await rows(interaction_decision, "decision", interaction_decision.c.at),
        "recordings": await rows(recording, "recording", recording.c.started_at),
    }
