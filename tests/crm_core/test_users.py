from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from crm_core import audit, centre, users
from crm_core.access import FieldRules, Reader
from crm_core.errors import BadInput
from crm_core.schema import user_session

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from crm_core.database import Database

NOW = 1_795_315_200.0
PASSWORD = "correct horse battery"
HASH = users.hash_password(PASSWORD)


async def sarah(connection: AsyncConnection, username: str = "sarah") -> int:
    return await users.create_user(
        connection, username=username, name="Sarah", password_hash=HASH, role="supervisor", now=NOW
    )


def test_only_the_right_password_of_a_known_user_is_right() -> None:
    assert users.verify_password(HASH, PASSWORD)
    assert not users.verify_password(HASH, PASSWORD + "x")
    assert not users.verify_password(None, PASSWORD)
    assert not users.verify_password("no hash", PASSWORD)
    assert not users.must_rehash(HASH)


def test_a_password_is_neither_cut_nor_endless() -> None:
    longest = users.hash_password("x" * 200)
    assert users.verify_password(longest, "x" * 200)
    assert not users.verify_password(longest, "x" * 201)
    for bad in ("short", "x" * 201):
        with pytest.raises(BadInput):
            users.hash_password(bad)


async def test_a_session_leads_to_its_user_and_the_token_is_not_kept(database: Database) -> None:
    async with database.begin() as connection:
        made = await sarah(connection)
        token = await users.open_session(connection, made, now=NOW, ip="127.0.0.1", user_agent="x" * 999)
        seen = await users.find_session(connection, token, now=NOW + 1)
        assert seen is not None
        assert (seen.username, seen.role, seen.agent) == ("sarah", "supervisor", None)
        stored = (await connection.execute(select(user_session))).one()
        assert token not in repr(stored)
        for wrong in ("", "x", seen.session):
            assert await users.find_session(connection, wrong, now=NOW + 1) is None


async def test_a_session_ends_when_unused_too_old_revoked_or_locked_out(database: Database) -> None:
    async with database.begin() as connection:
        made = await sarah(connection)

        async def fresh() -> str:
            return await users.open_session(connection, made, now=NOW, ip="", user_agent="")

        async def is_open(token: str, at: float) -> bool:
            return await users.find_session(connection, token, now=at) is not None

        token = await fresh()
        assert not await is_open(token, NOW + users.IDLE_S + 1)
        await users.touch(connection, users.session_id(token), now=NOW + users.IDLE_S - 1)
        assert await is_open(token, NOW + users.IDLE_S + 1)
        assert not await is_open(token, NOW + users.LIFETIME_S + 1)
        await users.revoke_session(connection, users.session_id(token), now=NOW)
        assert not await is_open(token, NOW + 1)
        token = await fresh()
        await users.change_password(connection, made, HASH, now=NOW)
        assert not await is_open(token, NOW + 1)
        tokens = [await fresh(), await fresh()]
        assert await users.revoke_all(connection, made, now=NOW) == 2
        assert not await is_open(tokens[0], NOW + 1)
        token = await fresh()
        await users.set_active(connection, made, is_active=False, now=NOW)
        assert not await is_open(token, NOW + 1)
        assert await users.forget_sessions(connection, ended_before=NOW + 1) == 5


async def test_a_user_name_and_an_agent_belong_to_one_user(database: Database) -> None:
    async with database.begin() as connection:
        await sarah(connection)
        agent = centre.Agent(slug="li.wei", name="Li", pbx="pbx1", endpoint="agent1", phone_kind="desk")
        await centre.put_agent(connection, agent)
        for given, field in (
            ({"username": "sarah"}, "username"),
            ({"username": "Sarah Chen"}, "username"),
            ({"role": "root"}, "role"),
            ({"agent": "nobody"}, "agent"),
            ({"name": ""}, "name"),
        ):
            with pytest.raises(BadInput) as refused:
                await users.create_user(
                    connection,
                    **{"username": "new", "name": "N", "password_hash": HASH, "role": "agent", "now": NOW, **given},  # type: ignore[arg-type]
                )
            assert refused.value.field == field
        await users.create_user(
            connection, username="li.wei", name="Li", password_hash=HASH, role="agent", now=NOW, agent="li.wei"
        )
        found = await users.find_user(connection, "li.wei")
        assert found is not None
        assert found.agent == "li.wei"
        assert await users.find_user(connection, "' OR 1=1") is None
        assert [user.username for user in await users.all_users(connection)] == ["li.wei", "sarah"]


async def test_failed_log_ins_count_for_the_user_until_one_succeeds_and_for_the_address(database: Database) -> None:
    async with database.begin() as connection:

        async def attempt(at: float, username: str, *, is_success: bool = False) -> None:
            await users.record_attempt(connection, at=at, username=username, ip="10.0.0.1", is_success=is_success)

        async def count(since: float = 0.0, ip: str = "10.0.0.1") -> users.Failures:
            return await users.failures(connection, username="sarah", ip=ip, since=since)

        await attempt(1.0, "Sarah")
        await attempt(2.0, "sarah")
        await attempt(3.0, "x" * 300 + "\x00")
        assert await count() == users.Failures(2, 3)
        assert await count(since=1.5) == users.Failures(1, 2)
        assert await count(ip="10.0.0.2") == users.Failures(2, 0)
        await attempt(4.0, "sarah", is_success=True)
        await attempt(5.0, "sarah")
        assert await count() == users.Failures(1, 4)
        assert await users.forget_attempts(connection, before=3.5) == 3


async def test_the_audit_lists_what_was_done_newest_first_and_pages_back(database: Database) -> None:
    reader, rules = Reader("sarah", "supervisor"), FieldRules()
    async with database.begin() as connection:
        for number in range(5):
            await audit.write(
                connection,
                at=NOW + number,
                user="sarah",
                role="supervisor",
                action="play",
                object="recording",
                object_id=f"{number}.wav",
                detail={"seconds": number},
                ip="127.0.0.1",
                session="abc",
            )
        newest = await audit.recent(connection, reader, rules, limit=2)
        older = await audit.recent(connection, reader, rules, limit=9, before=newest[-1]["id"])
        of_one = await audit.recent(connection, reader, rules, limit=9, object="recording", object_id="3.wav")
    assert [one["object_id"] for one in (*newest, *older)] == ["4.wav", "3.wav", "2.wav", "1.wav", "0.wav"]
    assert [one["detail"] for one in of_one] == [{"seconds": 3}]
