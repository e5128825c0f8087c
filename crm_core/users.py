"""People who log in: passwords, sessions that can be revoked, and the failed attempts that rate limits count.

Attempts are kept in the database, so that a restart or a second web process forgets none. Hashing takes a fifth of a
second of a processor on purpose: call ``hash_password`` and ``verify_password`` in a thread, few at a time.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import delete, func, insert, or_, select, update

from crm_core import fields
from crm_core.errors import BadInput, Missing
from crm_core.schema import agent as agent_table
from crm_core.schema import app_user, login_attempt, user_session

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

ROLES = ("agent", "supervisor", "campaign_manager", "administrator")
SHORTEST_PASSWORD = 10
LONGEST_PASSWORD = 200
IDLE_S = 12 * 3600.0
LIFETIME_S = 7 * 24 * 3600.0
TOUCH_EVERY_S = 60.0

_HASHER = PasswordHasher()


@dataclass(frozen=True, slots=True)
class User:
    """A user as stored. ``agent``: the slug of the agent that this user is, or None."""

    id: int
    username: str
    name: str
    password_hash: str
    role: str
    agent: str | None
    language: str
    is_active: bool


@dataclass(frozen=True, slots=True)
class SessionUser:
    """Who a session belongs to. ``session``: its stored id (not the cookie), fit for audit and log."""

    session: str
    id: int
    username: str
    name: str
    role: str
    agent: str | None
    language: str
    expires_at: float


# ── passwords ─────────────────────────────────────────────────────────────────────────────────────────────


def hash_password(password: str) -> str:
    """An argon2id hash. Slow on purpose; ``BadInput`` if too short or too long."""
    if len(password) < SHORTEST_PASSWORD:
        raise BadInput("password", "too_short")
    if len(password) > LONGEST_PASSWORD:
        raise BadInput("password", "too_long")
    return _HASHER.hash(password)


@lru_cache(maxsize=1)
def _hash_of_nobody() -> str:
    return _HASHER.hash(secrets.token_urlsafe(32))


def verify_password(password_hash: str | None, password: str) -> bool:
    """Whether the password is right. ``password_hash`` None (no such user) takes as long as a wrong password."""
    try:
        is_right = _HASHER.verify(password_hash or _hash_of_nobody(), password[:LONGEST_PASSWORD])
    except (VerificationError, InvalidHashError):
        return False
    return is_right and password_hash is not None and len(password) <= LONGEST_PASSWORD


def must_rehash(password_hash: str) -> bool:
    """Whether a hash was made with weaker parameters than today's."""
    return _HASHER.check_needs_rehash(password_hash)


# ── users ─────────────────────────────────────────────────────────────────────────────────────────────────


async def create_user(
    connection: AsyncConnection,
    *,
    username: str,
    name: str,
    password_hash: str,
    role: str,
    now: float,
    agent: str | None = None,
    language: str = "",
) -> int:
    """Store a new user and return the id."""
    fields.slug("username", username)
    fields.choice("role", role, ROLES)
    if agent is not None:
        if await connection.scalar(select(agent_table.c.slug).where(agent_table.c.slug == agent)) is None:
            raise BadInput("agent", "unknown")
        if await connection.scalar(select(app_user.c.id).where(app_user.c.agent == agent)) is not None:
            raise BadInput("agent", "taken")
    if await connection.scalar(select(app_user.c.id).where(app_user.c.username == username)) is not None:
        raise BadInput("username", "taken")
    stored = await connection.execute(
        insert(app_user).returning(app_user.c.id),
        {
            "username": username,
            "name": fields.text("name", name, longest=100, is_required=True),
            "password_hash": password_hash,
            "role": role,
            "agent": agent,
            "language": fields.language("language", language),
            "created_at": now,
            "password_changed_at": now,
        },
    )
    return int(stored.scalar_one())


_USER = select(
    app_user.c.id,
    app_user.c.username,
    app_user.c.name,
    app_user.c.password_hash,
    app_user.c.role,
    app_user.c.agent,
    app_user.c.language,
    app_user.c.is_active,
)


async def find_user(connection: AsyncConnection, username: str) -> User | None:
    """The user of this name, active or not; None for anything that cannot be a user name."""
    if not fields.SLUG.fullmatch(username):
        return None
    row = (await connection.execute(_USER.where(app_user.c.username == username))).first()
    return None if row is None else User(*row)


async def all_users(connection: AsyncConnection) -> list[User]:
    """Every user, by name."""
    return [User(*row) for row in await connection.execute(_USER.order_by(app_user.c.username))]


async def seats(connection: AsyncConnection) -> dict[str, tuple[str, str | None]]:
    """What every user is called, and the agent that the user works as: user name → (name, agent)."""
    rows = await connection.execute(select(app_user.c.username, app_user.c.name, app_user.c.agent))
    return {username: (name, agent) for username, name, agent in rows}


async def change_password(connection: AsyncConnection, user_id: int, password_hash: str, *, now: float) -> None:
    """Store a new password; every session of the user ends."""
    await _change(connection, user_id, password_hash=password_hash, password_changed_at=now)
    await revoke_all(connection, user_id, now=now)


async def set_active(connection: AsyncConnection, user_id: int, *, is_active: bool, now: float) -> None:
    """Lock a user out, or let them in again; locking ends every session."""
    await _change(connection, user_id, is_active=is_active)
    if not is_active:
        await revoke_all(connection, user_id, now=now)


async def set_language(connection: AsyncConnection, user_id: int, language: str) -> None:
    """The language of the user's pages."""
    await _change(connection, user_id, language=fields.language("language", language))


async def _change(connection: AsyncConnection, user_id: int, **values: object) -> None:
    done = await connection.execute(update(app_user).where(app_user.c.id == user_id).values(**values))
    if done.rowcount != 1:
        raise Missing("user", user_id)


# ── sessions ──────────────────────────────────────────────────────────────────────────────────────────────


def session_id(token: str) -> str:
    """The stored id of the session that a cookie's token opens; a stolen database opens none."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


async def open_session(
    connection: AsyncConnection,
    user_id: int,
    *,
    now: float,
    ip: str,
    user_agent: str,
    lifetime_s: float = LIFETIME_S,
) -> str:
    """Begin a session and return the token for the cookie; it is not kept."""
    token = secrets.token_urlsafe(32)
    await connection.execute(
        insert(user_session),
        {
            "id": session_id(token),
            "user_id": user_id,
            "created_at": now,
            "seen_at": now,
            "expires_at": now + lifetime_s,
            "ip": ip[:45],
            "user_agent": user_agent.replace("\x00", "")[:200],
        },
    )
    return token


async def find_session(
    connection: AsyncConnection, token: str, *, now: float, idle_s: float = IDLE_S
) -> SessionUser | None:
    """Whose session this is, or None if it never was, was revoked, is too old or unused for too long."""
    row = (
        await connection.execute(
            select(
                user_session.c.id,
                app_user.c.id,
                app_user.c.username,
                app_user.c.name,
                app_user.c.role,
                app_user.c.agent,
                app_user.c.language,
                user_session.c.expires_at,
            )
            .select_from(user_session.join(app_user, app_user.c.id == user_session.c.user_id))
            .where(
                user_session.c.id == session_id(token),
                user_session.c.revoked_at.is_(None),
                user_session.c.expires_at > now,
                user_session.c.seen_at > now - idle_s,
                app_user.c.is_active,
            )
        )
    ).first()
    return None if row is None else SessionUser(*row)


async def living_sessions(connection: AsyncConnection, *, now: float, idle_s: float = IDLE_S) -> dict[str, str | None]:
    """The ids of all sessions that are good now, and the agent whom each person works as."""
    rows = await connection.execute(
        select(user_session.c.id, app_user.c.agent)
        .select_from(user_session.join(app_user, app_user.c.id == user_session.c.user_id))
        .where(
            user_session.c.revoked_at.is_(None),
            user_session.c.expires_at > now,
            user_session.c.seen_at > now - idle_s,
            app_user.c.is_active,
        )
    )
    return {row.id: row.agent for row in rows}


async def touch(connection: AsyncConnection, session: str, *, now: float) -> None:
    """The session is in use. Cheap to call often: written once a minute."""
    await connection.execute(
        update(user_session)
        .where(user_session.c.id == session, user_session.c.seen_at < now - TOUCH_EVERY_S)
        .values(seen_at=now)
    )


async def revoke_session(connection: AsyncConnection, session: str, *, now: float) -> None:
    """End a session, by its stored id."""
    await connection.execute(
        update(user_session)
        .where(user_session.c.id == session, user_session.c.revoked_at.is_(None))
        .values(revoked_at=now)
    )


async def revoke_all(connection: AsyncConnection, user_id: int, *, now: float) -> int:
    """End every session of a user; returns how many."""
    done = await connection.execute(
        update(user_session)
        .where(user_session.c.user_id == user_id, user_session.c.revoked_at.is_(None))
        .values(revoked_at=now)
    )
    return done.rowcount


async def forget_sessions(connection: AsyncConnection, *, ended_before: float) -> int:
    """Remove what ended long ago; returns how many."""
    done = await connection.execute(
        delete(user_session).where(
            or_(user_session.c.expires_at < ended_before, user_session.c.revoked_at < ended_before)
        )
    )
    return done.rowcount


# ── attempts ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Failures:
    """Failed log-ins lately: for this user name since its last success, and from this address."""

    of_user: int
    from_ip: int


async def record_attempt(connection: AsyncConnection, *, at: float, username: str, ip: str, is_success: bool) -> None:
    """Keep a log-in that was tried."""
    await connection.execute(
        insert(login_attempt),
        {"at": at, "username": _attempted(username), "ip": ip[:45], "is_success": is_success},
    )


def _attempted(username: str) -> str:
    return username.casefold().replace("\x00", "").encode("utf-8", "replace").decode()[:40]


async def failures(connection: AsyncConnection, *, username: str, ip: str, since: float) -> Failures:
    """How many log-ins failed since then."""
    named = _attempted(username)
    succeeded_at = (
        select(func.coalesce(func.max(login_attempt.c.at), since))
        .where(login_attempt.c.username == named, login_attempt.c.is_success, login_attempt.c.at >= since)
        .scalar_subquery()
    )
    failed = select(func.count()).select_from(login_attempt).where(login_attempt.c.is_success.is_(False))
    of_user = failed.where(
        login_attempt.c.username == named, login_attempt.c.at >= since, login_attempt.c.at >= succeeded_at
    )
    from_ip = failed.where(login_attempt.c.ip == ip[:45], login_attempt.c.at >= since)
    row = (await connection.execute(select(of_user.scalar_subquery(), from_ip.scalar_subquery()))).one()
    return Failures(row[0], row[1])


async def forget_attempts(connection: AsyncConnection, *, before: float) -> int:
    """Remove old attempts; returns how many."""
    done = await connection.execute(delete(login_attempt).where(login_attempt.c.at < before))
    return done.rowcount
