"""Who is logged in. Sessions live in the database, under the hash of a token that only the browser holds.

A look-up is remembered for a few seconds, so that a page that asks often does not ask the database each time. Ending a
session in this process takes effect at once; in another process, when the memory has passed. While the database is
away, who was already known stays logged in: the floor must not stop for it.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from crm_core import audit, users
from crm_core.access import Reader
from crm_core.database import DatabaseAway
from cti.errors import CallfloorError
from cti.ids import AgentId
from cti.screenpop.hub import DeskUser
from web import csrf
from web.rights import Right, rights_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from crm_core.database import Database
    from web.settings import WebSettings

COOKIE = "callfloor_session"
REMEMBERED_S = 3.0
MOST_REMEMBERED = 10_000

_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
log = logging.getLogger("callfloor.web")


class CannotTell(CallfloorError):
    """The database is away, and this session was not seen before: nobody knows whether it is good."""


@dataclass(frozen=True, slots=True)
class SessionUser:
    """A person with a session. ``id`` names the session and cannot open it; ``agent``: whom the person works as."""

    id: str
    user_id: int
    username: str
    name: str
    role: str
    agent: AgentId | None
    language: str
    expires_at: float
    rights: frozenset[Right]
    reader: Reader
    csrf: str = field(repr=False)

    def is_csrf_right(self, given: str | None) -> bool:
        """Does this CSRF token belong to this session?"""
        return given is not None and secrets.compare_digest(self.csrf.encode(), given.encode())


@dataclass(slots=True)
class _Known:
    user: SessionUser | None
    at: float
    touched_at: float


class Sessions:
    """The sessions of a site, over its database."""

    def __init__(self, database: Database, settings: WebSettings) -> None:
        self._database = database
        self._settings = settings
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._listeners: list[Callable[[str], None]] = []

    # ── asking ────────────────────────────────────────────────────────────────────────────────────────────

    async def authenticate_cookie(self, cookie_header: str) -> SessionUser | None:
        """Who sends this ``Cookie`` header; None for nobody. Raises ``CannotTell``."""
        token = token_in(cookie_header)
        return await self.find(token) if token is not None else None

    async def authenticate(self, token: str) -> DeskUser | None:
        """Whose desk a session token opens, for the desk's socket. Raises ``CannotTell``."""
        user = await self.find(token)
        if user is None:
            return None
        return DeskUser(
            user=user.username,
            role=user.role,
            agent=user.agent,
            session=user.id,
            language=user.language,
            is_supervisor=Right.FLOOR_VIEW in user.rights,
        )

    async def find(self, token: str) -> SessionUser | None:
        """Whose session a token opens; None for nobody's. Raises ``CannotTell``."""
        if not _TOKEN.fullmatch(token):
            return None
        key = users.session_id(token)
        if key in self._ended:
            return None
        now = self._settings.clock()
        known = self._known.get(key)
        if known is not None and 0 <= now - known.at < REMEMBERED_S:
            return _still_good(known.user, now)
        try:
            found = await self._look_up(token, known, now)
        except DatabaseAway as error:
            if known is None:
                raise CannotTell from error
            log.warning("! the database is away; a known session stays good: %s", error.kind)
            return _still_good(known.user, now)
        if key in self._ended:
            return None
        touched_at = known.touched_at if known is not None else 0.0
        self._remember(key, _Known(found, now, touched_at))
        if found is not None and now - touched_at >= users.TOUCH_EVERY_S:
            await self._touch(key, now)
        return found

    # ── beginning and ending ──────────────────────────────────────────────────────────────────────────────

    async def open(self, user: users.User, *, ip: str, user_agent: str, replaces: SessionUser | None) -> str:
        """Begin a session, end the one that the browser had, audit it; returns the token for the cookie."""
        now = self._settings.clock()
        async with self._database.begin() as connection:
            token = await users.open_session(
                connection,
                user.id,
                now=now,
                ip=ip,
                user_agent=user_agent,
                lifetime_s=self._settings.session_life_s,
            )
            await users.record_attempt(connection, at=now, username=user.username, ip=ip, is_success=True)
            await audit.write(
                connection,
                at=now,
                user=user.username,
                role=user.role,
                action="log_in",
                object="user",
                object_id=str(user.id),
                detail={},
                ip=ip,
                session=users.session_id(token),
            )
        if replaces is not None:
            await self.end(replaces, ip=ip)
        return token

    async def end(self, session: SessionUser, *, ip: str) -> None:
        """End a session: here at once, then in the database, with an audit record."""
        self._ended[session.id] = None
        while len(self._ended) > MOST_REMEMBERED:
            self._ended.popitem(last=False)
        self._known.pop(session.id, None)
        for listener in self._listeners:
            listener(session.id)
        now = self._settings.clock()
        async with self._database.begin() as connection:
            await users.revoke_session(connection, session.id, now=now)
            await audit.write(
                connection,
                at=now,
                user=session.username,
                role=session.role,
                action="log_out",
                object="user",
                object_id=str(session.user_id),
                detail={},
                ip=ip,
                session=session.id,
            )

    def forget(self, session: SessionUser) -> None:
        """The person changed: ask the database the next time."""
        self._known.pop(session.id, None)

    def listen(self, listener: Callable[[str], None]) -> Callable[[], None]:
        """``listener`` is called with the id of each session that ends here; returns what unsubscribes it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    # ── inside ────────────────────────────────────────────────────────────────────────────────────────────

    async def _look_up(self, token: str, known: _Known | None, now: float) -> SessionUser | None:
        async with self._database.read() as connection:
            found = await users.find_session(connection, token, now=now, idle_s=self._settings.session_idle_s)
        if found is None:
            return None
        if known is not None and known.user is not None and _is_same(known.user, found):
            return known.user
        return SessionUser(
            id=found.session,
            user_id=found.id,
            username=found.username,
            name=found.name,
            role=found.role,
            agent=AgentId(found.agent) if found.agent is not None else None,
            language=found.language,
            expires_at=found.expires_at,
            rights=rights_of(found.role),
            reader=Reader(found.username, found.role, found.agent),
            csrf=csrf.token_of(token),
        )

    def _remember(self, key: str, known: _Known) -> None:
        self._known[key] = known
        self._known.move_to_end(key)
        while len(self._known) > MOST_REMEMBERED:
            self._known.popitem(last=False)

    async def _touch(self, key: str, now: float) -> None:
        try:
            async with self._database.begin() as connection:
                await users.touch(connection, key, now=now)
        except DatabaseAway as error:
            log.warning("! a session could not be marked as used: %s", error.kind)
            return
        if (known := self._known.get(key)) is not None:
            known.touched_at = now


def token_in(cookie_header: str) -> str | None:
    """The session's token in a ``Cookie`` header; None if there is none, or more than one: then it is not ours to
    choose."""
    pairs = (part.strip().partition("=") for part in cookie_header.split(";"))
    found = {value for name, _equals, value in pairs if name == COOKIE}
    return found.pop() if len(found) == 1 else None


def _still_good(user: SessionUser | None, now: float) -> SessionUser | None:
    return user if user is not None and user.expires_at > now else None


def _is_same(known: SessionUser, found: users.SessionUser) -> bool:
    return (known.username, known.name, known.role, known.agent, known.language, known.expires_at) == (
        found.username,
        found.name,
        found.role,
        found.agent,
        found.language,
        found.expires_at,
    )
