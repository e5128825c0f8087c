"""What a ``callfloor pbx-agent`` brings: records of calls, finished recordings, and how full its disk is.

It speaks with a bearer token of its own, one per PBX, and has no session. Files only grow at their end: a part comes
with the offset at which it belongs, and one that does not fit is answered 409 with the offset that does, so that
nothing is stored twice and nothing is left out whatever breaks off. Names are matched, never used as paths of the
sender's.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import os
import shutil
from typing import TYPE_CHECKING

from aiohttp import web

from crm_core import recordings
from web.problems import Problematic, not_found
from web.schemas import Accepted, PbxDisk, UploadOffset

if TYPE_CHECKING:
    from pathlib import Path

    from web.asking import Ask
    from web.schemas import DiskReport, FinishedUpload, UploadQuery

log = logging.getLogger("callfloor.web")

MOST_AT_ONCE = 4 * 1024 * 1024
MOST_RECORDS = 2 * 1024**3
"""Bytes of records, or of unfinished recordings, that are kept."""
KEEP_FREE = 200_000_000
PART = ".part"
LOW_AGAIN_S = 3600.0
"""How often a PBX whose disk stays full is told of."""


async def take_records(ask: Ask, *, query: UploadQuery) -> web.StreamResponse | UploadOffset:
    """Lines behind those that are here."""
    pbx = ask.request.match_info["pbx"]
    folder = _spool(ask, pbx)
    data = await _body(ask)
    async with ask.services.uploads.turn(pbx):
        end, is_fitting = await asyncio.to_thread(_append, folder, ask.request.match_info["record"], query.offset, data)
    return _answer(end, is_fitting=is_fitting)


async def take_recording(ask: Ask, *, query: UploadQuery) -> web.StreamResponse | UploadOffset:
    """More of a recording; it is none before it is finished."""
    pbx = ask.request.match_info["pbx"]
    file = ask.request.match_info["file"]
    folder = ask.services.settings.recordings_folder
    data = await _body(ask)
    async with ask.services.uploads.turn(pbx):
        end, is_fitting = await asyncio.to_thread(_append, folder / PART, f"{pbx}.{file}", query.offset, data)
    return _answer(end, is_fitting=is_fitting)


async def finish_recording(ask: Ask, *, body: FinishedUpload) -> web.StreamResponse | UploadOffset:
    """Is the whole recording here? It takes its place if all of it came; else 409 says from where on it is wanted."""
    pbx = ask.request.match_info["pbx"]
    file = ask.request.match_info["file"]
    folder = ask.services.settings.recordings_folder
    done = UploadOffset(offset=body.size, is_complete=True)
    async with ask.services.uploads.turn(pbx):
        async with ask.services.database.read() as connection:
            is_wanted = await recordings.is_wanted(connection, file)
        part = folder / PART / f"{pbx}.{file}"
        if not is_wanted:
            await asyncio.to_thread(part.unlink, missing_ok=True)
            return done
        if await asyncio.to_thread(_is, folder / file, body.size, body.sha256):
            return done
        offset = await asyncio.to_thread(_place, part, folder / file, body.size, body.sha256)
    if offset is not None:
        return _answer(offset, is_fitting=False)
    async with ask.services.database.begin() as connection:
        await recordings.look_again(connection, [file])
    return done


async def report_disk(ask: Ask, *, body: DiskReport) -> Accepted:
    """How full the disk of a PBX is."""
    pbx = ask.request.match_info["pbx"]
    ask.services.uploads.note(pbx, body, now=ask.now)
    return Accepted(now=ask.now)


class PbxUploads:
    """What the agents of the PBXs told last, and whose turn it is to write."""

    def __init__(self) -> None:
        self._turns: dict[str, asyncio.Lock] = {}
        self._disks: dict[str, PbxDisk] = {}
        self._told_at: dict[str, float] = {}

    def turn(self, pbx: str) -> asyncio.Lock:
        """One part of one PBX at a time."""
        return self._turns.setdefault(pbx, asyncio.Lock())

    def note(self, pbx: str, report: DiskReport, *, now: float) -> None:
        """Keep a report; say so when the disk is nearly full."""
        self._disks[pbx] = PbxDisk(
            pbx=pbx, at=now, free_mb=report.free_mb, is_low=report.is_low, backlog_mb=report.backlog_mb
        )
        if report.is_low and now - self._told_at.get(pbx, 0.0) >= LOW_AGAIN_S:
            self._told_at[pbx] = now
            log.error("! the disk of %s is nearly full: %d MB are free", pbx, report.free_mb)

    @property
    def disks(self) -> list[PbxDisk]:
        """The last report of each PBX."""
        return [self._disks[pbx] for pbx in sorted(self._disks)]


def _spool(ask: Ask, pbx: str) -> Path:
    folder = ask.services.settings.records_folder
    if folder is None:
        raise not_found()
    return folder / pbx


async def _body(ask: Ask) -> bytes:
    data = bytearray()
    async for part in ask.request.content.iter_chunked(65_536):
        data += part
        if len(data) > MOST_AT_ONCE:
            raise Problematic(413, "too_large")
    return bytes(data)


def _answer(offset: int, *, is_fitting: bool) -> web.StreamResponse | UploadOffset:
    answer = UploadOffset(offset=offset, is_complete=False)
    if is_fitting:
        return answer
    return web.json_response(answer.model_dump(), status=409)


def _append(folder: Path, name: str, offset: int, data: bytes) -> tuple[int, bool]:
    """The file's end afterwards, and whether the part belonged there."""
    folder.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(folder).free < KEEP_FREE + len(data):
        raise Problematic(507, "disk_full")
    path = folder / name
    size = path.stat().st_size if path.exists() else 0
    if offset != size:
        return size, False
    taken = sum(one.stat().st_size for one in folder.iterdir() if one.is_file())
    if taken + len(data) > MOST_RECORDS:
        raise Problematic(507, "disk_full")
    with path.open("ab") as file:
        file.write(data)
    return size + len(data), True


def _place(part: Path, target: Path, size: int, sha256: str) -> int | None:
    """None when the file stands in its place, else the offset from which on it is wanted."""
    have = part.stat().st_size if part.exists() else 0
    if have < size:
        return have
    if not _is(part, size, sha256):
        log.warning("! %s came damaged and is asked for again", part.name)
        part.unlink(missing_ok=True)
        return 0
    part.replace(target)
    return None


def _is(path: Path, size: int, sha256: str) -> bool:
    if not path.exists() or path.stat().st_size != size:
        return False
    digest = hashlib.sha256()
    with path.open("rb") as opened:
        while chunk := opened.read(1 << 20):
            digest.update(chunk)
        os.fsync(opened.fileno())
    return hmac.compare_digest(digest.hexdigest(), sha256)
