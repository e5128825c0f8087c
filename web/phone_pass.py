"""The cookie with which a browser's phone gets through the gate (``cti.phone_pass``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cti.phone_pass import COOKIE, PATH
from cti.routing.plan import PhoneKind

if TYPE_CHECKING:
    from aiohttp import web

    from web.asking import Ask


def give(ask: Ask, answer: web.StreamResponse) -> None:
    """A new pass for the asking agent's browser phone; nothing where there is no gate or no such phone."""
    sign = ask.services.settings.phone_pass
    agent = ask.services.floor.plan.agents.get(ask.agent)
    if sign is None or agent is None or agent.phone.kind is not PhoneKind.BROWSER:
        return
    signed = sign(ask.agent, ask.user.id, ask.user.expires_at)
    if signed is None:
        return
    answer.set_cookie(
        COOKIE,
        signed.value,
        path=PATH,
        max_age=int(signed.life_s),
        secure=ask.services.settings.cookie_secure,
        httponly=True,
        samesite="Strict",
    )


def take(ask: Ask, answer: web.StreamResponse) -> None:
    """The browser forgets its pass; the gate is told by whoever ends the session."""
    secure = ask.services.settings.cookie_secure
    answer.del_cookie(COOKIE, path=PATH, secure=secure, httponly=True, samesite="Strict")
