"""How fast the customer's card is on the screen of the phone that rings: ``make bench-pop``.

A real Asterisk 22 takes 30 calls a second from SIPp; ``callfloor serve`` (a process of its own) routes them to 300 desk
phones and pops the cards of customers out of a million in SQLite. A second process holds the 300 desks' sockets and an
AMI session of its own, and measures, by its own clock, from *reading* the agent leg's ``DialBegin`` to having the
*complete* card (name, flags, owner, product, last five contacts).

Beside it, on the same calls at the same time, the floor under any such program: a third process that reads the same
``DialBegin``, looks the endpoint up in a dict and writes a prepared frame of the same size to the desk's second socket.

A card that is read before its ``DialBegin``, arrives at another desk, or is still shown 200 ms after a ``DialEnd``
that is no answer, is *misdirected*; a ring without its complete card is *lost*. Some callers hang up while it rings.
Asterisk serves two AMI sessions from two threads, so even the floor's frames, which cannot come before their
``DialBegin``, seem to now and then: by no more than they do, a card may, too.

Afterwards a few calls ring at a desk in a real Chromium: to the frame in which the complete card was painted.

    python -m bench.pop            measure, print, write bench/results/pop.json
    python -m bench.pop data       build the customers once (bench/data/)
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from playwright.async_api import async_playwright
from sqlalchemy import func, insert, select
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed

from bench.site import (
    FOLDER,
    READY_WITHIN_S,
    AmiLogin,
    beat_all,
    cpu_s,
    dispatch,
    free_tcp_ports,
    listens,
    open_desk,
    percentile,
    process,
    says,
    write_settings,
)
from crm_core import centre, schema, users
from crm_core.access import FieldRules, Reader
from crm_core.bulk import seed_many
from crm_core.customers import cards, find_callers, product_panel
from crm_core.database import Database
from cti.asterisk.local_pbx import LocalPbx, PhoneAccount, installed_root

CHROMIUM = os.environ.get("CALLFLOOR_CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
RESULT = FOLDER / "results" / "pop.json"

CUSTOMERS = int(os.environ.get("BENCH_POP_CUSTOMERS", "1000000"))
DATA = FOLDER / "data" / f"pop-{CUSTOMERS}.db"
DESKS = int(os.environ.get("BENCH_POP_DESKS", "300"))
CALLS = int(os.environ.get("BENCH_POP_CALLS", "3000"))
CALLS_PER_S = float(os.environ.get("BENCH_POP_RATE", "30"))
HASTY_SHARE = 0.05
"""Callers who hang up while it rings."""

STAY_MS = 5500
HASTY_STAY_MS = 900
"""Asterisk's Answer() waits half a second for a caller's audio, which these callers do not send; then it rings."""

RING_MS = 700
WRAP_UP_S = 1
KNOWN_CALLERS = 5000
DNIS = "4001"
QUEUE = "sales"
SCREEN = "screen"
"""The desk in a real browser, also its queue; with a number and calls of its own after the others."""

SCREEN_DNIS = "4002"
SCREEN_CALLS = 12
SCREEN_STAY_MS = 1500
PASSWORD = "bench-phones"
SHOWN_AFTER_END_S = 0.2
PING_INTERVAL_S = 20.0
LARGEST_SKEW_S = 0.05
"""The most by which two AMI sessions may differ before a card that seems early is called so."""


def endpoint(number: int) -> str:
    """The phone and the agent of a desk."""
    return f"ag{number:03d}"


# ── the customers ─────────────────────────────────────────────────────────────────────────────────────────


async def build_data() -> None:
    """The customers, the centre and its people, once."""
    DATA.parent.mkdir(parents=True, exist_ok=True)
    half_done = DATA.with_suffix(".part")
    for leftover in DATA.parent.glob(f"{half_done.name}*"):
        leftover.unlink()
    database = Database(f"sqlite+aiosqlite:///{half_done}")
    await database.open()
    began = time.monotonic()
    await seed_many(database, CUSTOMERS, callers=0)
    await _put_centre(database)
    await _complete_cards(database)
    await database.close()
    half_done.rename(DATA)
    print(f"{CUSTOMERS:,} customers in {time.monotonic() - began:.0f} s: {DATA}", flush=True)


async def _put_centre(database: Database) -> None:
    password_hash = users.hash_password(secrets.token_hex(16))
    async with database.begin() as connection:
        await centre.put_product(connection, centre.Product(code="bench-fibre", name="Fibre 200", summary="200 Mbit/s"))
        await centre.put_queue(
            connection,
            centre.Queue(slug=QUEUE, name="Sales", wrap_up_s=WRAP_UP_S, recording="off", product="bench-fibre"),
        )
        for number in range(DESKS):
            slug = endpoint(number)
            await centre.put_agent(
                connection,
                centre.Agent(
                    slug=slug, name=f"Agent {number}", pbx="pbx1", endpoint=slug, phone_kind="desk", queues=(QUEUE,)
                ),
            )
            await users.create_user(
                connection,
                username=slug,
                name=f"Agent {number}",
                password_hash=password_hash,
                role="agent",
                agent=slug,
                now=time.time(),
            )
        await centre.put_route(connection, centre.Route(dnis=DNIS, queue=QUEUE, product="bench-fibre"))


async def _complete_cards(database: Database) -> None:
    """Give those who will call everything that a card can show, whatever the seed gave them."""
    now = time.time()
    async with database.begin() as connection:
        found = (await connection.execute(callers())).all()
        parties = [party for party, _ in found]
        for table in (schema.party_flag, schema.party_product):
            await connection.execute(table.delete().where(table.c.party_id.in_(parties)))
        await connection.execute(
            insert(schema.party_flag),
            [
                {"party_id": party, "flag": flag, "since": now}
                for party in parties
                for flag in ("vip", "complaint_open")
            ],
        )
        await connection.execute(
            insert(schema.party_product),
            [{"party_id": party, "product_code": "bench-fibre", "relation": "owns", "since": now} for party in parties],
        )
        await connection.execute(
            schema.party.update().where(schema.party.c.id.in_(parties)).values(owner=endpoint(0), tier="gold")
        )
        await connection.execute(
            insert(schema.interaction),
            [
                {
                    "id": f"bench-{party}-{number}",
                    "party_id": party,
                    "direction": "inbound",
                    "queue": QUEUE,
                    "agent": endpoint(number),
                    "started_at": now - 86400 * (number + 1),
                    "talk_s": 100.0 + number,
                    "outcome": "answered",
                    "disposition": "sale",
                    "note": "Wanted to know whether the faster line reaches the new address. " * 3,
                }
                for party in parties
                for number in range(6)
            ],
        )


def callers() -> Any:
    """Parties that one number names, spread evenly over all: (party, number)."""
    step = max(1, CUSTOMERS // KNOWN_CALLERS)
    shared = select(schema.party_phone.c.phone_id).group_by(schema.party_phone.c.phone_id).having(func.count() > 1)
    return (
        select(schema.party.c.id, func.min(schema.phone.c.e164))
        .select_from(
            schema.party.join(schema.party_phone, schema.party_phone.c.party_id == schema.party.c.id).join(
                schema.phone, schema.phone.c.id == schema.party_phone.c.phone_id
            )
        )
        .where(schema.party.c.id % step == 0, schema.party.c.kind == "person", schema.phone.c.id.not_in(shared))
        .group_by(schema.party.c.id)
        .order_by(schema.party.c.id)
    )


# ── phones and callers ────────────────────────────────────────────────────────────────────────────────────

_SDP = """Content-Type: application/sdp
Content-Length: [len]

v=0
o=- 1 1 IN IP4 [local_ip]
s=-
c=IN IP4 [local_ip]
t=0 0
m=audio [media_port] RTP/AVP 8
a=rtpmap:8 PCMA/8000
"""

_REGISTER = """<?xml version="1.0" encoding="UTF-8" ?>
<scenario name="register">
  <send retrans="500"><![CDATA[
REGISTER sip:[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
Max-Forwards: 70
From: <sip:[field0]@[remote_ip]>;tag=[pid]r[call_number]
To: <sip:[field0]@[remote_ip]>
Call-ID: [call_id]
CSeq: 1 REGISTER
Contact: <sip:[field0]@[local_ip]:[local_port]>;expires=7200
Content-Length: 0

]]></send>
  <recv response="401" auth="true" />
  <send retrans="500"><![CDATA[
REGISTER sip:[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
Max-Forwards: 70
From: <sip:[field0]@[remote_ip]>;tag=[pid]r[call_number]
To: <sip:[field0]@[remote_ip]>
Call-ID: [call_id]
CSeq: 2 REGISTER
Contact: <sip:[field0]@[local_ip]:[local_port]>;expires=7200
[field1]
Content-Length: 0

]]></send>
  <recv response="200" />
</scenario>
"""

_REPLY = """<send{retrans}><![CDATA[
SIP/2.0 {line}
[last_Via:]
[last_From:]
[last_To:]{tag}
[last_Call-ID:]
{cseq}
Contact: <sip:phone@[local_ip]:[local_port]>
{body}
]]></send>"""


def _reply(
    line: str,
    *,
    body: str = "Content-Length: 0\n",
    retrans: str = "",
    tag: str = ";tag=[pid]p[call_number]",
    cseq: str = "[last_CSeq:]",
) -> str:
    return _REPLY.format(line=line, body=body, retrans=retrans, tag=tag, cseq=cseq)


def _phone_scenario() -> str:
    return f"""<?xml version="1.0" encoding="UTF-8" ?>
<scenario name="phone">
  <recv request="INVITE" rrs="true" />
  {_reply("180 Ringing")}
  <recv request="CANCEL" timeout="{RING_MS}" ontimeout="answer" />
  {_reply("200 OK", tag="")}
  {_reply("487 Request Terminated", cseq="CSeq: [last_cseq_number] INVITE", retrans=' retrans="500"')}
  <recv request="ACK" next="done" timeout="2000" ontimeout="done" />
  <label id="answer" />
  {_reply("200 OK", body=_SDP, retrans=' retrans="500"')}
  <recv request="ACK" timeout="4000" ontimeout="done" />
  <recv request="BYE" timeout="60000" ontimeout="done" />
  {_reply("200 OK", tag="")}
  <label id="done" />
  <nop />
</scenario>
"""


def _caller_scenario(stay_ms: int, dnis: str) -> str:
    head = """
Max-Forwards: 70
From: "Caller" <sip:[field0]@[local_ip]:[local_port]>;tag=[pid]c[call_number]"""
    return f"""<?xml version="1.0" encoding="UTF-8" ?>
<scenario name="caller">
  <send retrans="500"><![CDATA[
INVITE sip:{dnis}@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]{head}
To: <sip:{dnis}@[remote_ip]:[remote_port]>
Call-ID: [call_id]
CSeq: 1 INVITE
Contact: <sip:caller@[local_ip]:[local_port]>
{_SDP}
]]></send>
  <recv response="100" optional="true" />
  <recv response="180" optional="true" />
  <recv response="183" optional="true" />
  <recv response="200" rrs="true" />
  <send><![CDATA[
ACK [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]{head}
To: <sip:{dnis}@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: 1 ACK
Content-Length: 0

]]></send>
  <recv request="BYE" timeout="{stay_ms}" ontimeout="leave" />
  {_reply("200 OK", tag="")}
  <nop next="done" />
  <label id="leave" />
  <send retrans="500"><![CDATA[
BYE [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]{head}
To: <sip:{dnis}@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: 2 BYE
Content-Length: 0

]]></send>
  <recv response="200" timeout="5000" ontimeout="done" />
  <label id="done" />
  <nop />
</scenario>
"""


class Sip:
    """SIPp processes against one PBX, files in ``folder``."""

    def __init__(self, folder: Path, pbx: LocalPbx) -> None:
        self._folder = folder
        self._target = f"{pbx.host}:{pbx.sip_port}"
        self._port = _free_udp_port()

    async def register(self, endpoints: Sequence[str]) -> None:
        """Make all phones known, under the address that ``answer`` will listen at."""
        rows = [f"{name};[authentication username={name} password={PASSWORD.replace('-', '')}]" for name in endpoints]
        process = await self._run("register", _REGISTER, rows, "-p", str(self._port), "-m", str(len(rows)), "-r", "100")
        if await process.wait() != 0:
            raise RuntimeError("the phones could not register")

    async def answer(self) -> asyncio.subprocess.Process:
        """All phones as one process: rings, answers, stays until the other side ends."""
        return await self._run("phone", _phone_scenario(), [], "-p", str(self._port))

    async def call(
        self, name: str, numbers: Sequence[str], *, stay_ms: int, calls_per_s: float, calls: int, dnis: str = DNIS
    ) -> asyncio.subprocess.Process:
        """Callers at a steady rate."""
        period_ms = round(1000 * 100 / calls_per_s)
        options = ("-m", str(calls), "-r", "100", "-rp", str(period_ms), "-l", "2000")
        return await self._run(name, _caller_scenario(stay_ms, dnis), numbers, *options)

    async def _run(self, name: str, scenario: str, rows: Sequence[str], *options: str) -> asyncio.subprocess.Process:
        program = shutil.which("sipp")
        if program is None:
            raise RuntimeError("SIPp is not installed: apt-get install sip-tester")
        file = self._folder / f"{name}.xml"
        file.write_text(scenario, encoding="utf-8")
        if rows:
            table = self._folder / f"{name}.csv"
            table.write_text("\n".join(("SEQUENTIAL", *rows)) + "\n", encoding="utf-8")
            options = ("-inf", str(table), *options)
        errors = ("-trace_err", "-error_file", str(self._folder / f"{name}.errors"))
        return await asyncio.create_subprocess_exec(
            *(program, self._target, "-sf", str(file), "-i", "127.0.0.1", "-nostdin", "-nd", *errors, *options),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            cwd=self._folder,
        )


def _free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# ── a plain AMI reader, for the client and for the floor ──────────────────────────────────────────────────


class Dials:
    """An AMI session that reads ``DialBegin`` and ``DialEnd`` and nothing else."""

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._rest = b""
        self._socket = socket.socket()
        self.is_ready = asyncio.Event()

    async def open(self, port: int) -> None:
        """Log in, and begin to read."""
        loop = asyncio.get_running_loop()
        self._socket.setblocking(False)
        await loop.sock_connect(self._socket, ("127.0.0.1", port))
        login = f"Action: Login\r\nUsername: observer\r\nSecret: {self._secret}\r\n\r\n"
        await loop.sock_sendall(self._socket, login.encode())
        loop.add_reader(self._socket, self.drain)
        await self.is_ready.wait()

    def drain(self) -> None:
        """Read what is there. Called before a card is judged, too: the loop's order of sockets must not decide."""
        try:
            data = self._socket.recv(262_144)
        except BlockingIOError:
            return
        read_at = time.perf_counter()
        if not data:
            asyncio.get_running_loop().remove_reader(self._socket)
        *messages, self._rest = (self._rest + data).split(b"\r\n\r\n")
        for message in messages:
            if message.startswith(b"Event: Dial"):
                headers = dict(line.split(b": ", 1) for line in message.split(b"\r\n") if b": " in line)
                self.dial(headers, read_at)
            elif message.startswith(b"Event: FullyBooted"):
                self.is_ready.set()

    def dial(self, headers: dict[bytes, bytes], read_at: float) -> None:
        """One of the two events."""
        raise NotImplementedError


def _rung(headers: dict[bytes, bytes]) -> str:
    """The endpoint behind ``DestChannel: PJSIP/ag001-0000002a``."""
    return headers.get(b"DestChannel", b"").decode().removeprefix("PJSIP/").rpartition("-")[0]


# ── the floor ─────────────────────────────────────────────────────────────────────────────────────────────


class FloorDials(Dials):
    """``DialBegin`` → a dict → a socket."""

    def __init__(self, secret: str, frame: bytes) -> None:
        super().__init__(secret)
        self.frame = frame
        self.sockets: dict[str, ServerConnection] = {}

    def dial(self, headers: dict[bytes, bytes], read_at: float) -> None:
        if headers[b"Event"] == b"DialBegin" and (connection := self.sockets.get(_rung(headers))) is not None:
            broadcast((connection,), self.frame, text=True)


async def run_floor(config: dict[str, Any]) -> None:
    """Serve the prepared frame until standard input ends."""
    loop = asyncio.get_running_loop()
    dials = FloorDials(config["ami_secret"], config["frame"].encode())
    await dials.open(config["ami_port"])

    async def desk(connection: ServerConnection) -> None:
        assert connection.request is not None
        dials.sockets[connection.request.path.removeprefix("/")] = connection
        await connection.wait_closed()

    async with serve(desk, "127.0.0.1", config["floor_port"], compression=None):
        print("ready", flush=True)
        await loop.run_in_executor(None, sys.stdin.read)


# ── the client ────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class Ring:
    """One phone ringing for one caller. Times by ``perf_counter``."""

    interaction: str
    endpoint: str
    begun_at: float
    ended_at: float | None = None
    status: str = ""
    pop_at: float | None = None
    pending_at: float | None = None
    closed_at: float | None = None
    floor_at: float | None = None


@dataclass
class Measurement:
    """What the client sees."""

    rings: list[Ring] = field(default_factory=list)
    by_desk: dict[tuple[str, str], Ring] = field(default_factory=dict)
    last_of_desk: dict[str, Ring] = field(default_factory=dict)
    early: dict[tuple[str, str], float] = field(default_factory=dict)
    leads_s: list[float] = field(default_factory=list)
    floor_early: dict[str, float] = field(default_factory=dict)
    floor_leads_s: list[float] = field(default_factory=list)
    pop_bytes: int = 0


class ClientDials(Dials):
    """The independent second session."""

    def __init__(self, secret: str, seen: Measurement) -> None:
        super().__init__(secret)
        self._seen = seen

    def dial(self, headers: dict[bytes, bytes], read_at: float) -> None:
        seen = self._seen
        desk = _rung(headers)
        key = (f"pbx1-{headers.get(b'Uniqueid', b'').decode()}", desk)
        if headers[b"Event"] == b"DialBegin":
            ring = Ring(*key, begun_at=read_at)
            seen.rings.append(ring)
            seen.by_desk[key] = seen.last_of_desk[desk] = ring
            if (pop_at := seen.early.pop(key, None)) is not None:
                ring.pop_at = pop_at
                seen.leads_s.append(read_at - pop_at)
            if (floor_at := seen.floor_early.pop(desk, None)) is not None:
                ring.floor_at = floor_at
                seen.floor_leads_s.append(read_at - floor_at)
        elif headers[b"Event"] == b"DialEnd" and (known := seen.by_desk.get(key)) is not None:
            known.ended_at, known.status = read_at, headers[b"DialStatus"].decode()


def is_complete(card: dict[str, Any]) -> bool:
    """Everything that the card shows is there."""
    if card["match"] != "one" or len(card["customers"]) != 1 or not card["products"]:
        return False
    customer = card["customers"][0]
    return bool(customer["name"] and customer["flags"] and customer["owner"] and len(customer["interactions"]) == 5)


async def _read_desk(
    socket: ClientConnection, desk: str, seen: Measurement, dials: Dials, ready: asyncio.Event
) -> None:
    with contextlib.suppress(ConnectionClosed):
        async for frame in socket:
            read_at = time.perf_counter()
            message = json.loads(frame)
            match message["type"]:
                case "pop" if message["phase"] == "ringing":
                    dials.drain()
                    ring = seen.by_desk.get((message["interaction"], desk))
                    if not is_complete(message):
                        if ring is not None:
                            ring.pending_at = read_at
                    elif ring is None:
                        seen.early.setdefault((message["interaction"], desk), read_at)
                    elif ring.pop_at is None:
                        ring.pop_at = read_at
                        seen.pop_bytes = max(seen.pop_bytes, len(frame))
                case "pop_closed":
                    if (ring := seen.by_desk.get((message["interaction"], desk))) is not None:
                        ring.closed_at = read_at
                case "state" if message["state"] == "AVAILABLE":
                    ready.set()
                case _:
                    pass


async def _read_floor(socket: ClientConnection, desk: str, seen: Measurement, dials: Dials) -> None:
    with contextlib.suppress(ConnectionClosed):
        async for frame in socket:
            read_at = time.perf_counter()
            json.loads(frame)
            dials.drain()
            ring = seen.last_of_desk.get(desk)
            if ring is None or ring.floor_at is not None:
                seen.floor_early[desk] = read_at
            else:
                ring.floor_at = read_at


async def run_client(config: dict[str, Any]) -> None:
    """Hold all desks until standard input says so, then write what was seen."""
    loop = asyncio.get_running_loop()
    seen = Measurement()
    dials = ClientDials(config["ami_secret"], seen)
    await dials.open(config["ami_port"])
    site = config["site"]
    tasks: list[asyncio.Task[None]] = []
    sockets: list[ClientConnection] = []
    async with contextlib.AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession(site, cookie_jar=aiohttp.DummyCookieJar()))
        are_ready: list[asyncio.Event] = []
        for desk, token in config["sessions"].items():
            floor = await stack.enter_async_context(
                connect(f"ws://127.0.0.1:{config['floor_port']}/{desk}", compression=None, proxy=None)
            )
            tasks.append(asyncio.create_task(_read_floor(floor, desk, seen, dials)))
            opened = await open_desk(http, site, desk, token, ping_interval_s=PING_INTERVAL_S)
            stack.push_async_callback(opened.socket.close)
            sockets.append(opened.socket)
            ready = asyncio.Event()
            are_ready.append(ready)
            tasks.append(asyncio.create_task(_read_desk(opened.socket, desk, seen, dials, ready)))
            await opened.be_available()
        beats = asyncio.create_task(beat_all(sockets))
        async with asyncio.timeout(READY_WITHIN_S):
            for ready in are_ready:
                await ready.wait()
        print("ready", flush=True)
        await loop.run_in_executor(None, sys.stdin.readline)
        beats.cancel()
        for task in tasks:
            task.cancel()
        Path(config["seen"]).write_text(json.dumps(report(seen)), encoding="utf-8")
        print("written", flush=True)
        os._exit(0)


def report(seen: Measurement) -> dict[str, Any]:
    """The figures of one run; times in milliseconds."""
    pops = sorted(1000 * max(0.0, ring.pop_at - ring.begun_at) for ring in seen.rings if ring.pop_at is not None)
    floors = sorted(1000 * max(0.0, ring.floor_at - ring.begun_at) for ring in seen.rings if ring.floor_at is not None)
    unanswered = [ring for ring in seen.rings if ring.ended_at is not None and ring.status != "ANSWER"]
    overdue = sum(
        1
        for ring in unanswered
        if ring.ended_at is not None and (ring.closed_at is None or ring.closed_at - ring.ended_at > SHOWN_AFTER_END_S)
    )
    elsewhere = len(seen.early)
    skew_s = min(LARGEST_SKEW_S, max(seen.floor_leads_s, default=0.0))
    early = sum(1 for lead_s in seen.leads_s if lead_s > skew_s)
    pop_p99, floor_p99 = percentile(pops, 0.99), percentile(floors, 0.99)
    return {
        "pop_p50_ms": round(percentile(pops, 0.50), 3),
        "pop_p99_ms": round(pop_p99, 3),
        "floor_p50_ms": round(percentile(floors, 0.50), 3),
        "floor_p99_ms": round(floor_p99, 3),
        "ratio_p99": round(pop_p99 / floor_p99, 3) if floors else None,
        "calls": len({ring.interaction for ring in seen.rings}),
        "lost": sum(1 for ring in seen.rings if ring.pop_at is None),
        "misdirected": elsewhere + early + overdue,
        "rings": len(seen.rings),
        "unanswered_rings": len(unanswered),
        "pops_elsewhere": elsewhere,
        "pops_before_dial_begin": early,
        "pops_within_skew": len(seen.leads_s) - early,
        "longest_lead_ms": round(1000 * max(seen.leads_s, default=0.0), 3),
        "floor_within_skew": len(seen.floor_leads_s),
        "floor_longest_lead_ms": round(1000 * max(seen.floor_leads_s, default=0.0), 3),
        "pops_shown_too_long": overdue,
        "shown_pending_first": sum(1 for ring in seen.rings if ring.pending_at is not None),
        "pop_bytes": seen.pop_bytes,
        "pop_max_ms": round(pops[-1], 3) if pops else None,
        "floor_max_ms": round(floors[-1], 3) if floors else None,
    }


# ── the screen ────────────────────────────────────────────────────────────────────────────────────────────

_WATCH = """
window.painted = [];
new MutationObserver(() => {
  for (const card of document.querySelectorAll("section.card[data-match=one]:not([data-is-seen])")) {
    const has = (part) => card.querySelector(part)?.childNodes.length;
    if (!has(".who-name") || !has(".who-chips") || !has(".offers") || !has(".details-customer")) continue;
    if (card.querySelectorAll(".history li").length < 5) continue;
    card.dataset.isSeen = "1";
    // A task after the frame's callbacks runs when the frame was painted.
    requestAnimationFrame(() => setTimeout(() => painted.push((performance.timeOrigin + performance.now()) / 1000)));
  }
}).observe(document, { subtree: true, childList: true, attributes: true });
"""


class ScreenDials(Dials):
    """When the screen's phone began to ring, Unix seconds."""

    begun_at: list[float]

    def dial(self, headers: dict[bytes, bytes], read_at: float) -> None:
        if headers[b"Event"] == b"DialBegin" and _rung(headers) == SCREEN:
            self.begun_at.append(time.time())


async def _put_screen(database: Database) -> str:
    """The screen's agent, queue and number; returns a session token."""
    async with database.begin() as connection:
        await centre.put_queue(
            connection,
            centre.Queue(slug=SCREEN, name="Screen", wrap_up_s=WRAP_UP_S, recording="off", product="bench-fibre"),
        )
        agent = centre.Agent(
            slug=SCREEN, name="Screen", pbx="pbx1", endpoint=SCREEN, phone_kind="desk", queues=(SCREEN,)
        )
        await centre.put_agent(connection, agent)
        await centre.put_route(connection, centre.Route(dnis=SCREEN_DNIS, queue=SCREEN, product="bench-fibre"))
        user = await users.create_user(
            connection,
            username=SCREEN,
            name="Screen",
            password_hash=users.hash_password(secrets.token_hex(16)),
            role="agent",
            agent=SCREEN,
            now=time.time(),
        )
        return await users.open_session(
            connection, user, now=time.time(), ip="127.0.0.1", user_agent="bench", lifetime_s=3600.0
        )


async def _paint(config: dict[str, Any], token: str, sip: Sip, numbers: Sequence[str]) -> dict[str, Any]:
    """Ring at a real browser; from ``DialBegin`` to the painted card, in milliseconds."""
    dials = ScreenDials(config["ami_secret"])
    dials.begun_at = []
    await dials.open(config["ami_port"])
    site = config["site"]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = await browser.new_context()
        await context.add_cookies([{"name": "callfloor_session", "value": token, "url": site}])
        page = await context.new_page()
        await page.add_init_script(_WATCH)
        await page.goto(f"{site}/desk")
        headers = {"Cookie": f"callfloor_session={token}", "Origin": site}
        async with aiohttp.ClientSession(site, cookie_jar=aiohttp.DummyCookieJar(), headers=headers) as http:
            async with http.get("/api/desk") as answer:
                csrf = (await answer.json())["csrf"]
            body = {"state": "AVAILABLE", "reason": ""}
            async with http.post("/api/desk/state", json=body, headers={"X-CSRF-Token": csrf}) as answer:
                answer.raise_for_status()
        calls = await sip.call(
            SCREEN, numbers, stay_ms=SCREEN_STAY_MS, calls_per_s=0.3, calls=SCREEN_CALLS, dnis=SCREEN_DNIS
        )
        async with asyncio.timeout(60 + SCREEN_CALLS / 0.3):
            await calls.wait()
        painted: list[float] = await page.evaluate("window.painted")
        await browser.close()
    times = []
    for begun_at in dials.begun_at:
        after = [at for at in painted if begun_at - LARGEST_SKEW_S <= at < begun_at + 2]
        if after:
            times.append(1000 * max(0.0, after[0] - begun_at))
    times.sort()
    return {
        "painted_rings": len(dials.begun_at),
        "painted": len(times),
        "painted_p50_ms": round(percentile(times, 0.5), 1) if times else None,
        "painted_max_ms": round(times[-1], 1) if times else None,
    }


# ── the run ───────────────────────────────────────────────────────────────────────────────────────────────


async def _sample_frame(database: Database, number: str) -> str:
    """A card's frame of the usual size, as the prepared message of the floor."""
    reader, rules = Reader(user="bench", role="agent"), FieldRules()
    async with database.read() as connection:
        found = await find_callers(connection, account="", ani=number, default_region="CN")
        customers = await cards(connection, reader, found.parties, rules)
        products = await product_panel(connection, reader, rules, found.parties, ("bench-fibre",))
    card = {
        "seq": 1000,
        "now": time.time(),
        "type": "pop",
        "interaction": "pbx1-1795315190.4",
        "phase": "ringing",
        "since": time.time(),
        "until": time.time(),
        "direction": "inbound",
        "queue": {"id": QUEUE, "name": "Sales"},
        "waited_s": 0.1,
        "caller": {"number": number, "name": "Caller", "is_withheld": False, "handle": "pbx1-1"},
        "dnis": DNIS,
        "choice": "",
        "language": "",
        "match": "one",
        "how": "number",
        "party": found.parties[0],
        "customers": customers,
        "products": products,
        "note": "",
        "disposition": "",
        "recording": "off",
        "transfer": None,
        "from_agent": "",
        "account": "",
    }
    return json.dumps(card, ensure_ascii=False, separators=(",", ":"))


async def open_sessions(database: Database) -> dict[str, str]:
    """Desk → session token. Logging 300 people in by password would take minutes and is not what is measured."""
    tokens: dict[str, str] = {}
    async with database.begin() as connection:
        for number in range(DESKS):
            user = await users.find_user(connection, endpoint(number))
            assert user is not None
            tokens[endpoint(number)] = await users.open_session(
                connection, user.id, now=time.time(), ip="127.0.0.1", user_agent="bench", lifetime_s=3600.0
            )
    return tokens


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
        await process.wait()


async def measure(folder: Path) -> dict[str, Any]:
    """One run; everything that it writes lies in ``folder``."""
    shutil.copy(DATA, folder / "crm.db")
    url = f"sqlite+aiosqlite:///{folder / 'crm.db'}"
    database = Database(url)
    await database.open()
    async with database.read() as connection:
        numbers = [number for _, number in (await connection.execute(callers())).all()]
    frame = await _sample_frame(database, numbers[0])
    sessions = await open_sessions(database)
    screen_token = await _put_screen(database)
    await database.close()

    desks = [endpoint(number) for number in range(DESKS)]
    phones = [PhoneAccount(desk, PASSWORD.replace("-", ""), is_browser=False) for desk in (*desks, SCREEN)]
    pbx = LocalPbx(
        installed_root(22),
        folder / "pbx",
        version=22,
        phones=phones,
        queues={QUEUE: desks, SCREEN: [SCREEN]},
        routes={DNIS: QUEUE, SCREEN_DNIS: SCREEN},
        rtp_timeout_s=0,
    )
    web_port, desk_port, floor_port = free_tcp_ports(3)
    login = AmiLogin(pbx.ami_port, pbx.ami_username, pbx.ami_secret)
    settings = write_settings(folder, web_port=web_port, desk_port=desk_port, pbx=login)
    values = {
        "ami_port": pbx.ami_port,
        "ami_secret": pbx.ami_secret,
        "site": f"http://127.0.0.1:{web_port}",
        "floor_port": floor_port,
        "frame": frame,
        "sessions": sessions,
        "seen": str(folder / "seen.json"),
    }
    config = folder / "client.json"
    config.write_text(json.dumps(values), encoding="utf-8")
    config.chmod(0o600)
    python = sys.executable
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(pbx)
        sip = Sip(folder, pbx)
        await sip.register([*desks, SCREEN])
        answering = await sip.answer()
        stack.push_async_callback(_end, answering)
        serve_command = (python, "-m", "cti.cli", "serve", "--config", str(settings), "--log-level", "warning")
        daemon = await stack.enter_async_context(process(*serve_command, log=folder / "daemon.log"))
        await listens(web_port, daemon)
        own = (python, "-m", "bench.pop")
        floor = await stack.enter_async_context(process(*own, "floor", str(config), log=folder / "floor.log"))
        await says(floor, "ready")
        client = await stack.enter_async_context(process(*own, "client", str(config), log=folder / "client.log"))
        await says(client, "ready")
        print(f"{DESKS} desks are ready; {CALLS} calls at {CALLS_PER_S:g}/s", flush=True)
        hasty = max(1, round(CALLS * HASTY_SHARE))
        share = hasty / CALLS
        steady = await sip.call(
            "caller", numbers[hasty:], stay_ms=STAY_MS, calls_per_s=CALLS_PER_S * (1 - share), calls=CALLS - hasty
        )
        brief = await sip.call(
            "hasty", numbers[:hasty], stay_ms=HASTY_STAY_MS, calls_per_s=CALLS_PER_S * share, calls=hasty
        )
        async with asyncio.timeout(60 + 2 * CALLS / CALLS_PER_S):
            await steady.wait()
            await brief.wait()
        await asyncio.sleep(1.0)
        cpu = {"daemon": cpu_s(daemon.pid), "asterisk": cpu_s(pbx.pid or 0), "client": cpu_s(client.pid)}
        assert client.stdin is not None
        client.stdin.write(b"\n")
        await client.stdin.drain()
        await says(client, "written")
        painted = await _paint(values, screen_token, sip, numbers[:SCREEN_CALLS])
    result: dict[str, Any] = json.loads((folder / "seen.json").read_text(encoding="utf-8"))
    return {**result, **painted, "cpu_s": cpu}


async def run() -> int:
    """Measure and write; 0 when the bar is met."""
    if not DATA.exists():
        await build_data()
    folder = Path(tempfile.mkdtemp(prefix="pop-", dir=DATA.parent))
    try:
        result = await measure(folder)
    except BaseException:
        for log in sorted(folder.glob("*.log")):
            print(f"── {log.name}\n{log.read_text(encoding='utf-8', errors='replace')[-4000:]}", file=sys.stderr)
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    result = {**result, "desks": DESKS, "customers": CUSTOMERS, "calls_per_s": CALLS_PER_S}
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))
    is_met = (
        result["lost"] == 0
        and result["misdirected"] == 0
        and result["ratio_p99"] is not None
        and result["ratio_p99"] <= 3
        and result["pop_p99_ms"] < 100
        and result["painted"] == result["painted_rings"] > 0
    )
    print("the bar is met" if is_met else "the bar is NOT met")
    return 0 if is_met else 1


def main(arguments: Sequence[str]) -> int:
    """The command line."""
    if arguments == ["data"]:
        if not DATA.exists():
            asyncio.run(build_data())
        return 0
    return dispatch(arguments, __doc__, run, {"client": run_client, "floor": run_floor})


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
