"""``make soak``: living traffic while everything that can fail fails, and the books compared at the end.

A real Asterisk 22, ``callfloor serve`` as a process, callers and desk phones played by SIPp with sound in both
directions, automatic agents at their desks' sockets. One fault after the other, of every kind, now and then two at
once: the daemon killed (SIGKILL) and frozen (SIGSTOP), its AMI link cut, refused, stalled and half open (by a small
proxy between daemon and PBX), Asterisk restarted, the database locked by another process, all desk sockets dropped, a
phone that dies and is unregistered. Then the faults stop, the callers finish, and what SIPp saw is compared with the
database. Every call has a caller number of its own.

* ``calls``: calls that the PBX took;
* ``dropped``: calls, or talks with an agent, that ended though neither side hung up and nothing of the kind was asked
  for: not by a restart of Asterisk, not by the phone that died;
* ``lost``: calls without an interaction; ``twice``: with more than one;
* ``stuck``: agents who are not free again, callers who wait, channels that live on, interactions that never ended;
* ``wrong``: interactions that do not tell who answered, or that somebody did.

    SOAK_S=600 SOAK_SEED=… python -m bench.soak        print, write bench/results/soak.json
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import random
import re
import secrets
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from bench.site import FOLDER, free_tcp_ports
from crm_core import centre, users
from crm_core.database import Database
from cti.asterisk.local_pbx import LocalPbx, PhoneAccount, installed_root
from cti.demo.automatic_agents import AutomaticAgent, Habits
from cti.demo.callers import Callers, CallResult, SippFailed, UasPhone

RESULT = FOLDER / "results" / "soak.json"
SOAK_S = float(os.environ.get("SOAK_S", "600"))
SEED = int(os.environ.get("SOAK_SEED") or secrets.randbelow(1_000_000))
ONLY = tuple(kind for kind in os.environ.get("SOAK_FAULTS", "").split(",") if kind)
"""Only these kinds of faults (all if empty)."""

AGENTS = 5
CALLS_PER_S = 0.5
TALK_S = (3.0, 9.0)
STAY_S = ((4.0, 10.0), (15.0, 45.0))
"""How long callers stay: the hasty, who often hang up first, and the patient."""
HASTY_SHARE = 0.4
ANSWER_S = (0.5, 2.0)
QUIET_S = (4.0, 9.0)
"""Between two faults."""
AT_ONCE_CHANCE = 0.2
RESTARTED_AFTER_S = (0.5, 4.0)
"""How long a service manager takes to start the daemon again."""
SETTLE_S = 90.0
RECORDED_WITHIN_S = 60.0
SAME_MOMENT_S = 4.0
DNIS, QUEUE = "4001", "sales"
PASSWORD = "soak of one machine"
PHONE_PASSWORD = "s0akphone"
NUMBER = re.compile(r"\+4930(\d{7})")

log = logging.getLogger("soak")


# ── a wire that can be cut ────────────────────────────────────────────────────────────────────────────────


class Wire:
    """A TCP proxy on loopback: forwards, until it is told to behave as bad networks do."""

    def __init__(self, port: int, to_port: int) -> None:
        self.port = port
        self._to_port = to_port
        self._server: asyncio.Server | None = None
        self._pairs: dict[asyncio.Task[None], tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = {}
        self._flows = asyncio.Event()
        self._flows.set()

    async def open(self) -> None:
        """Accept connections."""
        if self._server is None:
            self._server = await asyncio.start_server(self._carry, "127.0.0.1", self.port)

    async def refuse(self) -> None:
        """Cut everything and refuse new connections until ``open``."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.cut()

    def cut(self) -> None:
        """Reset all connections."""
        for near, far in self._pairs.values():
            near.transport.abort()
            far.transport.abort()

    def stall(self) -> None:
        """Nothing gets through, nothing is said about it; until ``flow``."""
        self._flows.clear()

    def flow(self) -> None:
        """Let everything through again."""
        self._flows.set()

    def half_open(self) -> None:
        """The far side is gone and the near side never hears of it."""
        for _, far in self._pairs.values():
            far.transport.abort()

    async def close(self) -> None:
        """End."""
        await self.refuse()
        self.flow()
        if self._pairs:
            await asyncio.wait(self._pairs, timeout=5)

    async def _carry(self, reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        try:
            far_reader, far = await asyncio.open_connection("127.0.0.1", self._to_port)
        except OSError:
            near.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None
        self._pairs[task] = (near, far)
        back = asyncio.create_task(self._pump(far_reader, near))
        try:
            # Whoever the near side is: it ends the pair. A far side that is gone is not told.
            await self._pump(reader, far)
        finally:
            del self._pairs[task]
            back.cancel()
            near.transport.abort()
            far.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self._flows.wait()
                if not writer.is_closing():
                    writer.write(data)
                    await writer.drain()


# ── who takes part ────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class CallerTold:
    """One caller's own account. Times by the loop's clock."""

    number: str
    began_at: float
    ended_at: float = 0.0
    result: CallResult | None = None


@dataclass
class PhoneTold:
    """One call at an agent's phone."""

    endpoint: str
    number: str
    ended_at: float
    steps: tuple[str, ...]
    has_died: bool


@dataclass
class Site:
    """Everything that runs."""

    folder: Path
    pbx: LocalPbx
    url: str
    settings: Path
    ami: Wire
    desks: Wire
    callers: Callers
    phones: list[UasPhone]
    rng: random.Random
    daemon: asyncio.subprocess.Process | None = None
    told: list[CallerTold] = field(default_factory=list)
    phones_told: list[PhoneTold] = field(default_factory=list)
    pbx_away: list[tuple[float, float]] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    fault_log: list[tuple[float, str]] = field(default_factory=list)
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    @property
    def database(self) -> Path:
        return self.folder / "crm.db"

    async def start_daemon(self) -> None:
        """As a service manager does; returns at once."""
        with (self.folder / "daemon.log").open("ab") as to:
            self.daemon = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "cti.cli", "serve", "--config", str(self.settings)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=to,
                stderr=to,
            )

    async def is_healthy(self) -> bool:
        """The daemon answers and all its parts are well."""
        try:
            timeout = aiohttp.ClientTimeout(total=2)
            async with aiohttp.ClientSession(timeout=timeout) as http, http.get(f"{self.url}/health") as answer:
                return bool((await answer.json())["status"] == "ok")
        except (aiohttp.ClientError, OSError, ValueError, KeyError, TimeoutError):
            return False

    def note(self, what: str) -> None:
        """A line of the run's own log."""
        now = asyncio.get_running_loop().time()
        self.fault_log.append((now, what))
        log.info("%s", what)


async def seed_site(url: str) -> None:
    """A queue, its agents and a supervisor."""
    database = Database(url)
    await database.open()
    hashed = users.hash_password(PASSWORD)
    now = time.time()
    async with database.begin() as connection:
        await centre.put_queue(
            connection, centre.Queue(slug=QUEUE, name="Sales", wrap_up_s=20, ring_timeout_s=8, is_default=True)
        )
        for number in range(AGENTS):
            slug = f"ag{number}"
            await centre.put_agent(
                connection,
                centre.Agent(
                    slug=slug, name=f"Agent {number}", pbx="pbx1", endpoint=slug, phone_kind="desk", queues=(QUEUE,)
                ),
            )
            await users.create_user(
                connection, username=slug, name=slug, password_hash=hashed, role="agent", agent=slug, now=now
            )
        await users.create_user(
            connection, username="sue", name="Sue", password_hash=hashed, role="supervisor", now=now
        )
        await centre.put_route(connection, centre.Route(dnis=DNIS, queue=QUEUE))
        await centre.put_disposition(connection, centre.Disposition(code="done", labels={"en": "Done"}))
    await database.close()


def write_settings(folder: Path, pbx: LocalPbx, ami_port: int, web_port: int, desk_port: int, desks_port: int) -> Path:
    """What the daemon needs to start."""
    path = folder / "callfloor.toml"
    path.write_text(
        f"""
[database]
url = "sqlite+aiosqlite:///{folder / "crm.db"}"
[journal]
folder = "{folder / "journal"}"
[recordings]
folder = "{pbx.recordings}"
[web]
port = {web_port}
[desk_socket]
port = {desk_port}
url = "ws://127.0.0.1:{desks_port}/desk/socket"
[[pbx]]
id = "pbx1"
host = "127.0.0.1"
port = {ami_port}
username = "{pbx.ami_username}"
secret = "{pbx.ami_secret}"
records_folder = "{pbx.folder / "log"}"
""",
        encoding="utf-8",
    )
    path.chmod(0o600)
    return path


@contextlib.asynccontextmanager
async def running_site(folder: Path, rng: random.Random) -> AsyncIterator[Site]:
    """Everything up; agents at work."""
    await seed_site(f"sqlite+aiosqlite:///{folder / 'crm.db'}")
    voice = folder / "voice.al"
    voice.write_bytes(b"\xd5" * 8000)
    endpoints = [f"ag{number}" for number in range(AGENTS)]
    pbx = LocalPbx(
        installed_root(22),
        folder / "pbx",
        version=22,
        phones=[PhoneAccount(one, PHONE_PASSWORD, is_browser=False) for one in endpoints],
        queues=(QUEUE,),
        routes={DNIS: QUEUE},
    )
    web_port, desk_port, ami_port, desks_port = free_tcp_ports(4)
    settings = write_settings(folder, pbx, ami_port, web_port, desk_port, desks_port)
    phones = [
        UasPhone(
            pbx_host=pbx.host,
            pbx_port=pbx.sip_port,
            folder=folder / one,
            endpoint=one,
            password=PHONE_PASSWORD,
            answer_after_s=rng.uniform(*ANSWER_S),
            talk_s=rng.uniform(*TALK_S),
            voice=voice,
        )
        for one in endpoints
    ]
    site = Site(
        folder,
        pbx,
        f"http://127.0.0.1:{web_port}",
        settings,
        Wire(ami_port, pbx.ami_port),
        Wire(desks_port, desk_port),
        Callers(pbx_host=pbx.host, pbx_port=pbx.sip_port, folder=folder / "callers", voices=(voice,)),
        phones,
        rng,
    )
    habits = Habits(wrap_up_s=(0.3, 1.5), break_chance=0.0, notes=("A note.",))
    agents: list[asyncio.Task[None]] = []
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(pbx)
        for wire in (site.ami, site.desks):
            await wire.open()
            stack.push_async_callback(wire.close)
        stack.push_async_callback(end_daemon, site)
        await site.start_daemon()
        await until(site.is_healthy, "the daemon is up", 60)
        for phone in phones:
            await phone.start()
            stack.push_async_callback(phone.stop)
        watch = asyncio.create_task(watch_phones(site))
        for one in endpoints:
            agent = AutomaticAgent(site=site.url, username=one, password=PASSWORD, rng=rng, habits=habits)
            agents.append(asyncio.create_task(agent.run()))
        try:
            yield site
        finally:
            watch.cancel()
            for task in (*agents, *site.tasks):
                task.cancel()
            await site.callers.stop()


async def end_daemon(site: Site) -> None:
    """Stop it in order."""
    if site.daemon is not None and site.daemon.returncode is None:
        site.daemon.send_signal(signal.SIGCONT)
        site.daemon.terminate()
        try:
            await asyncio.wait_for(site.daemon.wait(), 20)
        except TimeoutError:
            site.daemon.kill()
            await site.daemon.wait()


async def until(holds: Callable[[], Awaitable[bool]], what: str, within_s: float) -> bool:
    """Wait for a condition; says so when it does not come."""
    deadline = asyncio.get_running_loop().time() + within_s
    while not await holds():
        if asyncio.get_running_loop().time() > deadline:
            log.warning("not within %.0f s: %s", within_s, what)
            return False
        await asyncio.sleep(0.3)
    return True


async def watch_phones(site: Site) -> None:
    """When the phones' calls end, by the clock that the callers use."""
    loop = asyncio.get_running_loop()
    counted = dict.fromkeys(site.phones, 0)
    while True:
        for phone in site.phones:
            for result in phone.results[counted[phone] :]:
                tell_phone(site, phone, result, loop.time())
                counted[phone] += 1
        await asyncio.sleep(0.1)


def tell_phone(site: Site, phone: UasPhone, result: CallResult, at: float, *, has_died: bool = False) -> None:
    """Keep a phone's account of a call."""
    found = NUMBER.search(result.shown)
    if found is not None:
        site.phones_told.append(PhoneTold(phone.endpoint, found[0], at, result.steps, has_died))


# ── callers ───────────────────────────────────────────────────────────────────────────────────────────────


async def keep_calling(site: Site, ends_at: float) -> None:
    """Callers at random moments until ``ends_at``."""
    loop = asyncio.get_running_loop()
    while loop.time() < ends_at:
        begin_call(site)
        await asyncio.sleep(site.rng.expovariate(CALLS_PER_S))


def begin_call(site: Site) -> asyncio.Task[None]:
    """One caller with a number of its own."""
    loop = asyncio.get_running_loop()
    told = CallerTold(f"+4930{9_000_000 + len(site.told)}", loop.time())
    site.told.append(told)
    stay_s = site.rng.uniform(*STAY_S[0 if site.rng.random() < HASTY_SHARE else 1])
    task = asyncio.create_task(call(site, told, stay_s))
    site.tasks.add(task)
    task.add_done_callback(site.tasks.discard)
    return task


async def call(site: Site, told: CallerTold, stay_s: float) -> None:
    """One call from its beginning to its end."""
    try:
        begun = await site.callers.begin(told.number, "Soak", DNIS, stay_s=stay_s, voice=site.callers.voices[0])
        told.result = await begun.wait()
    except SippFailed as problem:
        log.info("caller %s could not call: %s", told.number, problem)
    told.ended_at = asyncio.get_running_loop().time()


# ── faults ────────────────────────────────────────────────────────────────────────────────────────────────


async def daemon_killed(site: Site) -> None:
    """kill -9; a service manager starts it again."""
    assert site.daemon is not None
    site.daemon.kill()
    await site.daemon.wait()
    await asyncio.sleep(site.rng.uniform(*RESTARTED_AFTER_S))
    await site.start_daemon()
    await until(site.is_healthy, "the daemon is up again", 60)


async def daemon_away(site: Site) -> None:
    """kill -9 and half a minute without a daemon: calls come and go over the fall-back."""
    assert site.daemon is not None
    site.daemon.kill()
    await site.daemon.wait()
    await asyncio.sleep(site.rng.uniform(15, 30))
    await site.start_daemon()
    await until(site.is_healthy, "the daemon is up again", 60)


async def daemon_stopped(site: Site) -> None:
    """SIGSTOP for ten seconds."""
    assert site.daemon is not None
    site.daemon.send_signal(signal.SIGSTOP)
    try:
        await asyncio.sleep(10)
    finally:
        site.daemon.send_signal(signal.SIGCONT)


async def ami_cut(site: Site) -> None:
    """The link is reset; a new one can be made at once."""
    site.ami.cut()


async def ami_refused(site: Site) -> None:
    """The link is reset and cannot be made for a while."""
    await site.ami.refuse()
    await asyncio.sleep(site.rng.uniform(3, 12))
    await site.ami.open()


async def ami_stalled(site: Site) -> None:
    """Nothing gets through, then everything at once."""
    site.ami.stall()
    await asyncio.sleep(site.rng.uniform(3, 15))
    site.ami.flow()


async def ami_half_open(site: Site) -> None:
    """The PBX's side of the link is gone and nobody says so."""
    site.ami.half_open()


async def pbx_restarted(site: Site) -> None:
    """Asterisk is stopped, or killed, and started; its calls are over."""
    began = asyncio.get_running_loop().time()
    await (site.pbx.kill() if site.rng.random() < 0.5 else site.pbx.stop())
    await asyncio.sleep(site.rng.uniform(0, 2))
    await site.pbx.start()
    site.pbx_away.append((began, asyncio.get_running_loop().time()))


async def database_locked(site: Site) -> None:
    """Another process holds SQLite's write lock for up to a minute."""
    held_s = site.rng.uniform(5, 45)
    program = (
        "import sqlite3,sys,time;c=sqlite3.connect(sys.argv[1],isolation_level=None,timeout=30);"
        "c.execute('BEGIN EXCLUSIVE');time.sleep(float(sys.argv[2]))"
    )
    holder = await asyncio.create_subprocess_exec(sys.executable, "-c", program, str(site.database), str(held_s))
    await holder.wait()


async def desks_dropped(site: Site) -> None:
    """All desk sockets are reset; for a while none can be made."""
    await site.desks.refuse()
    await asyncio.sleep(site.rng.uniform(0, 6))
    await site.desks.open()


async def phone_died(site: Site) -> None:
    """A phone dies, in a call or not, is unregistered, and comes back."""
    phone = site.rng.choice(site.phones)
    sipp = phone._sipp
    before = sipp.result() if sipp is not None else None
    await phone.stop()
    if before is not None and before.steps:
        tell_phone(site, phone, before, asyncio.get_running_loop().time(), has_died=True)
    await asyncio.sleep(site.rng.uniform(2, 10))
    for _ in range(20):
        try:
            await phone.start()
        except ConnectionError:
            await asyncio.sleep(2)
        else:
            return
    raise RuntimeError(f"{phone.endpoint} could not register again")


FAULTS: dict[str, Callable[[Site], Awaitable[None]]] = {
    one.__name__: one
    for one in (
        daemon_killed,
        daemon_away,
        daemon_stopped,
        ami_cut,
        ami_refused,
        ami_stalled,
        ami_half_open,
        pbx_restarted,
        database_locked,
        desks_dropped,
        phone_died,
    )
}


async def keep_failing(site: Site, ends_at: float) -> None:
    """One fault after the other, each kind in turn in a random order, now and then two at once."""
    loop = asyncio.get_running_loop()
    kinds = [kind for kind in FAULTS if not ONLY or kind in ONLY]
    bag: list[str] = []

    def draw() -> str:
        if not bag:
            bag.extend(site.rng.sample(kinds, len(kinds)))
        return bag.pop()

    await asyncio.sleep(site.rng.uniform(*QUIET_S))
    while loop.time() < ends_at:
        chosen = [draw()]
        if site.rng.random() < AT_ONCE_CHANCE and len(kinds) > 1:
            second = draw()
            # One daemon can't be frozen and dead at once, one PBX not gone twice.
            if second.partition("_")[0] != chosen[0].partition("_")[0] and second not in chosen:
                chosen.append(second)
            else:
                bag.append(second)
        site.note(f"fault: {' and '.join(chosen)}")
        site.faults.update(chosen)
        await asyncio.gather(*(FAULTS[kind](site) for kind in chosen))
        site.note(f"over: {' and '.join(chosen)}")
        await asyncio.sleep(site.rng.uniform(*QUIET_S))


# ── the books ─────────────────────────────────────────────────────────────────────────────────────────────


def read_rows(database: Path) -> dict[str, list[sqlite3.Row]]:
    """Caller's number → its interactions."""
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    connection.row_factory = sqlite3.Row
    try:
        rows = connection.execute("SELECT * FROM interaction WHERE merged_into IS NULL").fetchall()
    finally:
        connection.close()
    found: dict[str, list[sqlite3.Row]] = {}
    for row in rows:
        found.setdefault(row["ani_e164"] or row["ani_raw"], []).append(row)
    return found


async def floor(site: Site) -> dict[str, Any]:
    """The live picture, as the supervisor gets it."""
    jar = aiohttp.CookieJar(unsafe=True)
    timeout = aiohttp.ClientTimeout(total=10)
    headers = {"Origin": site.url}
    async with aiohttp.ClientSession(site.url, cookie_jar=jar, timeout=timeout, headers=headers) as http:
        async with http.post("/login", data={"username": "sue", "password": PASSWORD}) as answer:
            answer.raise_for_status()
        async with http.get("/api/floor") as answer:
            answer.raise_for_status()
            picture: dict[str, Any] = await answer.json()
            return picture


async def settle(site: Site) -> tuple[list[str], bool]:
    """Wait until the floor is idle and all is written; returns what is stuck, and whether callers reach agents."""
    await until(site.is_healthy, "the daemon is well", 60)
    if site.tasks:
        await asyncio.wait(site.tasks, timeout=SETTLE_S)
    last: dict[str, Any] = {}

    async def is_idle() -> bool:
        try:
            last.update(await floor(site))
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False
        channels = await live_channels(site)
        return not channels and not last["calls"] and all(one["state"] == "AVAILABLE" for one in last["agents"])

    await until(is_idle, "every agent is free and nobody waits", SETTLE_S)
    stuck = [
        f"agent {one['id']} {one['state']} {one['reason']} (desk {one['desk_why'] or 'fresh'}, phone "
        f"{'reachable' if one['is_phone_reachable'] else 'unreachable'})"
        for one in last.get("agents", ())
        if one["state"] != "AVAILABLE"
    ]
    stuck += [f"call {one['id']} {one['phase']}" for one in last.get("calls", ())]
    stuck += [f"channel {one}" for one in await live_channels(site)]
    final = [begin_call(site) for _ in range(AGENTS)]
    await asyncio.wait(final, timeout=SETTLE_S)

    async def is_written() -> bool:
        rows = read_rows(site.database)
        return all(
            told.number in rows and all(row["ended_at"] is not None for row in rows[told.number])
            for told in site.told
            if told.result is not None and told.result.was_answered
        )

    await until(is_written, "every call is in the database and ended there", RECORDED_WITHIN_S)
    last_numbers = {told.number for told in site.told[-AGENTS:]}
    is_alive = any(phone.number in last_numbers and "answered" in phone.steps for phone in site.phones_told)
    return stuck, is_alive


async def live_channels(site: Site) -> list[str]:
    """Channels that live on the PBX."""
    text = await site.pbx.cli("core show channels concise")
    return [line.partition("!")[0] for line in text.splitlines() if "!" in line]


@dataclass
class Books:
    """What differs, a line each."""

    calls: int = 0
    not_taken: int = 0
    lost_with_the_pbx: int = 0
    dropped: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def compare(site: Site, stuck: Sequence[str]) -> Books:
    """What SIPp saw against what the database says."""
    books = Books(stuck=list(stuck))
    rows = read_rows(site.database)
    at_phones: dict[str, list[PhoneTold]] = {}
    for phone in site.phones_told:
        at_phones.setdefault(phone.number, []).append(phone)
    for told in site.told:
        if told.result is None or not told.result.was_answered:
            books.not_taken += 1
            continue
        books.calls += 1
        phones = at_phones.get(told.number, [])
        when = f"{told.number} ({moment(site, told.began_at)}–{moment(site, told.ended_at)})"
        mine = rows.get(told.number, [])
        is_lost_with_pbx = any(told.began_at <= back and gone <= told.ended_at for gone, back in site.pbx_away)
        books.lost_with_the_pbx += is_lost_with_pbx
        if not mine:
            books.lost.append(f"{when} {told.result.steps}")
        elif len(mine) > 1:
            books.twice.append(f"{when} {[row['id'] for row in mine]}")
        if not is_lost_with_pbx:
            books.dropped.extend(f"{when} {why}" for why in unasked_ends(told, phones))
        for row in mine:
            if row["ended_at"] is None:
                books.stuck.append(f"interaction {row['id']} of {when} has not ended")
        answered = [phone for phone in phones if "answered" in phone.steps]
        if len(mine) == 1 and answered and not is_lost_with_pbx:
            row = mine[0]
            if row["answered_at"] is None:
                books.wrong.append(f"{when} {row['id']}: {answered[0].endpoint} answered, outcome {row['outcome']}")
            elif row["agent"] not in {phone.endpoint for phone in answered}:
                books.wrong.append(f"{when} {row['id']}: {answered[-1].endpoint} answered, not {row['agent']}")
        elif len(mine) == 1 and not answered and mine[0]["answered_at"] is not None:
            books.wrong.append(f"{when} {mine[0]['id']}: nobody answered, agent {mine[0]['agent']!r}")
    return books


def unasked_ends(told: CallerTold, phones: Sequence[PhoneTold]) -> list[str]:
    """Why this call, or a talk of it, ended though nobody asked for it."""
    assert told.result is not None
    found: list[str] = []
    has_agent_ended = any({"hung_up", "transferred"} & set(phone.steps) for phone in phones)
    if "gave_up" not in told.result.steps and not has_agent_ended:
        found.append(f"the caller was sent away: {told.result.steps}, phones {[phone.steps for phone in phones]}")
    for phone in phones:
        was_left = "answered" in phone.steps and "ended_by_other" in phone.steps
        if was_left and not phone.has_died and abs(phone.ended_at - told.ended_at) > SAME_MOMENT_S:
            found.append(f"the talk at {phone.endpoint} was ended, the caller stayed: {told.result.steps}")
    return found


def moment(site: Site, at: float) -> str:
    """Seconds since the first line of the log."""
    began = site.fault_log[0][0] if site.fault_log else at
    return f"{at - began:.0f} s"


# ── the run ───────────────────────────────────────────────────────────────────────────────────────────────


async def soak(folder: Path) -> dict[str, Any]:
    """The whole."""
    rng = random.Random(SEED)
    async with running_site(folder, rng) as site:
        loop = asyncio.get_running_loop()
        began = loop.time()
        site.note("callers begin")
        calling = asyncio.create_task(keep_calling(site, began + SOAK_S))
        await keep_failing(site, began + SOAK_S - 15)
        await calling
        site.note("faults are over")
        stuck, is_alive = await settle(site)
        books = compare(site, stuck)
        site.note("compared")
        for kind in ("dropped", "lost", "twice", "stuck", "wrong"):
            for line in getattr(books, kind):
                print(f"{kind}: {line}", flush=True)
        return {
            "faults": dict(sorted(site.faults.items())),
            "calls": books.calls,
            "dropped": len(books.dropped),
            "lost": len(books.lost),
            "twice": len(books.twice),
            "stuck": len(books.stuck),
            "wrong": len(books.wrong),
            "callers_reach_agents_afterwards": is_alive,
            "seconds": round(loop.time() - began),
            "seed": SEED,
            "not_taken": books.not_taken,
            "calls_during_a_restart_of_asterisk": books.lost_with_the_pbx,
            "talks": sum(1 for phone in site.phones_told if "answered" in phone.steps),
            "details": {kind: getattr(books, kind) for kind in ("dropped", "lost", "twice", "stuck", "wrong")},
            "log": [f"{moment(site, at)} {what}" for at, what in site.fault_log],
        }


async def run() -> int:
    """Soak, print, write; 0 when the books balance."""
    print(f"seed {SEED}, {SOAK_S:.0f} s", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    result: dict[str, Any] | None = None
    try:
        result = await soak(folder)
    finally:
        is_clean = result is not None and not any(result["details"].values())
        if is_clean and not os.environ.get("SOAK_KEEP"):
            shutil.rmtree(folder, ignore_errors=True)
        else:
            print(f"everything that was written lies in {folder}", flush=True)
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps({key: value for key, value in result.items() if key not in {"details", "log"}}, indent=2))
    is_met = is_clean and result["callers_reach_agents_afterwards"]
    print("the books balance" if is_met else "the books do NOT balance")
    return 0 if is_met else 1


if __name__ == "__main__":
    logging.basicConfig(level="WARNING", format="%(asctime)s %(name)s %(message)s")
    log.setLevel("INFO")
    raise SystemExit(asyncio.run(run()))
