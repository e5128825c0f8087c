"""The audit: who did, saw, exported or played what. Rows are only ever added; the database itself refuses the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select

from crm_core.schema import audit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.ext.asyncio import AsyncConnection

    from crm_core.access import FieldRules, Reader, Row


async def write(
    connection: AsyncConnection,
    *,
    at: float,
    user: str,
    role: str = "",
    action: str,
    object: str,  # noqa: A002 - the word of the trade, and of the column
    object_id: str,
    detail: Mapping[str, Any],
    ip: str,
    session: str,
) -> None:
    """Add a record. ``detail``: field → value or [before, after]; ``session``: the stored id, never the cookie."""
    await connection.execute(
        insert(audit),
        {
            "at": at,
            "username": user[:40],
            "role": role[:40],
            "action": action[:40],
            "object": object[:40],
            "object_id": str(object_id)[:100],
            "detail": dict(detail),
            "ip": ip[:45],
            "session": session[:64],
        },
    )


async def recent(
    connection: AsyncConnection,
    reader: Reader,
    rules: FieldRules,
    *,
    limit: int,
    before: int | None = None,
    username: str = "",
    object: str = "",  # noqa: A002
    object_id: str = "",
) -> list[Row]:
    """Records, newest first. ``before``: those older than this record id; ``username``, ``object``, ``object_id``: only
    those of. Of ``detail`` only what the reader may see of the object that it speaks of."""
    statement = select(audit).order_by(audit.c.id.desc()).limit(max(1, min(limit, 500)))
    if before is not None:
        statement = statement.where(audit.c.id < before)
    if username:
        statement = statement.where(audit.c.username == username)
    if object:
        statement = statement.where(audit.c.object == object)
    if object_id:
        statement = statement.where(audit.c.object_id == object_id)
    rows = await connection.execute(statement)
    return [
        {**row, "detail": rules.visible_detail(reader, row["object"], dict(row["detail"]))} for row in rows.mappings()
    ]
