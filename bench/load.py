"""``make bench-load``: recorded traffic of complete calls at 25, 50 and 100 calls a second, beside a naive stack.

A process of its own plays the PBX: AMI on loopback, traffic recorded from Asterisk 22 (``bench/traffic``), every call
with ids, channels, a caller and an agent of its own. It answers the daemon's actions; the phone that rings is the one
that the daemon's ``Redirect`` names. Another process holds 300 desks. Between them runs

* *ours*: ``callfloor serve`` as it is: link, deciding core, journal, recorder into SQLite, look-ups among the customers
  of ``make bench-data``, desk sockets;
* *naive*: stock panoramisk with a handler per event type, an ORM session for each look-up (the same card), ``await``ed
  sends over aiohttp. It decides nothing, knows no rights and writes nothing: the PBX chooses the agents for it, as a
  queue of its own would, and it shows the customer when the phone rings.

Same calls at the same moments (one seed), in turn, several rounds; CPU seconds of the process from the first call until
everything is told, medians. *Lag*: from the moment the PBX writes the caller's offer until the complete card is at the
desk of the phone that rings; choosing the agent and looking the customer up lie in between. *Keeping up* at 100 calls a
second: every call has its card, the lag does not grow over the run, and a second after the last offer nothing is
owed. Every call must be in the database, once, complete, with the agent whose phone rang.

    python -m bench.load          measure, print, write bench/results/load.json
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import os
import random
import re
import shutil
import socket
import sqlite3
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import aiohttp
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from bench.ami_reference import split_stream
from bench.pop import DATA, DESKS, DNIS, build_data, callers, endpoint, is_complete, open_sessions
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
from crm_core.database import Database

RESULT = FOLDER / "results" / "load.json"
STREAMS = {"whole": FOLDER / "traffic", "selected": FOLDER.parent / "tests" / "asterisk" / "traffic" / "22"}
"""Recorded calls: all that a manager account gets that selects nothing (about 100 messages, 40 KB a call), and what the
account gets that we ask for (about 20, 8 KB)."""

RATES = tuple(int(rate) for rate in os.environ.get("BENCH_LOAD_RATES", "25,50,100").split(","))
ROUNDS = int(os.environ.get("BENCH_LOAD_ROUNDS", "3"))
RUN_S = float(os.environ.get("BENCH_LOAD_RUN_S", "20"))
SEED = 31

RING_S = (0.2, 0.4)
TALK_S = (0.4, 0.8)
"""With a second of wrap-up an agent is taken for about two seconds a call: two thirds of 300 at 100 calls a second."""

STREAM: tuple[tuple[str, float], ...] = (
    ("inbound_answered", 0.45),
    ("inbound_caller_hangs_up", 0.5),
    ("inbound_abandoned_ringing", 0.05),
)
CHOICE_S = 0.003
"""How long the PBX's own queue takes to ring somebody, for the naive stack: as long as our Redirect takes."""

MAX_LAG_GROWTH_MS = 50.0
DRAINED_WITHIN_S = 1.0
OWED_AT_MOST_S = 30.0
BAR_CPU = 0.40


# ── the recorded calls ────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Script:
    """One recording cut where something outside decides when it goes on; messages with places for this call's names."""

    offer: tuple[bytes, ...]
    ring: tuple[bytes, ...]
    answer: tuple[bytes, ...]
    end: tuple[bytes, ...]


def read_script(folder: Path, name: str) -> Script:
    """Cut a recording; leaves out what these calls do not do (they are not recorded, nobody else has a phone)."""
    stream = gzip.decompress((folder / f"{name}.ami.gz").read_bytes())
    messages = [message for message in split_stream(stream) if message.startswith(b"Event: ")]
    first = next(message for message in messages if message.startswith(b"Event: Newchannel"))
    second = next(message for message in messages if b"\r\nChannel: PJSIP/alice-" in message)
    caller, agent = _unique(first), _unique(second)
    names = (
        (re.compile(rb"\b" + re.escape(agent) + rb"\b"), b"%(agent_leg)b"),
        (re.compile(rb"\b" + re.escape(caller) + rb"\b"), b"%(leg)b"),
        (re.compile(rb"PJSIP/trunk-[0-9a-f]{8}"), b"PJSIP/trunk-%(serial)b"),
        (re.compile(rb"PJSIP/alice-[0-9a-f]{8}"), b"PJSIP/%(agent)b-%(serial)b"),
        (re.compile(rb"[0-9a-f]{8}-[0-9a-f-]{27}"), b"%(bridge)b"),
        (re.compile(rb"\balice\b"), b"%(agent)b"),
        (re.compile(rb"\bAlice\b"), b"Agent %(agent)b"),
        (re.compile(rb"\+4930901820"), b"%(number)b"),
        (re.compile(rb"4930555"), DNIS.encode()),
    )
    parts: dict[str, list[bytes]] = {"offer": [], "ring": [], "answer": [], "end": []}
    part = "offer"
    for message in messages:
        if (
            re.match(rb"Event: (FullyBooted|MixMonitor|ContactStatus|SuccessfulAuth)", message)
            or b"UserEvent: CallfloorRecording" in message
        ):
            continue
        if re.search(rb"^Device: (PJSIP/(bob|carol|trunk)|Queue:)", message, re.MULTILINE):
            continue
        if part == "offer" and b"alice" in message:
            continue
        if part == "ring" and re.match(
            rb"Event: (Newstate\r\n.*\r\nChannelState: 6\r\n|DialEnd|HangupRequest)", message, re.S
        ):
            part = "answer"
        elif part == "answer" and message.startswith((b"Event: BridgeLeave", b"Event: Hangup", b"Event: SoftHangup")):
            part = "end"
        filled = message.replace(b"%", b"%%")
        for pattern, place in names:
            filled = pattern.sub(place, filled)
        parts[part].append(filled + b"\r\n\r\n")
        if b"UserEvent: CallfloorOffer" in message:
            part = "ring"
    if not all(parts.values()):
        raise RuntimeError(f"{name} is no recording of a call that was offered, rung and ended")
    return Script(**{name: tuple(messages) for name, messages in parts.items()})


def _unique(message: bytes) -> bytes:
    found = re.search(rb"\r\nUniqueid: ([0-9.]+)", message)
    assert found is not None
    return found[1]


# ── the PBX ───────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True, eq=False)
class PlayedCall:
    """One call. Times by ``perf_counter``."""

    leg: str
    script: Script
    names: dict[bytes, bytes]
    ring_s: float
    talk_s: float
    agent: str = ""
    offered_at: float = 0.0
    dialled_at: float = 0.0
    is_over: bool = False


class AmiPeer:
    """One logged-in client. Every message is a ``send`` of its own, as Asterisk writes them."""

    def __init__(self, sock: socket.socket, pbx: PlayedPbx) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = sock
        self._pbx = pbx
        self._unsent: deque[bytes] = deque()
        self._rest = b""
        self.sent_bytes = 0

    def send(self, message: bytes) -> None:
        """Write, or keep what the client does not read yet."""
        self.sent_bytes += len(message)
        if self._unsent:
            self._unsent.append(message)
            return
        left = self._write(message)
        if left:
            self._unsent.append(left)
            self._loop.add_writer(self._socket, self._flush)

    def _write(self, message: bytes) -> bytes:
        try:
            return message[self._socket.send(message) :]
        except BlockingIOError:
            return message
        except ConnectionError:
            return b""  # the client is gone

    def _flush(self) -> None:
        while self._unsent:
            left = self._write(self._unsent[0])
            if left:
                self._unsent[0] = left
                return
            self._unsent.popleft()
        self._loop.remove_writer(self._socket)

    async def serve(self) -> None:
        """Read actions until the client is gone."""
        self.send(b"Asterisk Call Manager/11.0.0\r\n")
        with contextlib.suppress(ConnectionError):
            while data := await self._loop.sock_recv(self._socket, 65536):
                *actions, self._rest = (self._rest + data).split(b"\r\n\r\n")
                for raw in actions:
                    headers = dict(line.split(": ", 1) for line in raw.decode().split("\r\n") if ": " in line)
                    # panoramisk writes header names in other cases than Asterisk's own.
                    self._pbx.act(self, {name.lower(): value for name, value in headers.items()})
        if self._unsent:
            self._loop.remove_writer(self._socket)
            self._unsent.clear()


def array_of(variable: str, value: str) -> dict[str, str]:
    """What a ``Setvar`` sets: one variable, or those of the dialplan function ``ARRAY``."""
    if variable.startswith("ARRAY("):
        return dict(zip(variable[6:-1].split(","), value.split(","), strict=True))
    return {variable: value}


def encode(first: str, headers: dict[str, str]) -> bytes:
    """A message of the PBX's own."""
    return "".join(f"{line}\r\n" for line in (first, *(f"{k}: {v}" for k, v in headers.items()), "")).encode()


class PlayedPbx:
    """Plays calls to one client. ``chooses``: rings agents by itself, whoever is idle longest."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._loop = asyncio.get_running_loop()
        self._chance = random.Random(config["seed"])
        self._scripts = [read_script(STREAMS[config["stream"]], name) for name, _ in STREAM]
        self._numbers: list[str] = config["numbers"]
        self._rate: float = config["rate"]
        self._count: int = config["calls"]
        self._chooses: bool = config["chooses"]
        self._base = int(time.time())
        self._idle = deque(endpoint(number) for number in range(DESKS))
        self._waiting: deque[PlayedCall] = deque()
        self.calls: list[PlayedCall] = []
        self._by_leg: dict[str, PlayedCall] = {}
        self._living = 0
        self.peer: AmiPeer | None = None
        self.over = asyncio.Event()
        self.actions: dict[str, int] = {}
        self.logins = 0

    # ── actions ───────────────────────────────────────────────────────────────────────────────────────────

    def act(self, peer: AmiPeer, action: dict[str, str]) -> None:
        """Answer one action as Asterisk would, as far as anybody asks."""
        name = action.get("action", "").lower()
        self.actions[name] = self.actions.get(name, 0) + 1
        mark = {"ActionID": action["actionid"]} if "actionid" in action else {}
        match name:
            case "login":
                peer.send(encode("Response: Success", {**mark, "Message": "Authentication accepted"}))
                peer.send(encode("Event: FullyBooted", {"Privilege": "system,all", "Status": "Fully Booted"}))
                self.peer = peer
                self.logins += 1
            case "coresettings":
                peer.send(encode("Response: Success", {**mark, "AsteriskVersion": "22.10.0"}))
            case "coreshowchannels" | "bridgelist" | "status" | "queuestatus" | "queuesummary":
                self._list(peer, action["action"], mark, [])
            case "devicestatelist":
                devices = [{"Device": f"PJSIP/{endpoint(n)}", "State": "NOT_INUSE"} for n in range(DESKS)]
                self._list(
                    peer, action["action"], mark, [encode("Event: DeviceStateChange", {**mark, **d}) for d in devices]
                )
            case "redirect":
                is_done = self._redirect(action)
                peer.send(encode(f"Response: {'Success' if is_done else 'Error'}", mark))
            case "setvar":
                variables = array_of(action["variable"], action["value"])
                if "CF_ENDPOINT" in variables and (call := self._by_leg.get(action["channel"])):
                    call.agent = variables["CF_ENDPOINT"]
                peer.send(encode("Response: Success", {**mark, "Message": "Variable Set"}))
            case "ping":
                peer.send(encode("Response: Success", {**mark, "Ping": "Pong"}))
            case _:
                peer.send(encode("Response: Success", mark))

    def _list(self, peer: AmiPeer, name: str, mark: dict[str, str], items: Sequence[bytes]) -> None:
        peer.send(encode("Response: Success", {**mark, "EventList": "start", "Message": "list will follow"}))
        for item in items:
            peer.send(item)
        end = {**mark, "EventList": "Complete", "ListItems": str(len(items))}
        peer.send(encode(f"Event: {name}Complete", end))

    def _redirect(self, action: dict[str, str]) -> bool:
        call = self._by_leg.get(action["channel"])
        if call is None or call.is_over or call.dialled_at or action["context"] != "callfloor-ring":
            return False
        self._loop.call_soon(self._ring, call)
        return True

    # ── calls ─────────────────────────────────────────────────────────────────────────────────────────────

    def play(self) -> None:
        """Begin; ``over`` is set when the last call has ended."""
        at = self._loop.time()
        for number in range(self._count):
            at += self._chance.expovariate(self._rate)
            script = self._chance.choices(self._scripts, [share for _, share in STREAM])[0]
            leg = f"{self._base}.{2 * number + 1}"
            call = PlayedCall(
                leg,
                script,
                {
                    b"leg": leg.encode(),
                    b"agent_leg": f"{self._base}.{2 * number + 2}".encode(),
                    b"serial": b"%08x" % number,
                    b"bridge": b"%08x-779d-4485-9e0c-fc57296599f2" % number,
                    b"number": self._numbers[number % len(self._numbers)].encode(),
                },
                self._chance.uniform(*RING_S),
                self._chance.uniform(*TALK_S),
            )
            self.calls.append(call)
            self._by_leg[leg] = call
            self._loop.call_at(at, self._offer, call)
        self._living = self._count

    def _tell(self, messages: Sequence[bytes], call: PlayedCall) -> None:
        assert self.peer is not None
        for message in messages:
            if message.startswith(b"Event: DialBegin"):
                call.dialled_at = time.perf_counter()
            self.peer.send(message % call.names)

    def _offer(self, call: PlayedCall) -> None:
        call.offered_at = time.perf_counter()
        self._tell(call.script.offer, call)
        if self._chooses:
            self._waiting.append(call)
            self._loop.call_later(CHOICE_S, self._choose)

    def _choose(self) -> None:
        while self._waiting and self._idle:
            call = self._waiting.popleft()
            call.agent = self._idle.popleft()
            self._ring(call)

    def _ring(self, call: PlayedCall) -> None:
        call.names[b"agent"] = call.agent.encode()
        self._tell(call.script.ring, call)
        self._loop.call_later(call.ring_s, self._answer, call)

    def _answer(self, call: PlayedCall) -> None:
        """The agent answers, or the caller gives up."""
        self._tell(call.script.answer, call)
        is_talking = any(message.startswith(b"Event: BridgeEnter") for message in call.script.answer)
        self._loop.call_later(call.talk_s if is_talking else 0.0, self._end, call)

    def _end(self, call: PlayedCall) -> None:
        self._tell(call.script.end, call)
        call.is_over = True
        if self._chooses:
            self._idle.append(call.agent)
            self._choose()
        self._living -= 1
        if not self._living:
            self.over.set()


async def run_pbx(config: dict[str, Any]) -> NoReturn:
    """Listen; play the calls when standard input says so; write what was played."""
    loop = asyncio.get_running_loop()
    pbx = PlayedPbx(config)
    listening = socket.create_server(("127.0.0.1", config["ami_port"]))
    listening.setblocking(False)
    tasks: set[asyncio.Task[None]] = set()

    async def accept() -> None:
        while True:
            sock, _ = await loop.sock_accept(listening)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            tasks.add(loop.create_task(AmiPeer(sock, pbx).serve()))

    tasks.add(loop.create_task(accept()))
    print("ready", flush=True)
    await loop.run_in_executor(None, sys.stdin.readline)
    pbx.play()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(config["calls"] / config["rate"] + OWED_AT_MOST_S):
            await pbx.over.wait()
    played = [
        {"leg": call.leg, "agent": call.agent, "offered_at": call.offered_at, "dialled_at": call.dialled_at}
        | {"is_over": call.is_over, "is_answered": call.script is not pbx._scripts[2]}
        for call in pbx.calls
    ]
    told = {
        "calls": played,
        "bytes": pbx.peer.sent_bytes if pbx.peer else 0,
        "actions": pbx.actions,
        "logins": pbx.logins,
    }
    Path(config["played"]).write_text(json.dumps(told), encoding="utf-8")
    print("over", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    os._exit(0)


# ── the desks ─────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Shown:
    """What the desks see: (interaction, desk) → when its complete card was there, by ``perf_counter``."""

    wanted: int
    complete: dict[tuple[str, str], float] = field(default_factory=dict)
    after_the_ring: int = 0
    """Cards that were complete only when the phone did not ring any more."""
    frames: int = 0
    all_there: asyncio.Event = field(default_factory=asyncio.Event)


async def _watch_desk(own: ClientConnection, desk: str, shown: Shown, ready: asyncio.Event) -> None:
    with contextlib.suppress(ConnectionClosed):
        while True:
            frame = await own.recv(decode=False)
            read_at = time.perf_counter()
            shown.frames += 1
            if b'"type":"pop"' in frame and b'"match":"one"' in frame:
                message = json.loads(frame)
                key = (message["interaction"], desk)
                if key not in shown.complete and is_complete(message):
                    shown.complete[key] = read_at
                    shown.after_the_ring += message["phase"] != "ringing"
                    if len(shown.complete) >= shown.wanted:
                        shown.all_there.set()
            elif b'"state":"AVAILABLE"' in frame:
                ready.set()


async def _sit_down_at_ours(
    stack: contextlib.AsyncExitStack, config: dict[str, Any], shown: Shown, tasks: list[asyncio.Task[None]]
) -> list[ClientConnection]:
    site = config["site"]
    http = await stack.enter_async_context(aiohttp.ClientSession(site, cookie_jar=aiohttp.DummyCookieJar()))
    sockets: list[ClientConnection] = []
    are_ready: list[asyncio.Event] = []
    for desk, token in config["sessions"].items():
        opened = await open_desk(http, site, desk, token)
        stack.push_async_callback(opened.socket.close)
        sockets.append(opened.socket)
        ready = asyncio.Event()
        are_ready.append(ready)
        tasks.append(asyncio.create_task(_watch_desk(opened.socket, desk, shown, ready)))
        await opened.be_available()
    async with asyncio.timeout(READY_WITHIN_S):
        for ready in are_ready:
            await ready.wait()
    return sockets


async def _sit_down_at_naive(
    stack: contextlib.AsyncExitStack, config: dict[str, Any], shown: Shown, tasks: list[asyncio.Task[None]]
) -> list[ClientConnection]:
    sockets = []
    for desk in config["sessions"]:
        url = f"{config['site'].replace('http', 'ws')}/desk/{desk}"
        own = await stack.enter_async_context(connect(url, compression=None, proxy=None, ping_interval=None))
        sockets.append(own)
        tasks.append(asyncio.create_task(_watch_desk(own, desk, shown, asyncio.Event())))
    return sockets


async def run_desks(config: dict[str, Any]) -> NoReturn:
    """Hold all desks; say when every call has its card; write what was seen when standard input says so."""
    loop = asyncio.get_running_loop()
    shown = Shown(config["calls"])
    tasks: list[asyncio.Task[None]] = []
    async with contextlib.AsyncExitStack() as stack:
        sit_down = _sit_down_at_ours if config["stack"] == "ours" else _sit_down_at_naive
        sockets = await sit_down(stack, config, shown, tasks)
        tasks.append(asyncio.create_task(beat_all(sockets)))
        print("ready", flush=True)
        asked = loop.run_in_executor(None, sys.stdin.readline)
        all_there = asyncio.ensure_future(shown.all_there.wait())
        await asyncio.wait([asyncio.ensure_future(asked), all_there], return_when=asyncio.FIRST_COMPLETED)
        print("all", flush=True)
        await asked
        seen = [[interaction, desk, at] for (interaction, desk), at in shown.complete.items()]
        Path(config["seen"]).write_text(
            json.dumps({"cards": seen, "frames": shown.frames, "after_the_ring": shown.after_the_ring}),
            encoding="utf-8",
        )
        print("written", flush=True)
        os._exit(0)


# ── one run ───────────────────────────────────────────────────────────────────────────────────────────────


async def _order(process: asyncio.subprocess.Process) -> None:
    assert process.stdin is not None
    process.stdin.write(b"\n")
    await process.stdin.drain()


async def run_once(
    folder: Path, stack_name: str, rate: int, stream: str, numbers: list[str], sessions: dict[str, str]
) -> dict[str, Any]:
    """One stack, one rate, one stream of calls."""
    web_port, desk_port, ami_port = free_tcp_ports(3)
    calls = round(rate * RUN_S)
    config: dict[str, Any] = {
        "stack": stack_name,
        "chooses": stack_name == "naive",
        "stream": stream,
        "rate": rate,
        "calls": calls,
        "seed": SEED + rate,
        "numbers": numbers,
        "sessions": sessions,
        "web_port": web_port,
        "desk_port": desk_port,
        "ami_port": ami_port,
        "site": f"http://127.0.0.1:{web_port}",
        "database": str(folder / "crm.db"),
        "played": str(folder / "played.json"),
        "seen": str(folder / "seen.json"),
    }
    path = folder / "config.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    path.chmod(0o600)
    python = sys.executable
    own = (python, "-m", "bench.load")
    if stack_name == "ours":
        profiler = os.environ.get("BENCH_LOAD_PROFILE")
        command = (python, *(("-m", "cProfile", "-o", profiler) if profiler else ()), "-m", "cti.cli", "serve")
        login = AmiLogin(ami_port, "callfloor", "played")
        settings = write_settings(folder, web_port=web_port, desk_port=desk_port, pbx=login)
        command = (*command, "--config", str(settings), "--log-level", "warning")
    else:
        command = (python, "-m", "bench.naive", str(path))
    async with contextlib.AsyncExitStack() as stack:
        pbx = await stack.enter_async_context(process(*own, "pbx", str(path), log=folder / "pbx.log"))
        await says(pbx, "ready")
        serving = await stack.enter_async_context(process(*command, log=folder / f"{stack_name}.log"))
        await listens(web_port, serving)
        desks = await stack.enter_async_context(process(*own, "desks", str(path), log=folder / "desks.log"))
        await says(desks, "ready")
        await asyncio.sleep(0.5)
        processes = {stack_name: serving.pid, "pbx": pbx.pid, "desks": desks.pid}
        before = {name: cpu_s(pid) for name, pid in processes.items()}
        await _order(pbx)
        await says(pbx, "over")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(OWED_AT_MOST_S):
                await says(desks, "all")
        await asyncio.sleep(DRAINED_WITHIN_S)
        played = json.loads((folder / "played.json").read_text(encoding="utf-8"))
        written = await _written(folder / "crm.db", played["calls"]) if stack_name == "ours" else {}
        cpu = {name: round(cpu_s(pid) - before[name], 1) for name, pid in processes.items()}
        await _order(desks)
        await says(desks, "written")
    seen = json.loads((folder / "seen.json").read_text(encoding="utf-8"))
    return {"cpu_s": cpu, **_lags(played, seen, rate), **written}


async def _written(database: Path, calls: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Wait until the recorder is through, then compare every id."""
    wanted = {f"pbx1-{call['leg']}": call for call in calls}
    base = next(iter(wanted)).partition(".")[0]
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    query = "SELECT id, agent, outcome, ended_at FROM interaction WHERE id LIKE ? AND merged_into IS NULL"
    try:
        deadline = time.monotonic() + OWED_AT_MOST_S
        while True:
            rows = {str(row[0]): row for row in connection.execute(query, (f"{base}.%",))}
            if len(rows) >= len(wanted) and all(row[3] is not None for row in rows.values()):
                break
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(0.5)
    finally:
        connection.close()
    wrong = 0
    for key, call in wanted.items():
        if key in rows:
            _, agent, outcome, ended_at = rows[key]
            should = ("answered", call["agent"]) if call["is_answered"] else ("abandoned", agent)
            wrong += (outcome.removeprefix("short_"), agent) != should or ended_at is None
    return {
        "interactions": len(rows),
        "interactions_missing": len(wanted.keys() - rows.keys()),
        "interactions_too_many": len(rows.keys() - wanted.keys()),
        "interactions_wrong": wrong,
    }


def _lags(played: dict[str, Any], seen: dict[str, Any], rate: int) -> dict[str, Any]:
    cards = {(interaction, desk): at for interaction, desk, at in seen["cards"]}
    lags: list[tuple[float, float]] = []
    pops: list[float] = []
    late = 0
    calls = played["calls"]
    began = calls[0]["offered_at"]
    last_at = max(call["offered_at"] for call in calls)
    for call in calls:
        shown_at = cards.get((f"pbx1-{call['leg']}", call["agent"]))
        if shown_at is None:
            continue
        late += shown_at > last_at + DRAINED_WITHIN_S
        lags.append((call["offered_at"] - began, 1000 * (shown_at - call["offered_at"])))
        pops.append(1000 * max(0.0, shown_at - call["dialled_at"]))
    pops.sort()
    ordered = sorted(lag for _, lag in lags)
    growth_ms = _growth_ms(lags)
    return {
        "rate": rate,
        "calls": len(calls),
        "cards_missing": len(calls) - len(lags),
        "cards_after_the_ring": seen["after_the_ring"],
        "pop_p50_ms": round(percentile(pops, 0.5), 2),
        "pop_p99_ms": round(percentile(pops, 0.99), 2),
        "lag_p50_ms": round(percentile(ordered, 0.5), 2),
        "lag_p99_ms": round(percentile(ordered, 0.99), 2),
        "lag_growth_ms": round(growth_ms, 2),
        "owed_after_1_s": late + len(calls) - len(lags),
        "links_lost": played["logins"] - 1,
        "keeps_up": len(lags) == len(calls) and late == 0 and growth_ms < MAX_LAG_GROWTH_MS,
        "ami_bytes": played["bytes"],
        "frames": seen["frames"],
        "actions": played["actions"],
    }


def _growth_ms(lags: Sequence[tuple[float, float]]) -> float:
    """By how much the lag grew over the run: the median slope between its seconds' medians, times its length."""
    by_second: dict[int, list[float]] = {}
    for at, lag in lags:
        by_second.setdefault(int(at), []).append(lag)
    points = [(second, statistics.median(values)) for second, values in sorted(by_second.items())]
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for n, a in enumerate(points) for b in points[n + 1 :]]
    return statistics.median(slopes) * (points[-1][0] - points[0][0]) if slopes else float("nan")


# ── the whole ─────────────────────────────────────────────────────────────────────────────────────────────


async def measure(folder: Path, tell: Callable[[str], None]) -> dict[str, Any]:
    """All rounds."""
    shutil.copy(DATA, folder / "crm.db")
    database = Database(f"sqlite+aiosqlite:///{folder / 'crm.db'}")
    await database.open()
    async with database.read() as connection:
        numbers = [number for _, number in (await connection.execute(callers())).all()]
    sessions = await open_sessions(database)
    await database.close()
    runs: dict[str, list[dict[str, Any]]] = {}
    plays = [*((rate, "whole") for rate in RATES), *((rate, "selected") for rate in RATES if rate == 50)]
    for turn in range(ROUNDS):
        for rate, stream in plays:
            for stack_name in ("naive", "ours") if turn % 2 == 0 else ("ours", "naive"):
                run = await run_once(folder, stack_name, rate, stream, numbers, sessions)
                runs.setdefault(f"{stack_name}_{stream}_{rate}", []).append(run)
                shown = {key: value for key, value in run.items() if key != "actions"}
                tell(f"{stack_name}, {stream} stream at {rate}/s: {json.dumps(shown)}")
                if stack_name == "ours" and (run["cards_missing"] or run["interactions_missing"]):
                    tell((folder / "ours.log").read_text(encoding="utf-8", errors="replace")[-3000:])
    return _summary(runs)


def _summary(runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    details: dict[str, Any] = {}
    for name, same in runs.items():
        stack_name = name.partition("_")[0]
        numbers = [key for key in same[0] if isinstance(same[0][key], int | float) and key not in {"keeps_up", "rate"}]
        details[name] = {
            "cpu_s": [run["cpu_s"][stack_name] for run in same],
            "cpu_ms_per_call": round(
                1000 * statistics.median(run["cpu_s"][stack_name] / run["calls"] for run in same), 2
            ),
            "keeps_up": [run["keeps_up"] for run in same],
            **{key: statistics.median(run[key] for run in same) for key in numbers},
            "cpu_s_all": [run["cpu_s"] for run in same],
            "actions": same[0]["actions"],
        }
    ours = [run for name, same in runs.items() if name.startswith("ours") for run in same]

    def ratio(rate: int, stream: str) -> float | None:
        pairs = zip(runs.get(f"ours_{stream}_{rate}", []), runs.get(f"naive_{stream}_{rate}", []), strict=False)
        found = [mine["cpu_s"]["ours"] / theirs["cpu_s"]["naive"] for mine, theirs in pairs]
        return round(statistics.median(found), 3) if found else None

    at_100 = runs.get("ours_whole_100", [])
    return {
        "cpu_vs_naive_50": ratio(50, "whole"),
        "keeps_up_100": bool(at_100) and all(run["keeps_up"] for run in at_100),
        "pop_p99_ms_100": statistics.median(run["pop_p99_ms"] for run in at_100) if at_100 else None,
        "interactions_missing": sum(run["interactions_missing"] for run in ours),
        "interactions_wrong": sum(run["interactions_wrong"] for run in ours),
        "interactions_too_many": sum(run["interactions_too_many"] for run in ours),
        "cpu_vs_naive_50_selected": ratio(50, "selected"),
        **{f"cpu_vs_naive_{rate}": ratio(rate, "whole") for rate in RATES if rate != 50},
        "desks": DESKS,
        "rounds": ROUNDS,
        "run_s": RUN_S,
        "details": details,
    }


async def run() -> int:
    """Measure and write; 0 when the bars are met."""
    if not DATA.exists():
        await build_data()
    folder = Path(tempfile.mkdtemp(prefix="load-", dir=DATA.parent))
    try:
        result = await measure(folder, lambda line: print(line, flush=True))
    except BaseException:
        for log in sorted(folder.glob("*.log")):
            print(f"── {log.name}\n{log.read_text(encoding='utf-8', errors='replace')[-4000:]}", file=sys.stderr)
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps({key: value for key, value in result.items() if key != "details"}, indent=2))
    is_met = (
        (result["cpu_vs_naive_50"] or 1.0) <= BAR_CPU
        and result["keeps_up_100"]
        and result["interactions_missing"] == 0
        and result["interactions_wrong"] == 0
    )
    print("the bars are met" if is_met else "the bars are NOT met")
    return 0 if is_met else 1


def main(arguments: Sequence[str]) -> int:
    """The command line."""
    return dispatch(arguments, __doc__, run, {"pbx": run_pbx, "desks": run_desks})


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
