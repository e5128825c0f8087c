"""``make bench-desks``: what a thousand agents' desks cost that are connected and idle.

``callfloor serve`` as it is, without a PBX, SQLite; another process holds the desks' sockets and beats every 4 s as
pages do. Memory: resident set of the daemon's process with all desks minus before the first, by the number of desks
(``kb_per_desk``: the log-in's session and what the hub keeps are in it). CPU: of the daemon's process over half a
minute, in percent of one core (``cpu_percent``), beside the same without any desk.

    python -m bench.desks          measure, print, write bench/results/desks.json
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import aiohttp
from websockets.asyncio.client import ClientConnection

from bench.site import (
    BEAT,
    BEAT_S,
    FOLDER,
    cpu_s,
    dispatch,
    free_tcp_ports,
    listens,
    open_desk,
    process,
    says,
    write_settings,
)
from crm_core import centre, users
from crm_core.database import Database

RESULT = FOLDER / "results" / "desks.json"
DESKS = int(os.environ.get("BENCH_DESKS", "1000"))
MEASURED_S = float(os.environ.get("BENCH_DESKS_S", "30"))
AT_ONCE = 20
"""Log-ins at the same time."""


async def put_site(url: str) -> dict[str, str]:
    """A centre of so many agents; returns agent → session token. A thousand passwords would take minutes to check."""
    database = Database(url)
    await database.open()
    password_hash = users.hash_password(secrets.token_hex(16))
    tokens: dict[str, str] = {}
    now = time.time()
    async with database.begin() as connection:
        await centre.put_queue(connection, centre.Queue(slug="sales", name="Sales"))
        for number in range(DESKS):
            slug = f"ag{number:04d}"
            await centre.put_agent(
                connection,
                centre.Agent(slug=slug, name=f"Agent {number}", pbx="pbx1", endpoint=slug, phone_kind="desk"),
            )
            user = await users.create_user(
                connection,
                username=slug,
                name=f"Agent {number}",
                password_hash=password_hash,
                role="agent",
                agent=slug,
                now=now,
            )
            tokens[slug] = await users.open_session(
                connection, user, now=now, ip="127.0.0.1", user_agent="bench", lifetime_s=3600.0
            )
    await database.close()
    return tokens


# ── the desks ─────────────────────────────────────────────────────────────────────────────────────────────


async def run_desks(config: dict[str, Any]) -> NoReturn:
    """Connect all desks, say so, beat until standard input ends."""
    loop = asyncio.get_running_loop()
    site = config["site"]
    sockets: list[ClientConnection] = []
    turns = asyncio.Semaphore(AT_ONCE)
    readers: list[asyncio.Task[None]] = []
    async with contextlib.AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession(site, cookie_jar=aiohttp.DummyCookieJar()))

        async def sit_down(desk: str, token: str) -> None:
            async with turns:
                own = (await open_desk(http, site, desk, token)).socket
                sockets.append(own)
                await own.recv()
                readers.append(asyncio.create_task(_read(own)))

        await asyncio.gather(*(sit_down(desk, token) for desk, token in config["sessions"].items()))
        beats = asyncio.create_task(_beat_all(sockets))
        print("ready", flush=True)
        await loop.run_in_executor(None, sys.stdin.read)
        beats.cancel()
        os._exit(0)


async def _read(own: ClientConnection) -> None:
    async for _ in own:
        pass


async def _beat_all(sockets: Sequence[ClientConnection]) -> None:
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        for own in sockets:
            await own.send(BEAT)
            due += BEAT_S / len(sockets)
            if (left_s := due - loop.time()) > 0:
                await asyncio.sleep(left_s)


# ── the run ───────────────────────────────────────────────────────────────────────────────────────────────


def _resident_kb(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise RuntimeError(f"process {pid} is gone")


async def _cpu_percent(pid: int) -> float:
    began_s, began_at = cpu_s(pid), time.monotonic()
    await asyncio.sleep(MEASURED_S)
    return 100 * (cpu_s(pid) - began_s) / (time.monotonic() - began_at)


async def measure(folder: Path) -> dict[str, Any]:
    """One run; everything that it writes lies in ``folder``."""
    url = f"sqlite+aiosqlite:///{folder / 'crm.db'}"
    sessions = await put_site(url)
    web_port, desk_port = free_tcp_ports(2)
    settings = write_settings(folder, web_port=web_port, desk_port=desk_port, pbx=None)
    config = folder / "desks.json"
    config.write_text(json.dumps({"site": f"http://127.0.0.1:{web_port}", "sessions": sessions}), encoding="utf-8")
    config.chmod(0o600)
    python = sys.executable
    command = (python, "-m", "cti.cli", "serve", "--config", str(settings), "--log-level", "warning")
    async with contextlib.AsyncExitStack() as stack:
        daemon = await stack.enter_async_context(process(*command, log=folder / "daemon.log"))
        await listens(web_port, daemon)
        await asyncio.sleep(1.0)
        idle_percent = await _cpu_percent(daemon.pid)
        before_kb = _resident_kb(daemon.pid)
        own = (python, "-m", "bench.desks", "desks", str(config))
        desks = await stack.enter_async_context(process(*own, log=folder / "desks.log"))
        await says(desks, "ready")
        await asyncio.sleep(BEAT_S + 1.0)
        percent = await _cpu_percent(daemon.pid)
        after_kb = _resident_kb(daemon.pid)
    return {
        "kb_per_desk": round((after_kb - before_kb) / DESKS, 1),
        "cpu_percent": round(percent, 1),
        "desks": DESKS,
        "measured_s": MEASURED_S,
        "cpu_percent_without_desks": round(idle_percent, 1),
        "rss_before_kb": before_kb,
        "rss_after_kb": after_kb,
    }


async def run() -> int:
    """Measure, print, write."""
    with tempfile.TemporaryDirectory(prefix="desks-") as name:
        folder = Path(name)
        try:
            result = await measure(folder)
        except BaseException:
            for log in sorted(folder.glob("*.log")):
                print(f"── {log.name}\n{log.read_text(encoding='utf-8', errors='replace')[-4000:]}", file=sys.stderr)
            raise
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))
    return 0


def main(arguments: Sequence[str]) -> int:
    """The command line."""
    return dispatch(arguments, __doc__, run, {"desks": run_desks})


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
