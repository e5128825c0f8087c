"""Audit records of what people do on the floor. The floor must not wait for the database, so they are written behind
it: at once while it answers, in their order when it is back. What has a commit of its own (a setting, a log-in, a play)
is written with that commit and not here.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Any

from crm_core import audit
from crm_core.database import DatabaseAway

if TYPE_CHECKING:
    from crm_core.database import Database

MOST_WAITING = 20_000
AT_ONCE = 200
AGAIN_S = 2.0
LAST_TRY_S = 5.0

log = logging.getLogger("callfloor.web")


class AuditTrail:
    """Writes what it is given, one after the other."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: deque[dict[str, Any]] = deque()
        self._task: asyncio.Task[None] | None = None

    def add(self, record: dict[str, Any]) -> None:
        """Keep a record (the arguments of ``audit.write``) and return at once."""
        if len(self._waiting) >= MOST_WAITING:
            log.error("! the database is away for so long that an audit record is lost: %s", record["action"])
            return
        self._waiting.append(record)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write())

    async def close(self) -> None:
        """Wait until all is written, for a moment: while the database is away it can't be."""
        if self._task is None:
            return
        _, still_at_it = await asyncio.wait({self._task}, timeout=LAST_TRY_S)
        if still_at_it:
            self._task.cancel()
            await asyncio.wait({self._task})
            log.error("! %d audit records are lost: the database is away", len(self._waiting))

    async def _write(self) -> None:
        while self._waiting:
            try:
                await self._write_some()
            except DatabaseAway as error:
                log.warning("! %d audit records wait for the database: %s", len(self._waiting), error.kind)
                await asyncio.sleep(AGAIN_S)

    async def _write_some(self) -> None:
        records = list(self._waiting)[:AT_ONCE]
        async with self._database.begin() as connection:
            for record in records:
                await audit.write(connection, **record)
        for _ in records:
            self._waiting.popleft()
