from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest

from crm_core import audit
from crm_core.access import FieldRules
from crm_core.database import DatabaseAway
from tests.web.site import PASSWORD, SEEDER
from web.login_limits import PAIR
from web.sessions import COOKIE, REMEMBERED_S, CannotTell

if TYPE_CHECKING:
    from tests.web.site import Site


async def actions(site: Site) -> list[str]:
    async with site.database.read() as connection:
        rows = await audit.recent(connection, SEEDER, FieldRules(), limit=50)
    return [row["action"] for row in reversed(rows)]


async def test_an_agent_logs_in_and_is_led_to_the_desk(site: Site) -> None:
    browser = await site.browser()
    answer = await browser.send("POST", "/login", data={"username": "Li.Wei ", "password": PASSWORD})
    assert answer.status == 303
    assert answer.headers["Location"] == "/"
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Path=/" in cookie
    assert (await browser.get("/")).headers["Location"] == "/desk"
    assert await actions(site) == ["log_in"]


@pytest.mark.parametrize(("username", "first"), [("sofia", "/floor"), ("boss", "/floor"), ("mia", "/customers")])
async def test_others_begin_where_they_work(site: Site, username: str, first: str) -> None:
    browser = await site.browser(username)
    assert (await browser.get("/")).headers["Location"] == first
    assert (await browser.get(first)).status == 200


@pytest.mark.parametrize(
    ("username", "password"),
    [
        ("li.wei", "my-guess"),
        ("nobody", PASSWORD),
        ("gone", PASSWORD),
        ("' or 1=1 --", PASSWORD),
        ("li.wei", "x" * 256),
    ],
)
async def test_wrong_name_wrong_password_and_locked_account_are_told_apart_by_nothing(
    site: Site, username: str, password: str
) -> None:
    browser = await site.browser()
    answer = await browser.send("POST", "/login", data={"username": username, "password": password})
    assert answer.status == 401
    text = await answer.text()
    assert "The name or the password is wrong." in text
    assert password not in text
    assert "Set-Cookie" not in answer.headers


async def test_guessing_is_slowed_down_and_the_wait_is_said(site: Site) -> None:
    browser = await site.browser()
    for _ in range(PAIR.free):
        assert (await browser.log_in("li.wei", "wrong")).status == 401
    answer = await browser.log_in("li.wei")
    assert answer.status == 429
    assert answer.headers["Retry-After"] == "15"
    assert "Try again in 15 seconds." in await answer.text()
    site.clock.now += 15
    assert (await browser.log_in("li.wei")).status == 303


async def test_the_next_page_is_only_ever_one_of_ours(site: Site) -> None:
    for target, expected in (
        ("/customers?q=a", "/customers?q=a"),
        ("//evil.example/", "/"),
        ("https://evil.example/", "/"),
        ("/\\evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("/\r\nSet-Cookie: a=b", "/"),
    ):
        browser = await site.browser()
        answer = await browser.send("POST", "/login", data={"username": "li.wei", "password": PASSWORD, "next": target})
        assert answer.status == 303
        assert answer.headers["Location"] == expected
    browser = await site.browser("li.wei")
    assert (await browser.get("/login?next=//evil.example")).headers["Location"] == "/"


async def test_logging_in_again_ends_the_session_that_the_browser_had(site: Site) -> None:
    browser = await site.browser("li.wei")
    old = browser.token
    await browser.log_in("sofia")
    assert browser.token != old
    stranger = await site.browser()
    assert (await stranger.get("/api/desk", headers={"Cookie": f"{COOKIE}={old}"})).status == 401
    assert len(site.hub.revoked) == 1


async def test_logging_out_ends_the_session_at_once_and_tells_floor_and_sockets(site: Site) -> None:
    browser = await site.browser("li.wei")
    token = browser.token
    desk = await site.sessions.authenticate(token)
    assert desk is not None
    answer = await browser.send("POST", "/logout", data={"csrf": browser.csrf})
    assert (answer.status, answer.headers["Location"]) == (303, "/login")
    assert ("log_out", "li.wei", "li.wei") in site.floor.asked
    assert site.hub.revoked == [desk.session]
    assert await site.sessions.authenticate(token) is None
    stranger = await site.browser()
    assert (await stranger.get("/api/desk", headers={"Cookie": f"{COOKIE}={token}"})).status == 401
    assert await actions(site) == ["log_in", "log_out"]


async def test_the_token_is_stored_nowhere_in_the_database(site: Site) -> None:
    browser = await site.browser("li.wei")
    url = site.database.url.database
    assert url is not None
    assert browser.token
    async with site.database.read() as connection:
        dump = await connection.exec_driver_sql("SELECT * FROM user_session")
        assert browser.token not in str(dump.all())


async def test_a_session_ends_when_it_was_not_used_for_long_and_in_any_case_after_its_life(site: Site) -> None:
    browser = await site.browser("li.wei")
    site.clock.now += site.settings.session_idle_s - 60
    assert (await browser.get("/api/desk")).status == 200
    site.clock.now += site.settings.session_idle_s - 60
    assert (await browser.get("/api/desk")).status == 200
    site.clock.now += 120 + site.settings.session_life_s - 2 * site.settings.session_idle_s
    assert (await browser.get("/api/desk")).status == 401
    idle = await site.browser("sofia")
    site.clock.now += site.settings.session_idle_s + 1
    assert (await idle.get("/api/floor")).status == 401


async def test_a_session_that_another_process_ended_is_gone_in_a_few_seconds(site: Site) -> None:
    browser = await site.browser("li.wei")
    assert (await browser.get("/api/desk")).status == 200
    async with site.database.begin() as connection:
        await connection.exec_driver_sql("UPDATE user_session SET revoked_at = 1")
    site.clock.now += REMEMBERED_S
    assert (await browser.get("/api/desk")).status == 401


async def test_cookies_that_are_no_session_open_nothing(site: Site) -> None:
    good = (await site.browser("li.wei")).token
    stranger = await site.browser()
    for cookie in (
        f"{COOKIE}=",
        f"{COOKIE}={good[:-1]}",
        f"{COOKIE}={good}x",
        f"{COOKIE}={good}; {COOKIE}={'A' * 43}",
        f"other={good}",
        f"{COOKIE}={'ü' * 43}",
        ";;;=;" + "a" * 4000,
    ):
        answer = await stranger.get("/api/desk", headers={"Cookie": cookie.encode().decode("latin-1")})
        assert answer.status == 401, cookie


async def test_while_the_database_is_away_a_known_person_works_on_and_a_stranger_is_told(site: Site) -> None:
    known = await site.browser("li.wei")
    assert (await known.get("/api/desk")).status == 200
    before = site.database.read
    unavailable = _Away()
    site.database.read = unavailable  # type: ignore[method-assign]
    site.clock.now += 60
    answer = await known.send("POST", "/api/desk/state", json={"state": "AVAILABLE", "reason": ""})
    assert answer.status == 200
    page = await known.get("/customers/1")
    assert page.status == 503
    assert "The database does not answer." in await page.text()
    stranger = await site.browser()
    answer = await stranger.get("/api/desk", headers={"Cookie": f"{COOKIE}={'A' * 43}"})
    assert answer.status == 503
    with pytest.raises(CannotTell):
        await site.sessions.authenticate("B" * 43)
    assert (await (await stranger.get("/health")).json())["database"] == "down"
    site.database.read = before  # type: ignore[method-assign]


class _Away:
    def __call__(self) -> _Away:
        raise DatabaseAway(ConnectionRefusedError())


async def test_many_log_ins_at_once_are_all_answered(site: Site) -> None:
    browsers = [await site.browser() for _ in range(8)]
    answers = await asyncio.gather(
        *(browser.send("POST", "/login", data={"username": "li.wei", "password": PASSWORD}) for browser in browsers)
    )
    statuses = [answer.status for answer in answers]
    assert set(statuses) <= {303, 429}
    assert 303 in statuses


async def test_neither_name_nor_password_nor_address_is_logged(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "callfloor")
    browser = await site.browser()
    await browser.log_in("li.wei", "my-wrong-secret")
    await browser.get("/customers?q=13800138000")
    assert "my-wrong-secret" not in caplog.text
    assert "li.wei" not in caplog.text
    assert "13800138000" not in caplog.text


async def test_the_cookie_is_for_https_only_where_the_site_is(site: Site) -> None:
    browser = await site.browser()
    answer = await browser.log_in("li.wei")
    assert "Secure" not in answer.headers["Set-Cookie"]
    object.__setattr__(site.settings, "cookie_secure", True)
    answer = await browser.send("POST", "/login", data={"username": "li.wei", "password": PASSWORD})
    assert "Secure" in answer.headers["Set-Cookie"]
