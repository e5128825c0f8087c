"""A real Asterisk behind the real gate: what somebody with a valid pass, and somebody without, gets through it."""

from __future__ import annotations

import asyncio
import re
import secrets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import aiohttp
import pytest

from cti.asterisk.local_pbx import LocalPbx, PhoneAccount
from cti.gate.server import Gate
from cti.phone_pass import COOKIE, PassKey, PhonePass
from cti.settings import load
from tests.ami_wire import AmiWire
from tests.asterisk.sip_phone import Phone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from tests.conftest import StartPbx

pytestmark = pytest.mark.pbx

HOST, NOW = "floor.test", 1_795_000_000.0
ORIGIN = f"https://{HOST}"
PASSWORDS = {name: secrets.token_hex(10) for name in ("ann", "bob")}

# What a phone may ask for; nothing outside of the house, nothing inside of the dialplan, no second phone.
TRICKS = (
    *("004912345", "+4912345", "0900123456", "00", "s", "h", "i", "t", "o", "T"),
    *("callfloor-mirror", "s%40callfloor-mirror", "callfloor-trunk", "004912345%40callfloor-trunk", "callfloor-hold"),
    *("bob%26PJSIP%2fcallfloor-trunk", "PJSIP%2fcallfloor-trunk", "Local%2fs%40callfloor-mirror", "112%26PJSIP%2fbob"),
    *("*51%26PJSIP%2fbob", "*51,1", "*99", "*", "**51", "%23", "bob%0d%0aX:y", "bob%2c%2cg"),
    "$%7bSHELL(touch%20INJECTED)%7d",
)


class BrowserPhone(Phone):
    """Says over the gate's socket what a browser's phone would say."""

    @asynccontextmanager
    async def through(self, gate: Gates, cookie: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse[bool]]:
        """While the socket is open; it may be closed by the other side at any moment."""
        # A name of its own, as browsers make one up.
        self.host = f"{secrets.token_hex(6)}.invalid"
        async with gate.socket(cookie) as socket:
            self.socket = socket
            self._transport = cast("asyncio.DatagramTransport", None)
            reading = asyncio.create_task(self._read())
            try:
                yield socket
            finally:
                reading.cancel()

    async def _read(self) -> None:
        async for message in self.socket:
            self.datagram_received(message.data.encode(), ("", 0))

    def _send(self, lines: list[str], body: str) -> None:
        lines = [line.replace("Via: SIP/2.0/UDP ", "Via: SIP/2.0/WSS ") for line in lines]
        more = ["Content-Type: application/sdp"] if body else []
        text = "\r\n".join([*lines, *more, f"Content-Length: {len(body)}", "", body])
        task = asyncio.ensure_future(self.socket.send_str(text))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def sdp(self, direction: str = "sendrecv") -> str:
        print_ = ":".join(["AB"] * 32)
        return (
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n"
            "m=audio 9 UDP/TLS/RTP/SAVPF 8 0\r\nc=IN IP4 0.0.0.0\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n"
            f"a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=fingerprint:sha-256 {print_}\r\n"
            f"a=setup:actpass\r\na=mid:0\r\na=rtcp-mux\r\na={direction}\r\n"
        )


class Gates:
    """The gate, and how to knock at it."""

    def __init__(self, gate: Gate, folder: Path, http: aiohttp.ClientSession) -> None:
        self.gate, self._folder, self._http = gate, folder, http
        self.url = f"http://127.0.0.1:{gate.port}"

    def sign(self, name: str = "ann") -> str:
        return PassKey.open(self._folder).sign(PhonePass("pbx1", name, name, f"session of {name}", NOW + 600))

    def socket(self, cookie: str, path: str = "/sip/pbx1", protocol: str = "sip") -> Any:
        headers = {"Host": HOST, "Origin": ORIGIN, "Cookie": f"{COOKIE}={cookie}"}
        return self._http.ws_connect(self.url + path, protocols=[protocol], headers=headers)

    async def ask(self, path: str, cookie: str, **headers: str) -> int:
        # As it is: a client that tidies up paths would hide what is tried.
        reader, writer = await asyncio.open_connection("127.0.0.1", self.gate.port)
        lines = {"Host": HOST, "Origin": ORIGIN, "Cookie": f"{COOKIE}={cookie}", "Connection": "close"} | headers
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        writer.write(f"GET {path} HTTP/1.1\r\n{head}\r\n".encode())
        async with asyncio.timeout(10):
            answer = await reader.readuntil(b"\r\n\r\n")
        writer.close()
        assert b"Asterisk" not in answer, path
        return int(answer.split(b" ")[1])


@asynccontextmanager
async def gates(pbx: LocalPbx, folder: Path, daemon: str) -> AsyncIterator[Gates]:
    """A gate before this PBX; the daemon behind it is away."""
    variables: Mapping[str, str] = {
        "CALLFLOOR_WEB__PORT": daemon,
        "CALLFLOOR_DESK_SOCKET__PORT": daemon,
        "CALLFLOOR_PBX__0__SIP_WS_URL": pbx.ws_url,
        "CALLFLOOR_GATE__ORIGIN": ORIGIN,
        "CALLFLOOR_GATE__PORT": "0",
        "CALLFLOOR_GATE__PASS_FOLDER": str(folder / "pass"),
    }
    gate = Gate(load(None, variables, has_pbx_secrets=False), clock=lambda: NOW)
    await gate.start()
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
        try:
            yield Gates(gate, folder / "pass", http)
        finally:
            await gate.close()


@pytest.mark.parametrize("version", [22, 16])
async def test_through_the_gate_a_phone_is_itself_and_reaches_nothing_but_what_phones_may(
    local_pbx: StartPbx, tmp_path: Path, free_port: int, version: int
) -> None:
    pbx = await local_pbx(
        phones=[PhoneAccount(name, word, is_browser=True) for name, word in PASSWORDS.items()],
        queues=("sales",),
        routes={"4930111": "sales"},
        version=version,
    )
    async with (
        AmiWire(pbx.ami_port, pbx.ami_username, pbx.ami_secret) as ami,
        gates(pbx, tmp_path, str(free_port)) as gate,
    ):
        ann, bob = BrowserPhone("ann", "127.0.0.1"), BrowserPhone("bob", "127.0.0.1")
        async with bob.through(gate, gate.sign("bob")):
            await bob.register(password=PASSWORDS["bob"])
            async with ann.through(gate, gate.sign()):
                await ann.register(password=PASSWORDS["ann"])
                for number in TRICKS:
                    call = ann.dial(number)
                    await call.is_over()
                    assert call.status >= 400, number
                assert ami.all("DialBegin") == []
                assert bob.calls == {}
                assert ann.socket.closed is False
                # The way that is meant for it works, so what failed above failed for its number.
                call = ann.dial("bob")
                await bob.rung()
                await call.hang_up()
            # With Ann's pass and Bob's password: the socket goes, the PBX hears nothing, Bob stays registered.
            for name, password in (("bob", PASSWORDS["bob"]), ("ann", PASSWORDS["bob"])):
                thief = BrowserPhone(name, "127.0.0.1")
                async with thief.through(gate, gate.sign("ann")):
                    with pytest.raises((AssertionError, TimeoutError)):
                        await _register(thief, password)
            ann = BrowserPhone("ann", "127.0.0.1")
            async with ann.through(gate, gate.sign("ann")):
                await ann.register(password=PASSWORDS["ann"])
                ann.dial("bob")
                await bob.rung()
    assert list(pbx.folder.rglob("INJECTED")) == []


async def _register(phone: BrowserPhone, password: str) -> None:
    trying = asyncio.ensure_future(phone.register(password=password))
    gone = asyncio.ensure_future(_until_closed(phone))
    await asyncio.wait({trying, gone}, return_when=asyncio.FIRST_COMPLETED)
    gone.cancel()
    if not trying.done():
        trying.cancel()
        raise TimeoutError("cut off")
    trying.result()


async def _until_closed(phone: BrowserPhone) -> None:
    while not phone.socket.closed:
        await asyncio.sleep(0.02)


async def test_nothing_else_of_asterisks_web_server_is_reached_through_the_gate(
    local_pbx: StartPbx, tmp_path: Path, free_port: int
) -> None:
    pbx = await local_pbx(phones=[PhoneAccount("ann", PASSWORDS["ann"], is_browser=True)])
    address = f"http://127.0.0.1:{pbx.ari_port}"
    async with aiohttp.ClientSession() as http:
        # From this machine it is there, but not without its password.
        async with http.get(f"{address}/ari/asterisk/info") as answer:
            assert answer.status == 401
        for path in ("/manager?action=login", "/rawman", "/mxml", "/static/", "/amanager"):
            async with http.get(address + path) as answer:
                assert answer.status == 404, path
    listening = await pbx.cli("http show status")
    assert re.search(r"Bound to 127\.0\.0\.1:\d+", listening), listening
    async with gates(pbx, tmp_path, str(free_port)) as gate:
        upgrade = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
            "Sec-WebSocket-Protocol": "sip",
        }
        for path in (
            *("/ws", "/ari/asterisk/info", "/httpstatus", "/static/", "/manager", "/ari/events?app=x"),
            *("/sip/pbx1/../ari/asterisk/info", "/sip/pbx1/..%2fari", "/sip/../ws", "/sip/pbx1/ari", "//sip/pbx1"),
            *("/sip/pbx1%00", "/sip/pbx2", "/sip/", "/sip", "/sip/pbx1;x", "/SIP/pbx1"),
        ):
            for headers in ({}, upgrade):
                assert await gate.ask(path, gate.sign(), **headers) in (400, 404, 426, 503), (path, headers)
        assert await gate.ask("/sip/pbx1", "", **upgrade) == 403
        assert await gate.ask("/sip/pbx1", gate.sign()[:-2], **upgrade) == 403
