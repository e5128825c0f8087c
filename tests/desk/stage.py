"""The server's side of an agent's page, played by hand: the page, its HTTP API and the desk socket, on real sockets.

Nothing here decides anything. A test says what the server sends and sees what the page asks for.
"""

from __future__ import annotations

import asyncio
import http
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from web.js_messages import JS_MESSAGES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

WEB = Path(__file__).parents[2] / "web"
SUBPROTOCOL = "callfloor.desk.1"
CSRF = "the-token"
PATIENCE_S = 10.0

REASONS = [
    {"code": "break", "label": "Break"},
    {"code": "lunch", "label": "Lunch"},
    {"code": "training", "label": "Training"},
    {"code": "back_office", "label": "Back office"},
]
DISPOSITIONS = [
    {"code": "resolved", "label": "Resolved", "key": "1", "queue": None},
    {"code": "callback", "label": "Call back", "key": "2", "queue": None},
    {"code": "order", "label": "Order taken", "key": "3", "queue": "sales"},
    {"code": "quote", "label": "Quote sent", "key": "4", "queue": "sales"},
    {"code": "complaint", "label": "Complaint", "key": "5", "queue": None},
    {"code": "wrong_number", "label": "Wrong number", "key": "6", "queue": None},
    {"code": "repair", "label": "Repair booked", "key": "7", "queue": "support"},
]


@dataclass(frozen=True, slots=True)
class Asked:
    """One request of the page."""

    method: str
    path: str
    body: Any
    token: str


@dataclass(slots=True)
class Desk:
    """One connected desk socket. ``beats``: what the page told of itself."""

    connection: ServerConnection
    hello: dict[str, Any]
    beats: list[dict[str, Any]] = field(default_factory=list)


class Stage:
    """A server for one agent, Anna, whose browser phone or desk phone rings."""

    def __init__(
        self, *, phone: str = "desk", translate: Mapping[str, str] | None = None, language: str = "en"
    ) -> None:
        self.phone_kind = phone
        self.language = language
        self.translations = translate or {}
        self.asked: list[Asked] = []
        self.refusals: dict[tuple[str, str], tuple[int, str]] = {}
        self.desks: list[Desk] = []
        self.owner: Desk | None = None
        self.is_socket_closed = False
        self.epoch = "epoch-1"
        self.seq = 0
        self.sent: list[dict[str, Any]] = []
        self.agent: dict[str, Any] = agent("NOT_READY", reason="break")
        self.pops: dict[str, dict[str, Any]] = {}
        self.health = {"is_fresh": True, "why": ""}
        self.sip_url = ""
        self.password = "secret"
        self.agents = [
            {"id": "anna", "name": "Anna Bell", "state": "ON_CALL"},
            {"id": "wang.fang", "name": "Wang Fang", "state": "AVAILABLE"},
            {"id": "li.wei", "name": "Li Wei", "state": "ON_CALL"},
            {"id": "omar", "name": "Omar Haddad", "state": "LOGGED_OUT"},
        ]
        self.queues = [
            {"id": "sales", "name": "Sales", "waiting": 2},
            {"id": "support", "name": "Support", "waiting": 0},
        ]
        self.skills = [{"id": "chinese", "agents_available": 1}]
        self.beside: dict[str, Any] = {"listeners": [], "spying": None, "messages": []}
        self.is_answering = True
        self.found = (
            '<ul><li><a href="/customers/21"><strong>Chen Jing</strong></a> <span>Orchid Ltd · C-21</span></li></ul>'
        )
        self._changed = asyncio.Condition()

    async def start(self) -> None:
        """Listens on free ports of loopback."""
        app = web.Application()
        app.router.add_static("/static", WEB / "static")
        app.router.add_get("/desk", self._page)
        app.router.add_get("/blank", self._blank)
        app.router.add_route("*", "/{path:.*}", self._api)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        self._sockets = await serve(self._desk, "127.0.0.1", 0, subprotocols=[SUBPROTOCOL], process_request=self._gate)  # type: ignore[list-item]
        port = self._sockets.sockets[0].getsockname()[1]
        self.socket_url = f"ws://127.0.0.1:{port}/desk/socket"

    async def stop(self) -> None:
        """Ends both servers."""
        self._sockets.close()
        await self._sockets.wait_closed()
        await self._runner.cleanup()

    # ── what a test says ──────────────────────────────────────────────────────────────────────────────────

    async def send(self, kind: str, **fields: Any) -> None:
        """One message to the desk, with the next number; kept for a desk that is away."""
        self.seq += 1
        message = {"type": kind, "seq": self.seq, "now": time.time(), **fields}
        self.sent.append(message)
        if self.owner is not None:
            await _send(self.owner.connection, message)

    async def set_agent(self, state: str, **fields: Any) -> None:
        """The agent's state changed."""
        self.agent = agent(state, **fields)
        await self.send("state", **self.agent)

    async def ring(self, **fields: Any) -> dict[str, Any]:
        """A call rings at the agent."""
        card = pop(**fields)
        await self.set_agent("RESERVED", interaction=card["interaction"])
        return await self.show(card)

    async def show(self, card: dict[str, Any], **changes: Any) -> dict[str, Any]:
        """Sends a card whole, with changes."""
        card = {**card, **changes}
        self.pops[card["interaction"]] = card
        await self.send("pop", **card)
        return card

    async def close_pop(self, interaction: str, reason: str) -> None:
        """Takes a card away."""
        self.pops.pop(interaction, None)
        await self.send("pop_closed", interaction=interaction, reason=reason)

    async def drop_socket(self, *, stays_away: bool) -> None:
        """Cuts the line to the desk, with or without letting it come back."""
        self.is_socket_closed = stays_away
        owner = self.owner
        if owner is not None:
            owner.connection.transport.abort()
        await self.until(lambda: self.owner is not owner or owner is None)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits for something that the page does."""
        async with self._changed:
            await asyncio.wait_for(self._changed.wait_for(condition), PATIENCE_S)

    async def wait_for(self, method: str, path: str) -> Asked:
        """The first request of this kind, once it is there; it is taken off the list."""
        await self.until(lambda: any(one.method == method and one.path == path for one in self.asked))
        found = next(one for one in self.asked if one.method == method and one.path == path)
        self.asked.remove(found)
        return found

    # ── what the page gets ────────────────────────────────────────────────────────────────────────────────

    async def _page(self, request: web.Request) -> web.Response:
        environment = Environment(
            loader=FileSystemLoader(WEB / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            extensions=["jinja2.ext.i18n"],
        )
        text = self.translations
        environment.install_gettext_callables(  # type: ignore[attr-defined]
            lambda message: text.get(message, message), lambda one, many, n: one if n == 1 else many, newstyle=True
        )
        html = environment.get_template("desk.html").render(
            user={"name": "Anna Bell", "username": "anna", "role": "agent", "agent": "anna"},
            csrf=CSRF,
            language=self.language,
            languages={"en": "English", "zh-Hans": "简体中文", "zh-Hant": "繁體中文"},
            path="/desk",
            has_desk=True,
            may_see_floor=False,
            may_read_customers=True,
            may_configure=False,
            is_simulated=False,
            messages={message: text.get(message, message) for message in JS_MESSAGES},
        )
        sockets = f"{self.socket_url} {self.sip_url}".strip()
        policy = (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self' blob:; "
            f"connect-src 'self' {sockets}"
        )
        return web.Response(text=html, content_type="text/html", headers={"Content-Security-Policy": policy})

    async def _blank(self, request: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><title>caller</title>", content_type="text/html")

    async def _api(self, request: web.Request) -> web.Response:
        raw = await request.read()
        body = json.loads(raw) if raw else None
        path = request.path
        refusal = self.refusals.get((request.method, path)) or self.refusals.get((request.method, "*"))
        if not path.startswith("/api/"):
            return web.Response(text=self.found, content_type="text/html")
        if request.method == "GET":
            return web.json_response({"/api/desk": self._setup, "/api/desk/targets": self._targets}[path]())
        async with self._changed:
            self.asked.append(Asked(request.method, path, body, request.headers.get("X-CSRF-Token", "")))
            self._changed.notify_all()
        if refusal is not None:
            return web.json_response({"code": refusal[1], "message": ""}, status=refusal[0])
        return web.json_response({"now": time.time()})

    def _setup(self) -> dict[str, Any]:
        account = {
            "kind": self.phone_kind,
            "ws_url": self.sip_url,
            "uri": "sip:anna@callfloor.test",
            "username": "anna",
        }
        return {
            "agent": self.agent,
            "phone": {**account, "password": self.password, "display_name": "Anna Bell", "ice_servers": []},
            "reasons": REASONS,
            "dispositions": DISPOSITIONS,
            "queues": [{"id": "sales", "name": "Sales"}],
            "language": self.language,
            "socket_url": self.socket_url,
            "csrf": CSRF,
        }

    def _targets(self) -> dict[str, Any]:
        return {"agents": self.agents, "queues": self.queues, "skills": self.skills, "may_leave": True}

    # ── the desk socket ───────────────────────────────────────────────────────────────────────────────────

    def _gate(self, connection: ServerConnection, request: Any) -> Any:
        if self.is_socket_closed:
            return connection.respond(http.HTTPStatus.SERVICE_UNAVAILABLE, "away")
        return None

    async def _desk(self, connection: ServerConnection) -> None:
        hello = json.loads(await connection.recv())
        desk = Desk(connection, hello)
        if self.owner is not None and not hello["take_over"] and self.owner.hello["tab"] != hello["tab"]:
            await _send(connection, {"type": "busy"})
            return
        if self.owner is not None and self.owner.hello["tab"] != hello["tab"]:
            await _send(self.owner.connection, {"type": "taken_over"})
            await self.owner.connection.close(4001)
        await self._welcome(desk)
        async with self._changed:
            self.owner = desk
            self.desks.append(desk)
            self._changed.notify_all()
        try:
            async for text in connection:
                if self.is_answering:
                    await _send(connection, {"type": "heard"})
                async with self._changed:
                    desk.beats.append(json.loads(text))
                    self._changed.notify_all()
        except ConnectionClosed:
            pass
        finally:
            async with self._changed:
                if self.owner is desk:
                    self.owner = None
                self._changed.notify_all()

    async def _welcome(self, desk: Desk) -> None:
        is_resumed = desk.hello["epoch"] == self.epoch
        await _send(desk.connection, {"type": "welcome", "epoch": self.epoch, "resumed": is_resumed})
        if is_resumed:
            for message in self.sent:
                if message["seq"] > desk.hello["last_seq"]:
                    await _send(desk.connection, message)
            return
        self.seq += 1
        snapshot = {"agent": self.agent, "pops": list(self.pops.values()), "desk": self.health, "beside": self.beside}
        await _send(desk.connection, {"type": "snapshot", "seq": self.seq, "now": time.time(), **snapshot})


async def _send(connection: ServerConnection, message: Mapping[str, Any]) -> None:
    try:
        await connection.send(json.dumps(message))
    except ConnectionClosed:
        return


def agent(state: str, **fields: Any) -> dict[str, Any]:
    """The agent as on the socket."""
    return {
        "agent": "anna",
        "name": "Anna Bell",
        "state": state,
        "reason": "",
        "since": time.time(),
        "until": None,
        "interaction": None,
        "next_state": None,
        **fields,
    }


def customer(number: int = 17, **fields: Any) -> dict[str, Any]:
    """A customer with a history."""
    now = time.time()
    past = [
        (
            0.2,
            "inbound",
            "Sales",
            "Anna Bell",
            "Call back",
            "Wants the 200 M line, asked for a price with two set-top boxes. Call after six.",
            402,
            True,
        ),
        (2, "outbound", "Sales", "Wang Fang", "Quote sent", "Sent quote Q-1107 by e-mail.", 95, True),
        (
            9,
            "inbound",
            "Support",
            "Li Wei",
            "Complaint",
            "Router restarts in the evening. Changed the power supply, will watch for a week.",
            731,
            True,
        ),
        (40, "inbound", "Support", "Omar Haddad", "Resolved", "Password of the portal.", 64, False),
        (210, "inbound", "Sales", "Li Wei", "Order taken", "", 240, True),
    ]
    return {
        "id": number,
        "name": "Li Wei",
        "kind": "person",
        "company": "Orchid Trading Ltd.",
        "tier": "gold",
        "status": "active",
        "language": "zh",
        "flags": ["vip", "complaint_open"],
        "owner": "Wang Fang",
        "account_number": f"C-{number:06}",
        "numbers": ["+8613800138000", "+861062341234"],
        "email": "li.wei@orchid.example",
        "since": "2021-04-02",
        "interactions": [
            {
                "id": f"past-{index}",
                "at": now - days * 86400,
                "direction": direction,
                "queue": queue,
                "agent": by,
                "disposition": disposition,
                "note": note,
                "talk_s": talk_s,
                "has_recording": has_recording,
            }
            for index, (days, direction, queue, by, disposition, note, talk_s, has_recording) in enumerate(past)
        ],
        **fields,
    }


def pop(**fields: Any) -> dict[str, Any]:
    """A card as on the socket: Li Wei calls Sales."""
    now = time.time()
    return {
        "interaction": "pbx1-1795315190.4",
        "phase": "ringing",
        "since": now,
        "until": now + 20,
        "direction": "inbound",
        "queue": {"id": "sales", "name": "Sales"},
        "waited_s": 42.7,
        "caller": {"number": "+8613800138000", "name": "LI WEI", "is_withheld": False, "handle": "c-4711"},
        "dnis": "4001",
        "account": "",
        "choice": "",
        "language": "zh",
        "match": "one",
        "how": "number",
        "party": 17,
        "customers": [customer()],
        "products": [
            {
                "code": "fiber-200",
                "name": "Fibre 200",
                "relation": "asks_about",
                "summary": "200 Mbit/s, 24 months, from 39.90 a month. Set-top box optional.",
            },
            {
                "code": "fiber-50",
                "name": "Fibre 50",
                "relation": "owns",
                "summary": "Since May 2023, contract ends in March.",
            },
            {"code": "tv-basic", "name": "TV Basic", "relation": "owns", "summary": "One box."},
        ],
        "note": "",
        "disposition": "",
        "recording": "off",
        "transfer": None,
        "from_agent": "",
        **fields,
    }
