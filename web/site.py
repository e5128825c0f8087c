"""What belongs to no page: the way in, the language, the health, the API's document, the files."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aiohttp import web

from crm_core import users
from web.languages import COOKIE
from web.rights import Right
from web.schemas import Health

if TYPE_CHECKING:
    from web.asking import Ask
    from web.schemas import LanguageForm

A_YEAR_S = 365 * 24 * 3600


def redirect(target: str) -> web.Response:
    """Go on at ``target``, with GET."""
    return web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": target})


def local_path(target: str) -> str | None:
    """``target`` if it is a path of this site and nothing else."""
    if not target.startswith("/") or target.startswith("//") or "\\" in target or not target.isprintable():
        return None
    try:
        parts = urlsplit(target)
    except ValueError:
        return None
    return None if parts.scheme or parts.netloc else target


def first_page(ask: Ask) -> str:
    """Where a person begins: an agent at the desk, others on the floor, if they may see it."""
    if ask.user.agent is not None and Right.AGENT_DESK in ask.user.rights:
        return "/desk"
    return "/floor" if Right.FLOOR_VIEW in ask.user.rights else "/customers"


async def home(ask: Ask) -> web.StreamResponse:
    """The way in."""
    return redirect(first_page(ask) if ask.session is not None else "/login")


async def set_language(ask: Ask, *, body: LanguageForm) -> web.StreamResponse:
    """Remember the language for this browser, and for the person when somebody is logged in."""
    if ask.session is not None:
        async with ask.services.database.begin() as connection:
            await users.set_language(connection, ask.session.user_id, body.tag)
        ask.services.sessions.forget(ask.session)
    answer = redirect(local_path(body.next) or "/")
    answer.set_cookie(
        COOKIE,
        body.tag,
        max_age=A_YEAR_S,
        path="/",
        secure=ask.services.settings.cookie_secure,
        httponly=True,
        samesite="Lax",
    )
    return answer


async def health(ask: Ask) -> Health:
    """Is the server of use?"""
    links = ask.services.floor.pbx_status
    is_alive = await ask.services.database.is_alive()
    up = sum(1 for status in links.values() if status == "up")
    return Health(
        status="ok" if is_alive and up == len(links) else "degraded",
        database="up" if is_alive else "down",
        pbx_up=up,
        pbx_total=len(links),
        pbx_disks=ask.services.uploads.disks,
    )


async def openapi(ask: Ask) -> web.StreamResponse:
    """The OpenAPI document; making it takes a while, so it is made when first asked for."""
    return web.json_response(await asyncio.to_thread(ask.services.openapi))
