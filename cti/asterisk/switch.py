"""One real PBX behind the seam ``cti.switch.Switch``: facts out of its AMI link, commands into it.

A command becomes actions in two steps at most. First the ``Setvar``s, one for each leg, sent back to back; when every
one was answered with success, the ``Redirect`` (so that nobody is ever rung with the variables of an earlier call).
Commands that touch the same leg are carried out one after the other, others side by side. Legs are named by
``Uniqueid``, which outlives every rename.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
import ssl
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from cti.asterisk.ami_client import AmiClient, AmiTiming
from cti.asterisk.fallback_mirror import FallbackMirror
from cti.asterisk.state_read import read_legs, read_pbx, read_version
from cti.asterisk.translator import FALLBACK_QUEUE_PREFIX, Translator
from cti.commands import (
    AcceptOffer,
    Announce,
    Beat,
    CallBack,
    ChangeSpy,
    HangUp,
    JoinConference,
    JoinLegs,
    MirrorMembers,
    MirrorSetting,
    PauseRecording,
    ReadLegs,
    ReturnToHold,
    RingAgent,
    SendAway,
    SendOutside,
    SendToHold,
    StartConsult,
    StartSpy,
    StartTakeOver,
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
    from pathlib import Path

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
_NUMBER = re.compile(r"\+?[0-9]{3,20}")
_WORD = re.compile(r"[a-z_]{1,40}")
_PROMPT = re.compile(r"[a-z0-9][a-z0-9._-]{0,59}")
_KEYS = re.compile(r"[0-9*#]{0,12}")
_LANGUAGE = re.compile(r"[A-Za-z_-]{0,12}")
_AWAY = re.compile(r"(?:message|voicemail|menu):[a-z0-9][a-z0-9._-]{0,59}|number:\+?[0-9]{3,20}")
_SHOWN = re.compile(r"[A-Za-z0-9._-]{0,80}")
_TONGUE = re.compile(r"(?:[A-Za-z]{2,3}(?:[_-][A-Za-z]{2,8})?)?")
_CALLER_ID = re.compile(r"[A-Za-z0-9+._-]{0,80}")


@dataclass(frozen=True, slots=True)
class PbxAddress:
    """Where a PBX is and how to log in. ``tls_ca_file``: the certificate authority to trust, empty for the system's.
    ``queues_file``: of ours, included in its ``queues.conf``; None if it is on another machine."""

    id: PbxId
    host: str
    port: int
    username: str
    secret: str = field(repr=False)
    is_tls: bool = False
    tls_ca_file: str = ""
    queues_file: Path | None = None
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
    action: dict[str, Any] | None
    otherwise: dict[str, Any] | None = None


@dataclass(slots=True, eq=False)
class _Work:
    """A command that is being carried out, or waits for others of the same legs."""

    command: Command
    orders: _Orders
    legs: tuple[LegId, ...]
    awaited: int = 0
    """Answers, and before it began commands, that it still waits for."""
    began_at: float = 0.0
    problem: LinkError | None = None
    is_second_try: bool = False
    after: list[_Work] = field(default_factory=list)
    """What waits for it."""


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
        self._last_of: dict[LegId, _Work] = {}
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
        self._mirror = FallbackMirror(address.id, self._client, self._failed, address.queues_file)
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

    def _beat(self) -> None:
        """A beat is sent. Whoever is out of touch for seconds does not decide on what it missed: the dialplan has
        given callers away meanwhile, and what it says of them comes in one heap. The PBX is read anew instead."""
        now = asyncio.get_running_loop().time()
        if now - self._beat_at > OUT_OF_TOUCH_S and self._held_back is None:
            self._out_of_touch("no beat was sent")
        self._beat_at = now
        self._beats.append(now)

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
        work = _Work(command, orders, legs)
        for leg in legs:
            before = self._last_of.get(leg)
            if before is not None and before is not work:
                before.after.append(work)
                work.awaited += 1
            self._last_of[leg] = work
        if not work.awaited:
            self._begin(work)

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

    def _begin(self, work: _Work) -> None:
        work.began_at = asyncio.get_running_loop().time()
        actions = _setvars(work.orders.variables)
        if isinstance(work.command, Beat):
            self._beat()
        if not actions:
            self._act(work)
            return
        work.awaited = len(actions)
        for headers in actions:
            self._client.order("Setvar", headers, partial(self._is_set, work))

    def _is_set(self, work: _Work, problem: LinkError | None) -> None:
        if isinstance(work.command, Beat):
            self._beats.popleft()
        work.awaited -= 1
        work.problem = work.problem or problem
        if work.awaited:
            return
        took_s = asyncio.get_running_loop().time() - work.began_at
        if work.problem is None and isinstance(work.command, RingAgent) and took_s > OUT_OF_TOUCH_S:
            work.problem = ActionTimeout("the caller may be elsewhere by now")
        if work.problem is None:
            self._act(work)
        else:
            self._carried_out(work, work.problem)

    def _act(self, work: _Work) -> None:
        action = work.orders.otherwise if work.is_second_try else work.orders.action
        if action is None:
            self._carried_out(work, None)
        else:
            headers = [header for header in action.items() if header[0] != "Action"]
            self._client.order(action["Action"], headers, partial(self._is_acted, work))

    def _is_acted(self, work: _Work, problem: LinkError | None) -> None:
        if isinstance(problem, ActionFailed) and work.orders.otherwise is not None and not work.is_second_try:
            work.is_second_try = True
            self._act(work)
        else:
            self._carried_out(work, problem)

    def _carried_out(self, work: _Work, problem: LinkError | None) -> None:
        if problem is not None:
            self._could_not(work.command, problem)
        for leg in work.legs:
            if self._last_of.get(leg) is work:
                del self._last_of[leg]
        for one in work.after:
            one.awaited -= 1
            if not one.awaited:
                self._begin(one)

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
                        *self._dial_variables(
                            leg, called(command), command.ring_timeout_s, command.shown_as, command.also
                        ),
                        *(
                            ((leg, "CF_TONGUE", checked(_TONGUE, "language", command.language)),)
                            if command.is_outside
                            else ()
                        ),
                        (leg, "CF_RECORD", command.recording.value),
                    ),
                    redirect(leg, "callfloor-ring"),
                )
            case ReturnToHold(leg=leg, target=target):
                return _Orders(
                    ((leg, "CF_TARGET", checked(_TARGET, "target", target)),), redirect(leg, "callfloor-hold")
                )
            case Announce(leg=leg, what=what, says=says, keys=keys):
                words = [checked(_WORD, "what", what), *(checked(_PROMPT, "says", one) for one in says)]
                spoken = ((leg, "CF_SAY", ":".join(words)),) if says else ()
                return _Orders(((leg, "CF_KEYS", checked(_KEYS, "keys", keys)), *spoken), None)
            case SendAway(leg=leg, to=to):
                return _Orders(((leg, "CF_GOES", checked(_AWAY, "to", to)),), redirect(leg, "callfloor-go"))
            case CallBack():
                return _Orders((), _call_back(command))
            case HangUp(leg=leg):
                return _Orders((), {"Action": "Hangup", "Channel": uniqueid_of(leg)})
            case SendToHold(leg=leg, other=other, target=target):
                return _Orders(
                    ((leg, "CF_TARGET", checked(_TARGET, "target", target)),),
                    redirect(leg, "callfloor-hold", other, "callfloor-end"),
                    redirect(leg, "callfloor-hold"),  # the other leg is gone already: the caller is moved all the same
                )
            case StartConsult(leg=leg, agent_leg=agent_leg):
                is_alone = command.is_in_company
                return _Orders(
                    (
                        *(() if is_alone else ((leg, "CF_WITH", uniqueid_of(agent_leg)), (leg, "CF_TARGET", ""))),
                        (agent_leg, "CF_WITH", uniqueid_of(leg)),
                        (agent_leg, "CF_ROOM", uniqueid_of(leg) if is_alone else ""),
                        *self._consult_variables(command),
                    ),
                    redirect(agent_leg, "callfloor-consult")
                    if is_alone
                    else redirect(leg, "callfloor-park", agent_leg, "callfloor-consult"),
                )
            case SendOutside(leg=leg, other=other, number=number, target=target):
                return _Orders(
                    (
                        (leg, "CF_GOES", f"number:{checked(_NUMBER, 'number', number)}"),
                        (leg, "CF_TARGET", checked(_TARGET, "target", target)),
                    ),
                    redirect(leg, "callfloor-go", other, "callfloor-end"),
                    redirect(leg, "callfloor-go"),
                )
            case JoinConference(leg=leg, of=of, also=also):
                legs = (leg,) if also is None else (leg, also)
                return _Orders(
                    tuple((one, "CF_ROOM", uniqueid_of(of)) for one in legs),
                    redirect(leg, "callfloor-conference", also, "callfloor-conference"),
                )
            case JoinLegs(leg=leg, to=to):
                return _Orders(((leg, "CF_WITH", uniqueid_of(to)),), redirect(leg, "callfloor-join"))
            case StartSpy(leg=leg, of=of, mode=mode):
                ring = self._ring_phone(leg, command, "callfloor-spy", CF_WITH=uniqueid_of(of), CF_MODE=mode.value)
                return _Orders((), ring)
            case ChangeSpy(leg=leg, mode=mode):
                return _Orders(((leg, "CF_MODE", mode.value),), redirect(leg, "callfloor-spy"))
            case StartTakeOver(leg=leg, of=of) if leg in self._living:
                return _Orders(((leg, "CF_WITH", uniqueid_of(of)),), redirect(leg, "callfloor-take"))
            case StartTakeOver(leg=leg, of=of):
                return _Orders((), self._ring_phone(leg, command, "callfloor-take", CF_WITH=uniqueid_of(of)))
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

    def _consult_variables(self, command: StartConsult) -> tuple[tuple[LegId, str, str], ...]:
        leg = command.agent_leg
        if not command.is_outside or command.must_accept:
            tongue = (
                ((leg, "CF_TONGUE", checked(_TONGUE, "language", command.language)),) if command.must_accept else ()
            )
            ring = self._dial_variables(leg, called(command), command.ring_timeout_s, command.shown_as)
            return (*ring, *tongue, (leg, "CF_OUTSIDE", ""))
        return (
            (leg, "CF_OUTSIDE", checked(_NUMBER, "number", command.endpoint)),
            (leg, "CF_RING_S", str(ring_seconds(command.ring_timeout_s))),
            (leg, "CF_SHOWN", ""),
        )

    def _ring_phone(
        self, leg: LegId, command: StartSpy | StartTakeOver, context: str, **variables: str
    ) -> dict[str, str]:
        """The action that rings a phone as ``leg`` and leads it, answered, into ``context``. It answers at once; how
        the ring ends is told by the leg. Forwarding asked for by that phone (302) leads nowhere."""
        variables["FORWARD_CONTEXT"] = "callfloor-nowhere"
        return {
            "Action": "Originate",
            "Channel": f"PJSIP/{checked(_ENDPOINT, 'endpoint', command.endpoint)}",
            "ChannelId": uniqueid_of(leg),
            "Context": context,
            "Exten": "s",
            "Priority": "1",
            "Timeout": str(1000 * ring_seconds(command.ring_timeout_s)),
            "CallerID": f"<{checked(_CALLER_ID, 'shown_as', command.shown_as)}>",
            "Variable": ",".join(f"{name}={value}" for name, value in variables.items()),
            "Async": "true",
        }

    def _dial_variables(
        self, leg: LegId, endpoint: str, ring_timeout_s: int, shown_as: str, also: tuple[str, ...] = ()
    ) -> tuple[tuple[LegId, str, str], ...]:
        return (
            (leg, "CF_ENDPOINT", "&".join((endpoint, *(checked(_ENDPOINT, "endpoint", one) for one in also)))),
            (leg, "CF_RING_S", str(ring_seconds(ring_timeout_s))),
            # Also if it is empty: the leg may carry that of an earlier ring.
            (leg, "CF_SHOWN", checked(_SHOWN, "shown_as", shown_as)),
        )


def _call_back(command: CallBack) -> dict[str, Any]:
    """The action that calls back. Raises ``BadInput``."""
    if not 1 <= command.ring_timeout_s <= 120:
        raise BadInput("ring_timeout_s", "out_of_range")
    number, trunk = checked(_NUMBER, "number", command.number), checked(_ENDPOINT, "trunk", command.trunk)
    variables = {
        # Whoever answers with "call somebody else instead" (302) is led to no extension at all.
        "__FORWARD_CONTEXT": "callfloor-nowhere",
        "CF_CALLED": number,
        "CF_BEFORE_S": str(max(0, int(command.waited_s))),
        "CF_QUEUE": checked(SLUG, "queue", command.queue),
        "CF_LANGUAGE": checked(_LANGUAGE, "language", command.language),
    }
    shown = checked(_NUMBER, "shown_number", command.shown_number) if command.shown_number else ""
    return {
        "Action": "Originate",
        "Channel": f"PJSIP/{number}@{trunk}",
        "ChannelId": uniqueid_of(command.leg),
        "Context": "callfloor-callback",
        "Exten": "s",
        "Priority": "1",
        "Timeout": str(command.ring_timeout_s * 1000),
        "Async": "true",
        **({"CallerID": f"<{shown}>"} if shown else {}),
        "Variable": [f"{name}={value}" for name, value in variables.items()],
    }


_GLOBAL = LegId("")  # a ``Setvar`` without a channel sets a global variable
_PLAIN = re.compile(r"[A-Za-z0-9_.:+*#&-]*")
"""Values that the dialplan function ``ARRAY`` takes as they are."""


def _setvars(variables: Sequence[tuple[LegId, str, str]]) -> list[list[tuple[str, str]]]:
    """The headers of one ``Setvar`` for each leg: ``ARRAY(a,b)`` sets several variables at once, in their order."""
    actions: list[list[tuple[str, str]]] = []
    for leg, group in groupby(variables, key=itemgetter(0)):
        found = [(name, value) for _, name, value in group]
        if len(found) > 1 and all(_PLAIN.fullmatch(value) for _, value in found):
            found = [(f"ARRAY({','.join(name for name, _ in found)})", ",".join(value for _, value in found))]
        channel = [("Channel", uniqueid_of(leg))] if leg else []
        actions += [[*channel, ("Variable", name), ("Value", value)] for name, value in found]
    return actions


def legs_of(command: Command) -> tuple[LegId, ...]:
    """The legs that a command moves or reads, the one that it is about first."""
    match command:
        case (
            AcceptOffer(leg=leg)
            | RingAgent(leg=leg)
            | ReturnToHold(leg=leg)
            | Announce(leg=leg)
            | SendAway(leg=leg)
            | CallBack(leg=leg)
            | HangUp(leg=leg)
            | PauseRecording(leg=leg)
            | StopRecording(leg=leg)
            | WithdrawCaller(leg=leg)
            | ChangeSpy(leg=leg)
        ):
            return (leg,)
        case StartSpy(leg=leg, of=other) | StartTakeOver(leg=leg, of=other):
            return (leg, other)
        case JoinConference(leg=leg, of=of, also=also):
            return tuple(dict.fromkeys((leg, *((also,) if also is not None else ()), of)))
        case (
            SendOutside(leg=leg, other=other)
            | SendToHold(leg=leg, other=other)
            | StartConsult(leg=leg, agent_leg=other)
            | JoinLegs(leg=leg, to=other)
        ):
            return (leg, other)
        case _:
            return ()


def called(command: RingAgent | StartConsult) -> str:
    """What the dialplan calls: an endpoint, or ``+`` and an agent's number outside. Raises ``BadInput``."""
    if not command.is_outside:
        return checked(_ENDPOINT, "endpoint", command.endpoint)
    return "+" + checked(_NUMBER, "number", command.endpoint)


def ring_seconds(ring_timeout_s: int) -> int:
    """For how long a phone may ring. Raises ``BadInput`` if nobody would want that."""
    if not 1 <= int(ring_timeout_s) <= 600:
        raise BadInput("ring_timeout_s", "out_of_range")
    return int(ring_timeout_s)


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
