"""A real Asterisk of our own: unpacked into a folder, configured from ``config/asterisk``, run as a child process.

The demo, the tests and the measurements use it. It needs no root, listens on loopback only, takes free ports, and two
of them run side by side. ``make setup`` unpacks Asterisk into ``.cache/asterisk/<version>``.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import re
import secrets
import shutil
import socket
import tempfile
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from cti.asterisk import fallback_queues
from cti.ids import SLUG

REPOSITORY = Path(__file__).resolve().parents[2]
TEMPLATES = REPOSITORY / "config" / "asterisk"
DIALPLANS = REPOSITORY / "dialplans"

CEL_COLUMNS = {
    "eventtype": "${eventtype}",
    "eventtime": "${eventtime}",
    "userdeftype": "${userdeftype}",
    "cidname": "${URIENCODE(${CALLERID(name)})}",
    "cidnum": "${URIENCODE(${CALLERID(num)})}",
    "ciddnid": "${URIENCODE(${CALLERID(DNID)})}",
    "exten": "${URIENCODE(${CHANNEL(exten)})}",
    "context": "${CHANNEL(context)}",
    "channame": "${CHANNEL(channame)}",
    "appname": "${CHANNEL(appname)}",
    "appdata": "${URIENCODE(${CHANNEL(appdata)})}",
    "accountcode": "${CHANNEL(accountcode)}",
    "uniqueid": "${CHANNEL(uniqueid)}",
    "linkedid": "${CHANNEL(linkedid)}",
    "peer": "${BRIDGEPEER}",
    "eventextra": "${eventextra}",
}
"""The columns of ``cel-custom/callfloor.csv`` in their order, and what Asterisk writes into each."""


DIALPLAN_SETTINGS = {
    "CALLFLOOR_MUSIC": "default",
    "CALLFLOOR_UNREACHABLE_S": "30",
    "CALLFLOOR_END": "message",
    "CALLFLOOR_LANGUAGE": "en",
    "CALLFLOOR_OUT_TRUNK": "",
    "CALLFLOOR_OUT_CALLERID": "",
    "CALLFLOOR_EMERGENCY": "110,112,119,120,911,999",
    "CALLFLOOR_CODE_LOG_IN": "*51",
    "CALLFLOOR_CODE_LOG_OUT": "*52",
    "CALLFLOOR_CODE_PAUSE": "*53",
    "CALLFLOOR_CODE_UNPAUSE": "*54",
}
"""The dialplan's global variables that have a value unless a site names another (``dialplans/CONTRACT.md``)."""

_SETTING = re.compile(r"CALLFLOOR_[A-Za-z0-9_.-]{1,60}")
_SETTING_VALUE = re.compile(r"[A-Za-z0-9+*,&._/ -]{0,400}")
_NETWORK = re.compile(r"[A-Za-z0-9.:/-]{1,120}")
_CONTACT = re.compile(r"sip:[A-Za-z0-9.:-]{1,120}")


class LocalPbxError(Exception):
    """Asterisk could not be found, configured or started; the text says what and where to look."""


@dataclass(frozen=True)
class PhoneAccount:
    """A phone that may register: its PJSIP endpoint (a slug, also its user name) and password; a browser's without one
    gets it over ARI at each log-in (``cti.asterisk.phone_accounts``)."""

    endpoint: str
    password: str
    is_browser: bool


@dataclass(frozen=True)
class Ports:
    """Where one Asterisk listens. ``ws`` carries SIP over WebSocket; media takes even ports of the RTP range."""

    sip_udp: int
    ws: int
    ami: int
    rtp_first: int = 10000
    rtp_last: int = 30000


@dataclass(frozen=True)
class AsteriskProgram:
    """An unpacked Asterisk: how to run it and where its parts lie."""

    command: tuple[str, ...]
    modules: Path
    data: Path

    @classmethod
    def find(cls, root: Path) -> Self:
        """Look into ``root``, a folder of unpacked packages; ``/`` is the system's own Asterisk.

        Raises ``LocalPbxError`` when there is none.
        """
        binary = root / "usr/sbin/asterisk"
        modules = [*sorted(root.glob("usr/lib/*/asterisk/modules")), root / "usr/lib/asterisk/modules"]
        found = next((folder for folder in modules if folder.is_dir()), None)
        if not binary.is_file() or found is None:
            raise LocalPbxError(f"No Asterisk in {root}: run `make setup`")
        if root == Path("/"):
            return cls((str(binary),), found, root / "usr/share/asterisk")
        # Its own loader and libraries, so that it runs beside whatever libc the machine has.
        places = ("usr/lib64", "lib64", "lib/*-linux-gnu", "usr/lib/*-linux-gnu", "lib", "usr/lib")
        loaders = [path for place in places for path in sorted(root.glob(f"{place}/ld-*.so*"))]
        loader = next((path.resolve() for path in loaders if path.resolve().is_file()), None)
        if loader is None:
            raise LocalPbxError(f"No program loader in {root}: remove the folder and run `make setup`")
        libraries = [str(path) for place in places for path in sorted(root.glob(place)) if path.is_dir()]
        command = (str(loader), "--library-path", ":".join(libraries), str(binary))
        return cls(command, found, root / "usr/share/asterisk")


def _end_with_parent() -> tuple[str, ...]:
    # A program that is killed can't stop its Asterisk; the kernel can.
    program = shutil.which("setpriv")
    return () if program is None else (program, "--pdeathsig", "TERM", "--")


def installed_root(version: int) -> Path:
    """Where ``make setup`` put this version of Asterisk.

    ``CALLFLOOR_ASTERISK_ROOT_<version>`` names another folder, ``CALLFLOOR_CACHE`` another cache.
    """
    named = os.environ.get(f"CALLFLOOR_ASTERISK_ROOT_{version}")
    if named:
        return Path(named)
    cache = Path(os.environ.get("CALLFLOOR_CACHE") or REPOSITORY / ".cache")
    return cache.resolve() / "asterisk" / str(version)


def _prompt_language(data: Path) -> str:
    # Debian gives the prompts their name "en" when they are installed; unpacked ones have only the folder of a voice.
    sounds = data / "sounds"
    voices = sorted(folder.name for folder in sounds.glob("en_*") if folder.is_dir())
    return "en" if (sounds / "en").is_dir() or not voices else voices[0]


def free_ports() -> Ports:
    """Ports on loopback that nobody held a moment ago."""
    with contextlib.ExitStack() as held:
        chosen = []
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM, socket.SOCK_STREAM):
            probe = held.enter_context(socket.socket(socket.AF_INET, kind))
            probe.bind(("127.0.0.1", 0))
            chosen.append(int(probe.getsockname()[1]))
    return Ports(sip_udp=chosen[0], ws=chosen[1], ami=chosen[2])


def desk_phones(file: Path, names: Iterable[str]) -> list[PhoneAccount]:
    """The accounts of desk phones. Their passwords are kept in ``file``, with new ones for names that are new."""
    known: dict[str, str] = tomllib.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    wanted = {name: known.get(name) or secrets.token_hex(16) for name in names}
    if wanted != known:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_text("".join(f'"{name}" = "{word}"\n' for name, word in wanted.items()), encoding="utf-8")
    return [PhoneAccount(name, password, is_browser=False) for name, password in wanted.items()]


def configuration(
    etc: Path,
    *,
    folder: Path,
    run_folder: Path,
    program: AsteriskProgram,
    ports: Ports,
    phones: Sequence[PhoneAccount],
    recordings: Path,
    queues: Iterable[str],
    routes: Mapping[str, str],
    static_members: Mapping[str, Sequence[str]] | None = None,
    settings: Mapping[str, str] | None = None,
    messages: Path | None = None,
    prompts: Path | None = None,
    queues_file: Path | None = None,
    ami_username: str,
    ami_secret: str,
    ari_username: str = "callfloor",
    ari_secret: str = "",
    bind: str = "127.0.0.1",
    sip_bind: str = "127.0.0.1",
    public_address: str = "",
    ami_permit: Sequence[str] = ("127.0.0.1/32",),
    trunk_networks: Sequence[str] = ("127.0.0.1/32",),
    trunk_contact: str = "",
    rtp_timeout_s: int = 5,
    fallback_s: int = 300,
    dialplans: Path = DIALPLANS,
    extra_dialplan: str = "",
    log_folder: Path | None = None,
    site_folder: Path | None = None,
) -> dict[str, str]:
    """All configuration files of one Asterisk whose ``etc`` is that folder: name → text.

    ``settings`` are global variables of the dialplan. ``static_members`` stand in ``queues.conf`` and can't be removed
    while Asterisk runs: only for a PBX that has no daemon. ``trunk_contact`` is where the trunk is called
    (``sip:host:port``). ``sip_bind``: where trunks and desk phones reach it; ``public_address``: as the other side of a
    router sees it. ``site_folder``: holds what the site adds (``pjsip.conf``, ``extensions.conf``, ``queues.conf``).
    Raises ``ValueError`` for a name or value that could be more than that.
    """
    queues = tuple(queues)
    static_members = static_members or {}
    members = [endpoint for endpoints in static_members.values() for endpoint in endpoints]
    for name in (*queues, *routes.values(), *static_members, *members):
        if not SLUG.match(name):
            raise ValueError(name)
    for phone in phones:
        is_made_at_log_in = phone.is_browser and not phone.password
        if not SLUG.match(phone.endpoint) or not (phone.password.isalnum() or is_made_at_log_in):
            raise ValueError(phone.endpoint)
    routes_by_digits = {dnis.lstrip("+"): queue for dnis, queue in routes.items()}
    for digits in routes_by_digits:
        if not (digits.isascii() and digits.isdigit()):
            raise ValueError(digits)
    dialplan_globals = {
        **DIALPLAN_SETTINGS,
        "CALLFLOOR_FALLBACK_S": str(fallback_s),
        "CALLFLOOR_QUEUE": next(iter(queues), ""),
        **{f"CALLFLOOR_QUEUE_{digits}": queue for digits, queue in routes_by_digits.items()},
        **(settings or {}),
    }
    for name, value in dialplan_globals.items():
        if not _SETTING.fullmatch(name) or not _SETTING_VALUE.fullmatch(value):
            raise ValueError(f"{name}={value}")
    # Paths are the caller's own, and may hold any letter.
    dialplan_globals["CALLFLOOR_RECORDINGS"] = str(recordings)
    dialplan_globals["CALLFLOOR_MESSAGES"] = str(messages or "")
    dialplan_globals["CALLFLOOR_PROMPTS"] = str(prompts or "")
    if trunk_contact and not _CONTACT.fullmatch(trunk_contact):
        raise ValueError(trunk_contact)
    for address in (bind, sip_bind, *((public_address,) if public_address else ())):
        ipaddress.ip_address(address)
    for network in (*ami_permit, *trunk_networks):
        if not _NETWORK.fullmatch(network):
            raise ValueError(network)
    wanted = (TEMPLATES / "modules.txt").read_text(encoding="utf-8").split()
    modules = [f"{name}.so" for name in wanted if (program.modules / f"{name}.so").is_file()]
    values = {
        "folder": folder,
        "etc_folder": etc,
        "log_folder": log_folder or folder / "log",
        "site_folder": site_folder,
        "run_folder": run_folder,
        "modules_folder": program.modules,
        "data_folder": program.data,
        "music_folder": program.data / "moh",
        "modules": modules,
        "has_opus": "codec_opus_open_source.so" in modules,
        "ports": ports,
        "phones": phones,
        "queues": queues,
        "static_members": static_members,
        "queue_settings": fallback_queues.SETTINGS,
        "queues_file": queues_file,
        "dialplan_globals": dialplan_globals,
        "language": _prompt_language(program.data),
        "ami_username": ami_username,
        "ami_secret": ami_secret,
        "ari_username": ari_username,
        "ari_secret": ari_secret,
        "cel_columns": CEL_COLUMNS.values(),
        "bind": bind,
        "sip_bind": sip_bind,
        "public_address": public_address,
        "ami_permit": ami_permit,
        "trunk_networks": trunk_networks,
        "trunk_contact": trunk_contact,
        "rtp_timeout_s": rtp_timeout_s,
        "dialplans": sorted(dialplans.glob("*.conf")),
        "extra_dialplan": extra_dialplan,
    }
    templates = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701  plain configuration files; every name in them was checked above
    )
    return {
        source.name.removesuffix(".j2"): templates.get_template(source.name).render(values)
        for source in sorted(TEMPLATES.glob("*.conf.j2"))
    }


def write_configuration(etc: Path, files: Mapping[str, str]) -> None:
    """Write ``configuration`` into its folder. It holds secrets: for the owner only."""
    etc.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        target = etc / name
        target.touch(mode=0o600)
        target.write_text(text, encoding="utf-8")
        target.chmod(0o600)


class LocalPbx:
    """One Asterisk as a child process.

    ``folder`` keeps its configuration, logs and database from start to start. ``queues`` are the slugs of the fall-back
    queues ``callfloor-<slug>``, whose members the daemon mirrors; ``routes`` maps dialled numbers to queue slugs.
    ``extra_dialplan`` is appended to ``extensions.conf`` (tests). ``rtp_timeout_s`` 0 keeps silent phones connected.
    ``settings``, ``static_members``, ``trunk_contact``: as in ``configuration``.
    """

    def __init__(
        self,
        root: Path,
        folder: Path,
        *,
        version: int,
        phones: Sequence[PhoneAccount],
        pbx: str = "pbx1",
        recordings: Path | None = None,
        queues: Iterable[str] = (),
        routes: Mapping[str, str] | None = None,
        static_members: Mapping[str, Sequence[str]] | None = None,
        settings: Mapping[str, str] | None = None,
        prompts: Path | None = None,
        trunk_contact: str = "",
        ports: Ports | None = None,
        ami_secret: str | None = None,
        ari_secret: str | None = None,
        rtp_timeout_s: int = 5,
        fallback_s: int = 300,
        extra_dialplan: str = "",
    ) -> None:
        self.pbx = pbx
        self.version = version
        self.folder = folder.resolve()
        self.phones = tuple(phones)
        self.recordings = (recordings or self.folder / "recordings").resolve()
        self.ports = ports or free_ports()
        self.ami_username = "callfloor"
        self.ami_secret = ami_secret or secrets.token_hex(16)
        self.ari_username = "callfloor"
        self.ari_secret = ari_secret or secrets.token_hex(16)
        self._program = AsteriskProgram.find(root)
        self._queues = tuple(queues)
        self._routes = dict(routes or {})
        self._static_members = dict(static_members or {})
        self._settings = dict(settings or {})
        self._prompts = prompts.resolve() if prompts is not None else None
        self._trunk_contact = trunk_contact
        self._rtp_timeout_s = rtp_timeout_s
        self._fallback_s = fallback_s
        self._extra_dialplan = extra_dialplan
        self._process: asyncio.subprocess.Process | None = None
        self._short_folder: Path | None = None

    @property
    def host(self) -> str:
        """The address it listens on."""
        return "127.0.0.1"

    @property
    def ami_port(self) -> int:
        """Port of the manager interface."""
        return self.ports.ami

    @property
    def sip_port(self) -> int:
        """UDP port for trunks and desk phones."""
        return self.ports.sip_udp

    @property
    def ari_port(self) -> int:
        """Port of Asterisk's REST interface, the same HTTP server."""
        return self.ports.ws

    @property
    def ari_url(self) -> str:
        """Address of the REST interface."""
        return f"http://127.0.0.1:{self.ports.ws}/ari"

    @property
    def ws_url(self) -> str:
        """Address for SIP over WebSocket."""
        return f"ws://127.0.0.1:{self.ports.ws}/ws"

    @property
    def pid(self) -> int | None:
        """The running Asterisk's process id."""
        return None if self._process is None else self._process.pid

    @property
    def messages(self) -> Path:
        """What callers leave at the end of the fall-back."""
        return self.folder / "messages"

    @property
    def queues_file(self) -> Path:
        """Where the daemon adds fall-back queues."""
        return self.folder / "queues.conf"

    @property
    def cel(self) -> Path:
        """The PBX's own record of calls: lines of ``CEL_COLUMNS``."""
        return self.folder / "log" / "cel-custom" / "callfloor.csv"

    @property
    def queue_log(self) -> Path:
        """The fall-back queues' own book."""
        return self.folder / "log" / "queue_log"

    @property
    def log(self) -> Path:
        """Asterisk's own notices, warnings and errors."""
        return self.folder / "log" / "messages.log"

    async def start(self) -> None:
        """Write the configuration, start Asterisk, return once it is fully booted and its manager interface answers.

        Raises ``LocalPbxError`` with the end of its log when it doesn't come up within 60 s.
        """
        for name in ("lib/keys", "spool", "log/cel-custom"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for place in (self.recordings, self.messages):
            place.mkdir(parents=True, exist_ok=True)
        etc = self.folder / "etc"
        files = configuration(
            etc,
            folder=self.folder,
            run_folder=self._run_folder(),
            program=self._program,
            ports=self.ports,
            phones=self.phones,
            recordings=self.recordings,
            queues=self._queues,
            routes=self._routes,
            static_members=self._static_members,
            settings=self._settings,
            prompts=self._prompts,
            messages=self.messages,
            queues_file=self.queues_file,
            trunk_contact=self._trunk_contact,
            ami_username=self.ami_username,
            ami_secret=self.ami_secret,
            ari_username=self.ari_username,
            ari_secret=self.ari_secret,
            rtp_timeout_s=self._rtp_timeout_s,
            fallback_s=self._fallback_s,
            extra_dialplan=self._extra_dialplan,
        )
        write_configuration(etc, files)
        with (self.folder / "log" / "console.log").open("ab") as console:
            self._process = await asyncio.create_subprocess_exec(
                *_end_with_parent(),
                *self._command("-f"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                cwd=self.folder,
                # Ctrl-C in a terminal is for us; we end Asterisk in our order.
                start_new_session=True,
            )
        try:
            await asyncio.wait_for(self._wait_until_booted(), timeout=60)
        except TimeoutError:
            await self.stop()
            raise LocalPbxError(f"Asterisk did not answer within 60 s\n{self._end_of_logs()}") from None

    async def stop(self) -> None:
        """End this Asterisk and everything it carries."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), timeout=10)
            except TimeoutError:
                process.kill()
                await process.wait()
        if self._short_folder is not None:
            shutil.rmtree(self._short_folder, ignore_errors=True)
            self._short_folder = None

    async def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        await self.stop()

    async def cli(self, command: str) -> str:
        """The answer to one command on Asterisk's console."""
        process = await asyncio.create_subprocess_exec(
            *self._command("-rx", command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        answer, _ = await process.communicate()
        return answer.decode("utf-8", "replace")

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def _command(self, *arguments: str) -> tuple[str, ...]:
        return (*self._program.command, "-C", str(self.folder / "etc" / "asterisk.conf"), *arguments)

    def _run_folder(self) -> Path:
        # The path of a Unix socket may not be longer than 107 bytes.
        wanted = self.folder / "run"
        if len(os.fsencode(wanted / "asterisk.ctl")) < 100:
            wanted.mkdir(parents=True, exist_ok=True)
            return wanted
        if self._short_folder is None:
            self._short_folder = Path(tempfile.mkdtemp(prefix="callfloor-pbx-"))
        return self._short_folder

    async def _wait_until_booted(self) -> None:
        while True:
            if self._process is None or self._process.returncode is not None:
                raise LocalPbxError(f"Asterisk ended while starting\n{self._end_of_logs()}")
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._log_in_once()
                return
            await asyncio.sleep(0.05)

    async def _log_in_once(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.ports.ami)
        try:
            login = f"Action: Login\r\nUsername: observer\r\nSecret: {self.ami_secret}\r\n\r\n"
            writer.write(login.encode())
            await reader.readuntil(b"Event: FullyBooted\r\n")
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _end_of_logs(self) -> str:
        lines: list[str] = []
        for path in (self.folder / "log" / "console.log", self.log):
            if path.is_file():
                lines += path.read_text(encoding="utf-8", errors="replace").splitlines()[-20:]
        return "\n".join(lines)
