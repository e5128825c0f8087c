"""What the two databases spell differently."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.dialects import postgresql, sqlite

if TYPE_CHECKING:
    from sqlalchemy import Table
    from sqlalchemy.ext.asyncio import AsyncConnection


def is_sqlite(connection: AsyncConnection) -> bool:
    """Whether this is SQLite; otherwise it is PostgreSQL."""
    return connection.dialect.name == "sqlite"


def upsert(table: Table, *, is_sqlite: bool) -> sqlite.Insert | postgresql.Insert:
    """An ``INSERT`` that understands ``ON CONFLICT``."""
    return sqlite.insert(table) if is_sqlite else postgresql.insert(table)
