"""Composes the pages: the table of routes over what the program hands in. No globals; two apps in one process share
nothing but what was read from the files of the program."""

from __future__ import annotations

import importlib.metadata
from functools import cache
from typing import TYPE_CHECKING, Protocol

from aiohttp import web

from web.access_log import AccessLogger
from web.asking import Services
from web.audit_trail import AuditTrail
from web.configured import Configured
from web.dispatch import SERVICES, border, handler_of
from web.hardening import LONGEST_BODY, STATIC_PREFIX, headers_of
from web.languages import load_languages
from web.login_limits import LoginLimits
from web.openapi import document
from web.paces import Paces, Reads
from web.pages import STATIC, Pages
from web.passwords import PasswordCheck
from web.pbx_uploads import PbxUploads
from web.plays import Plays
from web.routes import ROUTES
from web.sessions import Sessions
from web.settings import IceServer, PhoneCredentials, SignedPass, WebSettings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from crm_core.database import Database
    from cti.floor import Floor

__all__ = [
    "DeskSockets",
    "IceServer",
    "PhoneCredentials",
    "SignedPass",
    "WebSettings",
    "make_app",
    "make_runner",
    "sessions_of",
]


class DeskSockets(Protocol):
    """Who serves the desks' sockets (``cti.screenpop.hub.DeskHub``)."""

    def revoke(self, session_or_agent: str) -> None:
        """A session ended: its sockets go."""
        ...


def make_app(
    *, database: Database, floor: Floor, settings: WebSettings, hub: DeskSockets | None = None
) -> web.Application:
    """The app. ``hub``: told of each session that ends; where it is made later,
    ``sessions_of(app).listen(hub.revoke)``."""
    languages = load_languages()
    services = Services(
        settings=settings,
        database=database,
        floor=floor,
        sessions=Sessions(database, settings),
        configured=Configured(database),
        languages=languages,
        pages=Pages(languages),
        limits=LoginLimits(),
        passwords=PasswordCheck(max_parallel=settings.max_parallel_logins),
        plays=Plays(),
        paces=Paces(),
        reads=Reads(),
        trail=AuditTrail(database),
        uploads=PbxUploads(),
        openapi=cache(lambda: document(ROUTES, version=importlib.metadata.version("callfloor"))),
    )
    if hub is not None:
        services.sessions.listen(hub.revoke)
    app = web.Application(middlewares=[border], client_max_size=LONGEST_BODY)
    app[SERVICES] = services
    for route in ROUTES:
        app.router.add_route(route.method, route.pattern, handler_of(route))
    app.router.add_static(STATIC_PREFIX, STATIC, follow_symlinks=False)
    app.on_response_prepare.append(_harden(headers_of(settings)))
    app.on_cleanup.append(_close)
    return app


def make_runner(app: web.Application) -> web.AppRunner:
    """What serves the app, with the access log that holds no personal data."""
    return web.AppRunner(app, access_log_class=AccessLogger, handle_signals=False)


def sessions_of(app: web.Application) -> Sessions:
    """The app's sessions, for the desk sockets: ``authenticate``, ``authenticate_cookie``, ``listen``."""
    return app[SERVICES].sessions


def _harden(headers: Mapping[str, str]) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
        for name, value in headers.items():
            response.headers.setdefault(name, value)
        # Files are the same for all and may be kept if the server still has them; the rest is one person's.
        is_file = request.path.startswith(STATIC_PREFIX) and response.status < 400
        response.headers.setdefault("Cache-Control", "no-cache" if is_file else "no-store")

    return add_headers


async def _close(app: web.Application) -> None:
    await app[SERVICES].trail.close()
    app[SERVICES].passwords.close()
