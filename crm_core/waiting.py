"""What waiting callers leave behind: the books of each queue, and messages that somebody has to answer.

An *offer* is one stay of a caller in one queue: it belongs to the queue and the moment in which it began, and ends
with one outcome. Who overflows from one queue into another has two. Writing is idempotent; what people did with a
message (took it, were done with it) is not undone by writing it again.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, select, update

from crm_core.dialects import is_sqlite, upsert
from crm_core.errors import Missing, Refused
from crm_core.schema import interaction_offer, voicemail

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy import Insert
    from sqlalchemy.ext.asyncio import AsyncConnection

    from crm_core.access import Row

DUE_S = 4 * 3600
"""A message wants an answer by then, half a working day later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferRow:
    """A caller in a queue. Times: Unix seconds; ``outcome`` empty while it lasts: ``answered``, ``abandoned``,
    ``short_abandoned``, ``overflowed``, ``closed``, ``callback``, ``fell_back``…; ``went_to``: the destination."""

    interaction: str
    queue: str
    began_at: float
    ended_at: float | None = None
    outcome: str = ""
    went_to: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRow:
    """A message that a caller left. ``file``: relative to the messages folder; ``left_at``: Unix seconds."""

    interaction: str
    queue: str
    file: str
    left_at: float


async def write(
    connection: AsyncConnection, *, offers: Sequence[OfferRow] = (), messages: Sequence[MessageRow] = ()
) -> None:
    """Store rows as they stand now."""
    if offers:
        latest = {(one.interaction, one.began_at, one.queue): asdict(one) for one in offers}
        await connection.execute(_put_offer(is_sqlite=is_sqlite(connection)), list(latest.values()))
    if messages:
        rows = {one.file: asdict(one) | {"due_at": one.left_at + DUE_S} for one in messages}
        await connection.execute(_put_message(is_sqlite=is_sqlite(connection)), list(rows.values()))


@lru_cache(maxsize=2)
def _put_offer(*, is_sqlite: bool) -> Insert:
    names = tuple(field.name for field in fields(OfferRow))
    keys = ("interaction", "began_at", "queue")
    statement = upsert(interaction_offer, is_sqlite=is_sqlite).values({name: bindparam(name) for name in names})
    return statement.on_conflict_do_update(
        index_elements=list(keys), set_={name: statement.excluded[name] for name in names if name not in keys}
    )


@lru_cache(maxsize=2)
def _put_message(*, is_sqlite: bool) -> Insert:
    names = (*(field.name for field in fields(MessageRow)), "due_at")
    statement = upsert(voicemail, is_sqlite=is_sqlite).values({name: bindparam(name) for name in names})
    return statement.on_conflict_do_nothing(index_elements=["file"])


async def merge(connection: AsyncConnection, gone: str, into: str) -> None:
    """Two interactions turned out to be one."""
    await connection.execute(update(voicemail).where(voicemail.c.interaction == gone).values(interaction=into))
    moved = [OfferRow(**{**row, "interaction": into}) for row in await offers_of(connection, gone)]
    if moved:
        await write(connection, offers=moved)
        await connection.execute(delete(interaction_offer).where(interaction_offer.c.interaction == gone))


async def offers_of(connection: AsyncConnection, interaction: str) -> list[Row]:
    """The queues that a caller stood in, first to last."""
    found = await connection.execute(
        select(interaction_offer)
        .where(interaction_offer.c.interaction == interaction)
        .order_by(interaction_offer.c.began_at)
    )
    return [dict(row) for row in found.mappings()]


async def open_messages(connection: AsyncConnection, queues: Collection[str]) -> list[Row]:
    """The messages that wait in these queues, the most urgent first."""
    found = await connection.execute(
        select(voicemail)
        .where(voicemail.c.queue.in_(queues), voicemail.c.state == "open")
        .order_by(voicemail.c.due_at, voicemail.c.file)
    )
    return [dict(row) for row in found.mappings()]


async def messages_of(connection: AsyncConnection, interaction: str) -> list[Row]:
    """The messages left in one interaction."""
    found = await connection.execute(
        select(voicemail).where(voicemail.c.interaction == interaction).order_by(voicemail.c.left_at)
    )
    return [dict(row) for row in found.mappings()]


async def take_message(connection: AsyncConnection, file: str, owner: str) -> None:
    """``owner`` (a user's name) answers this message. Raises ``Missing``, and ``Refused`` if somebody else has taken
    it or it is done."""
    await _change(connection, file, owner, owner=owner)


async def finish_message(connection: AsyncConnection, file: str, owner: str, *, at: float) -> None:
    """The message has been answered. Raises as ``take_message``."""
    await _change(connection, file, owner, owner=owner, state="done", done_at=at)


async def _change(connection: AsyncConnection, file: str, by: str, **values: object) -> None:
    is_free = voicemail.c.owner.in_(("", by)) & (voicemail.c.state == "open")
    changed = await connection.execute(update(voicemail).where(voicemail.c.file == file, is_free).values(**values))
    if changed.rowcount:
        return
    known = await connection.execute(select(voicemail.c.file).where(voicemail.c.file == file))
    raise Refused("message_taken") if known.first() is not None else Missing("voicemail", file)
