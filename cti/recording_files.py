"""Recordings on disk: when a file is complete, how long it is, whether anything is on it, and its hash.

A file is complete when its call is over *and* its size has stopped changing (MixMonitor writes on for an instant after
the channel is gone). A file without sound, a call without RTP, is marked silent, not failed. What was recorded of a
caller who then objected is deleted, unless the queue keeps it. A ring that nobody answered leaves the header of a file:
it is removed when no call can be behind it any more.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import wave
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from crm_core import audit, recordings
from crm_core.database import Database

log = logging.getLogger(__name__)

LOOK_S = 1.0
STABLE_S = 2.0
"""A file whose size has not changed for that long after its call grows no more."""
MISSING_AFTER_S = 60.0
"""A file that is not there that long after its call is missing."""
QUIET = 64
"""A sample (16 bit) quieter than this is silence; G.711 noise of an idle line stays below."""
CHUNK_FRAMES = 80_000
HEADER_BYTES = 44
"""A WAV file with nothing in it."""
EMPTY_AFTER_S = 6 * 3600.0
"""An empty file that nobody wrote to for so long belongs to no ring and no fall-back queue any more."""
SWEEP_S = 3600.0
MOST_PER_SWEEP = 500


@dataclass(frozen=True, slots=True)
class Measured:
    """What a complete WAV file holds. ``silent_s``: seconds of it without sound, in steps of 0.1 s."""

    audio_s: float
    silent_s: float
    sha256: str
    size_bytes: int

    @property
    def is_silent(self) -> bool:
        """Nothing can be heard."""
        return self.audio_s - self.silent_s < 0.1


def measure(path: Path) -> Measured:
    """Read a WAV file through. Raises ``OSError`` or ``wave.Error`` for one that is none."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    size = path.stat().st_size
    if size <= HEADER_BYTES:
        return Measured(0.0, 0.0, digest.hexdigest(), size)
    with wave.open(str(path), "rb") as sound:
        rate, frames, silent = sound.getframerate(), sound.getnframes(), 0
        step = max(1, rate // 10) * sound.getnchannels()
        while data := sound.readframes(CHUNK_FRAMES - CHUNK_FRAMES % max(1, rate // 10)):
            samples = array("h")
            samples.frombytes(data[: len(data) - len(data) % 2])
            for start in range(0, len(samples), step):
                part = samples[start : start + step]
                if max(part) < QUIET and min(part) > -QUIET:
                    silent += len(part) // sound.getnchannels()
    return Measured(frames / rate, silent / rate, digest.hexdigest(), size)


def _empty_files(folder: Path, before: float) -> list[str]:
    """WAV files in a folder that hold nothing and were last written to before ``before`` (Unix seconds)."""
    found: list[str] = []
    for path in folder.glob("*.wav"):
        try:
            state = path.stat()
        except FileNotFoundError:
            continue
        if state.st_size <= HEADER_BYTES and state.st_mtime < before:
            found.append(path.name)
    return found[:MOST_PER_SWEEP]


class RecordingFiles:
    """Looks after pending recordings and settles them."""

    def __init__(self, database: Database, *, folder: Path, clock: Callable[[], float]) -> None:
        self._database = database
        self._folder = folder
        self._clock = clock
        self._sizes: dict[str, tuple[int, float]] = {}
        self._swept_at = -SWEEP_S
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
                await self.settle_due()
                if self._clock() - self._swept_at >= SWEEP_S:
                    self._swept_at = self._clock()
                    await self.sweep()
            except (SQLAlchemyError, OSError) as error:
                log.warning("! recordings can't be settled now: %s", type(error).__name__)
            await asyncio.sleep(LOOK_S)

    async def settle_due(self) -> int:
        """Settle every pending recording that is complete; returns how many."""
        now = self._clock()
        async with self._database.read() as connection:
            pending = await recordings.pending(connection, started_before=now)
        settled: list[tuple[str, str, Measured | None]] = []
        for one in pending:
            if one.ended_at is None:
                continue
            if one.is_to_delete:
                if now - one.ended_at >= STABLE_S:
                    await self._delete(one, self._path(one.file), now)
                continue
            # Most wait for a file that is not there yet: that is asked first, and cheaply.
            is_there = (self._folder / one.file).is_file()
            path = self._path(one.file) if is_there else None
            if path is None:
                if now - one.ended_at > MISSING_AFTER_S:
                    settled.append((one.file, "missing", None))
                continue
            if not self._is_stable(one.file, path.stat().st_size, now):
                continue
            try:
                found = await asyncio.to_thread(measure, path)
            except (wave.Error, EOFError):
                log.warning("! recording %s is no sound file", one.file)
                settled.append((one.file, "missing", None))
            else:
                settled.append((one.file, "silent" if found.is_silent else "complete", found))
        await self._settle(settled)
        return len(settled)

    async def _delete(self, one: recordings.PendingRecording, path: Path | None, now: float) -> None:
        """The file first: should the database fail now, it is done once more, never half."""
        if path is not None:
            await asyncio.to_thread(path.unlink, missing_ok=True)
        async with self._database.begin() as connection:
            await recordings.settle(connection, one.file, state="objected")
            await audit.write(
                connection,
                at=now,
                user="system",
                action="delete",
                object="recording",
                object_id=one.interaction,
                detail={"why": "objected"},
                ip="",
                session="",
            )
        self._sizes.pop(one.file, None)

    async def sweep(self) -> int:
        """Remove files that hold nothing and belong to no recording; returns how many."""
        before = self._clock() - EMPTY_AFTER_S
        empty = await asyncio.to_thread(_empty_files, self._folder, before)
        if not empty:
            return 0
        async with self._database.read() as connection:
            known = await recordings.known(connection, empty)
        unknown = [file for file in empty if file not in known]
        for file in unknown:
            await asyncio.to_thread((self._folder / file).unlink, missing_ok=True)
        return len(unknown)

    def _path(self, file: str) -> Path | None:
        path = (self._folder / file).resolve()
        return path if path.is_relative_to(self._folder.resolve()) else None

    def _is_stable(self, file: str, size: int, now: float) -> bool:
        known = self._sizes.get(file)
        if known is None or known[0] != size:
            self._sizes[file] = (size, now)
            return False
        return now - known[1] >= STABLE_S

    async def _settle(self, settled: list[tuple[str, str, Measured | None]]) -> None:
        if not settled:
            return
        async with self._database.begin() as connection:
            for file, state, found in settled:
                await recordings.settle(
                    connection,
                    file,
                    state=state,
                    audio_s=found.audio_s if found else None,
                    silent_s=found.silent_s if found else None,
                    sha256=found.sha256 if found else None,
                    size_bytes=found.size_bytes if found else None,
                )
        for file, _, _ in settled:
            self._sizes.pop(file, None)
