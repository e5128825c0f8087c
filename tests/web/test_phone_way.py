"""A browser phone's way to the telephone system: the gate's pass, and what its media may use."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
from http.cookies import SimpleCookie
from pathlib import Path
from typing import TYPE_CHECKING

import pytest_asyncio

from crm_core.database import Database
from tests.web.hall import NOW
from tests.web.site import Browser, Site
from web.app import IceServer, SignedPass, make_app, sessions_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

COOKIE = "callfloor_phone"


@pytest_asyncio.fixture
async def gated(filled: Path, tmp_path: Path) -> AsyncIterator[Site]:
    """A site with a gate, and a TURN server that shares a secret with it."""
    path = tmp_path / "site.db"
    path.write_bytes(filled.read_bytes())
    database = Database(f"sqlite+aiosqlite:///{path}")
    await database.open(may_migrate=False)
    site = Site(database, tmp_path)
    site.settings = dataclasses.replace(
        site.settings,
        cookie_secure=True,
        phone_pass=lambda agent, session, until: SignedPass(f"{agent}.{session[:4]}.{int(until - NOW)}", 600.0),
        ice_servers=(
            IceServer(("stun:calls.example",)),
            IceServer(("turns:calls.example:443",), shared_secret="sesame", credential_life_s=3600.0),
        ),
    )
    site.app = make_app(database=database, floor=site.floor, settings=site.settings, hub=site.hub)
    site.sessions = sessions_of(site.app)
    yield site
    await site.close()
    await database.close()


async def passes(browser: Browser, path: str) -> list[str]:
    answer = await browser.get(path, headers={"Cookie": f"callfloor_session={browser.token}"})
    assert answer.status == 200, await answer.text()
    return [one for one in answer.headers.getall("Set-Cookie", []) if one.startswith(COOKIE)]


async def logged_in(site: Site, username: str) -> Browser:
    """The session's cookie is sent by hand: the test's own client keeps secure cookies to itself."""
    browser = await site.browser()
    answer = await browser.send("POST", "/login", data={"username": username, "password": "a long enough password"})
    token = SimpleCookie(answer.headers["Set-Cookie"])["callfloor_session"].value
    browser.client.session.cookie_jar.update_cookies({"callfloor_session": token})
    return browser


async def test_the_desk_and_each_renewal_bring_a_pass_that_only_the_gate_is_sent(gated: Site) -> None:
    browser = await logged_in(gated, "li.wei")
    for path in ("/desk", "/api/desk/phone"):
        (cookie,) = await passes(browser, path)
        for part in ("li.wei.", "HttpOnly", "Secure", "SameSite=Strict", "Path=/sip", "Max-Age=600"):
            assert part in cookie
    assert gated.floor.asked.count(("log_in", "li.wei")) == 1


async def test_who_has_no_seat_gets_no_pass(gated: Site) -> None:
    browser = await logged_in(gated, "sofia")
    answer = await browser.get("/api/desk/phone", headers={"Cookie": f"callfloor_session={browser.token}"})
    assert answer.status == 409
    assert "Set-Cookie" not in answer.headers


async def test_a_turn_servers_credential_is_the_agents_own_and_ends(gated: Site) -> None:
    browser = await logged_in(gated, "li.wei")
    told = await browser.json("/api/desk/phone")
    stun, turn = told["ice_servers"]
    assert stun == {"urls": ["stun:calls.example"], "username": "", "credential": ""}
    assert turn["username"] == f"{int(NOW + 3600)}:li.wei"
    mark = hmac.new(b"sesame", turn["username"].encode(), hashlib.sha1).digest()
    assert turn["credential"] == base64.b64encode(mark).decode()
    assert "sesame" not in str(told)
    assert (await browser.json("/api/desk"))["phone"]["ice_servers"] == told["ice_servers"]


async def test_logging_out_takes_the_pass_away(gated: Site) -> None:
    browser = await logged_in(gated, "li.wei")
    csrf = (await browser.json("/api/desk"))["csrf"]
    answer = await browser.send("POST", "/logout", data={"csrf": csrf})
    assert answer.status == 303
    (cookie,) = [one for one in answer.headers.getall("Set-Cookie") if one.startswith(COOKIE)]
    assert "Max-Age=0" in cookie
    assert "Path=/sip" in cookie


async def test_without_a_gate_there_is_no_pass(site: Site) -> None:
    browser = await site.browser("li.wei")
    answer = await browser.get("/api/desk/phone")
    assert answer.status == 200
    assert "Set-Cookie" not in answer.headers
