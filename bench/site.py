"""What the benches that run a whole site share: processes, settings, desks, figures."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import uvloop
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

from cti.screenpop.frames import SUBPROTOCOL

FOLDER = Path(__file__).resolve().parent
READY_WITHIN_S = 120.0
BEAT_S = 4.0
BEAT = json.dumps({"type": "beat", "seen": 0, "visible": True, "phone": "desk", "microphone": "desk"})

Part = Callable[[dict[str, Any]], Coroutine[Any, Any, None]]


# ── processes ─────────────────────────────────────────────────────────────────────────────────────────────


def free_tcp_ports(count: int) -> list[int]:
    """Ports of loopback that nobody has now, all different."""
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


@contextlib.asynccontextmanager
async def process(*command: str, log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that ends with the block; what it says to standard error goes to ``log``."""
    with log.open("ab") as errors:
        started = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=errors
        )
    try:
        yield started
    finally:
        if started.returncode is None:
            started.terminate()
            try:
                await asyncio.wait_for(started.wait(), 15)
            except TimeoutError:
                started.kill()
                await started.wait()


async def says(one: asyncio.subprocess.Process, word: str) -> None:
    """Wait until it has printed this line. Raises ``RuntimeError`` if it ended before."""
    assert one.stdout is not None
    async with asyncio.timeout(READY_WITHIN_S):
        while line := await one.stdout.readline():
            if line.decode().strip() == word:
                return
    raise RuntimeError(f"a process of the bench ended before it said {word}")


async def listens(port: int, daemon: asyncio.subprocess.Process) -> None:
    """Wait until it takes connections. Raises ``RuntimeError`` if it ended before."""
    async with asyncio.timeout(READY_WITHIN_S):
        while True:
            if daemon.returncode is not None:
                raise RuntimeError("the daemon ended while starting")
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.1)
            else:
                writer.close()
                return


def cpu_s(pid: int) -> float:
    """CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return round((int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), 1)


def percentile(sorted_values: Sequence[float], share: float) -> float:
    """The value below which this share lies; not a number if there is none."""
    return (
        sorted_values[min(len(sorted_values) - 1, int(len(sorted_values) * share))] if sorted_values else float("nan")
    )


def dispatch(
    arguments: Sequence[str], doc: str | None, run: Callable[[], Coroutine[Any, Any, int]], parts: Mapping[str, Part]
) -> int:
    """The command line of a bench: alone it measures; with a part's name and a file of its configuration it is one of
    its own processes."""
    match arguments:
        case []:
            return asyncio.run(run())
        case [part, config] if part in parts:
            uvloop.run(parts[part](json.loads(Path(config).read_text(encoding="utf-8"))))
            return 0
        case _:
            print(doc)
            return 2


# ── the daemon ────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class AmiLogin:
    """How the daemon reaches its PBX."""

    port: int
    username: str
    secret: str


def write_settings(folder: Path, *, web_port: int, desk_port: int, pbx: AmiLogin | None) -> Path:
    """What ``callfloor serve`` needs to start; everything that it writes lies in ``folder``."""
    path = folder / "callfloor.toml"
    text = f"""
[database]
url = "sqlite+aiosqlite:///{folder / "crm.db"}"
[journal]
folder = "{folder / "journal"}"
[web]
port = {web_port}
[desk_socket]
port = {desk_port}
[recordings]
folder = "{folder / "recordings"}"
"""
    if pbx is not None:
        text += f"""[[pbx]]
id = "pbx1"
host = "127.0.0.1"
port = {pbx.port}
username = "{pbx.username}"
secret = "{pbx.secret}"
"""
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return path


# ── the desks ─────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class OpenDesk:
    """A desk whose page has said hello. ``be_available`` asks for that state, as the page's button does."""

    socket: ClientConnection
    be_available: Callable[[], Awaitable[None]]


async def open_desk(
    http: aiohttp.ClientSession, site: str, desk: str, token: str, *, ping_interval_s: float | None = None
) -> OpenDesk:
    """Open a desk's page and socket with the session ``token``; the caller closes the socket."""
    headers = {"Cookie": f"callfloor_session={token}", "Origin": site}
    async with http.get("/api/desk", headers=headers) as answer:
        answer.raise_for_status()
        begun = await answer.json()
    own = await connect(
        begun["socket_url"],
        origin=Origin(site),
        subprotocols=[Subprotocol(SUBPROTOCOL)],
        additional_headers={"Cookie": headers["Cookie"]},
        compression=None,
        proxy=None,
        ping_interval=ping_interval_s,
    )
    await own.send(json.dumps({"type": "hello", "tab": desk, "epoch": None, "last_seq": 0, "take_over": True}))

    async def be_available() -> None:
        body = {"state": "AVAILABLE", "reason": ""}
        marked = {**headers, "X-CSRF-Token": begun["csrf"]}
        async with http.post("/api/desk/state", json=body, headers=marked) as answer:
            answer.raise_for_status()

    return OpenDesk(own, be_available)


async def beat_all(sockets: Sequence[ClientConnection]) -> None:
    """Every page says that it lives, one after the other, evenly."""
    while True:
        for own in sockets:
            await own.send(BEAT)
            await asyncio.sleep(BEAT_S / len(sockets))
