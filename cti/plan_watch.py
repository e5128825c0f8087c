"""Notices what was configured, in the pages or by ``callfloor config import``, so that no restart is needed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from crm_core import configuring
from crm_core.database import Database, DatabaseAway

log = logging.getLogger(__name__)

LOOK_S = 3.0


class PlanWatch:
    """Looks for changes in the history. ``take``: called when there are newer ones than ``seen`` (its last id)."""

    def __init__(
        self, database: Database, *, take: Callable[[], Awaitable[None]], seen: int, look_s: float = LOOK_S
    ) -> None:
        self._database = database
        self._take = take
        self._look_s = look_s
        self._seen = seen
        self._watcher: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look again and again."""
        self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def close(self) -> None:
        """Stop looking."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            try:
                await self.look()
            except DatabaseAway as error:
                log.debug("= the database is away, nobody knows what was configured: %s", error.kind)
            await asyncio.sleep(self._look_s)

    async def look(self) -> None:
        """Take what was configured since the last look. Raises ``DatabaseAway``."""
        async with self._database.read() as connection:
            newest = await configuring.newest(connection)
        if newest != self._seen:
            await self._take()
            self._seen = newest
