"""Playing a recording. The file is the one that the database names, inside the recording folder, and nothing else."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import hdrs, web

from crm_core import audit, interactions
from web.problems import Problematic, not_found
from web.route import WAV

if TYPE_CHECKING:
    from web.asking import Ask
    from web.schemas import RecordingQuery


async def play(ask: Ask, *, query: RecordingQuery) -> web.StreamResponse:
    """The recording, or the range asked for. The first request of a play is written to the audit before a byte is
    sent."""
    configuration = await ask.services.configured.current(now=ask.now)
    async with ask.services.database.read() as connection:
        contact = await interactions.get(connection, ask.reader, configuration.rules, ask.interaction)
    if contact is None:
        raise not_found()
    recordings = contact["recordings"]
    if query.part >= len(recordings) or "file" not in recordings[query.part]:
        raise Problematic(404, "no_recording")
    file = str(recordings[query.part]["file"])
    path = await asyncio.to_thread(_inside, ask.services.settings.recordings_folder, file)
    if path is None:
        raise Problematic(404, "no_recording")
    if ask.services.plays.is_new(ask.user.id, file, _first_byte(ask.request), now=ask.now):
        async with ask.services.database.begin() as connection:
            await audit.write(
                connection,
                at=ask.now,
                user=ask.user.username,
                role=ask.user.role,
                action="play",
                object="recording",
                object_id=str(contact["id"]),
                detail={"part": query.part},
                ip=ask.address,
                session=ask.user.id,
            )
    return web.FileResponse(
        path,
        headers={hdrs.CONTENT_TYPE: WAV, hdrs.CACHE_CONTROL: "private, no-cache", hdrs.CONTENT_DISPOSITION: "inline"},
    )


def _inside(folder: Path, file: str) -> Path | None:
    """The file's real path if it is a file inside the folder; links that lead out of it do not count."""
    try:
        root = folder.resolve(strict=True)
        path = (root / file).resolve(strict=True)
    except (OSError, ValueError):
        return None
    return path if path.is_relative_to(root) and path.is_file() else None


def _first_byte(request: web.Request) -> int:
    try:
        return request.http_range.start or 0
    except ValueError:
        return 0
