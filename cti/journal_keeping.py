"""How long the journal is kept: parts that the database holds go after some days, earlier when the disk fills up.

Never removed is what the database does not hold yet, nor the part that is being written.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

from cti.journal import Position, path_of, segments_of

log = logging.getLogger(__name__)

LOOK_S = 600.0
LOOK_WHEN_FULL_S = 30.0
DAY_S = 86_400.0


class JournalKeeping:
    """Looks after a journal's folder. ``written``: everything before it is in the database; ``free``: free bytes on
    the folder's disk."""

    def __init__(
        self,
        folder: Path,
        *,
        written: Callable[[], Position],
        keep_days: float,
        keep_free_mb: int,
        clock: Callable[[], float],
        free: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
    ) -> None:
        self._folder = folder
        self._written = written
        self._keep_s = keep_days * DAY_S
        self._keep_free = keep_free_mb * 1_000_000
        self._clock = clock
        self._free = free
        self._watcher: asyncio.Task[None] | None = None
        self.is_full = False
        """Less is free than wanted, and nothing more can be removed."""

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
                await asyncio.to_thread(self.tidy)
            except OSError as error:
                log.warning("! the journal in %s can't be looked after: %s", self._folder, error.strerror)
            await asyncio.sleep(LOOK_WHEN_FULL_S if self.is_full else LOOK_S)

    def tidy(self) -> list[int]:
        """Remove what is due; the numbers of the segments that went, oldest first. Raises ``OSError``."""
        removed: list[int] = []
        was_full, self.is_full = self.is_full, False
        for segment in [one for one in segments_of(self._folder) if one < self._written().segment]:
            path = path_of(self._folder, segment)
            is_old = self._clock() - path.stat().st_mtime > self._keep_s
            is_needed = self._free(self._folder) < self._keep_free
            if not (is_old or is_needed):
                break
            path.unlink()
            removed.append(segment)
            if is_needed and not is_old:
                log.warning("! the disk of the journal fills up: segment %d goes early", segment)
        if self._free(self._folder) < self._keep_free:
            self.is_full = True
            if not was_full:
                log.error(
                    "! less than %d MB are free on the disk of the journal in %s; when it is full, nothing is decided",
                    self._keep_free // 1_000_000,
                    self._folder,
                )
        return removed
