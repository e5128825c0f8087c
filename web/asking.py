"""One request on its way through: who asks, in which language, and what handlers may work with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import web

from cti.errors import Refused
from cti.ids import AgentId, InteractionId

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from crm_core.access import Reader
    from crm_core.database import Database
    from cti.floor import Floor
    from web.audit_trail import AuditTrail
    from web.configured import Configured
    from web.languages import Language
    from web.login_limits import LoginLimits
    from web.paces import Paces, Reads
    from web.pages import Pages
    from web.passwords import PasswordCheck
    from web.pbx_uploads import PbxUploads
    from web.plays import Plays
    from web.sessions import Sessions, SessionUser
    from web.settings import WebSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What the pages stand on; made once per app."""

    settings: WebSettings
    database: Database
    floor: Floor
    sessions: Sessions
    configured: Configured
    languages: Mapping[str, Language]
    pages: Pages
    limits: LoginLimits
    passwords: PasswordCheck
    plays: Plays
    paces: Paces
    reads: Reads
    trail: AuditTrail
    uploads: PbxUploads
    openapi: Callable[[], Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request. ``now``: Unix seconds when it came; ``session``: None when nobody is logged in."""

    request: web.Request
    services: Services
    session: SessionUser | None
    language: Language
    now: float

    @property
    def user(self) -> SessionUser:
        """Who asks, on a route that demands a log-in."""
        if self.session is None:
            raise web.HTTPUnauthorized
        return self.session

    @property
    def reader(self) -> Reader:
        """Through whose eyes customer data are read."""
        return self.user.reader

    @property
    def agent(self) -> AgentId:
        """The agent that the person works as. Raises ``Refused`` for a person without a seat."""
        agent = self.user.agent
        if agent is None or agent not in self.services.floor.plan.agents:
            raise Refused("no_seat")
        return agent

    @property
    def interaction(self) -> InteractionId:
        """The interaction named in the path."""
        return InteractionId(self.request.match_info["interaction"])

    @property
    def other_agent(self) -> AgentId:
        """The agent named in the path."""
        return AgentId(self.request.match_info["agent"])

    @property
    def queue(self) -> str:
        """The queue named in the path."""
        return self.request.match_info["queue"]

    @property
    def digits(self) -> str:
        """The leading digits of numbers named in the path, or ``unknown``."""
        return self.request.match_info["digits"]

    @property
    def setting(self) -> str:
        """The key of a setting named in the path."""
        return self.request.match_info["key"]

    @property
    def change(self) -> int:
        """The change of a setting named in the path."""
        return int(self.request.match_info["change"])

    @property
    def customer(self) -> int:
        """The customer named in the path."""
        return int(self.request.match_info["customer"])

    @property
    def address(self) -> str:
        """The address that the request came from; behind a trusted proxy, the one that the proxy saw."""
        peer = self.request.remote or ""
        if peer in self.services.settings.trusted_proxies:
            forwarded = self.request.headers.get("X-Forwarded-For", "")
            return forwarded.rpartition(",")[2].strip() or peer
        return peer

    def note(self, action: str, kind: str, key: str, **detail: object) -> None:
        """Write to the audit, behind the database, that this person did this to that."""
        user = self.user
        self.services.trail.add(
            {
                "at": self.now,
                "user": user.username,
                "role": user.role,
                "action": action,
                "object": kind,
                "object_id": key,
                "detail": detail,
                "ip": self.address,
                "session": user.id,
            }
        )

    async def page(self, template: str, *, status: int = 200, **context: object) -> web.Response:
        """A page, or only its middle when htmx asks for it."""
        return await self.services.pages.render(self, template, status=status, context=context)
