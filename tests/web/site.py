"""A whole site for the pages' tests: a filled SQLite database, a floor made by hand, a clock that stands until it is
moved, and browsers that log in."""

from __future__ import annotations

import re
import wave
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from aiohttp import CookieJar
from aiohttp.test_utils import TestClient, TestServer, unused_port
from argon2 import PasswordHasher

from crm_core import centre, customers, interactions, users
from crm_core.access import FieldRules, Reader
from tests.web.hall import NOW, Hall
from web.app import IceServer, PhoneCredentials, WebSettings, make_app, sessions_of
from web.sessions import COOKIE

if TYPE_CHECKING:
    from pathlib import Path

    from aiohttp import ClientResponse, web

    from crm_core.database import Database

PASSWORD = "a long enough password"
ORIGIN = "https://calls.example"
PAST = "pbx1-1795000000.7"
PAST_WITHOUT_RECORDING = "pbx1-1794000000.8"
EVIL = "<script>alert(1)</script>"
SEEDER = Reader("seed", "administrator")
LIGHT = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


class Clock:
    """Stands still until it is moved."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


async def fill(database: Database) -> None:
    """Three agents, two queues, a few people who log in, customers with a history."""
    async with database.begin() as connection:
        await centre.put_product(connection, centre.Product(code="fiber", name="Fibre 200", summary="200 Mbit/s"))
        for queue in (centre.Queue(slug="sales", name="Sales 销售"), centre.Queue(slug="support", name="Support")):
            await centre.put_queue(connection, queue)
        for slug, name, kind, sees in (
            ("li.wei", "Li Wei", "browser", True),
            ("anna", "Anna Berg", "desk", True),
            ("chen.jie", "陈洁", "browser", False),
        ):
            await centre.put_agent(
                connection,
                centre.Agent(
                    slug=slug,
                    name=name,
                    pbx="pbx1",
                    endpoint=slug.replace(".", "-"),
                    phone_kind=kind,
                    may_see_numbers=sees,
                ),
            )
        await centre.put_reason(
            connection, centre.Reason(code="lunch", labels={"en": "Lunch", "zh-Hans": "午餐", "zh-Hant": "午餐"})
        )
        await centre.put_reason(connection, centre.Reason(code="old", labels={"en": "Old"}, is_active=False))
        await centre.put_disposition(
            connection, centre.Disposition(code="sold", labels={"en": "Sold", "zh-Hans": "成交"}, key="s")
        )
        await centre.put_field_rule(
            connection, centre.FieldRule(role="campaign_manager", object="party", field="email", access="none")
        )
        for username, role, agent in (
            ("li.wei", "agent", "li.wei"),
            ("chen.jie", "agent", "chen.jie"),
            ("sofia", "supervisor", None),
            ("ruth", "supervisor", "anna"),
            ("boss", "administrator", None),
            ("mia", "campaign_manager", None),
            ("gone", "agent", None),
        ):
            await users.create_user(
                connection,
                username=username,
                name={"li.wei": "Li Wei"}.get(username, username.title()),
                password_hash=LIGHT.hash(PASSWORD),
                role=role,
                agent=agent,
                now=NOW - 1e6,
            )
        gone = await users.find_user(connection, "gone")
        assert gone is not None
        await users.set_active(connection, gone.id, is_active=False, now=NOW)
        rules = FieldRules()
        wang = await customers.create_person(
            connection,
            SEEDER,
            rules,
            {"name": "王小明", "account_number": "C-000017", "tier": "gold", "flags": ["vip"], "language": "zh-Hans"},
            now=NOW - 1e7,
        )
        assert wang == 1
        await customers.add_number(
            connection, SEEDER, rules, wang, "+8613800138000", default_region="CN", now=NOW, is_primary=True
        )
        await customers.add_email(connection, SEEDER, rules, wang, "wang@example.org", is_primary=True, now=NOW)
        await customers.set_product(connection, SEEDER, rules, wang, "fiber", "owns", since=NOW - 1e7)
        evil = await customers.create_person(connection, SEEDER, rules, {"name": EVIL}, now=NOW - 1e7)
        for number in range(30):
            await customers.create_person(connection, SEEDER, rules, {"name": f"Meier Nr {number}"}, now=NOW)
        await interactions.write(
            connection,
            interactions=[
                interactions.InteractionRow(
                    id=PAST,
                    direction="inbound",
                    started_at=NOW - 315_200,
                    party_id=wang,
                    queue="sales",
                    agent="li.wei",
                    dnis="4001",
                    ani_e164="+8613800138000",
                    ani_raw="+8613800138000",
                    queued_at=NOW - 315_199,
                    answered_at=NOW - 315_190,
                    ended_at=NOW - 315_100,
                    wait_s=9.0,
                    talk_s=90.0,
                    outcome="answered",
                    disposition="sold",
                    note=f"Ring back on 13800138000 {EVIL}",
                    match_how="number",
                ),
                interactions.InteractionRow(
                    id=PAST_WITHOUT_RECORDING,
                    direction="inbound",
                    started_at=NOW - 1_315_200,
                    party_id=wang,
                    queue="sales",
                    outcome="abandoned",
                ),
                *(
                    interactions.InteractionRow(
                        id=f"pbx1-17{number:08}.1",
                        direction="inbound",
                        started_at=NOW - 2e6 - number,
                        party_id=evil,
                        note=EVIL,
                    )
                    for number in range(45)
                ),
            ],
            legs=[
                interactions.LegRow(
                    id="pbx1/1795000000.7",
                    interaction=PAST,
                    role="customer",
                    started_at=NOW - 315_200,
                    number="+8613800138000",
                    answered_at=NOW - 315_190,
                    ended_at=NOW - 315_100,
                    cause="normal",
                ),
                interactions.LegRow(
                    id="pbx1/1795000000.9",
                    interaction=PAST,
                    role="agent",
                    agent="li.wei",
                    started_at=NOW - 315_198,
                    ringing_at=NOW - 315_197,
                    answered_at=NOW - 315_190,
                    ended_at=NOW - 315_100,
                    outcome="answered",
                ),
            ],
            decisions=[
                interactions.DecisionRow(
                    interaction=PAST,
                    at=NOW - 315_198,
                    rule="longest_idle",
                    queue="sales",
                    agent="li.wei",
                    passed=(("chen.jie", "logged_out", ""),),
                )
            ],
            recordings=[
                interactions.RecordingRow(file="1795000000.7.wav", interaction=PAST, started_at=NOW - 315_190),
                interactions.RecordingRow(file="../outside.wav", interaction=PAST, started_at=NOW - 315_189),
                interactions.RecordingRow(file="link.wav", interaction=PAST, started_at=NOW - 315_188),
                interactions.RecordingRow(file="missing.wav", interaction=PAST, started_at=NOW - 315_187),
            ],
        )


def write_recordings(folder: Path) -> None:
    """One good recording, one file beside the folder, and a link that leads to it."""
    folder.mkdir()
    for path in (folder / "1795000000.7.wav", folder.parent / "outside.wav"):
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8000)
            file.writeframes(bytes(range(256)) * 64)
    (folder / "link.wav").symlink_to(folder.parent / "outside.wav")


class Hangups:
    """Stands for the desk sockets: notes which sessions they were told to drop."""

    def __init__(self) -> None:
        self.revoked: list[str] = []

    def revoke(self, session_or_agent: str) -> None:
        self.revoked.append(session_or_agent)


class Browser:
    """One person's browser: keeps cookies, sends what a browser sends about where a request comes from."""

    def __init__(self, client: TestClient[web.Request, web.Application]) -> None:
        self.client = client
        self.csrf = ""

    @property
    def token(self) -> str:
        """The session's token as the cookie holds it."""
        for cookie in self.client.session.cookie_jar:
            if cookie.key == COOKIE:
                return cookie.value
        return ""

    async def send(self, method: str, path: str, **more: Any) -> ClientResponse:
        headers: dict[str, str | None] = {"Accept-Language": "en"}
        if method not in {"GET", "HEAD"}:
            headers |= {"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"}
            if path.startswith("/api/"):
                headers["X-CSRF-Token"] = self.csrf
        headers |= more.pop("headers", {})
        sent = {name: value for name, value in headers.items() if value is not None}
        more.setdefault("allow_redirects", False)
        return await self.client.request(method, path, headers=sent, **more)

    async def get(self, path: str, **more: Any) -> ClientResponse:
        return await self.send("GET", path, **more)

    async def text(self, path: str, **more: Any) -> str:
        answer = await self.get(path, **more)
        assert answer.status == 200, await answer.text()
        return await answer.text()

    async def json(self, path: str, **more: Any) -> Any:
        answer = await self.get(path, **more)
        assert answer.status == 200, await answer.text()
        return await answer.json()

    async def log_in(self, username: str, password: str = PASSWORD) -> ClientResponse:
        answer = await self.send("POST", "/login", data={"username": username, "password": password})
        if answer.status == 303:
            page = await self.text("/customers")
            found = re.search(r'name="csrf-token" content="([^"]+)"', page)
            assert found is not None
            self.csrf = found[1]
        return answer


async def phone_account(agent: str, session: str) -> PhoneCredentials:
    """What the browser phone of ``agent`` registers with."""
    return PhoneCredentials(f"sip:{agent}@calls.example", agent, f"secret of {session[:8]}")


class Site:
    """One running app."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.floor = Hall()
        self.clock = Clock(NOW)
        self.hub = Hangups()
        self.recordings = folder / "recordings"
        write_recordings(self.recordings)
        self.prompts = folder / "prompts"
        self.configured = 0
        self.settings = WebSettings(
            site_origins=frozenset({ORIGIN}),
            cookie_secure=False,
            desk_socket_url="wss://calls.example/desk/socket",
            sip_ws_urls={"pbx1": "wss://calls.example/sip"},
            phone_account=phone_account,
            recordings_folder=self.recordings,
            clock=self.clock,
            ice_servers=(IceServer(("stun:calls.example",)),),
            prompts_folder=self.prompts,
            configured=self._configured,
        )
        self.app = make_app(database=database, floor=self.floor, settings=self.settings, hub=self.hub)
        self.sessions = sessions_of(self.app)
        self._server: TestServer[Any] | None = None
        self._clients: list[TestClient[web.Request, web.Application]] = []

    async def browser(self, username: str = "") -> Browser:
        """A new browser, logged in as ``username`` if one is given."""
        if self._server is None:
            self._server = TestServer(self.app)
            await self._server.start_server()
        client: TestClient[web.Request, web.Application] = TestClient(self._server, cookie_jar=CookieJar(unsafe=True))
        self._clients.append(client)
        browser = Browser(client)
        if username:
            answer = await browser.log_in(username)
            assert answer.status == 303, await answer.text()
        return browser

    async def open_to_browsers(self) -> str:
        """Serve on an address of this machine that real browsers may use; gives it."""
        port = unused_port()
        origin = f"http://127.0.0.1:{port}"
        settings = replace(
            self.settings, site_origins=frozenset({origin}), desk_socket_url=f"ws://127.0.0.1:{port}/none"
        )
        self._server = TestServer(make_app(database=self.database, floor=self.floor, settings=settings), port=port)
        await self._server.start_server()
        return origin

    async def _configured(self) -> None:
        self.configured += 1

    async def close(self) -> None:
        for client in self._clients:
            await client.session.close()
        if self._server is not None:
            await self._server.close()
