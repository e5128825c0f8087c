"""The daemon: composes the program and runs it.

Everything is made here and handed in; no module makes its own clock, database or socket.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import secrets
import signal
import sys
import time
import tomllib
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from aiohttp import web

from crm_core import centre, configuring, customers, interactions, users
from crm_core.database import Database, DatabaseAway
from cti import commands as c
from cti import events as e
from cti import journal
from cti.asterisk.ari import Ari, AriAddress
from cti.asterisk.phone_accounts import PhoneAccounts
from cti.asterisk.switch import AsteriskSwitch, PbxAddress
from cti.driver import Driver
from cti.errors import LinkDown, SettingsError
from cti.events import AgentState
from cti.floor_memory import FloorMemory
from cti.ids import AgentId, PbxId, pbx_of
from cti.inbound import Inbound
from cti.journal import START, Journal, Position
from cti.journal_keeping import JournalKeeping
from cti.live_floor import LiveFloor
from cti.pbx_records import PbxRecords, RecordSource
from cti.phone_pass import PATH as SIP_PATH
from cti.phone_pass import PassKey, PhonePass, Revocations
from cti.plan_watch import PlanWatch
from cti.plans import plan_of
from cti.recorder import READER, Recorder
from cti.recording_files import RecordingFiles
from cti.routing.plan import PhoneKind
from cti.screenpop.caller_lookup import CallerLookup
from cti.screenpop.hub import PATH as DESK_SOCKET
from cti.screenpop.hub import DeskHub, FloorPicture
from cti.screenpop.margins import Margins
from cti.screenpop.pop import Pops
from cti.settings import IceServerSettings, PbxSettings, Settings
from cti.simulated_callers import SimulatedSite
from cti.switch import Switch
from web.app import IceServer, PhoneCredentials, SignedPass, WebSettings, make_app, make_runner, sessions_of

log = logging.getLogger(__name__)

T = TypeVar("T")

DATABASE_RETRY_S = 2.0
TELL_AGAIN_S = 60.0
"""How often a database that stays away is told of."""
SWITCH_INTERVAL_S = 0.0005
"""After that long a thread that computes gives way to the loop (Python's default is ten times as long)."""


@dataclass(frozen=True, slots=True)
class Screens:
    """What pages and desks show beyond what the deciding core keeps."""

    pops: Pops
    margins: Margins
    memory: FloorMemory

    def draw_again(self, output: e.Event | c.Command, at: float) -> None:
        """What an earlier run showed, drawn from its journal."""
        if isinstance(output, c.ShowPop | c.ClosePop):
            self.pops.carry_out(output, now=at)
        elif isinstance(output, e.Event):
            self.pops.listen(output)
            self.margins.listen(output)
            self.memory.listen(output)


class Daemon:
    """One running Callfloor. ``start`` begins, ``stop`` ends in order; between them the loop does the work."""

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.time) -> None:
        self.settings = settings
        self._clock = clock
        self._switches: dict[PbxId, Switch] = {}
        self._closers: list[Callable[[], Any]] = []
        self._heard_at: float | None = None
        self._asterisks: dict[PbxId, AsteriskSwitch] = {}
        self._phone_accounts = self._make_phone_accounts()
        self._sip_domains = {pbx.id: pbx.sip_domain for pbx in settings.pbx}
        gate = settings.gate
        self._pass_key = PassKey.open(gate.pass_folder) if gate.origin else None
        self._revocations = Revocations(gate.pass_folder, keep_s=gate.pass_life_s, clock=clock) if gate.origin else None

    async def start(self) -> None:
        """Open the database and the journal, take up where the last run ended, serve, link to the PBXs."""
        settings, clock = self.settings, self._clock
        database = self._database = Database(settings.database.url)
        self._closers.append(database.close)
        core, screens, written, recorder, numbers = await self._once_there(lambda: self._take_up(database))
        pops = screens.pops
        written.open()
        self._closers.append(written.close)

        loop = asyncio.get_running_loop()
        driver = self._driver = Driver(core, journal=written, clock=clock, carry_out=self._carry_out, loop=loop)
        floor = LiveFloor(core, post=driver.post, clock=clock, memory=screens.memory)
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
            margins=screens.margins,
            host=settings.desk_socket.host,
            port=settings.desk_socket.port,
            origins=self._origins(),
            picture=lambda: _picture(floor),
        )
        sessions.listen(self._hub.revoke)
        sessions.listen(self._phone_accounts.session_ended)
        if self._revocations is not None:
            sessions.listen(self._revocations.revoke)
        # The screens first: nobody waits for the record.
        driver.listen(self._hub.listen)
        driver.listen(recorder.listen)
        driver.listen(floor.listen)
        for state in _agent_states(core, clock()):
            self._hub.listen(state)

        recorder.start()
        self._closers.append(recorder.close)
        keeping = JournalKeeping(
            settings.journal.folder,
            written=lambda: recorder.written,
            keep_days=settings.journal.keep_days,
            keep_free_mb=settings.journal.keep_free_mb,
            clock=clock,
        )
        keeping.start()
        self._closers.append(keeping.close)
        recording_files = RecordingFiles(database, folder=settings.recordings.folder, clock=clock)
        recording_files.start()
        self._closers.append(recording_files.close)
        await self._open(self._hub.start(), self._hub.close)
        runner = make_runner(app)
        await self._open(runner.setup(), runner.cleanup)
        await web.TCPSite(runner, settings.web.host, settings.web.port).start()
        self._closers.append(driver.close)
        await self._link(numbers)
        await self._start_phone_accounts()
        self._plan_watch.start()
        self._closers.append(self._plan_watch.close)

    async def _take_up(self, database: Database) -> tuple[Inbound, Screens, Journal, Recorder, Sequence[str]]:
        """What the last run left: from the database, and from the journal behind it. May be tried again as a whole."""
        settings, clock = self.settings, self._clock
        await database.open()
        async with database.read() as connection:
            seen = await configuring.newest(connection)
            plan = plan_of(await centre.load_centre(connection), has_real_phones=not settings.is_simulated)
            stored = await interactions.position(connection, READER)
            numbers = await customers.some_numbers(connection, 200) if settings.is_simulated else []

        self._plan_watch = PlanWatch(database, take=self._take_plan, seen=seen)

        # What the last run journaled: into the core (states, waiting callers) and into the database.
        core = self._core = Inbound(plan, boot=secrets.token_hex(4))
        folder = settings.journal.folder
        since = START if stored is None else Position(int(stored[0]), 0)
        screens = Screens(Pops(plan), Margins(plan), FloorMemory())
        core.restore(self._last_heard(journal.read(folder, since)), show=screens.draw_again)
        written = Journal(folder, preface=lambda: _preface(core, clock()))
        recorder = Recorder(
            database,
            owner_of=core.owner_of,
            where=lambda: written.position,
            clock=clock,
            region=settings.site.region,
        )
        log.info("= read %d facts of earlier journals", await recorder.catch_up(folder))
        recorder.follow(core.conversations)
        return core, screens, written, recorder, numbers

    async def _once_there(self, reach: Callable[[], Awaitable[T]]) -> T:
        """Wait for the database. Meanwhile there is no beat, and the dialplan's fall-back serves the callers. Raises at
        once what waiting does not change."""
        told_at = 0.0
        while True:
            try:
                return await reach()
            except DatabaseAway as error:
                if self._clock() - told_at >= TELL_AGAIN_S:
                    told_at = self._clock()
                    log.error(  # noqa: TRY400
                        "! the database is away (%s): nothing is served before it is there; calls go to the fall-back",
                        error.kind,
                    )
            await asyncio.sleep(DATABASE_RETRY_S)

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
            self._follow_records(pbx)
            switch = AsteriskSwitch(address_of(pbx), self._driver.post, clock=self._clock, jitter=jitter)
            self._switches[PbxId(pbx.id)] = self._asterisks[PbxId(pbx.id)] = switch
            switch.start()
            self._closers.append(switch.close)

    def _last_heard(self, told: Iterable[tuple[Position, e.Event]]) -> Iterable[e.Event]:
        """What the core restores itself from; keeps in mind until when the last run heard anything."""
        for _, fact in told:
            self._heard_at = max(self._heard_at or 0.0, fact.at)
            yield fact

    def _follow_records(self, pbx: PbxSettings) -> None:
        """Complete from the PBX's own records what was not heard."""
        source = _records_of(pbx, self.settings.journal.folder)
        if source is None:
            log.warning("! no records of %s: calls that it carries while it is not heard stay incomplete", pbx.id)
            return
        core = self._core

        def oldest_live() -> float | None:
            homes = [home for home in core.conversations.interactions.values() if home.pbx == source.pbx]
            return min((home.started_at for home in homes if home.ended_at is None), default=None)

        records = PbxRecords(
            source,
            state=self.settings.journal.folder / "records" / f"{pbx.id}.json",
            plan=lambda: core.plan,
            post=self._driver.post,
            look_up=self._who_calls,
            oldest_live=oldest_live,
            clock=self._clock,
        )
        self._driver.listen(records.listen)
        records.begin(self._heard_at if self._heard_at is not None else self._clock())
        records.start()
        self._closers.append(records.close)

    async def _who_calls(self, account: str, ani: str) -> tuple[tuple[int, ...], str]:
        async with self._database.read() as connection:
            found = await customers.find_callers(
                connection, account=account, ani=ani, default_region=self.settings.site.region
            )
        return found.parties, found.how

    def _carry_out(self, command: c.Command) -> None:
        match command:
            case c.ShowPop() | c.ClosePop():
                self._hub.carry_out(command)
            case c.LookUpCaller():
                self._lookup.carry_out(command)
            case c.Beat() | c.MirrorMembers() | c.MirrorSetting() | c.ReadLegs():
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
                | c.StopRecording()
                | c.Announce()
                | c.SendAway()
                | c.CallBack()
                | c.JoinConference()
                | c.SendOutside()
                | c.StartSpy()
                | c.ChangeSpy()
                | c.StartTakeOver()
                | c.WithdrawCaller()
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
        served, gate = self.settings.web, self.settings.gate
        named = (*((gate.origin,) if gate.origin else ()), *served.origins)
        return named or (f"http://{served.host}:{served.port}",)

    def _web_settings(self) -> WebSettings:
        settings, desk, gate = self.settings, self.settings.desk_socket, self.settings.gate
        desk_socket_url = f"ws://{desk.host}:{desk.port}{DESK_SOCKET}"
        sip_ws_urls = {pbx.id: pbx.sip_ws_url for pbx in settings.pbx if pbx.sip_ws_url}
        proxies = frozenset(settings.web.trusted_proxies)
        if gate.origin:
            desk_socket_url = f"{gate.socket_origin}{DESK_SOCKET}"
            sip_ws_urls = {pbx: f"{gate.socket_origin}{SIP_PATH}/{pbx}" for pbx in sip_ws_urls}
            proxies |= {"127.0.0.1", "::1"}
        return WebSettings(
            site_origins=frozenset(self._origins()),
            cookie_secure=all(origin.startswith("https://") for origin in self._origins()),
            desk_socket_url=desk.url or desk_socket_url,
            sip_ws_urls=sip_ws_urls,
            ice_servers=tuple(_ice_server(server) for server in settings.webrtc.ice_servers),
            trusted_proxies=proxies,
            phone_pass=self._phone_pass if self._pass_key is not None else None,
            phone_account=self._phone_account,
            recordings_folder=settings.recordings.folder,
            prompts_folder=settings.prompts.folder,
            clock=self._clock,
            default_region=settings.site.region,
            is_simulated=settings.is_simulated,
            configured=lambda: self._plan_watch.look(),
            pbx_agent_tokens={
                pbx.id: pbx.agent_token.get_secret_value() for pbx in settings.pbx if pbx.agent_token is not None
            },
            records_folder=settings.journal.folder / "records",
        )

    def _phone_pass(self, agent: str, session: str, expires_at: float) -> SignedPass | None:
        assert self._pass_key is not None
        plan = self._core.plan.agents.get(AgentId(agent))
        if plan is None:
            return None
        now = self._clock()
        until = min(now + self.settings.gate.pass_life_s, expires_at)
        phone = plan.phone
        given = PhonePass(phone.pbx, phone.endpoint, phone.endpoint, session, until)
        return SignedPass(self._pass_key.sign(given), until - now)

    async def _take_plan(self) -> None:
        """The configuration was changed, here or by another process: it holds from now on."""
        async with self._database.read() as connection:
            stored = await centre.load_centre(connection)
        plan = plan_of(stored, has_real_phones=not self.settings.is_simulated)
        self._driver.post(e.PlanChanged(at=self._clock(), plan=plan))

    # ── phones ────────────────────────────────────────────────────────────────────────────────────────────

    def _make_phone_accounts(self) -> PhoneAccounts:
        makers: dict[PbxId, Ari] = {}
        for pbx in self.settings.pbx:
            if pbx.ari_url:
                address = AriAddress(pbx.ari_url, pbx.ari_username, pbx.ari_secret.get_secret_value())
                makers[PbxId(pbx.id)] = ari = Ari(address, contacts_of=partial(self._contacts_of, PbxId(pbx.id)))
                self._closers.append(ari.close)
        return PhoneAccounts(
            makers,
            {PbxId(pbx.id): _phones(pbx) for pbx in self.settings.pbx},
            living_sessions=self._living_sessions,
        )

    async def _contacts_of(self, pbx: PbxId, endpoint: str) -> list[str]:
        switch = self._asterisks.get(pbx)
        if switch is None:
            raise LinkDown("not connected yet")
        return await switch.contacts_of(endpoint)

    async def _living_sessions(self) -> frozenset[str] | None:
        try:
            async with self._database.read() as connection:
                return frozenset(await users.living_sessions(connection, now=self._clock()))
        except DatabaseAway as error:
            log.warning("! the database is away, nobody knows which sessions ended: %s", error.kind)
            return None

    async def _start_phone_accounts(self) -> None:
        async with self._database.read() as connection:
            sessions = await users.living_sessions(connection, now=self._clock())
        seated = set(sessions.values())
        phones = {agent.id: agent.phone for agent in self._core.plan.agents.values()}
        self._phone_accounts.start(
            phone for agent, phone in phones.items() if phone.kind is PhoneKind.BROWSER and agent not in seated
        )
        self._closers.append(self._phone_accounts.close)

    async def _phone_account(self, agent: str, session: str) -> PhoneCredentials | None:
        plan = self._core.plan.agents.get(AgentId(agent))
        if plan is None:
            return None
        phone = plan.phone
        password = await self._phone_accounts.password(phone, session)
        if password is None:
            return None
        domain = self._sip_domains[phone.pbx]
        return PhoneCredentials(uri=f"sip:{phone.endpoint}@{domain}", username=phone.endpoint, password=password)


def _ice_server(server: IceServerSettings) -> IceServer:
    return IceServer(
        urls=server.urls,
        username=server.username,
        credential=server.credential.get_secret_value(),
        shared_secret=server.shared_secret.get_secret_value(),
        credential_life_s=server.credential_life_s,
    )


def address_of(pbx: PbxSettings) -> PbxAddress:
    return PbxAddress(
        id=PbxId(pbx.id),
        host=pbx.host,
        port=pbx.port,
        username=pbx.username,
        secret=pbx.secret.get_secret_value(),
        is_tls=pbx.tls,
        tls_ca_file=str(pbx.tls_ca_file or ""),
        queues_file=pbx.queues_file,
    )


def _records_of(pbx: PbxSettings, journal_folder: Path) -> RecordSource | None:
    """Where a PBX's own records are: in a folder that it shares with us, or where its agent's uploads are kept."""
    name = PbxId(pbx.id)
    if pbx.records_folder is not None:
        return RecordSource(name, pbx.records_folder / "cel-custom", pbx.records_folder, is_shared=True)
    if pbx.agent_token is not None:
        spool = journal_folder / "records" / pbx.id
        return RecordSource(name, spool, spool, is_shared=False)
    return None


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
    yield from core.attending.waiting.preface()


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
    return FloorPicture(agents=floor.agent_entries(), queues=floor.queue_entries())


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
    starting = loop.create_task(daemon.start())
    told_to_stop = loop.create_task(stopping.wait())
    try:
        await asyncio.wait((starting, told_to_stop), return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            _favour_the_loop()
            log.info("= serving on %s:%d", settings.web.host, settings.web.port)
            await told_to_stop
    finally:
        starting.cancel()
        told_to_stop.cancel()
        await asyncio.gather(starting, told_to_stop, return_exceptions=True)
        await daemon.stop()
