"""Real SIP callers and desk phones with voices, played by SIPp.

Callers come in over the trunk; ``UasPhone`` registers as a desk phone and takes calls by a rule (answers after a while,
refuses, lets it ring, forwards, transfers). The demo is alive through them, and the tests drive them too.

A voice is a file of raw G.711 A-law, 8,000 bytes a second, played in a loop. Instead of a voice a party may be given a
``media_port``: then its audio comes from and goes to whoever holds that UDP port on 127.0.0.1.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import re
import shutil
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from jinja2 import Environment, PackageLoader, StrictUndefined

if TYPE_CHECKING:
    from collections.abc import Sequence

Behaviour = Literal["answer", "reject", "never", "forward", "refer"]

_SCENARIOS = Environment(
    loader=PackageLoader("cti.demo", "scenarios"),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    autoescape=False,  # noqa: S701  SIP inside CDATA; what goes in is checked below
)
# Neither the end of a line, nor of the CDATA section, nor a keyword of SIPp may hide in what a caller is called.
_UNSAFE = re.compile(r"[\r\n\[\]\x00]")
_serial = itertools.count(1)


RETRY_S = 2.0
"""How soon a phone whose SIPp could not be started tries again."""

STARTS = 3
"""How often a caller is started whose SIPp found a port of its own taken by somebody else in the meantime."""

PLAYED = frozenset({0, 1, 97, 99})
"""Exit codes of a SIPp that played its scenario, whatever came of the call."""

log = logging.getLogger(__name__)


class SippMissing(Exception):
    """SIPp is not installed (Debian: ``sip-tester``)."""


class SippFailed(Exception):
    """SIPp could not play its part at all (a voice that it can't read, no socket); the text is its own."""


@dataclass(frozen=True)
class CallResult:
    """How a call went, seen from this party.

    ``steps`` in order, of: ``ringing``, ``answered``, ``ended_by_other``, ``gave_up`` (a caller), ``hung_up`` (a
    phone), ``refused``, ``rejected``, ``forwarded``, ``cancelled``, ``transferred``. ``talked_s``: from answered to
    the end.
    """

    steps: tuple[str, ...]
    talked_s: float
    shown: str
    """A phone only: the ``From`` header it was rung with."""

    @property
    def was_answered(self) -> bool:
        """The call was up at some time."""
        return "answered" in self.steps


@dataclass(eq=False)
class _Sipp:
    """One SIPp process and the log its scenario writes."""

    scenario: Path
    log: Path
    arguments: tuple[str, ...]
    process: asyncio.subprocess.Process | None = field(default=None, init=False)
    _kept: CallResult | None = field(default=None, init=False)

    async def start(self) -> None:
        program = shutil.which("sipp")
        if program is None:
            raise SippMissing("SIPp is not installed: apt-get install sip-tester")
        ending_with_us = shutil.which("setpriv")
        self.process = await asyncio.create_subprocess_exec(
            *((ending_with_us, "--pdeathsig", "KILL", "--") if ending_with_us else ()),
            program,
            *self.arguments,
            *("-sf", str(self.scenario), "-trace_logs", "-log_file", str(self.log), "-trace_err", "-nostdin"),
            *("-error_file", str(self.log.with_suffix(".errors")), "-i", "127.0.0.1", "-m", "1", "-nd"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            cwd=self.scenario.parent,
            start_new_session=True,
        )

    async def wait(self) -> CallResult:
        code = await self.process.wait() if self.process is not None else 0
        errors = self.log.with_suffix(".errors")
        said = errors.read_text(encoding="utf-8", errors="replace") if errors.is_file() else ""
        # Callers come all day long: what is over leaves no files behind.
        self._kept = self.result()
        for path in (self.scenario, self.log, errors):
            path.unlink(missing_ok=True)
        # Below zero: ended by ourselves. With steps: it played, and the other side broke off.
        if code > 0 and code not in PLAYED and not self._kept.steps:
            raise SippFailed(said.strip() or f"SIPp ended with code {code}")
        return self._kept

    async def begun(self) -> None:
        """Wait until it plays: its ports are its own and the call goes out. Raises ``SippFailed`` when it can't."""
        ended = asyncio.ensure_future(self.wait())
        while not ended.done() and not (self.log.is_file() and "begun" in self.log.read_text(errors="replace")):
            await asyncio.wait([ended], timeout=0.01)
        if ended.done():
            ended.result()
        else:
            ended.cancel()

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.returncode is None

    async def stop(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
        with contextlib.suppress(SippFailed):
            await self.wait()

    def result(self) -> CallResult:
        if self._kept is not None:
            return self._kept
        steps: list[str] = []
        ticks: list[int] = []
        shown = ""
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.is_file() else ""
        for line in text.splitlines():
            word, _, rest = line.partition(" ")
            if word == "from":
                shown = rest.strip()
            elif rest.strip().isdigit():
                steps.append(word)
                ticks.append(int(rest))
        talked_s = (ticks[-1] - ticks[steps.index("answered")]) / 1000 if "answered" in steps else 0.0
        return CallResult(tuple(steps), talked_s, shown)


def _write_scenario(folder: Path, kind: str, **values: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{kind}-{next(_serial)}.xml"
    text = _SCENARIOS.get_template(f"{kind}.xml.j2").render(values)
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    return path


def _checked(text: str) -> str:
    if _UNSAFE.search(text):
        raise ValueError(text)
    return text


def _voice(voice: Path | None) -> Path | None:
    # SIPp runs in the folder of its scenarios.
    return voice.resolve(strict=True) if voice is not None else None


def _media(port: int | None) -> dict[str, object]:
    return {"media_host": "127.0.0.1", "media_port": "[rtpstream_audio_port]" if port is None else port}


def _free_udp_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def _media_arguments() -> tuple[str, ...]:
    # SIPp looks for its audio ports from this one upwards; parties running side by side shall not meet.
    return ("-mi", "127.0.0.1", "-mp", str(min(_free_udp_ports(1)[0] & ~1, 65000)))


class Call:
    """A call on its way in. Ends by itself; ``wait`` tells how."""

    def __init__(self, sipp: _Sipp) -> None:
        self._sipp = sipp

    async def wait(self) -> CallResult:
        """Wait for the end of the call."""
        return await self._sipp.wait()

    async def vanish(self) -> None:
        """Leave without a word, as a phone whose battery died."""
        await self._sipp.stop()

    @property
    def steps(self) -> tuple[str, ...]:
        """What has happened so far, as in ``CallResult``."""
        return self._sipp.result().steps


class Callers:
    """Callers over a PBX's trunk. ``folder`` takes their scenario files and logs; ``voices`` are A-law files."""

    def __init__(self, *, pbx_host: str, pbx_port: int, folder: Path, voices: Sequence[Path] = ()) -> None:
        self._target = f"{pbx_host}:{pbx_port}"
        self._folder = folder.resolve()
        self.voices = tuple(voices)
        self._running: set[_Sipp] = set()

    async def call(
        self, number: str, name: str, dnis: str, talk_s: float, patience_s: float, voice: Path | None
    ) -> CallResult:
        """One whole call. The caller hangs up ``patience_s + talk_s`` after the PBX took the call, if nobody did
        before: a queue takes calls at once, and a caller can't tell its music from an agent's voice."""
        return await (await self.begin(number, name, dnis, stay_s=patience_s + talk_s, voice=voice)).wait()

    async def begin(
        self,
        number: str,
        name: str,
        dnis: str,
        *,
        stay_s: float,
        voice: Path | None = None,
        media_port: int | None = None,
        headers: Sequence[str] = (),
        from_header: str | None = None,
    ) -> Call:
        """Start a call and return while it is under way. An empty ``number`` is withheld.

        ``from_header`` and ``headers`` are sent as they are (tests). Raises ``SippMissing``,
        ``SippFailed`` when it can't be played, ``ValueError`` for text that a SIP line cannot hold.
        """
        if from_header is None:
            user = number or "anonymous"
            host = "[local_ip]" if number else "anonymous.invalid"
            shown = _checked(name).replace("\\", "\\\\").replace('"', '\\"')
            from_header = f'"{shown}" <sip:{_checked(user)}@{host}>'
        elif re.search(r"[\r\n\x00]", from_header):
            raise ValueError(from_header)
        script = {
            "dnis": _checked(dnis),
            "from_header": from_header,
            "headers": [_checked(header) for header in headers],
            "voice": _voice(voice),
            "stay_ms": int(stay_s * 1000),
            **_media(media_port),
        }
        for left in reversed(range(STARTS)):
            scenario = _write_scenario(self._folder, "caller", **script)
            sipp = _Sipp(scenario, scenario.with_suffix(".log"), (self._target, *_media_arguments()))
            await sipp.start()
            self._running = {other for other in self._running if other.is_running} | {sipp}
            try:
                await sipp.begun()
                break
            except SippFailed as error:
                if not left:
                    raise
                log.info("= a caller starts anew: %s", error)
        return Call(sipp)

    async def stop(self) -> None:
        """End all callers that are still there, without a word."""
        for sipp in self._running:
            await sipp.stop()
        self._running.clear()


class UasPhone:
    """A desk phone: registers as ``endpoint`` and takes one call after the other by its rule.

    ``answer``: rings ``answer_after_s``, answers, speaks, hangs up after ``talk_s``. ``reject``: 486. ``never``: rings
    until the other side stops. ``forward``: 302 to ``target``. ``refer``: answers, then transfers to ``target`` after
    ``talk_s``.
    """

    def __init__(
        self,
        *,
        pbx_host: str,
        pbx_port: int,
        folder: Path,
        endpoint: str,
        password: str,
        behaviour: Behaviour = "answer",
        answer_after_s: float = 1.0,
        talk_s: float = 30.0,
        voice: Path | None = None,
        media_port: int | None = None,
        target: str = "",
    ) -> None:
        self._pbx = f"{pbx_host}:{pbx_port}"
        self._folder = folder.resolve()
        self.endpoint = endpoint
        self._password = password
        self.behaviour: Behaviour = behaviour
        self.answer_after_s = answer_after_s
        self.talk_s = talk_s
        self._voice = _voice(voice)
        self._media_port = media_port
        self._target = target
        self._port = _free_udp_ports(1)[0]
        self._registered_at: float | None = None
        self._sipp: _Sipp | None = None
        self._task: asyncio.Task[None] | None = None
        self.results: list[CallResult] = []
        self._ended = asyncio.Condition()

    async def start(self) -> None:
        """Register and begin to take calls. Raises ``ConnectionError`` when the PBX refuses the registration."""
        await self.register()
        await self._listen()
        self._task = asyncio.create_task(self._take_calls())

    async def stop(self) -> None:
        """End the call in progress without a word and take the phone off."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        if self._sipp is not None:
            await self._sipp.stop()
        with contextlib.suppress(ConnectionError):
            await self.register(expires_s=0)

    async def vanish(self) -> None:
        """Die in the middle: no BYE, no unregistering."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        if self._sipp is not None:
            await self._sipp.stop()

    async def register(self, expires_s: int = 7200) -> None:
        """Register the phone's address; 0 takes it off. Raises ``ConnectionError`` when refused."""
        scenario = _write_scenario(
            self._folder, "register", endpoint=self.endpoint, password=self._password, expires_s=expires_s
        )
        sipp = _Sipp(scenario, scenario.with_suffix(".log"), (self._pbx, "-p", str(self._port)))
        await sipp.start()
        try:
            await sipp.wait()
        except SippFailed as error:
            raise ConnectionError(f"{self._pbx} did not register {self.endpoint}: {error}") from error
        if sipp.process is None or sipp.process.returncode != 0:
            raise ConnectionError(f"{self._pbx} did not register {self.endpoint}")
        self._registered_at = asyncio.get_running_loop().time() if expires_s else None

    @property
    def steps(self) -> tuple[str, ...]:
        """What has happened so far in the present call, as in ``CallResult``."""
        return () if self._sipp is None else self._sipp.result().steps

    async def wait_for_result(self, number: int = 1) -> CallResult:
        """The ``number``-th call's result, once it is over."""
        async with self._ended:
            await self._ended.wait_for(lambda: len(self.results) >= number)
            return self.results[number - 1]

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _listen(self) -> None:
        scenario = _write_scenario(
            self._folder,
            "phone",
            endpoint=self.endpoint,
            behaviour=self.behaviour,
            target=self._target,
            voice=self._voice,
            answer_after_ms=int(self.answer_after_s * 1000) if self.behaviour != "never" else 3_600_000,
            talk_ms=int(self.talk_s * 1000),
            **_media(self._media_port),
        )
        arguments = (self._pbx, "-p", str(self._port), *_media_arguments())
        self._sipp = _Sipp(scenario, scenario.with_suffix(".log"), arguments)
        await self._sipp.start()

    async def _take_calls(self) -> None:
        loop = asyncio.get_running_loop()
        while self._sipp is not None:
            try:
                result = await self._sipp.wait()
            except SippFailed as error:
                log.warning("! phone %s: %s", self.endpoint, error)
                await asyncio.sleep(RETRY_S)
            else:
                async with self._ended:
                    self.results.append(result)
                    self._ended.notify_all()
            # Between two calls, so that the port is free; the registration lasts two hours.
            if self._registered_at is None or loop.time() - self._registered_at > 3600:
                await self.register()
            await self._listen()
