"""Conversations: the switch's facts folded into interactions with their legs, whoever a caller passes through.

Pure: it reads no clock and waits for nothing. ``Conversations.handle`` takes switch facts and yields floor facts;
anything else is ignored, so that a journal can be folded as it is. Nothing is guessed from names or texts: who talks
with whom is read off the bridges alone, through Local channels too.

    LegStarted ─▶ (undecided) ─ offered · dialled · bridged · queued · ended ─▶ InteractionStarted ─▶ … InteractionEnded

A PBX moves legs between bridges in several steps (masquerade, optimised Local channels, ``Bridge()``), and the order of
the steps differs between versions. So a leg that parted is *adrift* until it is seen elsewhere: it ended, was offered,
dials, waits, entered a bridge; at the latest ``SETTLE_S`` later. ``AgentLeft`` is told only then, with the time at
which the talk was lost, and never when it was found again meanwhile. ``wake_at`` and ``wake`` end that waiting where no
further fact does.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TypeAlias

from cti import events as e
from cti.events import BridgeKind, DialOutcome, Event, HangupCause
from cti.ids import (
    AgentId,
    BridgeId,
    InteractionId,
    LegId,
    PbxId,
    interaction_id,
    is_spy,
    ordered_for,
    pbx_of,
    uniqueid_of,
)

SETTLE_S = 0.3
"""How long a leg may be between two bridges before its talk counts as over. Measured moves take a few milliseconds."""

REMEMBERED_ENDS = 4096
"""Ids of ended interactions that are kept so that none is used twice."""

TALK = "talk"
CONSULT = "consult"

WIRE_TECHS = frozenset(
    {"Local", "Surrogate", "AsyncGoto", "Bridge", "Announcer", "Recorder", "CBAnn", "CBRec", "Snoop"}
)
"""Channels that are no party of a conversation but a piece of wire inside the PBX."""

OUTCOME_OF_CAUSE = {
    HangupCause.BUSY: DialOutcome.BUSY,
    HangupCause.NO_ANSWER: DialOutcome.NO_ANSWER,
    HangupCause.REJECTED: DialOutcome.REJECTED,
    HangupCause.UNREACHABLE: DialOutcome.UNREACHABLE,
    HangupCause.UNALLOCATED: DialOutcome.UNREACHABLE,
    HangupCause.CONGESTION: DialOutcome.FAILED,
    HangupCause.FAILED: DialOutcome.FAILED,
}
"""How a ring ended of which only the leg's end was seen; every other cause means that it was called off."""

NEVER_RANG = frozenset({HangupCause.UNREACHABLE, HangupCause.UNALLOCATED, HangupCause.CONGESTION})
"""Causes that tell better than the dial's "no answer" what was the matter."""

RESULT_OF_DIAL = {
    DialOutcome.BUSY: "busy",
    DialOutcome.REJECTED: "busy",
    DialOutcome.NO_ANSWER: "no_answer",
    DialOutcome.FORWARDED: "no_answer",
    DialOutcome.UNREACHABLE: "failed",
    DialOutcome.FAILED: "failed",
}

OwnerOf: TypeAlias = Callable[[PbxId, str], "AgentId | None"]


class LegRole(StrEnum):
    """What a leg is in its conversation."""

    CUSTOMER = "customer"
    AGENT = "agent"
    OTHER = "other"
    LOCAL = "local"


@dataclass(slots=True)
class Talk:
    """One leg's stretch of talk in one role. ``with_legs``: everybody it was connected with meanwhile."""

    leg: LegId
    agent: AgentId | None
    role: str
    started_at: float
    ended_at: float | None = None
    with_legs: set[LegId] = field(default_factory=set)


@dataclass(slots=True)
class Leg:
    """One channel. Times are Unix seconds. ``number``, ``name`` and ``dialled`` are claims of the other side."""

    id: LegId
    channel: str
    tech: str
    endpoint: str
    agent: AgentId | None
    number: str
    name: str
    dialled: str
    role: LegRole
    started_at: float
    ringing_at: float | None = None
    answered_at: float | None = None
    ended_at: float | None = None
    cause: HangupCause | None = None
    outcome: DialOutcome | None = None
    is_dialled: bool = False
    dialled_by: LegId | None = None
    dialled_at: float | None = None
    bridge: BridgeId | None = None
    bridge_kind: BridgeKind | None = None
    paired_with: LegId | None = None
    is_holding: bool = False
    """Its owner put the other side on hold, on the phone or (agents) by consulting somebody else."""
    held_s: float = 0.0
    talk: Talk | None = None
    is_rung: bool = False
    """It is being dialled and has neither answered nor given up."""

    _phone_holds: bool = False
    _told_held_at: float | None = None
    _peers: frozenset[LegId] = frozenset()
    _parted_at: float | None = None
    _lost_at: float | None = None
    _has_met_customer: bool = False

    @property
    def is_party(self) -> bool:
        """Somebody (or something) that can speak, not a piece of wire."""
        return self.role is not LegRole.LOCAL

    @property
    def is_live(self) -> bool:
        return self.ended_at is None

    @property
    def _is_elsewhere(self) -> bool:
        """It certainly talks to nobody: gone, or known to be busy with something else."""
        return not self.is_live or (self.bridge_kind is not BridgeKind.TALK and self._parted_at is None)


@dataclass(slots=True)
class PhoneTransfer:
    """A transfer that a phone did by itself and that is not over yet."""

    agent: AgentId
    by: LegId
    moved: LegId
    target: str


@dataclass(slots=True)
class Interaction:
    """One conversation with all its legs. ``direction`` is empty until it is known (``is_started``)."""

    id: InteractionId
    pbx: PbxId
    first_leg: LegId
    started_at: float
    direction: str = ""
    legs: dict[LegId, Leg] = field(default_factory=dict)
    customer_leg: LegId | None = None
    """The outside party's leg (of a queue call between colleagues: the caller's), None where there is none."""
    ani: str = ""
    ani_name: str = ""
    is_withheld: bool = False
    dnis: str = ""
    account: str = ""
    choice: str = ""
    language: str = ""
    path: str = ""
    queue: str = ""
    """The ``app_queue`` queue it last waited in, empty for our own queues."""
    answered_at: float | None = None
    """Since when the customer (or, without one, the caller) first talked with somebody."""
    ended_at: float | None = None
    outcome: str = ""
    talks: list[Talk] = field(default_factory=list)
    was_offered: bool = False
    has_fallen_back: bool = False
    recording: str = ""
    recording_state: str = "off"
    recorded_leg: LegId | None = None
    recording_basis: str = ""
    """Why it is recorded, or not; as in ``RecordingChanged``."""

    _transfers: list[PhoneTransfer] = field(default_factory=list)
    _links: set[LegId] = field(default_factory=set)
    _former_ids: list[InteractionId] = field(default_factory=list)
    _last_dial: DialOutcome | None = None
    _is_unseen: bool = False

    @property
    def is_started(self) -> bool:
        return bool(self.direction)

    @property
    def live_legs(self) -> tuple[Leg, ...]:
        return tuple(leg for leg in self.legs.values() if leg.is_live)

    @property
    def agents_ringing(self) -> dict[AgentId, LegId]:
        """Whose phone rings, with the leg that rings."""
        return {leg.agent: leg.id for leg in self.legs.values() if leg.agent is not None and leg.is_rung}

    @property
    def agents_talking(self) -> dict[AgentId, LegId]:
        """Who talks (in either role), with the leg."""
        return {leg.agent: leg.id for leg in self.legs.values() if leg.agent is not None and leg.talk is not None}

    def peers_of(self, leg: LegId) -> tuple[LegId, ...]:
        """The other parties that ``leg`` is connected with now, in the order in which they came."""
        together = self._connected(leg)
        return tuple(other.id for other in self.legs.values() if other.id in together and other.id != leg)

    def peer_of(self, leg: LegId) -> LegId | None:
        """The party that ``leg`` talks with: the customer if there, else who came first; None if alone."""
        peers = self.peers_of(leg)
        if self.customer_leg in peers:
            return self.customer_leg
        return peers[0] if peers else None

    @property
    def is_customer_alone(self) -> bool:
        """The customer is on the line and connected with nobody."""
        customer = self.legs.get(self.customer_leg) if self.customer_leg is not None else None
        return customer is not None and customer.is_live and not self.peers_of(customer.id)

    @property
    def is_being_moved(self) -> bool:
        """Somebody is being rung here, or a phone's own transfer is not over yet."""
        return bool(self._transfers) or any(leg.is_rung and leg.is_live for leg in self.legs.values())

    def talk_s(self, now: float) -> float:
        """Seconds during which the customer (or, without one, the caller) talked with at least one other."""
        total, covered_until = 0.0, float("-inf")
        for talk in sorted((talk for talk in self.talks if talk.role == TALK), key=lambda talk: talk.started_at):
            end = talk.ended_at if talk.ended_at is not None else now
            total += max(0.0, end - max(talk.started_at, covered_until))
            covered_until = max(covered_until, end)
        return total

    def _connected(self, leg: LegId) -> set[LegId]:
        """The live parties in one talk with ``leg`` (itself included), across Local channels."""
        seen, to_see = {leg}, [leg]
        while to_see:
            one = self.legs[to_see.pop()]
            if not one.is_live:
                continue
            for other in self.legs.values():
                if other.id in seen or not other.is_live:
                    continue
                is_met = one.bridge is not None and one.bridge == other.bridge and one.bridge_kind is BridgeKind.TALK
                if is_met or one.paired_with == other.id:
                    seen.add(other.id)
                    to_see.append(other.id)
        return {one for one in seen if self.legs[one].is_party}


class Conversations:
    """All conversations. ``owner_of``: whose phone an endpoint is; may be replaced at any time (``PlanChanged`` does).

    An ended interaction can still be asked for until the next fact is handled. Each ``AgentRang`` is followed by one
    ``AgentRingEnded`` of that leg. ``AgentJoined`` opens an agent's part and ``AgentLeft`` closes it; a second
    ``AgentJoined`` of the same leg in between means that the role changed (``consult`` → ``talk`` when the customer is
    put through).
    """

    def __init__(self, owner_of: OwnerOf) -> None:
        self.owner_of = owner_of
        self.on_start: Callable[[Interaction], None] | None = None
        """Told of each conversation as its ``InteractionStarted`` is yielded: by the time that fact is heard the
        conversation may be over."""
        self._interactions: dict[InteractionId, Interaction] = {}
        self._homes: dict[LegId, InteractionId] = {}
        self._linked: dict[LegId, InteractionId] = {}
        self._aliases: dict[InteractionId, InteractionId] = {}
        self._bridges: dict[BridgeId, set[LegId]] = {}
        self._listening: dict[LegId, e.LegStarted | e.LegSeen] = {}
        """Who hears a call without being in it."""
        self._agent_legs: dict[AgentId, set[LegId]] = {}
        self._due: dict[InteractionId, float] = {}
        self._ended: list[InteractionId] = []
        self._heard_at: dict[PbxId, float] = {}
        self._past_ids: OrderedDict[InteractionId, None] = OrderedDict()
        self._handlers: dict[type[Event], Callable[..., Iterator[Event]]] = {
            e.PlanChanged: self._plan_changed,
            e.LegStarted: self._leg_started,
            e.LegIdentified: self._leg_identified,
            e.LegOwned: self._leg_owned,
            e.LegRinging: self._leg_ringing,
            e.LegAnswered: self._leg_answered,
            e.LegRenamed: self._leg_renamed,
            e.LegRelinked: self._leg_relinked,
            e.LocalPaired: self._local_paired,
            e.DialStarted: self._dial_started,
            e.DialEnded: self._dial_ended,
            e.BridgeJoined: self._bridge_joined,
            e.BridgeParted: self._bridge_parted,
            e.LegHeld: self._leg_held,
            e.LegResumed: self._leg_resumed,
            e.LegEnded: self._leg_ended,
            e.BlindTransferred: self._blind_transferred,
            e.AttendedTransferred: self._attended_transferred,
            e.PickedUp: self._picked_up,
            e.ForeignQueueJoined: self._foreign_queue_joined,
            e.CallOffered: self._call_offered,
            e.CallerFellBack: self._caller_fell_back,
            e.RecordingStarted: self._recording_started,
            e.RecordingRefused: self._recording_refused,
            e.RecordingStopped: self._recording_stopped,
            e.RecordingObjected: self._recording_objected,
            e.RecordingPaused: self._recording_paused,
            e.RecordingResumed: self._recording_resumed,
            e.PbxRead: self._pbx_read,
        }

    # ── in and out ────────────────────────────────────────────────────────────────────────────────────────

    def handle(self, event: Event) -> list[Event]:
        """Take any fact; return the floor facts that follow from it, in order."""
        handler = self._handlers.get(type(event))
        if handler is None:
            return []
        self._forget_ended()
        facts = self._settle_overdue(event.at)
        facts.extend(handler(event))
        leg = getattr(event, "leg", None) or getattr(event, "to", None)
        if leg is not None:
            self._heard_at[pbx_of(leg)] = event.at
        return facts

    def wake_at(self) -> float | None:
        """When a leg that is adrift counts as gone (Unix seconds), or None."""
        return min(self._due.values(), default=None)

    def wake(self, *, now: float) -> list[Event]:
        """Conclude what time alone settles."""
        self._forget_ended()
        return self._settle_overdue(now)

    @property
    def interactions(self) -> Mapping[InteractionId, Interaction]:
        """All that live (and those that the last fact ended), also those that are not started yet."""
        return MappingProxyType(self._interactions)

    def of_leg(self, leg: LegId) -> Interaction | None:
        """The conversation that a leg is part of."""
        home = self._homes.get(leg)
        return self._interactions.get(home) if home is not None else None

    def get(self, interaction: InteractionId) -> Interaction | None:
        """An interaction by any id it ever had."""
        return self._interactions.get(self._aliases.get(interaction, interaction))

    def live_legs(self, pbx: PbxId) -> dict[LegId, float]:
        """Every leg that we hold alive on this PBX, and since when (Unix seconds)."""
        return {
            leg.id: leg.started_at
            for home in self._interactions.values()
            if home.pbx == pbx
            for leg in home.legs.values()
            if leg.is_live
        }

    # ── legs come and are known better ────────────────────────────────────────────────────────────────────

    def _plan_changed(self, event: e.PlanChanged) -> Iterator[Event]:
        owners = {(agent.phone.pbx, agent.phone.endpoint): agent.id for agent in event.plan.agents.values()}
        self.owner_of = lambda pbx, endpoint: owners.get((pbx, endpoint))
        return
        yield

    def _leg_started(self, event: e.LegStarted) -> Iterator[Event]:
        if is_spy(event.leg):
            self._listening.setdefault(event.leg, event)
        elif event.leg not in self._homes:
            self._add_leg(event, event.conversation, event.at)
        return
        yield

    def _add_leg(self, about: e.LegStarted | e.LegSeen, conversation: LegId, started_at: float) -> Leg:
        pbx = pbx_of(about.leg)
        is_wire = about.tech in WIRE_TECHS
        agent = self.owner_of(pbx, about.endpoint) if about.endpoint and not is_wire else None
        role = LegRole.LOCAL if is_wire else LegRole.OTHER if agent is None else LegRole.AGENT
        leg = Leg(
            id=about.leg,
            channel=about.channel,
            tech=about.tech,
            endpoint=about.endpoint,
            agent=agent,
            number=about.number,
            name=about.name,
            dialled=about.dialled,
            role=role,
            started_at=started_at,
        )
        home = self._home_of(ordered_for(leg.id) or conversation, leg)
        home.legs[leg.id] = leg
        self._homes[leg.id] = home.id
        if agent is not None:
            self._agent_legs.setdefault(agent, set()).add(leg.id)
        return leg

    def _home_of(self, conversation: LegId, leg: Leg) -> Interaction:
        """The interaction of a conversation, made if need be. Its id is that of the conversation's first leg, also when
        that leg is gone by now, so that a restart finds the same id."""
        known = self._linked.get(conversation) or self._homes.get(conversation)
        if known is not None and known in self._interactions and self._interactions[known].ended_at is None:
            return self._interactions[known]
        first = conversation if interaction_id(conversation) not in self._past_ids else leg.id
        home = Interaction(interaction_id(first), pbx_of(leg.id), first, leg.started_at)
        self._interactions[home.id] = home
        self._link(conversation, home)
        return home

    def _link(self, conversation: LegId, home: Interaction) -> None:
        self._linked[conversation] = home.id
        home._links.add(conversation)

    def _leg(self, leg: LegId | None) -> tuple[Interaction, Leg] | None:
        """A live leg that we know, with its home."""
        home = self.of_leg(leg) if leg is not None else None
        if home is None or leg is None or not home.legs[leg].is_live:
            return None
        return home, home.legs[leg]

    def _leg_identified(self, event: e.LegIdentified) -> Iterator[Event]:
        if known := self._leg(event.leg):
            known[1].number, known[1].name = event.number, event.name
        return
        yield

    def _leg_owned(self, event: e.LegOwned) -> Iterator[Event]:
        known = self._leg(event.leg)
        agent = self.owner_of(pbx_of(event.leg), event.endpoint)
        if known is not None and known[1].is_party and known[1].agent is None and agent is not None:
            leg = known[1]
            leg.endpoint, leg.agent, leg.role = event.endpoint, agent, LegRole.AGENT
            self._agent_legs.setdefault(agent, set()).add(leg.id)
        return
        yield

    def _leg_ringing(self, event: e.LegRinging) -> Iterator[Event]:
        if (known := self._leg(event.leg)) and known[1].ringing_at is None:
            known[1].ringing_at = event.at
        return
        yield

    def _leg_answered(self, event: e.LegAnswered) -> Iterator[Event]:
        if (known := self._leg(event.leg)) and known[1].answered_at is None:
            known[1].answered_at = event.at
        return
        yield

    def _leg_renamed(self, event: e.LegRenamed) -> Iterator[Event]:
        if known := self._leg(event.leg):
            known[1].channel = event.channel
        return
        yield

    def _leg_relinked(self, event: e.LegRelinked) -> Iterator[Event]:
        known = self._leg(event.leg)
        if known is None:
            return
        home = known[0]
        into = self._linked.get(event.conversation) or self._homes.get(event.conversation)
        if into is None:
            # The conversation's first leg was never seen: this name leads here from now on.
            self._link(event.conversation, home)
        elif into != home.id and self._interactions[into].ended_at is None:
            yield from self._merge(self._interactions[into], home, event.at)

    def _local_paired(self, event: e.LocalPaired) -> Iterator[Event]:
        one, two = self._leg(event.one), self._leg(event.two)
        if one is None or two is None or one[1].is_party or two[1].is_party:
            return
        one[1].paired_with, two[1].paired_with = two[1].id, one[1].id
        yield from self._unite(one[0], two[0], event.at)
        yield from self._refresh(self._interactions[self._homes[event.one]], event.at)

    # ── dials ─────────────────────────────────────────────────────────────────────────────────────────────

    def _dial_started(self, event: e.DialStarted) -> Iterator[Event]:
        if by := self._leg(event.by):
            # Who dials is in no bridge any more, whether or not the PBX said so.
            self._take_out(by[1])
            by[1]._parted_at = None
        known = self._leg(event.to)
        if known is not None and not known[1].is_dialled:
            home, leg = known
            leg.is_dialled, leg.dialled_by, leg.dialled_at = True, event.by, event.at
            if leg.is_party and event.by is not None:
                yield from self._start(home, event.at)
                if home.direction == "outbound" and home.customer_leg is None and leg.agent is None:
                    home.customer_leg, leg.role = leg.id, LegRole.CUSTOMER
            if leg.is_party and leg.talk is None:
                yield from self._ring(home, leg, event.at)
        if by is not None:
            yield from self._refresh(self._interactions[self._homes[by[1].id]], event.at)

    def _ring(self, home: Interaction, leg: Leg, at: float) -> Iterator[Event]:
        leg.is_rung = True
        if leg.agent is not None:
            yield from self._start(home, at)
            yield e.AgentRang(at=at, interaction=home.id, agent=leg.agent, leg=leg.id, until=None)

    def _dial_ended(self, event: e.DialEnded) -> Iterator[Event]:
        known = self._leg(event.to)
        if known is not None and known[1].is_party:
            yield from self._stop_ringing(known[0], known[1], event.outcome, event.at)

    def _stop_ringing(self, home: Interaction, leg: Leg, outcome: DialOutcome, at: float) -> Iterator[Event]:
        if not leg.is_rung:
            return
        leg.is_rung = False
        leg.outcome = home._last_dial = outcome
        if leg.agent is not None:
            yield e.AgentRingEnded(at=at, interaction=home.id, agent=leg.agent, leg=leg.id, outcome=outcome)

    def _picked_up(self, event: e.PickedUp) -> Iterator[Event]:
        by, target = self._leg(event.by), self._leg(event.target)
        if target is None:
            return
        yield from self._stop_ringing(*target, DialOutcome.CANCELLED, event.at)
        if by is not None:
            yield from self._unite(target[0], by[0], event.at)

    # ── bridges ───────────────────────────────────────────────────────────────────────────────────────────

    def _bridge_joined(self, event: e.BridgeJoined) -> Iterator[Event]:
        listener = self._listening.pop(event.leg, None)
        if listener is not None:
            # From now on this one is in the call.
            self._add_leg(listener, listener.conversation, event.at).answered_at = event.at
        known = self._leg(event.leg)
        if known is None:
            return
        leg = known[1]
        self._put_in(leg, event.bridge, event.kind)
        yield from self._meet(leg, event.at)

    def _put_in(self, leg: Leg, bridge: BridgeId, kind: BridgeKind) -> None:
        self._take_out(leg)
        leg.bridge, leg.bridge_kind, leg._parted_at = bridge, kind, None
        self._bridges.setdefault(bridge, set()).add(leg.id)

    def _meet(self, leg: Leg, at: float) -> Iterator[Event]:
        """All that talk in one bridge are in one conversation; then see who talks."""
        if leg.bridge is not None and leg.bridge_kind is BridgeKind.TALK:
            for other in sorted(self._bridges[leg.bridge] - {leg.id}):
                yield from self._unite(
                    self._interactions[self._homes[other]], self._interactions[self._homes[leg.id]], at
                )
        yield from self._refresh(self._interactions[self._homes[leg.id]], at)

    def _take_out(self, leg: Leg) -> None:
        if leg.bridge is None:
            return
        inside = self._bridges[leg.bridge]
        inside.discard(leg.id)
        if not inside:
            del self._bridges[leg.bridge]
        leg.bridge = leg.bridge_kind = None

    def _bridge_parted(self, event: e.BridgeParted) -> Iterator[Event]:
        known = self._leg(event.leg)
        # Out of a bridge that it has already left for another: nothing changes.
        if known is None or known[1].bridge != event.bridge:
            return
        home, leg = known
        if leg.bridge_kind is BridgeKind.TALK:
            leg._parted_at = event.at
        self._take_out(leg)
        yield from self._refresh(home, event.at)

    # ── hold ──────────────────────────────────────────────────────────────────────────────────────────────

    def _leg_held(self, event: e.LegHeld) -> Iterator[Event]:
        if known := self._leg(event.leg):
            known[1]._phone_holds = True
            yield from self._refresh(known[0], event.at)

    def _leg_resumed(self, event: e.LegResumed) -> Iterator[Event]:
        if known := self._leg(event.leg):
            known[1]._phone_holds = False
            yield from self._refresh(known[0], event.at)

    # ── the end of a leg, and of a conversation ───────────────────────────────────────────────────────────

    def _leg_ended(self, event: e.LegEnded) -> Iterator[Event]:
        self._listening.pop(event.leg, None)
        if known := self._leg(event.leg):
            yield from self._end_leg(*known, event.at, event.cause)

    def _end_leg(self, home: Interaction, leg: Leg, at: float, cause: HangupCause) -> Iterator[Event]:
        self._take_out(leg)
        leg._parted_at = None
        outcome = OUTCOME_OF_CAUSE.get(cause, DialOutcome.CANCELLED)
        yield from self._stop_ringing(home, leg, outcome, at)
        leg.ended_at, leg.cause = at, cause
        if leg.outcome is DialOutcome.NO_ANSWER and cause in NEVER_RANG:
            leg.outcome = home._last_dial = OUTCOME_OF_CAUSE[cause]
        if leg.agent is not None:
            legs = self._agent_legs[leg.agent]
            legs.discard(leg.id)
            if not legs:
                del self._agent_legs[leg.agent]
        if home.recorded_leg == leg.id:
            yield from self._change_recording(home, "off", at)
        yield from self._refresh(home, at)
        if not home.live_legs:
            yield from self._end(home, at)

    def _end(self, home: Interaction, at: float) -> Iterator[Event]:
        self._due.pop(home.id, None)
        home.ended_at = at
        self._ended.append(home.id)
        if not home.is_started and not any(leg.is_party for leg in home.legs.values()):
            return
        yield from self._start(home, at)
        for transfer in home._transfers:
            yield self._transfer_ended(home, transfer, "failed", at)
        home._transfers.clear()
        home.outcome = self._outcome(home)
        yield e.InteractionEnded(at=at, interaction=home.id, outcome=home.outcome)

    def _outcome(self, home: Interaction) -> str:
        if home.answered_at is not None:
            return "answered"
        if home.has_fallen_back:
            return "fell_back"
        if home._is_unseen:
            return "unknown"
        if home.was_offered or home.queue:
            return "abandoned"
        if home._last_dial is DialOutcome.CANCELLED:
            return "abandoned" if home.direction == "inbound" else "no_answer"
        if home._last_dial is not None:
            return RESULT_OF_DIAL.get(home._last_dial, "unknown")
        first = next(iter(home.legs.values()))
        return "failed" if first.cause in OUTCOME_OF_CAUSE else "unknown"

    def _forget_ended(self) -> None:
        for ended in self._ended:
            home = self._interactions.pop(ended, None)
            if home is None:
                continue
            for leg in home.legs:
                del self._homes[leg]
            for link in home._links:
                del self._linked[link]
            for former in home._former_ids:
                del self._aliases[former]
            self._past_ids[ended] = None
            while len(self._past_ids) > REMEMBERED_ENDS:
                self._past_ids.popitem(last=False)
        self._ended.clear()

    # ── what a conversation is ────────────────────────────────────────────────────────────────────────────

    def _start(self, home: Interaction, at: float, offer: e.CallOffered | None = None) -> Iterator[Event]:
        """Tell of a conversation as soon as it is clear what it is; once."""
        if home.is_started:
            return
        parties = [leg for leg in home.legs.values() if leg.is_party] or list(home.legs.values())
        first = parties[0]
        outsider = next((leg for leg in parties if leg.agent is None), None)
        if offer is not None:
            caller = home.legs[offer.leg] if home.legs[offer.leg].is_party else first
            home.direction = "inbound" if caller.agent is None else "internal"
            customer: Leg | None = caller
        elif first.agent is None:
            home.direction = "outbound" if first.is_dialled else "inbound"
            customer = first
        elif outsider is not None:
            home.direction = "inbound" if first.is_dialled and not outsider.is_dialled else "outbound"
            customer = outsider
        else:
            # A phone of ours that the daemon calls by itself is called to dial somebody from there.
            is_click_to_dial = first.is_dialled and first.dialled_by is None and len(parties) == 1
            home.direction, customer = "outbound" if is_click_to_dial else "internal", None
        if customer is not None:
            home.customer_leg = customer.id
            if customer.agent is None:
                customer.role = LegRole.CUSTOMER
        if offer is not None:
            self._take_offer(home, offer)
        else:
            caller = customer if customer is not None and home.direction == "inbound" else first
            home.ani = dialable(caller.number)
            home.is_withheld = not home.ani
            home.ani_name = caller.name
            called = customer.number if customer is not None and home.direction == "outbound" else ""
            home.dnis = dialable(caller.dialled) or dialable(called)
        if self.on_start is not None:
            self.on_start(home)
        yield e.InteractionStarted(
            at=at,
            interaction=home.id,
            direction=home.direction,
            first_leg=home.first_leg,
            ani=home.ani,
            ani_name=home.ani_name,
            is_withheld=home.is_withheld,
            dnis=home.dnis,
            account=home.account,
            choice=home.choice,
            language=home.language,
            path=home.path,
        )

    def _take_offer(self, home: Interaction, offer: e.CallOffered) -> None:
        home.ani, home.ani_name, home.is_withheld = offer.ani, offer.ani_name, offer.is_withheld
        home.dnis, home.account = offer.dnis, offer.account
        home.choice, home.language = offer.choice, offer.language
        home.path = offer.path

    def _unite(self, one: Interaction, two: Interaction, at: float) -> Iterator[Event]:
        """Two conversations are one: the younger goes into the older."""
        if one.id != two.id:
            into, gone = sorted((one, two), key=_age)
            yield from self._merge(into, gone, at)

    def _merge(self, into: Interaction, gone: Interaction, at: float) -> Iterator[Event]:
        if gone.is_started:
            yield from self._start(into, at)
        for leg in gone.legs:
            self._homes[leg] = into.id
        into.legs.update(gone.legs)
        for link in (*gone._links, gone.first_leg):
            self._link(link, into)
        into._former_ids += [*gone._former_ids, gone.id]
        self._aliases.update(dict.fromkeys((*gone._former_ids, gone.id), into.id))
        del self._interactions[gone.id]
        self._past_ids[gone.id] = None
        if (due := self._due.pop(gone.id, None)) is not None:
            self._due[into.id] = min(due, self._due.get(into.id, due))
        into.talks.extend(gone.talks)
        into.talks.sort(key=lambda talk: talk.started_at)
        into._transfers.extend(gone._transfers)
        into._last_dial = into._last_dial or gone._last_dial
        into._is_unseen = into._is_unseen or gone._is_unseen
        into.was_offered = into.was_offered or gone.was_offered
        into.has_fallen_back = into.has_fallen_back or gone.has_fallen_back
        into.queue = into.queue or gone.queue
        answers = [at for at in (into.answered_at, gone.answered_at) if at is not None]
        into.answered_at = min(answers, default=None)
        if into.recorded_leg is None:
            into.recorded_leg, into.recording, into.recording_state = (
                gone.recorded_leg,
                gone.recording,
                gone.recording_state,
            )
            into.recording_basis = gone.recording_basis or into.recording_basis
        if gone.customer_leg is not None:
            if into.customer_leg is None and into.is_started:
                into.customer_leg = gone.customer_leg
                if into.direction == "internal":
                    into.direction = gone.direction
            elif into.customer_leg is not None and into.legs[gone.customer_leg].role is LegRole.CUSTOMER:
                into.legs[gone.customer_leg].role = LegRole.OTHER
        if gone.is_started:
            yield e.InteractionMerged(at=at, gone=gone.id, into=into.id)

    # ── who talks with whom ───────────────────────────────────────────────────────────────────────────────

    def _refresh(self, home: Interaction, at: float) -> Iterator[Event]:
        """Tell what changed in who talks, who holds and whose transfer is over."""
        for leg in list(home.legs.values()):
            if not leg.is_party or (leg.agent is None and leg.role is LegRole.CUSTOMER):
                continue
            peers = frozenset(home.peers_of(leg.id)) if leg.is_live else frozenset()
            if peers:
                yield from self._talks(home, leg, peers, at)
            elif leg.talk is not None:
                if leg._lost_at is None:
                    leg._lost_at = at
                if self._is_settled(home, leg, at):
                    yield from self._leaves(home, leg, at)
        for leg in home.legs.values():
            if leg.agent is not None:
                yield from self._holds(home, leg, at)
        yield from self._close_transfers(home, at)
        self._note_due(home, at)

    def _talks(self, home: Interaction, leg: Leg, peers: frozenset[LegId], at: float) -> Iterator[Event]:
        leg._peers, leg._lost_at = peers, None
        role = self._role(home, leg, peers, at)
        if leg.talk is not None and leg.talk.role == role:
            leg.talk.with_legs |= peers
            return
        yield from self._start(home, at)
        for one in (leg.id, *peers):
            yield from self._stop_ringing(home, home.legs[one], DialOutcome.ANSWERED, at)
        if leg.talk is not None:
            leg.talk.ended_at = at
        leg.talk = Talk(leg.id, leg.agent, role, at, with_legs=set(peers))
        home.talks.append(leg.talk)
        if role == TALK and home.answered_at is None:
            home.answered_at = at
        if home.customer_leg in peers:
            leg._has_met_customer = True
        if leg.agent is not None:
            yield e.AgentJoined(at=at, interaction=home.id, agent=leg.agent, leg=leg.id, role=role)

    def _role(self, home: Interaction, leg: Leg, peers: frozenset[LegId], at: float) -> str:
        """``talk`` with the customer (or among colleagues), ``consult`` while the customer waits elsewhere."""
        customer = home.legs.get(home.customer_leg) if home.customer_leg is not None else None
        if customer is None or not customer.is_live:
            if leg.talk is not None:
                return leg.talk.role
            return CONSULT if self._is_consulting(home, {leg.id, *peers}) else TALK
        if customer.id in peers or customer.id == leg.id:
            return TALK
        if leg.talk is not None and customer._parted_at is not None and at < customer._parted_at + SETTLE_S:
            return leg.talk.role
        return CONSULT

    def _is_consulting(self, home: Interaction, parties: Iterable[LegId]) -> bool:
        """One of these speaks here on a second line while the customer waits on the first."""
        for party in parties:
            agent = home.legs[party].agent
            for line in self._agent_legs.get(agent, ()) if agent is not None else ():
                elsewhere = self._interactions[self._homes[line]]
                if elsewhere.id != home.id and elsewhere.customer_leg in elsewhere.peers_of(line):
                    return True
        return False

    def _is_settled(self, home: Interaction, leg: Leg, at: float) -> bool:
        """The talk that ``leg`` lost will not go on in another bridge."""
        assert leg._lost_at is not None
        return (
            leg._is_elsewhere
            or all(home.legs[peer]._is_elsewhere for peer in leg._peers)
            or at >= leg._lost_at + SETTLE_S
        )

    def _leaves(self, home: Interaction, leg: Leg, at: float) -> Iterator[Event]:
        assert leg.talk is not None
        lost_at = leg._lost_at if leg._lost_at is not None else at
        leg.talk.ended_at = lost_at
        leg.talk = leg._lost_at = None
        if leg.agent is not None:
            yield from self._holds(home, leg, lost_at)
            yield e.AgentLeft(at=lost_at, interaction=home.id, agent=leg.agent, leg=leg.id)

    def _holds(self, home: Interaction, leg: Leg, at: float) -> Iterator[Event]:
        """By the phone's own hold, or because the agent took another call with the customer left alone."""
        customer = home.legs.get(home.customer_leg) if home.customer_leg is not None else None
        is_held = leg.is_live and leg._phone_holds and leg.talk is not None
        if not is_held and customer is not None and customer.is_live and leg.is_live and leg.id != customer.id:
            company = home.peers_of(customer.id)
            if company and leg.id not in company:
                # Somebody else has taken over.
                leg._has_met_customer = False
            is_left_alone = not company and leg._has_met_customer
            is_busy = leg.talk is not None and leg.talk.role == CONSULT
            is_held = is_left_alone and (is_busy or leg.is_holding or self._is_dialling(home, leg))
        yield from self._tell_held(home, leg, at, is_held=is_held)

    def _is_dialling(self, home: Interaction, leg: Leg) -> bool:
        return any(other.dialled_by == leg.id and other.is_rung for other in home.legs.values())

    def _tell_held(self, home: Interaction, leg: Leg, at: float, *, is_held: bool) -> Iterator[Event]:
        if leg.is_holding == is_held or leg.agent is None:
            return
        leg.is_holding = is_held
        if is_held:
            leg._told_held_at = at
        elif leg._told_held_at is not None:
            leg.held_s += max(0.0, at - leg._told_held_at)
            leg._told_held_at = None
        yield e.InteractionHeld(at=at, interaction=home.id, agent=leg.agent, is_held=is_held)

    def _note_due(self, home: Interaction, at: float) -> None:
        """When to look again: the first moment at which a leg that is adrift counts as gone."""
        moments = [leg._lost_at + SETTLE_S for leg in home.legs.values() if leg._lost_at is not None]
        moments += [leg._parted_at + SETTLE_S for leg in home.legs.values() if leg._parted_at is not None]
        if moments and home.live_legs:
            self._due[home.id] = min(moments)
        else:
            self._due.pop(home.id, None)

    def _settle_overdue(self, now: float) -> list[Event]:
        facts: list[Event] = []
        if not self._due:
            return facts
        for overdue in [interaction for interaction, due in self._due.items() if due <= now]:
            home = self._interactions[overdue]
            for leg in home.legs.values():
                if leg._parted_at is not None and now >= leg._parted_at + SETTLE_S:
                    leg._parted_at = None
            facts.extend(self._refresh(home, now))
        return facts

    # ── transfers by the phones themselves ────────────────────────────────────────────────────────────────

    def _blind_transferred(self, event: e.BlindTransferred) -> Iterator[Event]:
        home = self.of_leg(event.by)
        if home is None:
            return
        by = home.legs[event.by]
        if by.agent is None:
            return
        yield from self._start(home, event.at)
        yield e.TransferStarted(at=event.at, interaction=home.id, agent=by.agent, target=event.to, kind="blind")
        moved = event.moved if event.moved in home.legs else next(iter(by._peers), home.customer_leg)
        if not event.ok or moved is None:
            yield e.TransferEnded(
                at=event.at, interaction=home.id, agent=by.agent, target=event.to, kind="blind", outcome="failed"
            )
            return
        home._transfers.append(PhoneTransfer(by.agent, by.id, moved, event.to))
        yield from self._close_transfers(home, event.at)

    def _close_transfers(self, home: Interaction, at: float) -> Iterator[Event]:
        for transfer in list(home._transfers):
            if not home.legs[transfer.moved].is_live:
                outcome = "caller_gone"
            elif (peers := home.peers_of(transfer.moved)) and transfer.by not in peers:
                outcome = "completed"
            else:
                continue
            home._transfers.remove(transfer)
            yield self._transfer_ended(home, transfer, outcome, at)

    def _transfer_ended(self, home: Interaction, transfer: PhoneTransfer, outcome: str, at: float) -> Event:
        return e.TransferEnded(
            at=at,
            interaction=home.id,
            agent=transfer.agent,
            target=transfer.target,
            kind="blind",
            outcome=outcome,
        )

    def _attended_transferred(self, event: e.AttendedTransferred) -> Iterator[Event]:
        home = self.of_leg(event.by)
        second = self.of_leg(event.by_second)
        if home is None or second is None:
            return
        agent = home.legs[event.by].agent
        target = second.legs.get(event.target) if event.target is not None else None
        if target is None:
            peer = second.peer_of(event.by_second)
            dialled = (leg for leg in second.legs.values() if leg.is_party and leg.is_dialled and leg.is_live)
            target = second.legs[peer] if peer is not None else next(dialled, None)
        if event.ok:
            yield from self._unite(home, second, event.at)
        if agent is None:
            return
        home = self._interactions[self._homes[event.by]]
        yield from self._start(home, event.at)
        name = _target_name(target)
        yield e.TransferStarted(at=event.at, interaction=home.id, agent=agent, target=name, kind="attended")
        outcome = "failed"
        if event.ok:
            outcome = "completed" if target is not None and not target.is_rung else "blonde"
        yield e.TransferEnded(
            at=event.at, interaction=home.id, agent=agent, target=name, kind="attended", outcome=outcome
        )

    # ── queues, ours and others' ──────────────────────────────────────────────────────────────────────────

    def _call_offered(self, event: e.CallOffered) -> Iterator[Event]:
        known = self._leg(event.leg)
        if known is None:
            # Heard of before anything else, in the first moment of a link: PbxRead tells the rest of it.
            self._add_leg(_leg_of_offer(event), event.leg, event.at)
            known = self._leg(event.leg)
            assert known is not None
        home, leg = known
        home.was_offered = True
        yield from self._waits(home, leg, event.at)
        yield from self._start(home, event.at, event)
        for transfer in [transfer for transfer in home._transfers if transfer.moved == leg.id]:
            home._transfers.remove(transfer)
            yield self._transfer_ended(home, transfer, "completed", event.at)

    def _foreign_queue_joined(self, event: e.ForeignQueueJoined) -> Iterator[Event]:
        if known := self._leg(event.leg):
            home, leg = known
            home.queue = event.queue
            if any(party.is_party for party in home.legs.values()):
                yield from self._start(home, event.at)
            yield from self._waits(home, leg, event.at)

    def _waits(self, home: Interaction, leg: Leg, at: float) -> Iterator[Event]:
        """This leg stands in a queue, so it is in no bridge and on nobody's hold."""
        self._take_out(leg)
        leg._parted_at = None
        yield from self._refresh(home, at)
        if leg.id == home.customer_leg:
            for holder in home.legs.values():
                yield from self._tell_held(home, holder, at, is_held=False)

    def _caller_fell_back(self, event: e.CallerFellBack) -> Iterator[Event]:
        if known := self._leg(event.leg):
            known[0].has_fallen_back = True
            yield from self._start(known[0], event.at)

    # ── recording ─────────────────────────────────────────────────────────────────────────────────────────

    def _recording_started(self, event: e.RecordingStarted) -> Iterator[Event]:
        if known := self._leg(event.leg):
            home = known[0]
            home.recorded_leg, home.recording = event.leg, event.file
            home.recording_basis = event.basis
            yield from self._start(home, event.at)
            yield from self._change_recording(home, "on", event.at)

    def _recording_refused(self, event: e.RecordingRefused) -> Iterator[Event]:
        # Who objected is not also said to have been asked in vain.
        if (known := self._leg(event.leg)) and known[0].recording_basis not in (event.why, "objected"):
            home = known[0]
            home.recording_basis = event.why
            if home.recording_state == "off":
                yield from self._start(home, event.at)
                yield self._recording_is(home, event.at)

    def _recording_stopped(self, event: e.RecordingStopped) -> Iterator[Event]:
        if (known := self._leg(event.leg)) and known[0].recorded_leg == event.leg:
            yield from self._change_recording(known[0], "off", event.at)

    def _recording_objected(self, event: e.RecordingObjected) -> Iterator[Event]:
        """The recording is off when the PBX says so; from then on it counts as objected to."""
        home = self.get(event.interaction)
        if home is not None and home.is_started:
            home.recording_basis = "objected"
            if home.recording_state == "off":
                yield self._recording_is(home, event.at)

    def _recording_paused(self, event: e.RecordingPaused) -> Iterator[Event]:
        if (known := self._leg(event.leg)) and known[0].recorded_leg == event.leg:
            yield from self._change_recording(known[0], "paused", event.at)

    def _recording_resumed(self, event: e.RecordingResumed) -> Iterator[Event]:
        if (known := self._leg(event.leg)) and known[0].recorded_leg == event.leg:
            yield from self._change_recording(known[0], "on", event.at)

    def _change_recording(self, home: Interaction, state: str, at: float) -> Iterator[Event]:
        if home.recording_state != state:
            home.recording_state = state
            yield self._recording_is(home, at)

    def _recording_is(self, home: Interaction, at: float) -> e.RecordingChanged:
        return e.RecordingChanged(
            at=at,
            interaction=home.id,
            file=home.recording,
            state=home.recording_state,
            basis=home.recording_basis,
            on_leg=home.recorded_leg,
        )

    # ── after a reconnect ─────────────────────────────────────────────────────────────────────────────────

    def _pbx_read(self, event: e.PbxRead) -> Iterator[Event]:
        """What lives on the PBX is in ``event``; everything else of it is gone."""
        seen = {leg.leg: leg for leg in event.legs}
        # First who is new and who belongs together: a conversation whose old legs are gone goes on in its new ones.
        for one in sorted(seen.values(), key=lambda leg: (leg.started_at, leg.leg)):
            known = self._leg(one.leg)
            if known is None:
                if one.leg in self._homes:
                    continue
                if is_spy(one.leg) and one.bridge is None:
                    self._listening[one.leg] = one
                    continue
                self._listening.pop(one.leg, None)
                self._add_leg(one, one.conversation, one.started_at)
            else:
                known[1].channel = one.channel
                if known[1].agent is None:
                    known[1].endpoint = one.endpoint
                yield from self._leg_relinked(e.LegRelinked(at=event.at, leg=one.leg, conversation=one.conversation))
        for one in seen.values():
            if known := self._leg(one.leg):
                yield from self._correct(known[1], one, event.at)
        for one in seen.values():
            if known := self._leg(one.leg):
                known[1]._parted_at = None
                yield from self._meet(known[1], event.at)
        for listener in [leg for leg in self._listening if pbx_of(leg) == event.pbx and leg not in seen]:
            del self._listening[listener]
        # When those who are gone went is not known. Nobody saw them talk after the PBX was last heard, so no later.
        last_seen_at = self._heard_at.get(event.pbx, event.at)
        for home in [home for home in self._interactions.values() if home.pbx == event.pbx]:
            for leg in home.live_legs:
                if leg.id not in seen:
                    home._is_unseen = True
                    yield from self._end_leg(home, leg, max(last_seen_at, leg.started_at), HangupCause.NORMAL)

    def _correct(self, leg: Leg, seen: e.LegSeen, at: float) -> Iterator[Event]:
        if seen.bridge is None or seen.bridge_kind is None:
            self._take_out(leg)
        elif leg.bridge != seen.bridge:
            self._put_in(leg, seen.bridge, seen.bridge_kind)
        home = self._interactions[self._homes[leg.id]]
        if seen.is_up:
            if leg.answered_at is None:
                leg.answered_at = at
            yield from self._stop_ringing(home, leg, DialOutcome.ANSWERED, at)
        elif seen.is_ringing and not leg.is_rung and leg.is_party and leg.outcome is None:
            leg.is_dialled, leg.dialled_at = True, leg.started_at
            leg.ringing_at = leg.ringing_at or at
            yield from self._ring(home, leg, at)


def dialable(number: str) -> str:
    """A claimed number as digits with an optional ``+``, or empty when it is withheld or malformed."""
    bare = re.sub(r"[ ()./-]", "", number)
    return bare if re.fullmatch(r"\+?[0-9]{1,32}", bare) else ""


def _age(home: Interaction) -> tuple[float, int, str]:
    """Sorts by when a conversation's first leg was made, as the PBX itself compares them."""
    stamp = re.search(r"(\d+)\.(\d+)$", uniqueid_of(home.first_leg))
    if stamp is None:
        return home.started_at, 0, home.id
    return float(stamp[1]), int(stamp[2]), home.id


def _target_name(leg: Leg | None) -> str:
    if leg is None:
        return ""
    return f"agent:{leg.agent}" if leg.agent is not None else leg.number or leg.endpoint


def _leg_of_offer(offer: e.CallOffered) -> e.LegStarted:
    return e.LegStarted(
        at=offer.at,
        leg=offer.leg,
        conversation=offer.leg,
        channel="",
        tech="",
        endpoint="",
        number=offer.ani,
        name=offer.ani_name,
        dialled=offer.dnis,
    )
