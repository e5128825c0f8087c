"""The page of announcements: which there are in which language, which are missing, and others in their place.

The files are those that the PBX plays (``<folder>/<language>/<name>.wav``), if this machine sees their folder.
"""

from __future__ import annotations

import asyncio
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from crm_core.errors import BadInput
from web.configuration import stored
from web.problems import Problematic, not_found
from web.route import PATH_PATTERNS
from web.setting_words import problem_words
from web.site import redirect
from web.wav import LONGEST_BYTES, at_8_khz

if TYPE_CHECKING:
    from pathlib import Path

    from crm_core.centre import Centre
    from web import schemas
    from web.asking import Ask

PAGE = "/settings/prompts"
_TAG = re.compile(PATH_PATTERNS["tag"])
_NAME = re.compile(PATH_PATTERNS["prompt"])
_NUMBER = re.compile(r"(number|count)-[0-9]+")
_NOT_SAVED = 422


@dataclass(frozen=True, slots=True)
class Prompts:
    """What there is. ``have``: language → names; ``wanted``: name → the settings that play it; ``numbers``: language →
    how many numbers can be read out."""

    have: dict[str, frozenset[str]]
    wanted: dict[str, tuple[str, ...]]
    numbers: dict[str, int]

    @property
    def all_names(self) -> list[str]:
        """Every name that is somewhere or is wanted."""
        return sorted({*self.wanted, *(name for names in self.have.values() for name in names)})


async def names(ask: Ask) -> list[str]:
    """The announcements that there are in any language, numbers aside."""
    folder = ask.services.settings.prompts_folder
    if folder is None:
        return []
    found = await asyncio.to_thread(_listed, folder)
    return sorted({name for here in found.values() for name in here if not _NUMBER.fullmatch(name)})


async def show(ask: Ask) -> web.StreamResponse:
    """The page."""
    return await _page(ask)


async def play(ask: Ask) -> web.StreamResponse:
    """One announcement, to listen to."""
    path = _path(ask)
    if not await asyncio.to_thread(path.is_file):
        raise not_found()
    return web.FileResponse(path, headers={"Content-Type": "audio/wav", "Cache-Control": "no-store"})


async def upload(ask: Ask) -> web.StreamResponse:
    """Another recording in the place of this one: the body is a WAV file."""
    path = _path(ask)
    given = bytearray()
    async for part in ask.request.content.iter_chunked(64 * 1024):
        given += part
        if len(given) > LONGEST_BYTES:
            raise Problematic(413, "too_large")
    try:
        made = await asyncio.to_thread(at_8_khz, bytes(given))
    except BadInput as bad:
        return _refusal(ask, bad.problem)
    try:
        await asyncio.to_thread(_write, path, made)
    except OSError:
        return _refusal(ask, "not_writable")
    ask.note("change", "prompt", _id(ask), bytes=len(made))
    return redirect(PAGE)


async def remove(ask: Ask, *, body: schemas.LogoutForm) -> web.StreamResponse:
    """The button that takes an announcement away."""
    path = _path(ask)
    try:
        await asyncio.to_thread(path.unlink)
    except FileNotFoundError:
        raise not_found() from None
    except OSError:
        return await _page(ask, problem="not_writable", status=_NOT_SAVED)
    ask.note("remove", "prompt", _id(ask))
    return redirect(PAGE)


def _refusal(ask: Ask, problem: str) -> web.Response:
    return web.Response(status=_NOT_SAVED, text=problem_words(ask.language.gettext, problem))


async def _page(ask: Ask, *, problem: str = "", status: int = 200) -> web.StreamResponse:
    folder = ask.services.settings.prompts_folder
    wanted = _wanted(await stored(ask))
    prompts = None
    if folder is not None:
        found = await asyncio.to_thread(_listed, folder)
        prompts = Prompts(
            have={tag: frozenset(one for one in here if not _NUMBER.fullmatch(one)) for tag, here in found.items()},
            wanted=wanted,
            numbers={tag: sum(1 for one in here if one.startswith("number-")) for tag, here in found.items()},
        )
    return await ask.page("settings_prompts.html", status=status, prompts=prompts, problem=problem)


def _id(ask: Ask) -> str:
    return f"{ask.request.match_info['tag']}/{ask.request.match_info['prompt']}"


def _path(ask: Ask) -> Path:
    """The file that the path of the request names: both parts have been matched against their patterns."""
    folder = ask.services.settings.prompts_folder
    if folder is None:
        raise not_found()
    return folder / ask.request.match_info["tag"] / f"{ask.request.match_info['prompt']}.wav"


def _listed(folder: Path) -> dict[str, set[str]]:
    """Language → names of the recordings in any format that Asterisk plays."""
    if not folder.is_dir():
        return {}
    return {
        home.name: {one.stem for one in home.iterdir() if one.is_file() and _NAME.fullmatch(one.stem)}
        for home in sorted(folder.iterdir())
        if home.is_dir() and _TAG.fullmatch(home.name)
    }


def _write(path: Path, made: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    half = path.with_name(f".{path.name}.part")
    half.write_bytes(made)
    # The PBX runs under an account of its own.
    os.chmod(half, 0o644)  # noqa: PTH101
    half.replace(path)


def _wanted(whole: Centre) -> dict[str, tuple[str, ...]]:
    wanted: dict[str, dict[str, None]] = {}

    def note(name: str, who: str) -> None:
        if name:
            wanted.setdefault(name, {})[who] = None

    for queue in whole.queues:
        for name in (queue.comfort.greeting, queue.comfort.message, queue.emergency_message):
            note(name, queue.name)
        for to in (queue.closed_to, *(one.to for one in queue.overflows)):
            note(_message(to), queue.name)
    for menu in whole.menus:
        note(menu.prompt, menu.name)
        for to in (menu.otherwise, *menu.options.values()):
            note(_message(to), menu.name)
    return {name: tuple(who) for name, who in wanted.items()}


def _message(destination: str) -> str:
    kind, _, value = destination.partition(":")
    return value if kind == "message" else ""
