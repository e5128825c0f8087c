"""Log in and out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from aiohttp import web

from crm_core import audit, users
from cti.errors import Refused
from web import phone_pass
from web.sessions import COOKIE
from web.site import local_path, redirect

if TYPE_CHECKING:
    from web.asking import Ask
    from web.schemas import LoginForm, LoginQuery, LogoutForm


async def show(ask: Ask, *, query: LoginQuery) -> web.StreamResponse:
    """The form; whoever is logged in already goes on."""
    target = local_path(query.next) or ""
    if ask.session is not None:
        return redirect(target or "/")
    return await _form(ask, target=target)


async def log_in(ask: Ask, *, body: LoginForm) -> web.StreamResponse:
    """Check name and password; the right ones get a new session in place of any old one."""
    services, settings = ask.services, ask.services.settings
    target = local_path(body.next) or ""
    username = body.username.strip().casefold()
    wait_s = services.limits.wait_s(username, ask.address, now=ask.now)
    if wait_s > 0:
        return await _form(ask, status=429, problem="too_many_attempts", wait_s=math.ceil(wait_s), target=target)
    services.limits.attempted(username, ask.address, now=ask.now)
    async with services.database.read() as connection:
        user = await users.find_user(connection, username)
    may_enter = user is not None and user.is_active
    try:
        is_right = await services.passwords.check(user.password_hash if user is not None else None, body.password)
    except Refused as refused:
        return await _form(ask, status=503, problem=refused.why, target=target)
    if user is None or not is_right or not may_enter:
        await _record_failure(ask, user, username, why="locked" if is_right else "wrong_password")
        return await _form(ask, status=401, problem="wrong_password", username=body.username, target=target)
    services.limits.succeeded(username, ask.address)
    token = await services.sessions.open(
        user, ip=ask.address, user_agent=ask.request.headers.get("User-Agent", ""), replaces=ask.session
    )
    answer = redirect(target or "/")
    answer.set_cookie(
        COOKIE,
        token,
        path="/",
        max_age=int(settings.session_life_s),
        secure=settings.cookie_secure,
        httponly=True,
        samesite="Lax",
    )
    return answer


async def log_out(ask: Ask, *, body: LogoutForm) -> web.StreamResponse:
    """End the session, and the agent's day on the floor with it (after the call, if there is one)."""
    session = ask.user
    answer = redirect("/login")
    answer.del_cookie(COOKIE, path="/", secure=ask.services.settings.cookie_secure, httponly=True, samesite="Lax")
    phone_pass.take(ask, answer)
    answer.headers["Clear-Site-Data"] = '"cache"'
    if session.agent is not None and session.agent in ask.services.floor.plan.agents:
        ask.services.floor.log_out(session.agent, by=session.username)
    await ask.services.sessions.end(session, ip=ask.address)
    return answer


async def _record_failure(ask: Ask, user: users.User | None, username: str, *, why: str) -> None:
    """A name that nobody has is not written down: it may be a password, typed into the wrong field."""
    async with ask.services.database.begin() as connection:
        await users.record_attempt(connection, at=ask.now, username=username, ip=ask.address, is_success=False)
        await audit.write(
            connection,
            at=ask.now,
            user=user.username if user is not None else "",
            role=user.role if user is not None else "",
            action="log_in_refused",
            object="user",
            object_id=str(user.id) if user is not None else "",
            detail={"reason": why if user is not None else "unknown_name"},
            ip=ask.address,
            session="",
        )


async def _form(
    ask: Ask, *, status: int = 200, problem: str = "", wait_s: int = 0, username: str = "", target: str = ""
) -> web.Response:
    answer = await ask.page("login.html", status=status, problem=problem, wait_s=wait_s, username=username, next=target)
    if wait_s:
        answer.headers["Retry-After"] = str(wait_s)
    return answer
