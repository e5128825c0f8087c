"""The demonstration: a small company on a real Asterisk, with callers, on this machine. ``callfloor demo`` runs it.

Everything it makes lies in one folder and stays for the next start. The daemon runs as a process of its own, as it does
in earnest; callers and automatic agents live here and use the public ways only.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import secrets
import shutil
import signal
import sys
import time
import tomllib
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from crm_core import centre, customers, seed
from crm_core.centre import Centre
from crm_core.database import Database
from cti.asterisk.local_pbx import (
    AsteriskProgram,
    LocalPbx,
    LocalPbxError,
    PhoneAccount,
    Ports,
    free_ports,
    installed_root,
)
from cti.demo.automatic_agents import AutomaticAgent, Habits, LoginFailed
from cti.demo.callers import Callers, SippFailed, UasPhone
from cti.errors import CallfloorError

log = logging.getLogger(__name__)

VERSION = 22
FIRST_AGENT, SECOND_AGENT = "li.wei", "sarah.chen"
SUPERVISOR = "supervisor"
WAITING_CALLERS = 2
"""Callers that the demo keeps in line beyond what the automatic agents can take."""
EMERGENCY = {"CALLFLOOR_EMERGENCY_TRUNK": "callfloor-trunk", "CALLFLOOR_EMERGENCY_CALLERID": "4930111"}
"""As a site sets it; the demo's trunk leads to callers that are programs."""
START_S = 30.0

Tell = Callable[[str], None]


class DemoFailed(CallfloorError):
    """The demonstration could not be started; the text says what to do."""


def must_simulate() -> bool:
    """No Asterisk and no way to fetch one. Where there is apt a missing Asterisk is a fault to mend, not to hide."""
    try:
        AsteriskProgram.find(installed_root(VERSION))
    except LocalPbxError:
        return shutil.which("apt-get") is None
    return False


class Demo:
    """One demonstration in ``folder``. ``tell`` gets plain lines for the person who started it."""

    def __init__(
        self, folder: Path, *, voices: Path, web_port: int, desk_port: int, is_simulated: bool, tell: Tell
    ) -> None:
        self._folder = folder.resolve()
        self._voices = voices
        self._web_port, self._desk_port = web_port, desk_port
        self._is_simulated = is_simulated
        self._tell = tell
        self._database_url = f"sqlite+aiosqlite:///{self._folder / 'callfloor.db'}"
        self._closers: list[Callable[[], Coroutine[Any, Any, object]]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        # Who calls when, and how long an automatic agent takes: nothing secret hangs on it.
        self._rng = random.Random()  # noqa: S311
        self._daemon: asyncio.subprocess.Process | None = None

    @property
    def site(self) -> str:
        """The pages' address."""
        return f"http://127.0.0.1:{self._web_port}"

    async def run(self) -> None:
        """Start everything, say where it is, go on until the process is told to stop. Raises ``DemoFailed``."""
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        try:
            await self._start()
            watched = asyncio.create_task(self._watch_daemon())
            waiting = asyncio.create_task(stopping.wait())
            done, _ = await asyncio.wait({watched, waiting}, return_when=asyncio.FIRST_COMPLETED)
            watched.cancel()
            waiting.cancel()
            if watched in done:
                raise DemoFailed(f"the daemon ended by itself; its last words are in {self._folder / 'daemon.log'}")
        finally:
            self._tell("Stopping …")
            await self._stop()

    async def _start(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        logins = self._logins()
        self._tell("Preparing the company: 3 queues, 8 agents, 500 customers …")
        configured, numbers = await self._seed(logins)
        phones = self._phone_passwords(configured)
        pbx = None
        if not self._is_simulated:
            pbx = await self._start_pbx(configured, phones)
        self._tell("Starting the daemon …")
        await self._start_daemon(pbx)
        people = (FIRST_AGENT, SECOND_AGENT)
        automatic = [agent for agent in configured.agents if agent.slug not in people and agent.queues]
        if pbx is not None:
            await self._start_phones(pbx, [agent.endpoint for agent in automatic], phones)
        for agent in automatic:
            self._begin(self._automatic_agent(agent.slug, logins[agent.slug]))
        if pbx is not None:
            callers = Callers(
                pbx_host=pbx.host,
                pbx_port=pbx.sip_port,
                folder=self._folder / "sip",
                voices=sorted(self._voices.glob("caller-*.alaw")),
            )
            self._closers.append(callers.stop)
            for _ in range(len(automatic) + WAITING_CALLERS):
                self._begin(self._call_again_and_again(callers, numbers, [one.dnis for one in configured.routes]))
        self._say_where(logins)

    def _say_where(self, logins: dict[str, str]) -> None:
        kind = "simulated PBX: nobody can be heard" if self._is_simulated else f"Asterisk {VERSION}"
        self._tell("")
        self._tell(f"  Callfloor is running on {self.site}   ({kind})")
        self._tell("")
        for role, user in (("agent", FIRST_AGENT), ("a second agent", SECOND_AGENT), ("supervisor", SUPERVISOR)):
            self._tell(f"    {role:15} {user:12} {logins[user]}")
        self._tell("")
        self._tell("  Log in as the agent, press Available, and answer. Ctrl-C stops everything.")

    # ── the company ───────────────────────────────────────────────────────────────────────────────────────

    def _logins(self) -> dict[str, str]:
        users = [user.username for user in seed.DEMO_USERS]
        return self._kept_secrets("logins.toml", users, lambda: secrets.token_urlsafe(9))

    def _phone_passwords(self, configured: Centre) -> dict[str, str]:
        endpoints = [agent.endpoint for agent in configured.agents]
        return self._kept_secrets("phones.toml", endpoints, lambda: secrets.token_hex(12))

    def _kept_secrets(self, name: str, keys: Sequence[str], make: Callable[[], str]) -> dict[str, str]:
        """Secrets made at the first start and kept for the next, readable by this user only."""
        path = self._folder / name
        kept: dict[str, str] = {}
        if path.is_file():
            kept = tomllib.loads(path.read_text(encoding="utf-8"))
        kept = {key: kept.get(key) or make() for key in keys}
        path.touch(mode=0o600)
        path.write_text("".join(f'"{key}" = "{value}"\n' for key, value in kept.items()), encoding="utf-8")
        return kept

    async def _seed(self, logins: dict[str, str]) -> tuple[Centre, list[str]]:
        database = Database(self._database_url)
        await database.open()
        try:
            await seed.seed_demo(
                database,
                now=time.time(),
                rng=random.Random(1),  # noqa: S311  the same company each time
                passwords=logins,
                pbx="pbx1",
            )
            async with database.read() as connection:
                return await centre.load_centre(connection), await customers.some_numbers(connection, 200)
        finally:
            await database.close()

    # ── the machines ──────────────────────────────────────────────────────────────────────────────────────

    async def _start_pbx(self, configured: Centre, phones: dict[str, str]) -> LocalPbx:
        self._tell(f"Starting Asterisk {VERSION} …")
        browsers = {agent.endpoint for agent in configured.agents if agent.phone_kind == "browser"}
        root = installed_root(VERSION)
        try:
            AsteriskProgram.find(root)
        except LocalPbxError as error:
            raise DemoFailed(str(error)) from error
        pbx = LocalPbx(
            root,
            self._folder / "pbx",
            version=VERSION,
            phones=[
                PhoneAccount(endpoint, "" if endpoint in browsers else password, endpoint in browsers)
                for endpoint, password in phones.items()
            ],
            queues=[queue.slug for queue in configured.queues],
            routes={route.dnis: route.queue for route in configured.routes},
            ports=self._ports(),
            settings=EMERGENCY,
            prompts=self._prompts(),
        )
        try:
            await pbx.start()
        except LocalPbxError as error:
            raise DemoFailed(str(error)) from error
        self._closers.append(pbx.stop)
        return pbx

    def _prompts(self) -> Path:
        """The announcements of this demonstration, which its administrator may replace."""
        own, made = self._folder / "prompts", self._voices.parent / "prompts"
        if made.is_dir() and not own.is_dir():
            shutil.copytree(made, own)
        return own if own.is_dir() else made

    def _ports(self) -> Ports:
        # Kept from start to start, so that a page left open finds its phone again.
        path = self._folder / "ports.toml"
        if path.is_file():
            return Ports(**tomllib.loads(path.read_text(encoding="utf-8")))
        ports = free_ports()
        path.write_text(f"sip_udp = {ports.sip_udp}\nws = {ports.ws}\nami = {ports.ami}\n", encoding="utf-8")
        return ports

    async def _start_daemon(self, pbx: LocalPbx | None) -> None:
        config = self._folder / "callfloor.toml"
        config.touch(mode=0o600)
        config.write_text(self._config(pbx), encoding="utf-8")
        with (self._folder / "daemon.log").open("ab") as output:
            self._daemon = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "cti.cli", "serve", "--config", str(config)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                # Ctrl-C reaches the demo, which ends the daemon in its order.
                start_new_session=True,
            )
        self._closers.append(self._stop_daemon)
        try:
            async with asyncio.timeout(START_S):
                while not await self._is_healthy():
                    if self._daemon.returncode is not None:
                        raise DemoFailed(f"the daemon did not start: see {self._folder / 'daemon.log'}")
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise DemoFailed(f"the daemon is not ready after {START_S:.0f} s: see its daemon.log") from None

    def _config(self, pbx: LocalPbx | None) -> str:
        folder = self._folder
        text = f"""\
is_simulated = {"true" if self._is_simulated else "false"}
[database]
url = "{self._database_url}"
[journal]
folder = "{folder / "journal"}"
[recordings]
folder = "{pbx.recordings if pbx is not None else folder / "recordings"}"
[prompts]
folder = "{self._prompts()}"
[web]
port = {self._web_port}
[desk_socket]
port = {self._desk_port}
"""
        if pbx is None:
            return text
        return f"""{text}
[[pbx]]
id = "{pbx.pbx}"
host = "{pbx.host}"
port = {pbx.ami_port}
username = "{pbx.ami_username}"
secret = "{pbx.ami_secret}"
sip_ws_url = "{pbx.ws_url}"
records_folder = "{pbx.folder / "log"}"
queues_file = "{pbx.queues_file}"
ari_url = "{pbx.ari_url}"
ari_username = "{pbx.ari_username}"
ari_secret = "{pbx.ari_secret}"
"""

    async def _is_healthy(self) -> bool:
        with contextlib.suppress(aiohttp.ClientError, OSError, ValueError, KeyError):
            async with aiohttp.ClientSession() as http, http.get(f"{self.site}/health") as answer:
                return bool((await answer.json())["status"] == "ok")
        return False

    async def _watch_daemon(self) -> None:
        if self._daemon is not None:
            await self._daemon.wait()

    async def _stop_daemon(self) -> None:
        if self._daemon is not None and self._daemon.returncode is None:
            self._daemon.terminate()
            await self._daemon.wait()

    # ── the people ────────────────────────────────────────────────────────────────────────────────────────

    async def _start_phones(self, pbx: LocalPbx, endpoints: Sequence[str], phones: dict[str, str]) -> None:
        voices = sorted(self._voices.glob("agent-*.alaw"))
        for number, endpoint in enumerate(endpoints):
            phone = UasPhone(
                pbx_host=pbx.host,
                pbx_port=pbx.sip_port,
                folder=self._folder / "sip",
                endpoint=endpoint,
                password=phones[endpoint],
                answer_after_s=self._rng.uniform(1.0, 4.0),
                talk_s=self._rng.uniform(20.0, 60.0),
                voice=voices[number % len(voices)] if voices else None,
            )
            await phone.start()
            self._closers.append(phone.stop)

    async def _automatic_agent(self, user: str, password: str) -> None:
        agent = AutomaticAgent(
            site=self.site,
            username=user,
            password=password,
            rng=random.Random(self._rng.random()),  # noqa: S311
            habits=Habits(break_reasons=("break", "lunch"), notes=("Asked about the order.", "已说明账单。")),
        )
        try:
            await agent.run()
        except LoginFailed as error:
            log.warning("! automatic agent %s could not log in: %s", user, error)

    async def _call_again_and_again(self, callers: Callers, numbers: Sequence[str], dnis: Sequence[str]) -> None:
        await asyncio.sleep(self._rng.uniform(0.0, 10.0))
        while True:
            known = self._rng.random() < 0.9
            number = self._rng.choice(numbers) if known else f"+4420794{self._rng.randrange(10**5):05}"
            try:
                await callers.call(
                    number if self._rng.random() < 0.95 else "",
                    "",
                    self._rng.choice(dnis),
                    talk_s=self._rng.uniform(30.0, 90.0),
                    patience_s=60.0,
                    voice=self._rng.choice(callers.voices) if callers.voices else None,
                )
            except SippFailed as error:
                log.warning("! a caller could not call: %s", error)
            await asyncio.sleep(self._rng.uniform(1.0, 5.0))

    # ── the end ───────────────────────────────────────────────────────────────────────────────────────────

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        while self._closers:
            await self._closers.pop()()
