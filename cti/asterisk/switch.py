"""One real PBX behind the seam ``cti.switch.Switch``: facts out of its AMI link, commands into it.

A command becomes actions in two steps at most. First all ``Setvar``s, sent back to back; when every one was answered
with success, the ``Redirect`` (so that nobody is ever rung with the variables of an earlier call). Commands that
touch the same leg are carried out one after the other, others side by side. Legs are named by ``Uniqueid``, which
outlives every rename.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
import ssl
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cti.asterisk.ami_client import AmiClient, AmiTiming
from cti.asterisk.fallback_mirror import FallbackMirror
from cti.asterisk.state_read import read_legs, read_pbx, read_version
from cti.asterisk.translator import FALLBACK_QUEUE_PREFIX, Translator
from cti.commands import (
    AcceptOffer,
    Beat,
    HangUp,
    JoinLegs,
    MirrorMembers,
    MirrorSetting,
    PauseRecording,
    ReadLegs,
    ReturnToHold,
    RingAgent,
    SendToHold,
    StartConsult,
    StopRecording,
    WithdrawCaller,
)
from cti.errors import (
    ActionFailed,
    ActionTimeout,
    BadInput,
    LinkDown,
    LinkError,
    LoginRefused,
    ProtocolError,
    SettingsError,
    UntrustedPeer,
)
from cti.events import CommandFailed, LegEnded, LegRenamed, LegsRead, LegStarted, LinkLost, LinkUp
from cti.ids import SLUG, LegId, pbx_of, uniqueid_of

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Coroutine, Sequence

    from cti.commands import Command
    from cti.events import Event
    from cti.ids import InteractionId, PbxId

log = logging.getLogger(__name__)

FULLY_BOOTED = b"Event: FullyBooted"
MAX_HELD_BACK = 200_000
"""Events kept during one reading of the state; a PBX that sends more in those seconds is read again."""

OUT_OF_TOUCH_S = 2.5
"""The dialplan gives a caller away who was not accepted for 3 s."""

_ENDPOINT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_TARGET = re.compile(r"(?:(?:agent|queue):[a-z0-9][a-z0-9._-]{0,39})?")
_UNIQUEID = re.compile(r"[A-Za-z0-9._-]{1,150}")
_BOOT = re.compile(r"[A-Za-z0-9-]{1,40}")
_SHOWN = re.compile(r"[A-Za-z0-9._-]{0,80}")


@dataclass(frozen=True, slots=True)
class PbxAddress:
    """Where a PBX is and how to log in. ``tls_ca_file``: the certificate authority to trust, empty for the system's."""

    id: PbxId
    host: str
    port: int
    username: str
    secret: str = field(repr=False)
    is_tls: bool = False
    tls_ca_file: str = ""
    action_timeout_s: float = 5.0
    ping_interval_s: float = 5.0
    connect_timeout_s: float = 5.0
    first_retry_s: float = 0.5
    last_retry_s: float = 15.0
    refused_retry_s: float = 60.0
    boot_timeout_s: float = 5.0
    """How long after the login ``FullyBooted`` is waited for before the state is read all the same."""


@dataclass(frozen=True, slots=True)
class _Orders:
    """A command in AMI's terms: variables to set (leg, name, value), then one action, and another if that is
    refused."""

    variables: tuple[tuple[LegId, str, str], ...]
    action: dict[str, str] | None
    otherwise: dict[str, str] | None = None


class AsteriskSwitch:
    """One Asterisk. Facts go to ``inbox`` (a plain function) in order; ``clock`` gives Unix seconds for their ``at``.

    After each login: ``LinkUp``, then one ``PbxRead``, then whatever happened since, nothing left out.
    """

    def __init__(
        self,
        address: PbxAddress,
        inbox: Callable[[Event], None],
        *,
        clock: Callable[[], float],
        jitter: random.Random,
    ) -> None:
        self.address = address
        self._inbox = inbox
        self._clock = clock
        self._living: dict[LegId, str] = {}
        """Leg → its channel's name."""
        self._started: list[set[LegId]] = []
        """One set for each ``ReadLegs`` under way: the legs that started since it was asked."""
        self._last_of: dict[LegId, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._boot = ""
        self._beats: deque[float] = deque()
        """When the beats that are not answered yet were sent, the oldest first (loop time)."""
        self._beat_at = math.inf
        self._held_back: list[bytes] | None = []
        self._reading: asyncio.Task[None] | None = None
        self._booted = asyncio.Event()
        self._is_closed = False
        self._client = AmiClient(
            host=address.host,
            port=address.port,
            username=address.username,
            secret=address.secret,
            ssl=tls_of(address),
            jitter=jitter,
            timing=AmiTiming(
                connect_timeout_s=address.connect_timeout_s,
                action_timeout_s=address.action_timeout_s,
                ping_interval_s=address.ping_interval_s,
                first_retry_s=address.first_retry_s,
                last_retry_s=address.last_retry_s,
                refused_retry_s=address.refused_retry_s,
            ),
            on_events=self._take_events,
            on_login=self._logged_in,
            on_disconnect=self._lost,
        )
        self._mirror = FallbackMirror(address.id, self._client, self._failed)
        self._translator = Translator(address.id, self._mirror)

    # ── life ──────────────────────────────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        """Begin to connect; needs a running loop."""
        self._client.connect()

    async def close(self) -> None:
        """End the link for good. Commands under way fail quietly."""
        self._is_closed = True
        self._client.close()
        running = [*self._tasks, *([self._reading] if self._reading else [])]
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
        await self._mirror.close()
        await self._client.wait_closed()

    def _logged_in(self, client: AmiClient) -> None:
        # What came in one read with the login's answer is held back already.
        self._reading = asyncio.get_running_loop().create_task(self._greet(client), name="ami-read")

    async def _greet(self, client: AmiClient) -> None:
        """Announce the link and the PBX's whole state, then let go the events that came meanwhile."""
        protocol = client.protocol
        try:
            try:
                await asyncio.wait_for(self._booted.wait(), self.address.boot_timeout_s)
            except TimeoutError:
                log.warning("= %s did not say that it is fully booted; reading its state all the same", self.address.id)
            version = await read_version(client)
            self._inbox(LinkUp(at=self._clock(), pbx=self.address.id, version=version))
        except LinkError as problem:
            if protocol is not None:
                protocol.fail(LinkDown(f"its state could not be read: {problem}"))
            return
        await self._read_state(client)

    async def _read_state(self, client: AmiClient) -> None:
        """Tell the PBX's whole state, then the events that came meanwhile. What can't be read whole ends the link."""
        protocol = client.protocol
        try:
            read, queues = await read_pbx(client, self.address.id, self._clock)
        except LinkError as problem:
            if protocol is not None:
                protocol.fail(LinkDown(f"its state could not be read: {problem}"))
            return
        held_back, self._held_back = self._held_back or [], None
        self._reading = None
        self._translator.adopt(read)
        self._mirror.adopt(queues)
        self._living = {seen.leg: seen.channel for seen in read.legs}
        self._inbox(read)
        self._take_events(held_back)

    def _read_anew(self) -> None:
        """Read everything once more, as after a login; a reading that is under way or will come is as good."""
        if self._held_back is None:
            self._held_back = []
            self._reading = asyncio.get_running_loop().create_task(self._read_state(self._client), name="ami-read")

    def _lost(self, _: AmiClient, problem: LinkError) -> None:
        self._mirror.lost()
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None
        self._booted.clear()
        self._held_back = []
        if not self._is_closed:
            self._inbox(LinkLost(at=self._clock(), pbx=self.address.id, why=why_lost(problem)))

    async def contacts_of(self, endpoint: str) -> list[str]:
        """The ids of what is registered as this phone. Raises ``LinkError``, ``BadInput``."""
        name = checked(_ENDPOINT, "endpoint", endpoint)
        answer = await self._client.act("Getvar", Variable=f"PJSIP_AOR({name},contact)")
        return [contact for contact in str(answer.get("Value", "")).split(",") if contact]

    # ── facts ─────────────────────────────────────────────────────────────────────────────────────────────

    def _take_events(self, events: list[bytes]) -> None:
        if self._held_back is not None:
            self._hold_back(events)
            return
        if self._beats and asyncio.get_running_loop().time() - self._beats[0] > OUT_OF_TOUCH_S:
            self._out_of_touch("a beat was not answered")
            return
        inbox = self._inbox
        for fact in self._translator.translate(events, self._clock()):
            if isinstance(fact, LegStarted):
                self._note_channel(fact.leg, fact.channel)
            elif isinstance(fact, LegEnded):
                self._living.pop(fact.leg, None)
            elif isinstance(fact, LegRenamed):
                self._note_channel(fact.leg, fact.channel)
            inbox(fact)

    def _beat(self, answer: asyncio.Future[object]) -> None:
        """A beat was sent. Whoever is out of touch for seconds does not decide on what it missed: the dialplan has
        given callers away meanwhile, and what it says of them comes in one heap. The PBX is read anew instead."""
        now = asyncio.get_running_loop().time()
        if now - self._beat_at > OUT_OF_TOUCH_S and self._held_back is None:
            self._out_of_touch("no beat was sent")
        self._beat_at = now
        self._beats.append(now)
        answer.add_done_callback(lambda _: self._beats.popleft())

    def _out_of_touch(self, why: str) -> None:
        if self._client.protocol is not None:
            self._client.protocol.fail(ActionTimeout(f"{why} for {OUT_OF_TOUCH_S:g} s: its state is read anew"))

    def _note_channel(self, leg: LegId, channel: str) -> None:
        self._living[leg] = channel
        for started in self._started:
            started.add(leg)

    def _hold_back(self, events: list[bytes]) -> None:
        assert self._held_back is not None
        self._held_back += events
        if not self._booted.is_set() and any(event.startswith(FULLY_BOOTED) for event in events):
            self._booted.set()
        if len(self._held_back) > MAX_HELD_BACK and self._client.protocol is not None:
            self._client.protocol.fail(ProtocolError("more events during the reading of the state than can be kept"))

    # ── commands ──────────────────────────────────────────────────────────────────────────────────────────

    def carry_out(self, command: Command) -> None:
        """Begin to carry out a command; what fails comes back as ``CommandFailed`` through the inbox."""
        legs = legs_of(command)
        try:
            match command:
                case MirrorMembers() | MirrorSetting():
                    self._mirror.want(command)
                    return
                case ReadLegs(is_full=True):
                    self._read_anew()
                    return
                case ReadLegs():
                    self._start(self._read_legs(command))
                    return
            orders = self._orders(command)
        except BadInput as problem:
            log.warning("! %s refused: %s", type(command).__name__, problem)
            self._failed(command, "bad_value")
            return
        except LookupError:
            self._failed(command, "no_such_leg")
            return
        before = [task for leg in legs if (task := self._last_of.get(leg)) is not None]
        # Nothing to wait for: the first actions are on the wire before this returns.
        answers = self._send_variables(orders) if not before else None
        if isinstance(command, Beat) and answers:
            self._beat(answers[0])
        task = self._start(self._carry_out(command, orders, answers, before))
        for leg in legs:
            self._last_of[leg] = task
        task.add_done_callback(lambda done: self._carried_out(done, legs))

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _read_legs(self, command: ReadLegs) -> None:
        started: set[LegId] = set()
        self._started.append(started)
        try:
            legs = await read_legs(self._client, self.address.id)
        except LinkError as problem:
            self._could_not(command, problem)
            return
        finally:
            self._started.remove(started)
        # A leg that started after the PBX made its list may have been told before the list was here.
        legs |= started & self._living.keys()
        self._inbox(LegsRead(at=self._clock(), pbx=self.address.id, legs=tuple(sorted(legs))))

    def _carried_out(self, task: asyncio.Task[None], legs: Sequence[LegId]) -> None:
        for leg in legs:
            if self._last_of.get(leg) is task:
                del self._last_of[leg]

    async def _carry_out(
        self,
        command: Command,
        orders: _Orders,
        answers: list[asyncio.Future[object]] | None,
        before: list[asyncio.Task[None]],
    ) -> None:
        loop = asyncio.get_running_loop()
        if before:
            await asyncio.wait(before)
        began_at = loop.time()
        try:
            for answer in self._send_variables(orders) if answers is None else answers:
                check_answer(await answer)
            if isinstance(command, RingAgent) and loop.time() - began_at > OUT_OF_TOUCH_S:
                raise ActionTimeout("the caller may be elsewhere by now")
            if orders.action is not None:
                await self._act(orders.action, orders.otherwise)
        except LinkError as problem:
            self._could_not(command, problem)

    async def _act(self, action: dict[str, str], otherwise: dict[str, str] | None) -> None:
        try:
            check_answer(await self._client.send_action(dict(action), as_list=False))
        except ActionFailed:
            if otherwise is None:
                raise
            check_answer(await self._client.send_action(dict(otherwise), as_list=False))

    def _could_not(self, command: Command, problem: LinkError) -> None:
        match command, problem:
            case HangUp(), ActionFailed():
                log.info("= %s: there was nothing left to hang up: %s", self.address.id, problem)
            case Beat(), LinkDown():
                pass  # once a second, and the lost link was told already
            case _:
                self._failed(command, self._why_failed(command, problem))

    def _why_failed(self, command: Command, problem: LinkError) -> str:
        """``no_such_leg``, ``refused``, ``timeout`` or ``link_down``."""
        match problem:
            case ActionFailed():
                is_here = all(leg in self._living for leg in legs_of(command))
                return "refused" if is_here else "no_such_leg"
            case ActionTimeout():
                return "timeout"
            case _:
                return "link_down"

    def _send_variables(self, orders: _Orders) -> list[asyncio.Future[object]]:
        return [
            self._client.send_action(
                {
                    "Action": "Setvar",
                    **({"Channel": uniqueid_of(leg)} if leg else {}),
                    "Variable": name,
                    "Value": value,
                },
                as_list=False,
            )
            for leg, name, value in orders.variables
        ]

    def _failed(self, command: Command, why: str) -> None:
        if self._is_closed:
            return
        legs = legs_of(command)
        interaction: InteractionId | None = command.interaction if isinstance(command, RingAgent) else None
        self._inbox(
            CommandFailed(
                at=self._clock(),
                command=type(command).__name__,
                leg=legs[0] if legs else None,
                interaction=interaction,
                why=why,
            )
        )

    def _orders(self, command: Command) -> _Orders:
        """A command in AMI's terms. Raises ``BadInput`` for values that are not ours, ``LookupError`` for legs
        elsewhere."""
        for leg in legs_of(command):
            if pbx_of(leg) != self.address.id:
                raise LookupError(leg)
            checked(_UNIQUEID, "leg", uniqueid_of(leg))
        match command:
            case Beat(boot=boot, count=count):
                self._boot = checked(_BOOT, "boot", boot)
                return _Orders(((_GLOBAL, "CALLFLOOR_BEAT", f"{boot}:{int(count)}"),), None)
            case AcceptOffer(leg=leg, queue=queue):
                fallback = ((leg, "CF_QUEUE", checked(SLUG, "queue", queue)),) if queue else ()
                return _Orders((*fallback, (leg, "CF_ACK", checked(_BOOT, "boot", self._boot))), None)
            case RingAgent(leg=leg):
                return _Orders(
                    (
                        *self._dial_variables(leg, command.endpoint, command.ring_timeout_s, command.shown_as),
                        (leg, "CF_RECORD", command.recording.value),
                    ),
                    redirect(leg, "callfloor-ring"),
                )
            case ReturnToHold(leg=leg, target=target):
                return _Orders(
                    ((leg, "CF_TARGET", checked(_TARGET, "target", target)),), redirect(leg, "callfloor-hold")
                )
            case HangUp(leg=leg):
                return _Orders((), {"Action": "Hangup", "Channel": uniqueid_of(leg)})
            case SendToHold(leg=leg, other=other, target=target):
                return _Orders(
                    ((leg, "CF_TARGET", checked(_TARGET, "target", target)),),
                    redirect(leg, "callfloor-hold", other, "callfloor-end"),
                    redirect(leg, "callfloor-hold"),  # the other leg is gone already: the caller is moved all the same
                )
            case StartConsult(leg=leg, agent_leg=agent_leg):
                return _Orders(
                    (
                        (leg, "CF_WITH", uniqueid_of(agent_leg)),
                        (leg, "CF_TARGET", ""),
                        (agent_leg, "CF_WITH", uniqueid_of(leg)),
                        *self._dial_variables(agent_leg, command.endpoint, command.ring_timeout_s, command.shown_as),
                    ),
                    redirect(leg, "callfloor-park", agent_leg, "callfloor-consult"),
                )
            case JoinLegs(leg=leg, to=to):
                return _Orders(((leg, "CF_WITH", uniqueid_of(to)),), redirect(leg, "callfloor-join"))
            case PauseRecording(leg=leg, is_paused=is_paused):
                return _Orders(
                    (),
                    {
                        "Action": "MixMonitorMute",
                        "Channel": uniqueid_of(leg),
                        "Direction": "both",
                        "State": "1" if is_paused else "0",
                    },
                )
            case StopRecording(leg=leg):
                return _Orders(((leg, "CF_CONSENT", "no"),), {"Action": "StopMixMonitor", "Channel": uniqueid_of(leg)})
            case WithdrawCaller(leg=leg, queue=queue):
                if leg not in self._living:
                    raise LookupError(leg)
                return _Orders(
                    (),
                    {
                        "Action": "QueueWithdrawCaller",
                        "Queue": FALLBACK_QUEUE_PREFIX + checked(SLUG, "queue", queue),
                        "Caller": self._living[leg],  # this action alone knows no Uniqueid
                    },
                )
            case _:
                raise BadInput(type(command).__name__, "not_for_the_switch")

    def _dial_variables(
        self, leg: LegId, endpoint: str, ring_timeout_s: int, shown_as: str
    ) -> tuple[tuple[LegId, str, str], ...]:
        if not 1 <= int(ring_timeout_s) <= 600:
            raise BadInput("ring_timeout_s", "out_of_range")
        return (
            (leg, "CF_ENDPOINT", checked(_ENDPOINT, "endpoint", endpoint)),
            (leg, "CF_RING_S", str(int(ring_timeout_s))),
            # Also if it is empty: the leg may carry that of an earlier ring.
            (leg, "CF_SHOWN", checked(_SHOWN, "shown_as", shown_as)),
        )


_GLOBAL = LegId("")  # a ``Setvar`` without a channel sets a global variable


def legs_of(command: Command) -> tuple[LegId, ...]:
    """The legs that a command moves or reads, the one that it is about first."""
    match command:
        case (
            AcceptOffer(leg=leg)
            | RingAgent(leg=leg)
            | ReturnToHold(leg=leg)
            | HangUp(leg=leg)
            | PauseRecording(leg=leg)
            | StopRecording(leg=leg)
            | WithdrawCaller(leg=leg)
        ):
            return (leg,)
        case SendToHold(leg=leg, other=other) | StartConsult(leg=leg, agent_leg=other) | JoinLegs(leg=leg, to=other):
            return (leg, other)
        case _:
            return ()


def tls_of(address: PbxAddress) -> ssl.SSLContext | bool:
    """How the link is encrypted; the PBX must show a certificate for ``host`` that the trusted authority signed.
    Raises ``SettingsError`` if the authority's file can't be used."""
    if not address.is_tls:
        return False
    try:
        return ssl.create_default_context(cafile=address.tls_ca_file or None)
    except OSError as problem:
        raise SettingsError(f"pbx.{address.id}.tls_ca_file", f"{address.tls_ca_file}: {problem}") from None


def redirect(leg: LegId, context: str, extra: LegId | None = None, extra_context: str = "") -> dict[str, str]:
    """The action that sends one leg, or two at once, into contexts of ``dialplans/``."""
    action = {
        "Action": "Redirect",
        "Channel": uniqueid_of(leg),
        "Context": context,
        "Exten": "s",
        "Priority": "1",
    }
    if extra is not None:
        action |= {
            "ExtraChannel": uniqueid_of(extra),
            "ExtraContext": extra_context,
            "ExtraExten": "s",
            "ExtraPriority": "1",
        }
    return action


def checked(pattern: re.Pattern[str], name: str, value: str) -> str:
    """``value`` if it is what we call names; raises ``BadInput``."""
    if pattern.fullmatch(value) is None:
        raise BadInput(name, "malformed")
    return value


def check_answer(answer: object) -> None:
    """Raise ``ActionFailed`` if the PBX answered with an error."""
    if not getattr(answer, "success", False):
        raise ActionFailed(str(getattr(answer, "message", "")))


def why_lost(problem: LinkError) -> str:
    """A stable code for a link that was lost: ``login_refused``, ``untrusted``, ``protocol_error``, ``silent``,
    ``down``."""
    match problem:
        case UntrustedPeer():
            return "untrusted"
        case LoginRefused():
            return "login_refused"
        case ProtocolError():
            return "protocol_error"
        case ActionTimeout():
            return "silent"
        case _:
            return "down"
