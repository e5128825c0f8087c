"""A simulated PBX: the second adapter behind ``cti.switch``, with the behaviour of ``dialplans/`` and no wire.

``SimPbx`` is pure: it takes commands and what people do at their phones, with ``now`` passed in, and returns the facts
that a real Asterisk would give for the same story, in the same order. ``wake_at``/``wake`` play what time brings: rings
that end, callers who lose patience, the hold loop's watch over the beat. ``LiveSimPbx`` runs the object on asyncio.

Where a caller stands (``Place``) follows the contexts of ``dialplans/CONTRACT.md``::

    call_in ─▶ HOLD ─ RingAgent ─▶ RING ─ answered ─▶ RING, in a bridge ─▶ gone
                ▲ ▲ │                │ unanswered            │ StartConsult ─▶ PARK ─ JoinLegs ─▶ JOIN, in a bridge
                │ │ └ no beat ─▶ QUEUE └──▶ HOLD             │ SendToHold ─▶ HOLD
                │ └ WithdrawCaller ─┘                        │
                └──────────────────────────────────────── agent's phone fell silent

What it leaves out: sound, trunks towards the outside, Local channels.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from cti import commands as c
from cti import events as e
from cti.events import BridgeKind, DeviceState, DialOutcome, Event, HangupCause
from cti.ids import BridgeId, InteractionId, LegId, PbxId, QueueId, leg_id
from cti.routing.plan import RecordingPolicy

if TYPE_CHECKING:
    import random

    from cti.commands import Command
    from cti.switch import Inbox

TURN_S = 1.0
UNACKNOWLEDGED_TURNS = 3
STALE_TURNS = 5
PARK_TURN_S = 0.5
RTP_TIMEOUT_S = 5.0
RTP_TIMEOUT_CAUSE = HangupCause.CONGESTION
"""Asterisk ends a silent leg with cause 44."""
TRANSFER_RING_S = 30.0
QUEUE_RING_S = 15.0
QUEUE_RETRY_S = 5.0
QUEUE_MESSAGE_S = 3.0
OUTSIDE_RING_S = 60.0
PROMPT_S = 2.0
"""How long one recording of an announcement takes."""
AWAY_S = 10.0
"""How long a message takes, played or left."""
TRUNK = "callfloor-trunk"

BUSY_CAUSE = {DialOutcome.BUSY: HangupCause.BUSY, DialOutcome.REJECTED: HangupCause.REJECTED}

Act: TypeAlias = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class PhoneBehaviour:
    """How the person at a phone behaves. Ranges are drawn from evenly, in seconds.

    ``answers_after_s`` None: does nothing by itself (a test acts, or it rings on). ``rejects``: the share of rings that
    are refused. ``hangs_up_after_s``: how long this person talks at most, None: until the other side hangs up.
    """

    answers_after_s: tuple[float, float] | None = (1.0, 4.0)
    rejects: float = 0.0
    hangs_up_after_s: tuple[float, float] | None = None
    rings_while_talking: bool = False


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who calls in. ``patience_s`` runs until the first answer, ``talk_s`` from it. ``target``: where the call
    is sent to by name, if not by its number."""

    number: str
    name: str = ""
    dnis: str = ""
    account: str = ""
    choice: str = ""
    language: str = ""
    patience_s: float = math.inf
    talk_s: float = math.inf
    agrees_to_recording: bool = True
    target: str = ""


class Place(StrEnum):
    """Which part of the dialplan runs a leg."""

    HOLD = "hold"
    RING = "ring"
    PARK = "park"
    CONSULT = "consult"
    JOIN = "join"
    SPY = "spy"
    TAKE = "take"
    CONFERENCE = "conference"
    OUTSIDE = "outside"
    CALLBACK = "callback"
    AWAY = "away"
    """A message is played, or one is left."""
    QUEUE = "queue"
    PHONE = "phone"
    """None: the leg was dialled, or it dialled by itself."""


@dataclass(slots=True, eq=False)
class Dial:
    """One phone rings for one leg; ``by`` None: by order of the daemon. ``together``: all that ring at once for it, as
    long as they do."""

    by: LegId | None
    to: LegId
    place: Place
    recording_basis: str = ""
    together: list[Dial] = field(default_factory=list)


@dataclass(slots=True)
class SimLeg:
    """One channel of the simulated PBX."""

    id: LegId
    conversation: LegId
    channel: str
    endpoint: str
    place: Place
    started_at: float
    number: str = ""
    name: str = ""
    dialled: str = ""
    caller: Caller | None = None
    is_up: bool = False
    bridge: BridgeId | None = None
    dial: Dial | None = None
    since: float | None = None
    offered_at: float = 0.0
    offer_boot: str = ""
    ack: str = ""
    target: str = ""
    queue: str = ""
    queued_at: float = 0.0
    shown_as: str = ""
    parked_for: LegId | None = None
    """Who waits for whom, hears whom, or takes over whom."""
    spies: e.SpyMode = e.SpyMode.LISTEN
    is_recorded: bool = False
    keys: str = ""
    saying: str = ""
    called_back: Caller | None = None
    tapes: int = 0
    has_objected: bool = False
    was_answered: bool = False
    visit: int = 0
    """Changes with every place it enters, so that what was planned for an earlier one is dropped."""


@dataclass(slots=True)
class Phone:
    """A phone of an agent."""

    endpoint: str
    behaviour: PhoneBehaviour
    is_reachable: bool = True
    state: DeviceState = DeviceState.NOT_INUSE
    legs: list[LegId] = field(default_factory=list)


class SimPbx:
    """A PBX without wires. ``rng`` is the only source of chance; ``phones``: endpoint (or number outside) → how its
    owner behaves.

    ``fallback_queue`` takes the callers of whose queue nothing was mirrored; ``fallback_phones`` serve queues without
    mirrored members; ``fallback_s`` is how long a caller waits there for one of them. ``stale_s``: a hold loop that saw
    no beat for so long takes its caller to the fall-back. ``members`` (queue → endpoint →
    is it paused?) and ``settings`` hold what was mirrored, over restarts too.
    While the link is broken it goes on by itself, tells nothing, and carries out nothing (``CommandFailed``).
    """

    def __init__(
        self,
        pbx: PbxId,
        *,
        rng: random.Random,
        phones: Mapping[str, PhoneBehaviour],
        fallback_queue: str = "callfloor-fallback",
        fallback_phones: tuple[str, ...] = (),
        fallback_s: float = 60.0,
        stale_s: float = STALE_TURNS * TURN_S,
    ) -> None:
        self.pbx = pbx
        self.phones = {endpoint: Phone(endpoint, behaviour) for endpoint, behaviour in phones.items()}
        self.legs: dict[LegId, SimLeg] = {}
        self.is_linked = True
        self._rng = rng
        self._fallback_queue = fallback_queue
        self._fallback_phones = fallback_phones
        self._fallback_s = fallback_s
        self._stale_s = stale_s
        self.members: dict[str, dict[str, bool]] = {}
        self.settings: dict[str, str] = {}
        self._bridges: dict[BridgeId, list[LegId]] = {}
        self._spies: set[LegId] = set()
        self._planned: list[tuple[float, int, LegId | None, int, Act]] = []
        self._order = itertools.count()
        self._channels = itertools.count(1)
        self._facts: list[Event] = []
        self._boot = ""
        self._beat = ""
        self._beat_changed_at = -math.inf
        self._handlers: dict[type[Command], Callable[..., str]] = {
            c.Beat: self._take_beat,
            c.AcceptOffer: self._accept_offer,
            c.RingAgent: self._ring_agent,
            c.ReturnToHold: self._return_to_hold,
            c.HangUp: self._end_by_order,
            c.SendToHold: self._send_to_hold,
            c.StartConsult: self._start_consult,
            c.JoinLegs: self._join_legs,
            c.SendOutside: self._send_outside,
            c.Announce: self._announce,
            c.SendAway: self._send_away,
            c.CallBack: self._call_back,
            c.JoinConference: self._join_conference,
            c.StartSpy: self._start_spy,
            c.ChangeSpy: self._change_spy,
            c.StartTakeOver: self._start_take_over,
            c.PauseRecording: self._pause_recording,
            c.StopRecording: self._stop_recording,
            c.MirrorMembers: self._mirror_members,
            c.MirrorSetting: self._mirror_setting,
            c.WithdrawCaller: self._withdraw_caller,
            c.ReadLegs: self._read_legs,
        }

    # ── in and out ────────────────────────────────────────────────────────────────────────────────────────

    def handle(self, command: Command, *, now: float) -> list[Event]:
        """Carry out a command; what cannot be done comes back as ``CommandFailed``. Commands for others are ignored."""
        handler = self._handlers.get(type(command))
        if handler is None:
            return []
        why = handler(command, now) if self.is_linked else "link_down"
        facts = self._told()
        if why and not isinstance(command, c.Beat):
            leg: LegId | None = getattr(command, "leg", None)
            interaction: InteractionId | None = getattr(command, "interaction", None)
            facts.append(
                e.CommandFailed(at=now, command=type(command).__name__, leg=leg, interaction=interaction, why=why)
            )
        return facts

    def wake_at(self) -> float | None:
        """When something happens by itself next."""
        return self._planned[0][0] if self._planned else None

    def wake(self, *, now: float) -> list[Event]:
        """Let happen what is due."""
        while self._planned and self._planned[0][0] <= now:
            _due, _order, leg, visit, act = heapq.heappop(self._planned)
            if leg is None or (leg in self.legs and self.legs[leg].visit == visit):
                act(now)
        return self._told()

    def read(self, *, now: float) -> e.PbxRead:
        """All that lives on this PBX."""
        return e.PbxRead(
            at=now,
            pbx=self.pbx,
            legs=tuple(
                e.LegSeen(
                    leg=leg.id,
                    conversation=leg.conversation,
                    channel=leg.channel,
                    tech="PJSIP",
                    endpoint=leg.endpoint,
                    number=leg.number,
                    name=leg.name,
                    dialled=leg.dialled,
                    is_up=leg.is_up,
                    is_ringing=not leg.is_up and leg.dial is not None and leg.dial.to == leg.id,
                    started_at=leg.started_at,
                    bridge=leg.bridge,
                    bridge_kind=BridgeKind.TALK if leg.bridge is not None else None,
                    is_waiting=leg.place is Place.HOLD,
                )
                for leg in self.legs.values()
            ),
            devices=tuple((phone.endpoint, phone.state) for phone in self.phones.values()),
            members=tuple(
                e.MemberSeen(QueueId(queue), endpoint, is_paused)
                for queue, members in self.members.items()
                for endpoint, is_paused in members.items()
            ),
            queued=tuple(
                e.QueuedSeen(leg.id, QueueId(leg.queue), now - leg.queued_at)
                for leg in self.legs.values()
                if leg.place is Place.QUEUE and leg.bridge is None
            ),
        )

    def _told(self) -> list[Event]:
        facts, self._facts = self._facts, []
        return facts if self.is_linked else []

    def _tell(self, fact: Event) -> None:
        self._facts.append(fact)

    def _plan(self, at: float, leg: SimLeg | None, act: Act) -> None:
        """``act`` happens at ``at``, unless ``leg`` is gone or somewhere else by then."""
        if at < math.inf:
            visit = leg.visit if leg is not None else 0
            heapq.heappush(self._planned, (at, next(self._order), leg.id if leg is not None else None, visit, act))

    def _enter(self, leg: SimLeg, place: Place) -> None:
        leg.place = place
        leg.visit += 1

    # ── what people do ────────────────────────────────────────────────────────────────────────────────────

    def call_in(self, caller: Caller, *, now: float) -> list[Event]:
        """Somebody calls: the call is answered and enters the hold loop."""
        leg = self._new_leg(TRUNK, None, Place.HOLD, now, caller=caller)
        leg.is_up = True
        self._tell(e.LegAnswered(at=now, leg=leg.id))
        leg.since = now
        leg.target = caller.target
        self._to_hold(leg, now)
        if caller.patience_s < math.inf:
            self._plan(now + caller.patience_s, None, partial(self._lose_patience, leg.id))
        return self._told()

    def live_callers(self) -> list[LegId]:
        """The callers on the line, oldest first."""
        return [leg.id for leg in self.legs.values() if leg.caller is not None]

    def caller_hangs_up(self, leg: LegId, *, now: float) -> list[Event]:
        """The caller hangs up, wherever the call is."""
        if leg in self.legs:
            self._hang_up(self.legs[leg], now)
        return self._told()

    def answer(self, endpoint: str, *, now: float) -> list[Event]:
        """The person at the phone takes the call that rings."""
        dial = self._ringing_at(endpoint)
        if dial is not None:
            self._answered(dial, now)
        return self._told()

    def reject(self, endpoint: str, *, now: float) -> list[Event]:
        """The person at the phone refuses the call that rings (486)."""
        dial = self._ringing_at(endpoint)
        if dial is not None:
            self._unanswered(dial, DialOutcome.BUSY, now)
        return self._told()

    def hang_up(self, endpoint: str, *, now: float) -> list[Event]:
        """The person at the phone ends the latest call that is up."""
        leg = self._up_at(endpoint)
        if leg is not None:
            self._hang_up(leg, now)
        return self._told()

    def hold(self, endpoint: str, *, now: float) -> list[Event]:
        """The hold key of the phone."""
        leg = self._up_at(endpoint)
        if leg is not None:
            self._tell(e.LegHeld(at=now, leg=leg.id))
        return self._told()

    def resume(self, endpoint: str, *, now: float) -> list[Event]:
        """The hold key again."""
        leg = self._up_at(endpoint)
        if leg is not None:
            self._tell(e.LegResumed(at=now, leg=leg.id))
        return self._told()

    def refer(self, endpoint: str, to: str, *, now: float) -> list[Event]:
        """Blind transfer by the phone itself: to another phone, or (any other extension) to the hold loop."""
        leg = self._up_at(endpoint)
        others = [one for one in self._bridges.get(leg.bridge, ()) if one != leg.id] if leg and leg.bridge else []
        if leg is None or not others:
            return self._told()
        moved = self.legs[others[0]]
        self._part(moved, now)
        self._tell(e.BlindTransferred(at=now, by=leg.id, moved=moved.id, to=to, ok=True))
        self._part(leg, now)
        self._end(leg, HangupCause.NORMAL, now)
        moved.was_answered = False
        if to in self.phones:
            self._enter(moved, Place.RING)
            self._dial(moved, to, TRANSFER_RING_S, Place.RING, now)
        else:
            self._to_hold(moved, now)
        return self._told()

    def dial(self, endpoint: str, to: str, *, now: float) -> list[Event]:
        """A phone calls another phone of ours."""
        phone = self.phones[endpoint]
        if not phone.is_reachable:
            return self._told()
        leg = self._new_leg(endpoint, None, Place.PHONE, now, dialled=to)
        leg.is_up = True
        self._show_device(phone, now)
        self._dial(leg, to, TRANSFER_RING_S, Place.PHONE, now)
        return self._told()

    def press(self, leg: LegId, key: str, *, now: float) -> list[Event]:
        """A waiting caller presses a key; one that means nothing is not told."""
        found = self.legs.get(leg)
        if found is not None and found.place is Place.HOLD:
            self._said(found, now)
            if key in found.keys:
                self._tell(e.KeyPressed(at=now, leg=leg, key=key))
        return self._told()

    # ── faults ────────────────────────────────────────────────────────────────────────────────────────────

    def break_link(self, *, now: float, why: str = "closed") -> list[Event]:
        """The link to the daemon breaks; calls go on."""
        facts = self._told()
        self.is_linked = False
        return [*facts, e.LinkLost(at=now, pbx=self.pbx, why=why)]

    def restore_link(self, *, now: float) -> list[Event]:
        """The link stands (again), and all is read."""
        self._facts.clear()
        self.is_linked = True
        return [e.LinkUp(at=now, pbx=self.pbx, version="simulated"), self.read(now=now)]

    def lose_phone(self, endpoint: str, *, now: float) -> list[Event]:
        """A phone vanishes (its page was closed). Its calls fall silent and end when no audio came for a while."""
        phone = self.phones[endpoint]
        phone.is_reachable = False
        self._tell(e.PhoneUnreachable(at=now, pbx=self.pbx, endpoint=endpoint))
        self._show_device(phone, now)
        for leg in [self.legs[one] for one in phone.legs]:
            if leg.is_up:
                self._plan(now + RTP_TIMEOUT_S, None, partial(self._fell_silent, leg.id))
        return self._told()

    def find_phone(self, endpoint: str, *, now: float) -> list[Event]:
        """A phone registers (again)."""
        phone = self.phones[endpoint]
        phone.is_reachable = True
        self._tell(e.PhoneReachable(at=now, pbx=self.pbx, endpoint=endpoint))
        self._show_device(phone, now)
        return self._told()

    def restart(self, *, now: float) -> list[Event]:
        """The PBX restarts: every call is gone, and nobody tells of it. ``restore_link`` comes next."""
        facts = self.break_link(now=now, why="shutdown")
        self.legs.clear()
        self._bridges.clear()
        self._spies.clear()
        self._planned.clear()
        self._boot = self._beat = ""
        self._beat_changed_at = -math.inf
        for phone in self.phones.values():
            phone.legs.clear()
            phone.state = DeviceState.NOT_INUSE if phone.is_reachable else DeviceState.UNAVAILABLE
        return facts

    def _fell_silent(self, leg: LegId, now: float) -> None:
        found = self.legs.get(leg)
        if found is not None and not self.phones[found.endpoint].is_reachable:
            self._hang_up(found, now, RTP_TIMEOUT_CAUSE)

    # ── commands ──────────────────────────────────────────────────────────────────────────────────────────

    def _take_beat(self, command: c.Beat, now: float) -> str:
        if command.pbx != self.pbx:
            return ""
        beat = f"{command.boot}:{command.count}"
        if beat != self._beat:
            self._beat, self._beat_changed_at = beat, now
        if command.boot != self._boot:
            self._boot = command.boot
            for leg in self.legs.values():
                if leg.place is Place.HOLD:
                    self._plan(self._next_turn(leg, now), leg, partial(self._offer_again, leg.id))
        return ""

    def _accept_offer(self, command: c.AcceptOffer, now: float) -> str:
        leg = self.legs.get(command.leg)
        if leg is None:
            return "no_such_leg"
        leg.ack = self._boot
        leg.queue = command.queue or leg.queue
        return ""

    def _ring_agent(self, command: c.RingAgent, now: float) -> str:
        leg = self.legs.get(command.leg)
        if leg is None:
            return "no_such_leg"
        self._pull_out(leg, now)
        self._enter(leg, Place.RING)
        basis = self._recording_basis(leg, command.recording)
        if basis not in ("announced", "consent"):
            self._end_recording(leg, now)
            if basis != "off":
                self._tell(e.RecordingRefused(at=now, leg=leg.id, why=basis))
            basis = ""
        self._dial(
            leg,
            command.endpoint,
            command.ring_timeout_s,
            Place.RING,
            now,
            also=command.also,
            recording_basis=basis,
            shown_as=command.shown_as,
        )
        return ""

    def _return_to_hold(self, command: c.ReturnToHold, now: float) -> str:
        leg = self.legs.get(command.leg)
        if leg is None:
            return "no_such_leg"
        self._pull_out(leg, now)
        leg.target = command.target
        self._to_hold(leg, now)
        return ""

    def _end_by_order(self, command: c.HangUp, now: float) -> str:
        leg = self.legs.get(command.leg)
        if leg is not None:
            self._hang_up(leg, now)
        return ""

    def _send_to_hold(self, command: c.SendToHold, now: float) -> str:
        leg, other = self.legs.get(command.leg), self.legs.get(command.other)
        if leg is None:
            return "no_such_leg"
        self._part(leg, now)
        leg.target = command.target
        self._to_hold(leg, now)
        if other is not None:
            self._hang_up(other, now)
        return ""

    def _start_consult(self, command: c.StartConsult, now: float) -> str:
        leg, agent_leg = self.legs.get(command.leg), self.legs.get(command.agent_leg)
        if leg is None or agent_leg is None:
            return "no_such_leg"
        self._part(agent_leg, now)
        if not command.is_in_company:
            self._part(leg, now)
            self._enter(leg, Place.PARK)
            leg.since, leg.parked_for, leg.was_answered = None, agent_leg.id, False
        self._enter(agent_leg, Place.CONSULT)
        agent_leg.parked_for = leg.id
        if command.is_outside:
            self._dial(agent_leg, command.endpoint, command.ring_timeout_s, Place.CONSULT, now)
            return ""
        self._dial(agent_leg, command.endpoint, command.ring_timeout_s, Place.CONSULT, now, shown_as=command.shown_as)
        return ""

    def _join_legs(self, command: c.JoinLegs, now: float) -> str:
        leg, to = self.legs.get(command.leg), self.legs.get(command.to)
        if leg is None or to is None:
            return "no_such_leg"
        if to.is_up:
            self._join(leg, to, now)
        else:
            # Bridge() finds nobody to connect with, and the dialplan has nothing else to do with this leg.
            self._pull_out(leg, now)
            self._end(leg, HangupCause.NORMAL, now)
        return ""

    def _send_outside(self, command: c.SendOutside, now: float) -> str:
        leg, other = self.legs.get(command.leg), self.legs.get(command.other)
        if leg is None:
            return "no_such_leg"
        self._part(leg, now)
        leg.target = command.target
        self._enter(leg, Place.OUTSIDE)
        leg.since, leg.was_answered = None, False
        self._dial(leg, command.number, OUTSIDE_RING_S, Place.OUTSIDE, now)
        if other is not None:
            self._hang_up(other, now)
        return ""

    def _join_conference(self, command: c.JoinConference, now: float) -> str:
        caller = self.legs.get(command.of)
        legs = [self.legs.get(one) for one in (command.leg, command.also) if one is not None]
        if caller is None or any(leg is None for leg in legs):
            return "no_such_leg"
        room = BridgeId(f"{self.pbx}/conference-{caller.id}")
        for leg in legs:
            assert leg is not None
            left = [self.legs[one] for one in self._others(leg) if one not in (command.leg, command.also)]
            is_dialling = leg.place is Place.CONSULT
            self._part(leg, now)
            self._enter(leg, Place.CONFERENCE)
            leg.parked_for, leg.was_answered = None, leg.caller is not None
            for other in left:
                # Whoever this one spoke with goes on alone as after a hang-up.
                self._part(other, now)
                if other.place is Place.CONSULT:
                    self._back_from_consult(other, now)
                elif is_dialling:
                    self._end(other, HangupCause.NORMAL, now)
            self._bridges.setdefault(room, [])
            self._bring(leg, room, now)
        return ""

    def _start_spy(self, command: c.StartSpy, now: float) -> str:
        leg = self._ring_by_order(command, Place.SPY, now)
        if leg is not None:
            leg.spies = command.mode
            self._spies.add(leg.id)
        return ""

    def _change_spy(self, command: c.ChangeSpy, now: float) -> str:
        leg = self.legs.get(command.leg)
        if leg is None:
            return "no_such_leg"
        leg.spies = command.mode
        self._tell(e.SpyPlaced(at=now, leg=leg.id, mode=leg.spies))
        return ""

    def _start_take_over(self, command: c.StartTakeOver, now: float) -> str:
        leg = self.legs.get(command.leg)
        if leg is None:
            self._ring_by_order(command, Place.TAKE, now)
            return ""
        self._enter(leg, Place.TAKE)
        leg.parked_for = command.of
        self._placed(leg, now)
        return ""

    def _ring_by_order(self, command: c.StartSpy | c.StartTakeOver, place: Place, now: float) -> SimLeg | None:
        """Call a phone; what its leg does when it is up depends on ``place``."""
        phone = self.phones.get(command.endpoint)
        if phone is None or not phone.is_reachable:
            return None
        leg = self._new_leg(command.endpoint, None, place, now, new=command.leg)
        leg.parked_for, leg.shown_as = command.of, command.shown_as
        self._ring_phone(Dial(None, leg.id, place), command.ring_timeout_s, now)
        return leg

    def _announce(self, command: c.Announce, now: float) -> str:
        leg = self.legs.get(command.leg)
        if leg is None:
            return "no_such_leg"
        leg.keys = command.keys
        if command.says and leg.place is Place.HOLD:
            leg.saying = command.what
            over_at = self._next_turn(leg, now) + PROMPT_S * len(command.says)
            self._plan(over_at, leg, lambda then: self._said(leg, then))
        return ""

    def _said(self, leg: SimLeg, now: float) -> None:
        what, leg.saying = leg.saying, ""
        if what:
            self._tell(e.AnnouncementPlayed(at=now, leg=leg.id, what=what))

    def _send_away(self, command: c.SendAway, now: float) -> str:
        leg = self.legs.get(command.leg)
        if leg is None:
            return "no_such_leg"
        kind, _, value = command.to.partition(":")
        self._pull_out(leg, now)
        if kind == "number":
            self._enter(leg, Place.OUTSIDE)
            self._dial(leg, value, OUTSIDE_RING_S, Place.OUTSIDE, now)
            return ""
        if kind == "menu":
            # Menus are the real dialplan's: what it does not know leads back to the loop.
            self._to_hold(leg, now)
            return ""
        self._enter(leg, Place.AWAY)
        if kind == "voicemail":
            file = f"{leg.id.partition('/')[2]}.wav"
            self._tell(e.MessageRecorded(at=now, leg=leg.id, file=file, queue=value))
        self._plan(now + AWAY_S, leg, lambda then: self._hang_up(leg, then))
        return ""

    def _call_back(self, command: c.CallBack, now: float) -> str:
        if command.number not in self.phones:
            return "refused"
        leg = self._new_leg(command.number, None, Place.CALLBACK, now, new=command.leg)
        leg.queue, leg.since = command.queue, now - command.waited_s
        limits = self.phones[command.number].behaviour.hangs_up_after_s
        talk_s = self._rng.uniform(*limits) if limits is not None else math.inf
        leg.called_back = Caller(command.number, language=command.language, talk_s=talk_s)
        self._ring_phone(Dial(None, leg.id, Place.CALLBACK), command.ring_timeout_s, now)
        return ""

    def _placed(self, leg: SimLeg, now: float) -> None:
        """A phone that was called by order is up."""
        if leg.place is Place.CALLBACK:
            leg.caller = leg.called_back
            self._to_hold(leg, now)
            return
        of = self.legs.get(leg.parked_for) if leg.parked_for is not None else None
        if of is None:
            self._end(leg, HangupCause.NORMAL, now)
        elif leg.place is Place.SPY:
            self._tell(e.SpyPlaced(at=now, leg=leg.id, mode=leg.spies))
        else:
            self._join(leg, of, now)

    def _recording_basis(self, leg: SimLeg, policy: RecordingPolicy) -> str:
        """Why this caller is recorded, or not. The announcement is taken as heard, the question as answered."""
        if policy is RecordingPolicy.OFF:
            return "off"
        if leg.has_objected:
            return "objected"
        if policy is RecordingPolicy.CONSENT and (leg.caller is None or not leg.caller.agrees_to_recording):
            return "no_consent"
        return policy.value

    def _end_recording(self, leg: SimLeg, now: float) -> None:
        if leg.is_recorded:
            leg.is_recorded = False
            self._tell(e.RecordingStopped(at=now, leg=leg.id))

    def _stop_recording(self, command: c.StopRecording, now: float) -> str:
        leg = self.legs.get(command.leg)
        if leg is None:
            return "no_such_leg"
        leg.has_objected = True
        was_recorded = leg.is_recorded
        self._end_recording(leg, now)
        return "" if was_recorded else "refused"

    def _pause_recording(self, command: c.PauseRecording, now: float) -> str:
        leg = self.legs.get(command.leg)
        if leg is None:
            return "no_such_leg"
        if not leg.is_recorded:
            return "refused"
        fact = e.RecordingPaused if command.is_paused else e.RecordingResumed
        self._tell(fact(at=now, leg=leg.id))
        return ""

    # ── what is kept for the time without the daemon ──────────────────────────────────────────────────────

    def _mirror_members(self, command: c.MirrorMembers, now: float) -> str:
        if command.pbx == self.pbx:
            self.members[command.queue] = {member.endpoint: member.is_paused for member in command.members}
        return ""

    def _mirror_setting(self, command: c.MirrorSetting, now: float) -> str:
        if command.pbx == self.pbx and command.value:
            self.settings[command.key] = command.value
        elif command.pbx == self.pbx:
            self.settings.pop(command.key, None)
        return ""

    def _withdraw_caller(self, command: c.WithdrawCaller, now: float) -> str:
        leg = self.legs.get(command.leg)
        if leg is None:
            return "no_such_leg"
        if leg.place is not Place.QUEUE or leg.queue != command.queue:
            return "refused"
        if leg.bridge is None and leg.dial is None:
            self._tell(e.ForeignQueueLeft(at=now, leg=leg.id, queue=self._queue_name(leg), abandoned=True))
            self._to_hold(leg, now)
        return ""

    def _read_legs(self, command: c.ReadLegs, now: float) -> str:
        if command.pbx == self.pbx:
            self._tell(
                self.read(now=now) if command.is_full else e.LegsRead(at=now, pbx=self.pbx, legs=tuple(self.legs))
            )
        return ""

    # ── the hold loop and the fall-back queue ─────────────────────────────────────────────────────────────

    def _to_hold(self, leg: SimLeg, now: float) -> None:
        self._enter(leg, Place.HOLD)
        leg.keys = leg.saying = ""
        leg.parked_for = None
        if leg.since is None or leg.was_answered:
            leg.since = now
        leg.was_answered = False
        self._offer(leg, now)

    def _offer(self, leg: SimLeg, now: float) -> None:
        leg.visit += 1
        leg.ack, leg.offer_boot, leg.offered_at = "", self._boot, now
        caller = leg.caller or Caller(leg.number, dnis=leg.dialled)
        since = leg.since if leg.since is not None else now
        self._tell(
            e.CallOffered(
                at=now,
                leg=leg.id,
                ani=caller.number,
                ani_name=caller.name,
                is_withheld=not caller.number,
                dnis=caller.dnis,
                account=caller.account,
                choice=caller.choice,
                language=caller.language,
                waited_s=float(math.floor(now - since)),
                target=leg.target,
            )
        )
        self._plan(now + UNACKNOWLEDGED_TURNS * TURN_S, leg, partial(self._watch, leg.id))

    def _offer_again(self, leg: LegId, now: float) -> None:
        if self.legs[leg].offer_boot != self._boot:
            self._offer(self.legs[leg], now)

    def _next_turn(self, leg: SimLeg, now: float) -> float:
        return leg.offered_at + TURN_S * (math.floor((now - leg.offered_at) / TURN_S) + 1)

    def _watch(self, leg_id: LegId, now: float) -> None:
        """The loop's own look at the beat and at the acknowledgement, taken when either can have run out."""
        leg = self.legs[leg_id]
        is_acknowledged = leg.ack != "" and leg.ack == leg.offer_boot
        stale_at = max(leg.offered_at, self._beat_changed_at) + self._stale_s
        if not is_acknowledged or now >= stale_at:
            self._fall_back(leg, now)
        else:
            self._plan(stale_at, leg, partial(self._watch, leg_id))

    def _fall_back(self, leg: SimLeg, now: float) -> None:
        self._enter(leg, Place.QUEUE)
        leg.queue = leg.queue or self._queue_of(leg)
        leg.queued_at = now
        self._tell(e.CallerFellBack(at=now, leg=leg.id))
        position = 1 + sum(1 for other in self.legs.values() if other.place is Place.QUEUE and other.id != leg.id)
        self._tell(e.ForeignQueueJoined(at=now, leg=leg.id, queue=self._queue_name(leg), position=position))
        self._plan(now + self._fallback_s, leg, partial(self._leave_queue_unserved, leg.id))
        self._try_members(leg.id, 0, now)

    def _try_members(self, leg_id: LegId, first: int, now: float) -> None:
        leg = self.legs[leg_id]
        if leg.dial is None and leg.bridge is None:
            members = self._serving(leg.queue)
            for turn in range(first, first + len(members)):
                endpoint = members[turn % len(members)]
                phone = self.phones[endpoint]
                if phone.is_reachable and not phone.legs:
                    self._dial(leg, endpoint, QUEUE_RING_S, Place.QUEUE, now)
                    first = turn + 1
                    break
        if leg.bridge is None:
            self._plan(now + QUEUE_RETRY_S, leg, partial(self._try_members, leg_id, first))

    def _queue_of(self, leg: SimLeg) -> str:
        """The queue of the number that was dialled, as it was mirrored."""
        digits = "".join(one for one in leg.dialled if one.isdecimal())
        default = self.settings.get("default-queue", self._fallback_queue.removeprefix("callfloor-"))
        return self.settings.get(f"route/{digits}", default)

    def _queue_name(self, leg: SimLeg) -> str:
        return f"callfloor-{leg.queue}"

    def _serving(self, queue: str) -> tuple[str, ...]:
        if queue not in self.members:
            return self._fallback_phones
        return tuple(endpoint for endpoint, is_paused in self.members[queue].items() if not is_paused)

    def _leave_queue_unserved(self, leg_id: LegId, now: float) -> None:
        leg = self.legs[leg_id]
        if leg.bridge is not None:
            return
        while leg.dial is not None:
            self._end_dial(leg.dial, DialOutcome.CANCELLED, HangupCause.NORMAL, now)
        leg.visit += 1
        self._tell(e.ForeignQueueLeft(at=now, leg=leg.id, queue=self._queue_name(leg), abandoned=False))
        self._enter(leg, Place.JOIN)
        self._plan(now + QUEUE_MESSAGE_S, leg, lambda then: self._hang_up(leg, then))

    # ── dials ─────────────────────────────────────────────────────────────────────────────────────────────

    def _dial(
        self,
        by: SimLeg,
        endpoint: str,
        ring_s: float,
        place: Place,
        now: float,
        *,
        also: tuple[str, ...] = (),
        recording_basis: str = "",
        shown_as: str = "",
    ) -> None:
        dials: list[Dial] = []
        for one in (endpoint, *also):
            phone = self.phones.get(one)
            if phone is not None and phone.is_reachable:
                to = self._new_leg(one, by.conversation, Place.PHONE, now)
                to.shown_as = shown_as or (by.caller.number if by.caller is not None else by.endpoint)
                dials.append(Dial(by.id, to.id, place, recording_basis, dials))
        if not dials:
            # No contact: the PBX makes no channel at all.
            self._after_no_answer(by, place, now)
            return
        by.dial = dials[0]
        for dial in tuple(dials):
            self._ring_phone(dial, ring_s, now)

    def _ring_phone(self, dial: Dial, ring_s: float, now: float) -> None:
        to = self.legs[dial.to]
        phone = self.phones[to.endpoint]
        is_busy = len(phone.legs) > 1 and not phone.behaviour.rings_while_talking
        to.dial = dial
        self._tell(e.DialStarted(at=now, by=dial.by, to=to.id))
        if is_busy:
            self._unanswered(dial, DialOutcome.BUSY, now)
            return
        self._tell(e.LegRinging(at=now, leg=to.id))
        self._show_device(phone, now)
        self._plan(now + ring_s, to, lambda then: self._unanswered(dial, DialOutcome.NO_ANSWER, then))
        behaviour = phone.behaviour
        if behaviour.answers_after_s is None:
            return
        reacts_at = now + self._rng.uniform(*behaviour.answers_after_s)
        if self._rng.random() < behaviour.rejects:
            self._plan(reacts_at, to, lambda then: self._unanswered(dial, DialOutcome.BUSY, then))
        else:
            self._plan(reacts_at, to, lambda then: self._answered(dial, then))

    def _answered(self, dial: Dial, now: float) -> None:
        to = self.legs[dial.to]
        to.dial = None
        to.is_up = True
        to.visit += 1
        self._tell(e.LegAnswered(at=now, leg=to.id))
        self._show_device(self.phones[to.endpoint], now)
        self._tell(e.DialEnded(at=now, by=dial.by, to=to.id, outcome=DialOutcome.ANSWERED))
        if dial.by is None:
            self._placed(to, now)
            return
        by = self.legs[dial.by]
        if dial in dial.together:
            dial.together.remove(dial)
        for other in list(dial.together):
            self._end_dial(other, DialOutcome.CANCELLED, HangupCause.NORMAL, now)
        by.dial = None
        if dial.place is Place.QUEUE:
            by.visit += 1
            self._tell(e.ForeignQueueLeft(at=now, leg=by.id, queue=self._queue_name(by), abandoned=False))
        if dial.recording_basis and not by.is_recorded:
            by.is_recorded = True
            by.tapes += 1
            part = f"-{by.tapes}" if by.tapes > 1 else ""
            file = f"{by.id.partition('/')[2]}{part}.wav"
            self._tell(e.RecordingStarted(at=now, leg=by.id, file=file, basis=dial.recording_basis))
        bridge = self._new_bridge()
        self._bring(to, bridge, now)
        self._bring(by, bridge, now)
        is_first_answer = by.caller is not None and not by.was_answered
        if by.caller is not None:
            by.was_answered = True
            if is_first_answer and by.caller.talk_s < math.inf:
                self._plan(now + by.caller.talk_s, None, partial(self._finish_talk, by.id))
        limits = self.phones[to.endpoint].behaviour.hangs_up_after_s
        if limits is not None:
            self._plan(now + self._rng.uniform(*limits), to, lambda then: self._hang_up(to, then))

    def _unanswered(self, dial: Dial, outcome: DialOutcome, now: float) -> None:
        by = self.legs[dial.by] if dial.by is not None else None
        self._end_dial(dial, outcome, BUSY_CAUSE.get(outcome, HangupCause.NORMAL), now)
        if by is not None and not dial.together:
            self._after_no_answer(by, dial.place, now)

    def _end_dial(self, dial: Dial, outcome: DialOutcome, cause: HangupCause, now: float) -> None:
        to = self.legs[dial.to]
        to.dial = None
        if dial.by is not None:
            if dial in dial.together:
                dial.together.remove(dial)
            self.legs[dial.by].dial = next(iter(dial.together), None)
        self._tell(e.DialEnded(at=now, by=dial.by, to=to.id, outcome=outcome))
        self._end(to, cause, now)

    def _after_no_answer(self, by: SimLeg, place: Place, now: float) -> None:
        if place in (Place.RING, Place.OUTSIDE):
            self._to_hold(by, now)
        elif place is Place.CONSULT:
            self._back_from_consult(by, now)
        elif place is Place.PHONE:
            self._end(by, HangupCause.NORMAL, now)

    def _back_from_consult(self, leg: SimLeg, now: float) -> None:
        """The one to consult is gone or did not answer: back to the caller if the caller still waits for this agent."""
        waiting = self.legs.get(leg.parked_for) if leg.parked_for is not None else None
        if waiting is not None and waiting.place is Place.PARK and waiting.parked_for == leg.id:
            self._join(leg, waiting, now)
        elif waiting is not None and waiting.place is Place.CONFERENCE:
            self._join_conference(c.JoinConference(leg=leg.id, of=waiting.id), now)
        else:
            self._end(leg, HangupCause.NORMAL, now)

    # ── bridges ───────────────────────────────────────────────────────────────────────────────────────────

    def _join(self, leg: SimLeg, to: SimLeg, now: float) -> None:
        """``Bridge()``: the other leg is fetched from wherever it is, then this one enters."""
        while leg.dial is not None:
            self._end_dial(leg.dial, DialOutcome.CANCELLED, HangupCause.NORMAL, now)
        ours = (leg.id, to.id)
        left_over = [self.legs[one] for one in (*self._others(leg), *self._others(to)) if one not in ours]
        left_over = [other for index, other in enumerate(left_over) if other not in left_over[:index]]
        self._part(leg, now)
        bridge = self._new_bridge()
        self._part(to, now)
        self._bring(to, bridge, now)
        for joined in (leg, to):
            self._enter(joined, Place.JOIN if joined.place is not Place.PHONE else Place.PHONE)
            joined.parked_for = None
            joined.was_answered = joined.caller is not None
        for other in left_over:
            self._part(other, now)
        self._bring(leg, bridge, now)
        for other in left_over:
            self._end(other, HangupCause.NORMAL, now)

    def _new_bridge(self) -> BridgeId:
        bridge = BridgeId(f"{self.pbx}/bridge-{next(self._order)}")
        self._bridges[bridge] = []
        return bridge

    def _bring(self, leg: SimLeg, bridge: BridgeId, now: float) -> None:
        leg.bridge = bridge
        self._bridges[bridge].append(leg.id)
        self._tell(e.BridgeJoined(at=now, leg=leg.id, bridge=bridge, kind=BridgeKind.TALK))

    def _part(self, leg: SimLeg, now: float) -> None:
        if leg.bridge is None:
            return
        bridge, leg.bridge = leg.bridge, None
        inside = self._bridges[bridge]
        inside.remove(leg.id)
        if not inside:
            del self._bridges[bridge]
        self._tell(e.BridgeParted(at=now, leg=leg.id, bridge=bridge))

    def _others(self, leg: SimLeg) -> list[LegId]:
        return [one for one in self._bridges.get(leg.bridge, ()) if one != leg.id] if leg.bridge is not None else []

    # ── the end of a leg ──────────────────────────────────────────────────────────────────────────────────

    def _pull_out(self, leg: SimLeg, now: float) -> None:
        """A redirect of this leg alone: what rings for it stops, who speaks with it is hung up."""
        if leg.place is Place.QUEUE and leg.bridge is None:
            self._tell(e.ForeignQueueLeft(at=now, leg=leg.id, queue=self._queue_name(leg), abandoned=True))
        while leg.dial is not None:
            self._end_dial(leg.dial, DialOutcome.CANCELLED, HangupCause.NORMAL, now)
        others = [self.legs[one] for one in self._others(leg)]
        self._part(leg, now)
        if leg.place is Place.CONFERENCE:
            self._stay_in_conference(others, HangupCause.NORMAL, now)
            return
        for other in others:
            self._part(other, now)
            self._end(other, HangupCause.NORMAL, now)

    def _stay_in_conference(self, others: list[SimLeg], cause: HangupCause, now: float) -> None:
        """Somebody left a conference. The caller, with whom nobody is left, goes where talks end."""
        if len(others) == 1 and others[0].caller is not None:
            if cause is RTP_TIMEOUT_CAUSE:
                self._part(others[0], now)
                self._to_hold(others[0], now)
            else:
                self._end(others[0], HangupCause.NORMAL, now)

    def _hang_up(self, leg: SimLeg, now: float, cause: HangupCause = HangupCause.NORMAL) -> None:
        """One side hangs up; the other side goes on as the dialplan says."""
        if leg.dial is not None:
            dial = leg.dial
            if dial.to == leg.id:
                self._unanswered(dial, DialOutcome.CANCELLED, now)
                return
            if leg.place is Place.QUEUE:
                self._tell(e.ForeignQueueLeft(at=now, leg=leg.id, queue=self._queue_name(leg), abandoned=True))
            for one in list(dial.together) or [dial]:
                self._end_dial(one, DialOutcome.CANCELLED, HangupCause.NORMAL, now)
        elif leg.place is Place.QUEUE and leg.bridge is None:
            self._tell(e.ForeignQueueLeft(at=now, leg=leg.id, queue=self._queue_name(leg), abandoned=True))
        others = [self.legs[one] for one in self._others(leg)]
        self._part(leg, now)
        if leg.place is Place.CONFERENCE:
            self._end(leg, cause, now)
            self._stay_in_conference(others, cause, now)
            return
        for other in others:
            self._part(other, now)
        self._end(leg, cause, now)
        for other in others:
            if other.id not in self.legs:
                continue
            if other.place is Place.CONSULT:
                self._back_from_consult(other, now)
            elif other.caller is not None and cause is RTP_TIMEOUT_CAUSE:
                self._to_hold(other, now)
            else:
                self._end(other, HangupCause.NORMAL, now)

    def _end(self, leg: SimLeg, cause: HangupCause, now: float) -> None:
        self._part(leg, now)
        del self.legs[leg.id]
        self._tell(e.LegEnded(at=now, leg=leg.id, cause=cause))
        phone = self.phones.get(leg.endpoint)
        if phone is not None:
            phone.legs.remove(leg.id)
            self._show_device(phone, now)
        self._spies.discard(leg.id)
        for spy in [self.legs[one] for one in sorted(self._spies) if self.legs[one].parked_for == leg.id]:
            if spy.is_up and spy.place is Place.SPY:
                self._tell(e.SpyPlaced(at=now, leg=spy.id, mode=None))
                self._end(spy, HangupCause.NORMAL, now)
        parked = self.legs.get(leg.parked_for) if leg.parked_for is not None else None
        if parked is not None and parked.place is Place.PARK and parked.parked_for == leg.id:
            self._plan(now + PARK_TURN_S, parked, lambda then: self._to_hold(parked, then))

    def _lose_patience(self, leg: LegId, now: float) -> None:
        found = self.legs.get(leg)
        if found is not None and found.bridge is None and not found.was_answered and found.place is not Place.PARK:
            self._hang_up(found, now)

    def _finish_talk(self, leg: LegId, now: float) -> None:
        if leg in self.legs:
            self._hang_up(self.legs[leg], now)

    # ── phones ────────────────────────────────────────────────────────────────────────────────────────────

    def _new_leg(
        self,
        endpoint: str,
        conversation: LegId | None,
        place: Place,
        now: float,
        *,
        caller: Caller | None = None,
        dialled: str = "",
        new: LegId | None = None,
    ) -> SimLeg:
        number = next(self._channels)
        new = new or leg_id(self.pbx, f"{math.floor(now)}.{number}")
        leg = SimLeg(
            id=new,
            conversation=conversation if conversation is not None else new,
            channel=f"PJSIP/{endpoint}-{number:08x}",
            endpoint=endpoint,
            place=place,
            started_at=now,
            number=caller.number if caller is not None else endpoint,
            name=caller.name if caller is not None else "",
            dialled=caller.dnis if caller is not None else dialled,
            caller=caller,
        )
        self.legs[new] = leg
        if endpoint in self.phones:
            self.phones[endpoint].legs.append(new)
        self._tell(
            e.LegStarted(
                at=now,
                leg=new,
                conversation=leg.conversation,
                channel=leg.channel,
                tech="PJSIP",
                endpoint=endpoint,
                number=leg.number,
                name=leg.name,
                dialled=leg.dialled,
            )
        )
        return leg

    def _ringing_at(self, endpoint: str) -> Dial | None:
        for one in self.phones[endpoint].legs:
            dial = self.legs[one].dial
            if dial is not None and dial.to == one:
                return dial
        return None

    def _up_at(self, endpoint: str) -> SimLeg | None:
        up = [self.legs[one] for one in self.phones[endpoint].legs if self.legs[one].is_up]
        return up[-1] if up else None

    def _show_device(self, phone: Phone, now: float) -> None:
        if not phone.is_reachable:
            state = DeviceState.UNAVAILABLE
        elif any(self.legs[one].is_up for one in phone.legs):
            state = DeviceState.INUSE
        else:
            state = DeviceState.RINGING if phone.legs else DeviceState.NOT_INUSE
        if state is not phone.state:
            phone.state = state
            self._tell(e.DeviceChanged(at=now, pbx=self.pbx, endpoint=phone.endpoint, state=state))


class LiveSimPbx:
    """Runs a ``SimPbx`` on asyncio, as a ``cti.switch.Switch``: one timer, facts into ``inbox``."""

    def __init__(self, sim: SimPbx, inbox: Inbox, *, clock: Callable[[], float] = time.time) -> None:
        self.sim = sim
        self._inbox = inbox
        self._clock = clock
        self._timer: asyncio.TimerHandle | None = None
        self._is_running = False

    async def start(self) -> None:
        """The link comes up."""
        self._is_running = True
        self._deliver(self.sim.restore_link(now=self._clock()))

    async def close(self) -> None:
        """Nothing more comes from here."""
        self._is_running = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def carry_out(self, command: Command) -> None:
        """Facts come in a later turn of the loop, as they would over a wire."""
        asyncio.get_running_loop().call_soon(self._carry_out, command)

    def do(self, deed: Callable[[SimPbx, float], list[Event]]) -> None:
        """Something that a person or a fault does: ``live.do(lambda sim, now: sim.answer("ann", now=now))``."""
        self._deliver(deed(self.sim, self._clock()))

    def _carry_out(self, command: Command) -> None:
        if self._is_running:
            self._deliver(self.sim.handle(command, now=self._clock()))

    def _deliver(self, facts: list[Event]) -> None:
        for fact in facts:
            self._inbox(fact)
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self.sim.wake_at()
        if due is not None and self._is_running:
            delay_s = max(0.0, due - self._clock())
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._deliver(self.sim.wake(now=self._clock()))
