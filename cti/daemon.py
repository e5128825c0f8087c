"""The daemon: composes the program and runs it.

Everything is made here and handed in; no module makes its own clock, database or socket.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import logging
import random
import secrets
import signal
import sys
import time
import tomllib
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any

from aiohttp import web

from crm_core import centre, customers, interactions
from crm_core.database import Database
from cti import commands as c
from cti import events as e
from cti import journal
from cti.asterisk.switch import AsteriskSwitch, PbxAddress
from cti.driver import Driver
from cti.errors import SettingsError
from cti.events import AgentState
from cti.ids import AgentId, PbxId, pbx_of
from cti.inbound import Inbound
from cti.journal import START, Journal, Position
from cti.live_floor import LiveFloor
from cti.plans import plan_of
from cti.recorder import READER, Recorder
from cti.recording_files import RecordingFiles
from cti.screenpop.caller_lookup import CallerLookup
from cti.screenpop.hub import DeskHub, FloorPicture
from cti.screenpop.pop import Pops
from cti.settings import PbxSettings, Settings
from cti.simulated_callers import SimulatedSite
from cti.switch import Switch
from web.app import PhoneCredentials, WebSettings, make_app, make_runner, sessions_of

log = logging.getLogger(__name__)

SWITCH_INTERVAL_S = 0.0005
"""After that long a thread that computes gives way to the loop (Python's default is ten times as long)."""


class Daemon:
    """One running Callfloor. ``start`` begins, ``stop`` ends in order; between them the loop does the work."""

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.time) -> None:
        self.settings = settings
        self._clock = clock
        self._switches: dict[PbxId, Switch] = {}
        self._closers: list[Callable[[], Any]] = []
        self._phone_passwords = {pbx.id: _phones(pbx) for pbx in settings.pbx}
        self._sip_domains = {pbx.id: pbx.sip_domain for pbx in settings.pbx}

    async def start(self) -> None:
        """Open the database and the journal, take up where the last run ended, serve, link to the PBXs."""
        settings, clock = self.settings, self._clock
        database = Database(settings.database.url)
        await self._open(database.open(), database.close)
        async with database.read() as connection:
            plan = plan_of(await centre.load_centre(connection), has_real_phones=not settings.is_simulated)
            stored = await interactions.position(connection, READER)
            numbers = await customers.some_numbers(connection, 200) if settings.is_simulated else []

        # What the last run journaled: into the core (states, waiting callers) and into the database.
        core = self._core = Inbound(plan, boot=secrets.token_hex(4))
        folder = settings.journal.folder
        since = START if stored is None else Position(int(stored[0]), 0)
        core.restore(fact for _, fact in journal.read(folder, since) if not isinstance(fact, e.PlanChanged))
        written = Journal(folder, preface=lambda: _preface(core, clock()))
        recorder = Recorder(
            database,
            owner_of=core.owner_of,
            where=lambda: written.position,
            clock=clock,
            region=settings.site.region,
        )
        log.info("= read %d facts of earlier journals", await recorder.catch_up(folder))
        written.open()
        self._closers.append(written.close)

        loop = asyncio.get_running_loop()
        driver = self._driver = Driver(core, journal=written, clock=clock, carry_out=self._carry_out, loop=loop)
        floor = LiveFloor(core, post=driver.post, clock=clock)
        pops = Pops(plan)
        self._lookup = CallerLookup(
            database, pops=pops, inbox=driver.post, clock=clock, default_region=settings.site.region
        )
        self._closers.append(self._lookup.close)
        app = make_app(database=database, floor=floor, settings=self._web_settings())
        sessions = sessions_of(app)
        self._hub = DeskHub(
            inbox=driver.post,
            clock=clock,
            authenticate=sessions.authenticate,
            pops=pops,
            host=settings.desk_socket.host,
            port=settings.desk_socket.port,
            origins=self._origins(),
            picture=lambda: _picture(floor),
        )
        sessions.listen(self._hub.revoke)
        # The screens first: nobody waits for the record.
        driver.listen(self._hub.listen)
        driver.listen(recorder.listen)
        for state in _agent_states(core, clock()):
            self._hub.listen(state)

        recorder.start()
        self._closers.append(recorder.close)
        recording_files = RecordingFiles(database, folder=settings.recordings.folder, clock=clock)
        recording_files.start()
        self._closers.append(recording_files.close)
        await self._open(self._hub.start(), self._hub.close)
        runner = make_runner(app)
        await self._open(runner.setup(), runner.cleanup)
        await web.TCPSite(runner, settings.web.host, settings.web.port).start()
        self._closers.append(driver.close)
        await self._link(numbers)

    async def stop(self) -> None:
        """End in the reverse order; calls go on without us."""
        while self._closers:
            closing = self._closers.pop()()
            if asyncio.iscoroutine(closing):
                await closing

    async def _open(self, opening: Coroutine[Any, Any, object], close: Callable[[], Any]) -> None:
        self._closers.append(close)
        await opening

    # ── the PBXs ──────────────────────────────────────────────────────────────────────────────────────────

    async def _link(self, numbers: Sequence[str]) -> None:
        # Timing of retries, and who calls a simulated PBX: nothing secret hangs on it.
        jitter = random.Random()  # noqa: S311
        if self.settings.is_simulated:
            site = SimulatedSite(self._core.plan, numbers, self._driver.post, clock=self._clock, rng=jitter)
            self._switches[site.pbx] = site.switch
            await self._open(site.start(), site.close)
            return
        for pbx in self.settings.pbx:
            switch = AsteriskSwitch(_address(pbx), self._driver.post, clock=self._clock, jitter=jitter)
            self._switches[PbxId(pbx.id)] = switch
            switch.start()
            self._closers.append(switch.close)

    def _carry_out(self, command: c.Command) -> None:
        match command:
            case c.ShowPop() | c.ClosePop():
                self._hub.carry_out(command)
            case c.LookUpCaller():
                self._lookup.carry_out(command)
            case c.Beat():
                self._to(command.pbx, command)
            case (
                c.AcceptOffer()
                | c.RingAgent()
                | c.ReturnToHold()
                | c.HangUp()
                | c.SendToHold()
                | c.StartConsult()
                | c.JoinLegs()
                | c.PauseRecording()
            ):
                self._to(pbx_of(command.leg), command)
            case _:
                raise NotImplementedError(type(command).__name__)

    def _to(self, pbx: PbxId, command: c.Command) -> None:
        switch = self._switches.get(pbx)
        if switch is not None:
            switch.carry_out(command)
            return
        self._driver.post(
            e.CommandFailed(
                at=self._clock(),
                command=type(command).__name__,
                leg=getattr(command, "leg", None),
                interaction=getattr(command, "interaction", None),
                why="no_such_pbx",
            )
        )

    # ── the pages ─────────────────────────────────────────────────────────────────────────────────────────

    def _origins(self) -> tuple[str, ...]:
        served = self.settings.web
        if served.origins:
            return served.origins
        return (f"http://{served.host}:{served.port}",)

    def _web_settings(self) -> WebSettings:
        settings, desk = self.settings, self.settings.desk_socket
        return WebSettings(
            site_origins=frozenset(self._origins()),
            cookie_secure=all(origin.startswith("https://") for origin in self._origins()),
            desk_socket_url=desk.url or f"ws://{desk.host}:{desk.port}/desk/socket",
            sip_ws_urls={pbx.id: pbx.sip_ws_url for pbx in settings.pbx if pbx.sip_ws_url},
            phone_secrets=self._phone_of,
            recordings_folder=settings.recordings.folder,
            clock=self._clock,
            default_region=settings.site.region,
            is_simulated=settings.is_simulated,
        )

    def _phone_of(self, agent: str) -> PhoneCredentials | None:
        plan = self._core.plan.agents.get(AgentId(agent))
        if plan is None:
            return None
        phone = plan.phone
        password = self._phone_passwords.get(phone.pbx, {}).get(phone.endpoint)
        if password is None:
            return None
        domain = self._sip_domains[phone.pbx]
        return PhoneCredentials(uri=f"sip:{phone.endpoint}@{domain}", username=phone.endpoint, password=password)


def _address(pbx: PbxSettings) -> PbxAddress:
    return PbxAddress(
        id=PbxId(pbx.id), host=pbx.host, port=pbx.port, username=pbx.username, secret=pbx.secret.get_secret_value()
    )


def _phones(pbx: PbxSettings) -> Mapping[str, str]:
    """Endpoint → password, from the file that the set-up of the PBX wrote."""
    if pbx.phones_file is None:
        return {}
    key = f"pbx.{pbx.id}.phones_file"
    try:
        found = tomllib.loads(pbx.phones_file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(key, f"{pbx.phones_file} can't be read: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(key, f"{pbx.phones_file} is not valid TOML: {error}") from None
    if not all(isinstance(password, str) for password in found.values()):
        raise SettingsError(key, 'wants lines of endpoint = "password"')
    return found


def _preface(core: Inbound, now: float) -> Iterable[e.Event]:
    """What each journal segment begins with: enough to read it without an older one."""
    yield e.PlanChanged(at=now, plan=core.plan)
    yield from _agent_states(core, now)


def _agent_states(core: Inbound, now: float) -> Iterable[e.AgentStateChanged]:
    for agent in core.agents.values():
        if agent.state is AgentState.LOGGED_OUT:
            continue
        yield e.AgentStateChanged(
            at=agent.since or now,
            agent=agent.id,
            state=agent.state,
            reason=agent.reason,
            by="system",
            interaction=agent.interaction,
            until=agent.until,
            next_state=agent.next_state,
        )


def _picture(floor: LiveFloor) -> FloorPicture:
    return FloorPicture(
        agents=[dataclasses.asdict(agent) for agent in floor.agents()],
        queues=[dataclasses.asdict(queue) for queue in floor.queues()],
    )


def _favour_the_loop() -> None:
    """The loop must not wait for look-ups in threads, nor for the collector to walk what lives for ever."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


async def serve(settings: Settings) -> None:
    """Run until the process is told to stop (SIGTERM, SIGINT)."""
    daemon = Daemon(settings)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    try:
        await daemon.start()
        _favour_the_loop()
        log.info("= serving on %s:%d", settings.web.host, settings.web.port)
        await stopping.wait()
    finally:
        await daemon.stop()
