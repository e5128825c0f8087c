"""What stands behind the gate, small and real: an aiohttp server for pages and desk sockets, and a PBX's SIP socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, CookieJar, TCPConnector, WSMessage, WSMsgType, web

from cti.gate.server import Gate
from cti.phone_pass import COOKIE, PassKey, PhonePass, Revocations
from cti.settings import Settings, load

NOW = 1_795_000_000.0
HOST = "floor.test"
PROBE = "/static/icon.svg"
"""What the gate itself asks for, to learn whether the daemon answers."""


@dataclass
class Behind:
    """The daemon and the PBX, as far as the gate knows them. Everything that arrives is kept."""

    requests: list[dict[str, Any]] = field(default_factory=list)
    desk_frames: list[WSMessage] = field(default_factory=list)
    sip_frames: list[str] = field(default_factory=list)
    desk_codes: list[int | None] = field(default_factory=list)
    sip_sockets: list[web.WebSocketResponse] = field(default_factory=list)
    desk_sockets: list[web.WebSocketResponse] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    port: int = 0
    _runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application(client_max_size=100 * 1024 * 1024)
        app.router.add_get("/desk/socket", self._desk)
        app.router.add_get("/ws", self._sip)
        app.router.add_get("/slow", self._slow)
        app.router.add_get("/cut", self._cut)
        app.router.add_get("/two-cookies", self._cookies)
        app.router.add_route("*", "/{path:.*}", self._any)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _any(self, request: web.Request) -> web.Response:
        body = await request.read()
        if request.path == PROBE:
            return web.Response()
        self.requests.append(
            {"method": request.method, "path": request.raw_path, "headers": request.headers, "body": body}
        )
        return web.json_response({"length": len(body)}, headers={**self.headers, "X-From": "daemon"})

    async def _slow(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(b"first")
        self.requests.append({"path": "/slow"})
        while len(self.requests) < 2:
            await asyncio.sleep(0.01)
        await answer.write(b"second")
        return answer

    async def _cut(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Length": "100"})
        await answer.prepare(request)
        await answer.write(b"half")
        assert request.transport is not None
        request.transport.close()
        return answer

    async def _cookies(self, _request: web.Request) -> web.Response:
        answer = web.Response(status=303, headers={"Location": "/x", "Connection": "X-Hop", "X-Hop": "1"})
        answer.set_cookie("a", "1")
        answer.set_cookie("b", "2")
        return answer

    async def _desk(self, request: web.Request) -> web.WebSocketResponse:
        self.requests.append({"path": request.raw_path, "headers": request.headers})
        if request.headers.get("Origin") != f"https://{HOST}":
            raise web.HTTPForbidden
        socket = web.WebSocketResponse(protocols=["callfloor.desk.1"])
        await socket.prepare(request)
        self.desk_sockets.append(socket)
        async for message in socket:
            self.desk_frames.append(message)
            if message.type is WSMsgType.TEXT:
                await socket.send_str(f"heard {message.data}")
        self.desk_codes.append(socket.close_code)
        return socket

    async def _sip(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=["sip"])
        await socket.prepare(request)
        self.sip_sockets.append(socket)
        async for message in socket:
            self.sip_frames.append(message.data)
            await socket.send_str("SIP/2.0 200 OK\r\n\r\n")
        return socket


@dataclass
class Gated:
    """A gate before it, and browsers that come to it by its name."""

    gate: Gate
    behind: Behind
    settings: Settings
    http: ClientSession
    now: list[float]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.gate.port}"

    def sign(self, **changes: Any) -> str:
        fields = {"pbx": "pbx1", "user": "ann", "username": "ann", "session": "s1", "until": NOW + 600} | changes
        return PassKey.open(self.settings.gate.pass_folder).sign(PhonePass(**fields))

    def log_out(self, session: str) -> None:
        """As the daemon tells it."""
        Revocations(self.settings.gate.pass_folder, keep_s=600, clock=lambda: NOW).revoke(session)

    def phone(self, cookie: str | None = None, *, path: str = "/sip/pbx1", origin: str = f"https://{HOST}") -> Any:
        """A browser's SIP socket; to be entered with ``async with``."""
        cookie = self.sign() if cookie is None else cookie
        headers = {"Host": HOST, "Origin": origin, "Cookie": f"{COOKIE}={cookie}"}
        return self.http.ws_connect(self.url + path, protocols=["sip"], headers=headers)

    def desk(self, *, origin: str = f"https://{HOST}") -> Any:
        """A page's desk socket."""
        headers = {"Host": HOST, "Origin": origin, "Cookie": "callfloor_session=abc", "X-Forwarded-For": "6.6.6.6"}
        return self.http.ws_connect(f"{self.url}/desk/socket", protocols=["callfloor.desk.1"], headers=headers)


@asynccontextmanager
async def gated(folder: Path, **changes: Any) -> AsyncIterator[Gated]:
    """A gate over plain HTTP on loopback (TLS in front of it), unless ``changes`` of its settings say otherwise."""
    behind = Behind()
    await behind.start()
    settings = load(
        None,
        {
            "CALLFLOOR_WEB__PORT": str(behind.port),
            "CALLFLOOR_DESK_SOCKET__PORT": str(behind.port),
            "CALLFLOOR_PBX__0__ID": "pbx1",
            "CALLFLOOR_PBX__0__SIP_WS_URL": f"ws://127.0.0.1:{behind.port}/ws",
            "CALLFLOOR_PBX__1__ID": "pbx2",
            "CALLFLOOR_PBX__1__SIP_WS_URL": f"ws://127.0.0.1:{behind.port}/ws",
            "CALLFLOOR_GATE__ORIGIN": f"https://{HOST}",
            "CALLFLOOR_GATE__PORT": "0",
            "CALLFLOOR_GATE__PASS_FOLDER": str(folder / "pass"),
        },
        has_pbx_secrets=False,
    )
    settings = settings.model_copy(update={"gate": settings.gate.model_copy(update=changes)})
    now = [NOW]
    gate = Gate(settings, clock=lambda: now[0])
    await gate.start()
    # Headers as a test sets them, nothing followed, nothing kept.
    async with ClientSession(
        connector=TCPConnector(limit=0), cookie_jar=CookieJar(), headers={"Host": HOST}, auto_decompress=False
    ) as http:
        try:
            yield Gated(gate, behind, settings, http, now)
        finally:
            await gate.close()
            await behind.stop()
