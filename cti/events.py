"""Facts: what happened, in the past tense. Nothing here knows a word of AMI.

Three families, all frozen, all with ``at`` (Unix seconds on the daemon's clock, when we read or decided it):

* **switch facts** come from a PBX adapter (real or simulated) and speak of legs, dials, bridges, phones;
* **desk facts** come from people: a page, a button, a socket that came or went;
* **floor facts** are what the deciding core concluded; they are journaled, recorded and shown.

The journal keeps all three; ``rebuild`` and ``replay`` read nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from cti.ids import AgentId, BridgeId, InteractionId, LegId, PbxId, QueueId
from cti.routing.plan import Plan


class DialOutcome(StrEnum):
    """How one dial of one leg ended, as the network says."""

    ANSWERED = "answered"
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    UNREACHABLE = "unreachable"
    FORWARDED = "forwarded"
    FAILED = "failed"


class HangupCause(StrEnum):
    """Why a leg ended: Asterisk's Q.850 causes in the groups that matter to a call centre."""

    NORMAL = "normal"
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    REJECTED = "rejected"
    UNREACHABLE = "unreachable"
    UNALLOCATED = "unallocated"
    CONGESTION = "congestion"
    ANSWERED_ELSEWHERE = "answered_elsewhere"
    FAILED = "failed"


class BridgeKind(StrEnum):
    """What kind of meeting place a bridge is: people talk in TALK, one waits in HOLDING."""

    TALK = "talk"
    HOLDING = "holding"


class DeviceState(StrEnum):
    """State of a phone as the PBX sees it."""

    NOT_INUSE = "not_inuse"
    INUSE = "inuse"
    BUSY = "busy"
    RINGING = "ringing"
    ON_HOLD = "on_hold"
    UNAVAILABLE = "unavailable"
    UNKNOWN = "unknown"


class AgentState(StrEnum):
    """The state of an agent; the table of moves is in ``cti.agent_state``."""

    LOGGED_OUT = "LOGGED_OUT"
    NOT_READY = "NOT_READY"
    AVAILABLE = "AVAILABLE"
    RESERVED = "RESERVED"
    ON_CALL = "ON_CALL"
    WRAP_UP = "WRAP_UP"


class SpyMode(StrEnum):
    """What a supervisor does in somebody's call: hear both, speak to the agent alone, speak to both."""

    LISTEN = "listen"
    WHISPER = "whisper"
    BARGE = "barge"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Root of all facts. ``at``: Unix seconds."""

    at: float


# ── switch facts ──────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class LegStarted(Event):
    """A channel came into being.

    ``conversation`` is the leg that Asterisk links it to (``Linkedid``; itself for a first leg). ``endpoint`` is the
    PJSIP endpoint (or device) name, empty for Local channels. ``number``/``name`` are the leg's own caller id as
    claimed by the other side (hostile data), ``dialled`` the extension that it entered with.
    """

    leg: LegId
    conversation: LegId
    channel: str
    tech: str
    endpoint: str
    number: str
    name: str
    dialled: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LegIdentified(Event):
    """A leg's own caller id became known or changed."""

    leg: LegId
    number: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LegOwned(Event):
    """A leg is the phone ``endpoint`` of ours though its channel bears another name (a number outside, on a trunk)."""

    leg: LegId
    endpoint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LegRinging(Event):
    """A leg rings (it is being called)."""

    leg: LegId


@dataclass(frozen=True, slots=True, kw_only=True)
class LegAnswered(Event):
    """A leg is up."""

    leg: LegId


@dataclass(frozen=True, slots=True, kw_only=True)
class LegRenamed(Event):
    """A leg's channel name changed (masquerade, pick-up, transfer); its id stays."""

    leg: LegId
    channel: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LegRelinked(Event):
    """A leg now belongs to another conversation: Asterisk joined two (``Linkedid`` changed)."""

    leg: LegId
    conversation: LegId


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalPaired(Event):
    """Two Local channel halves are one piece of wire."""

    one: LegId
    two: LegId


@dataclass(frozen=True, slots=True, kw_only=True)
class DialStarted(Event):
    """``to`` is being called. ``by`` is the calling leg, None for a dial asked by the daemon itself."""

    by: LegId | None
    to: LegId


@dataclass(frozen=True, slots=True, kw_only=True)
class DialEnded(Event):
    """The dial of ``to`` ended."""

    by: LegId | None
    to: LegId
    outcome: DialOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeJoined(Event):
    """A leg entered a bridge."""

    leg: LegId
    bridge: BridgeId
    kind: BridgeKind


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeParted(Event):
    """A leg left a bridge."""

    leg: LegId
    bridge: BridgeId


@dataclass(frozen=True, slots=True, kw_only=True)
class LegHeld(Event):
    """This leg's owner put the other side on hold."""

    leg: LegId


@dataclass(frozen=True, slots=True, kw_only=True)
class LegResumed(Event):
    """This leg's owner took the other side off hold."""

    leg: LegId


@dataclass(frozen=True, slots=True, kw_only=True)
class LegEnded(Event):
    """A channel is gone."""

    leg: LegId
    cause: HangupCause


@dataclass(frozen=True, slots=True, kw_only=True)
class BlindTransferred(Event):
    """``by`` sent ``moved`` to the extension ``to`` by the phone's own transfer (REFER or feature code)."""

    by: LegId
    moved: LegId | None
    to: str
    ok: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AttendedTransferred(Event):
    """The phone of ``by`` (with its second call ``by_second``) joined the two it was speaking with."""

    by: LegId
    by_second: LegId
    moved: LegId | None
    target: LegId | None
    ok: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PickedUp(Event):
    """``by`` answered the call that rang at ``target``."""

    by: LegId
    target: LegId


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignQueueJoined(Event):
    """A leg waits in an ``app_queue`` queue that is not ours (or in the fall-back queue)."""

    leg: LegId
    queue: str
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignQueueLeft(Event):
    """A leg left an ``app_queue`` queue. ``abandoned`` is never counted by itself (see ``dialplans``)."""

    leg: LegId
    queue: str
    abandoned: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOffered(Event):
    """The hold loop in our dialplan offers a caller to the daemon.

    ``ani`` holds digits and ``+`` only, empty when withheld or malformed (then ``is_withheld``); ``ani_name`` is
    the caller's own text (hostile). ``account``, ``choice`` and ``language`` are what the caller typed or chose in an
    IVR, empty if none. ``waited_s`` is how long the caller waits already (a re-offer after a restart or a fall-back
    keeps it). ``target`` is empty, or ``agent:<id>`` / ``queue:<id>`` where a transfer named one.
    """

    leg: LegId
    ani: str
    ani_name: str
    is_withheld: bool
    dnis: str
    account: str
    choice: str
    language: str
    waited_s: float
    target: str
    consent: str = ""
    """Whether the caller agreed to being recorded: ``yes``, ``no``, or empty (not asked)."""
    path: str = ""
    """What the caller chose on the way through the menus: ``main:2>orders:1``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerFellBack(Event):
    """The hold loop gave up on the daemon and sent the caller to the fall-back queue."""

    leg: LegId


@dataclass(frozen=True, slots=True, kw_only=True)
class SpyPlaced(Event):
    """A leg that was made to listen hears its call from here on, in this mode; ``mode`` None: the leg that it heard is
    gone."""

    leg: LegId
    mode: SpyMode | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnouncementPlayed(Event):
    """The hold loop carried out an ``Announce``. ``missing``: the recording that it did not have, so nothing was said;
    empty if it was played, to its end or until a key was pressed."""

    leg: LegId
    what: str
    missing: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPressed(Event):
    """A waiting caller pressed one of the keys that an ``Announce`` asked for."""

    leg: LegId
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRecorded(Event):
    """A caller leaves a message. ``file``: relative to the messages folder; ``queue``: whose voicemail it is, empty for
    that of the fall-back's end."""

    leg: LegId
    file: str
    queue: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingStarted(Event):
    """MixMonitor runs on ``leg``; ``file`` is a name of ours, relative to the recording folder. ``basis``: what allows
    it, ``announced`` or ``consent``."""

    leg: LegId
    file: str
    basis: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingRefused(Event):
    """The dialplan does not record the talk to come of ``leg`` though the queue is recorded. ``why``: ``no_consent``,
    ``objected``, ``unannounced`` (the caller could not be told)."""

    leg: LegId
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingStopped(Event):
    """The recording of ``leg`` was ended while the leg lives on."""

    leg: LegId


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingPaused(Event):
    """The recording of ``leg`` writes silence from here."""

    leg: LegId


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingResumed(Event):
    """The recording of ``leg`` writes sound again."""

    leg: LegId


@dataclass(frozen=True, slots=True, kw_only=True)
class PhoneReachable(Event):
    """A phone registered (or its qualify succeeded)."""

    pbx: PbxId
    endpoint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PhoneUnreachable(Event):
    """A phone's last contact is gone."""

    pbx: PbxId
    endpoint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceChanged(Event):
    """A phone's state on the PBX changed."""

    pbx: PbxId
    endpoint: str
    state: DeviceState


@dataclass(frozen=True, slots=True)
class LegSeen:
    """One live leg in a ``PbxRead``. ``started_at`` is derived from the PBX's own duration of the channel."""

    leg: LegId
    conversation: LegId
    channel: str
    tech: str
    endpoint: str
    number: str
    name: str
    dialled: str
    is_up: bool
    is_ringing: bool
    started_at: float
    bridge: BridgeId | None
    bridge_kind: BridgeKind | None
    is_waiting: bool
    """It stands in our hold loop."""


@dataclass(frozen=True, slots=True)
class MemberSeen:
    """One member of one of our fall-back queues in a ``PbxRead``."""

    queue: QueueId
    endpoint: str
    is_paused: bool


@dataclass(frozen=True, slots=True)
class QueuedSeen:
    """A caller in one of our fall-back queues in a ``PbxRead``, not yet connected. ``waited_s``: in that queue."""

    leg: LegId
    queue: QueueId
    waited_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PbxRead(Event):
    """After each (re)connect: all that lives on the PBX. What is not in here is gone."""

    pbx: PbxId
    legs: tuple[LegSeen, ...]
    devices: tuple[tuple[str, DeviceState], ...]
    members: tuple[MemberSeen, ...] = ()
    queued: tuple[QueuedSeen, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LegsRead(Event):
    """The answer to ``ReadLegs``: every leg that lived on the PBX at one moment, and nothing else about them."""

    pbx: PbxId
    legs: tuple[LegId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkUp(Event):
    """The link to a PBX stands and its state was asked for."""

    pbx: PbxId
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkLost(Event):
    """The link to a PBX broke or could not be made."""

    pbx: PbxId
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandFailed(Event):
    """A command could not be carried out. ``command`` is its class name, ``why`` a stable code."""

    command: str
    leg: LegId | None
    interaction: InteractionId | None
    why: str


# ── desk facts ────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanChanged(Event):
    """Queues, agents, phones or numbers were configured (also the first fact of every journal segment)."""

    plan: Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentLoggedIn(Event):
    """An agent logged in at a desk."""

    agent: AgentId


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentLoggedOut(Event):
    """An agent logged out, or the session was revoked. ``by``: who did it."""

    agent: AgentId
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StateRequested(Event):
    """Somebody asked for AVAILABLE or NOT_READY (with ``reason``). During a call it is the next state."""

    agent: AgentId
    state: AgentState
    reason: str
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskFresh(Event):
    """The desk's page is connected, beats and can ring."""

    agent: AgentId


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskStale(Event):
    """The desk's page sleeps, is gone or cannot ring. ``why``: ``gone``, ``silent``, ``asleep``, ``no_phone``,
    ``no_microphone``."""

    agent: AgentId
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PageLeft(Event):
    """The agent's page was closed, left or loaded anew: a phone that lived in it, and its call, are gone."""

    agent: AgentId


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteSaved(Event):
    """The agent's note of an interaction, whole text as it stands now."""

    interaction: InteractionId
    agent: AgentId
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DispositionSet(Event):
    """What a person says came of an interaction."""

    interaction: InteractionId
    agent: AgentId
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerChosen(Event):
    """The agent chose (or corrected) the customer of an interaction; None: nobody of these."""

    interaction: InteractionId
    agent: AgentId
    party: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WrapUpFinished(Event):
    """The agent is done with the after-call work."""

    agent: AgentId


@dataclass(frozen=True, slots=True, kw_only=True)
class HangUpRequested(Event):
    """The agent's page asks to end the agent's talk."""

    interaction: InteractionId
    agent: AgentId


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingPauseRequested(Event):
    """The agent's page asks to pause (card data) or resume the recording."""

    interaction: InteractionId
    agent: AgentId
    is_paused: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingObjected(Event):
    """The caller does not want to be recorded, the agent says: the recording ends for good."""

    interaction: InteractionId
    agent: AgentId


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferRequested(Event):
    """Blind: the caller goes now. Attended: the caller waits while ``agent`` speaks with the target first.

    ``target`` is a destination: ``agent:<id>``, ``queue:<id>``, ``skill:<expression>`` or ``number:<digits>``.
    """

    interaction: InteractionId
    agent: AgentId
    target: str
    is_attended: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferCompleteRequested(Event):
    """Consultation over: join caller and target (also while the target still rings: a "blonde" transfer)."""

    interaction: InteractionId
    agent: AgentId


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferCancelRequested(Event):
    """Consultation over: back to the caller."""

    interaction: InteractionId
    agent: AgentId


@dataclass(frozen=True, slots=True, kw_only=True)
class ConferenceRequested(Event):
    """``agent``, who consults somebody, asks that all three speak together."""

    interaction: InteractionId
    agent: AgentId


@dataclass(frozen=True, slots=True, kw_only=True)
class SpyRequested(Event):
    """``listener`` (a supervisor's own phone) asks to hear the call of ``agent``, this one and no other; asked again
    while listening, it changes the mode. ``by``: the user's name."""

    interaction: InteractionId
    agent: AgentId
    listener: AgentId
    mode: SpyMode
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SpyEndRequested(Event):
    """The listener has heard enough."""

    interaction: InteractionId
    listener: AgentId
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeOverRequested(Event):
    """``taker`` asks to have the caller of ``agent``, at once; the agent is out."""

    interaction: InteractionId
    agent: AgentId
    taker: AgentId
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PickRequested(Event):
    """A supervisor gives a waiting caller to ``agent``, before everybody else."""

    interaction: InteractionId
    agent: AgentId
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageSent(Event):
    """A supervisor writes to agents' desks. ``message``: an id of ours; ``name``: what the supervisor is called."""

    agents: tuple[AgentId, ...]
    text: str
    by: str
    message: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRead(Event):
    """The agent has read a supervisor's message: it need not be shown again."""

    agent: AgentId
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerLookedUp(Event):
    """The CRM's answer to ``LookUpCaller``: 0, 1 or many customers.

    ``how``: ``account``, ``number``, ``none``, ``failed``.
    """

    interaction: InteractionId
    parties: tuple[int, ...]
    how: str
    variables: Mapping[str, str] = field(default_factory=dict)
    """What routing may ask of a customer who is known for sure: ``tier``, ``language``, ``owner`` and ``last_agent``
    (agents' ids), ``severity`` (of the worst open case), ``calls_7d`` (how often they called in seven days)."""


# ── floor facts ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Passed:
    """Why a candidate was not taken: ``reason`` is a stable code, ``detail`` completes the sentence."""

    agent: AgentId
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentStateChanged(Event):
    """An agent's state changed.

    ``until``: when it ends by itself (wrap-up), or None. ``by``: ``agent``, ``system``, or a user's name.
    """

    agent: AgentId
    state: AgentState
    reason: str
    by: str
    interaction: InteractionId | None
    until: float | None
    next_state: AgentState | None
    """What was asked for during a call and comes after wrap-up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InteractionStarted(Event):
    """A conversation began. ``direction``: ``inbound``, ``outbound``, ``internal``."""

    interaction: InteractionId
    direction: str
    first_leg: LegId
    ani: str
    ani_name: str
    is_withheld: bool
    dnis: str
    account: str
    choice: str
    language: str
    path: str = ""
    """The way through the menus, as in ``CallOffered``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InteractionMerged(Event):
    """Two conversations turned out to be one; ``gone`` lives on in ``into``."""

    gone: InteractionId
    into: InteractionId


@dataclass(frozen=True, slots=True, kw_only=True)
class InteractionQueued(Event):
    """A caller waits for an agent of a queue. ``queued_at``: since when the wait counts."""

    interaction: InteractionId
    queue: QueueId
    queued_at: float
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerOverflowed(Event):
    """A caller left ``queue`` for ``to`` (a destination): the offer is closed here, and another opens if ``to`` is a
    queue. ``why``: as ``OverflowWhen``, or ``closed``, ``chosen`` (the caller pressed a key)."""

    interaction: InteractionId
    queue: QueueId
    to: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackPlaced(Event):
    """A caller hung up and keeps the place. ``callback``: an id of ours; ``queued_at``: since when the place counts."""

    callback: str
    interaction: InteractionId
    pbx: PbxId
    queue: QueueId
    number: str
    language: str
    queued_at: float
    expires_at: float
    variables: Mapping[str, str] = field(default_factory=dict)
    """What routing knew of the caller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackDialled(Event):
    """The one call back of this place is about to be made, on ``leg`` (an id that we chose). Written before it is."""

    callback: str
    leg: LegId
    agent: AgentId | None = None
    """Who is kept free for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackClosed(Event):
    """A kept place is gone. ``outcome``: ``answered``, ``no_answer``, ``busy``, ``failed``, ``expired``, ``called_in``,
    ``cancelled``, ``unknown`` (dialled, and nobody can say what came of it)."""

    callback: str
    outcome: str
    interaction: InteractionId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerAnnounced(Event):
    """A waiting caller was told something. ``what``: ``greeting``, ``comfort``, ``position``, ``wait``, ``closed``…"""

    interaction: InteractionId
    what: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptMissing(Event):
    """The PBX has no recording of this name in this language: music was played instead."""

    pbx: PbxId
    prompt: str
    language: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageLeft(Event):
    """A caller left a message: work for ``queue``. ``file``: relative to the messages folder."""

    interaction: InteractionId
    queue: QueueId
    file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SpyStarted(Event):
    """A supervisor hears this call of ``agent``, in this mode."""

    interaction: InteractionId
    agent: AgentId
    listener: AgentId
    mode: SpyMode
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SpyEnded(Event):
    """The supervisor no longer hears this call. ``why``: ``asked``, ``call_over``, ``hung_up``,
    ``took_over``, ``refused`` (their phone was not to be had: busy, not reachable, not answered)."""

    interaction: InteractionId
    agent: AgentId
    listener: AgentId
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentChosen(Event):
    """Routing's answer: who was rung and why the others were not. ``agent`` None: nobody, the caller waits on.
    ``others``: rung at the same time. ``rule`` and the reasons of ``passed``: see ``cti.routing.select``. What was
    required then: ``required`` (an expression, empty: anybody), the queue's ``step`` from 0; ``points`` of priority."""

    interaction: InteractionId
    queue: QueueId | None
    agent: AgentId | None
    rule: str
    passed: tuple[Passed, ...]
    others: tuple[AgentId, ...] = ()
    step: int = 0
    required: str = ""
    waited_s: float = 0.0
    points: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRang(Event):
    """The phone of ``agent`` rings for this interaction (leg ``leg``)."""

    interaction: InteractionId
    agent: AgentId
    leg: LegId
    until: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRingEnded(Event):
    """It rings no longer. ``outcome``: how."""

    interaction: InteractionId
    agent: AgentId
    leg: LegId
    outcome: DialOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentJoined(Event):
    """``agent`` speaks in this interaction. ``role``: ``talk`` or ``consult``."""

    interaction: InteractionId
    agent: AgentId
    leg: LegId
    role: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentLeft(Event):
    """``agent`` no longer speaks in this interaction."""

    interaction: InteractionId
    agent: AgentId
    leg: LegId


@dataclass(frozen=True, slots=True, kw_only=True)
class InteractionHeld(Event):
    """The caller is on hold (by the phone's hold, or by us during a consultation); ``is_held`` False: no longer."""

    interaction: InteractionId
    agent: AgentId
    is_held: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldRecalled(Event):
    """The caller has been on hold by ``agent`` for too long (the queue's ``hold_recall_s``), told again after each such
    time. ``held_s``: since when, in seconds."""

    interaction: InteractionId
    agent: AgentId
    held_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferStarted(Event):
    """A transfer is under way. ``kind``: ``blind``, ``attended``, ``take_over``."""

    interaction: InteractionId
    agent: AgentId
    target: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferEnded(Event):
    """How a transfer ended: ``completed``, ``blonde``, ``conference``, ``cancelled``, ``failed``, ``caller_gone``,
    ``nobody`` (of this queue or skill can be had), ``refused`` (numbers outside like this are not allowed)."""

    interaction: InteractionId
    agent: AgentId
    target: str
    kind: str
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingChanged(Event):
    """State of an interaction's recording: ``on``, ``paused``, ``off``. ``file`` relative to the recording folder,
    empty if there is none. ``basis``: why it is, or is not, recorded: ``announced``, ``consent``, or as in
    ``RecordingRefused``, or ``off``: the policy. ``on_leg``: the leg that it hangs on."""

    interaction: InteractionId
    file: str
    state: str
    basis: str = ""
    on_leg: LegId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InteractionEnded(Event):
    """Nobody is left in the conversation. ``outcome``: ``answered``, ``abandoned``, ``short_abandoned``, ``fell_back``,
    ``overflowed``, ``closed``, ``callback``, ``busy``, ``no_answer``, ``failed``, ``unknown``."""

    interaction: InteractionId
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedLeg:
    """One leg as the PBX's own records have it. Times: Unix seconds. ``role``: ``customer``, ``agent``, ``other``."""

    leg: LegId
    role: str
    started_at: float
    agent: str
    endpoint: str
    number: str
    answered_at: float | None
    ended_at: float | None
    outcome: str
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedTape:
    """One recording of the talk, as the PBX's own records have it. ``file``: relative to the recording folder."""

    file: str
    leg: LegId
    started_at: float
    ended_at: float
    basis: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecorded(Event):
    """A conversation that the daemon did not hear whole, told from the PBX's own records once it was over.

    Times, legs, agents and outcome in here go before what was concluded live; notes, dispositions and decisions do not
    come from records. ``was_offered`` False: nothing in here of who called and why goes before what is known already.
    ``merged``: conversations that became part of it. ``parties`` and ``how``: as in ``CallerLookedUp``.
    """

    interaction: InteractionId
    merged: tuple[InteractionId, ...]
    direction: str
    was_offered: bool
    ani: str
    ani_name: str
    is_withheld: bool
    dnis: str
    account: str
    choice: str
    language: str
    started_at: float
    queue: str
    queued_at: float | None
    answered_at: float | None
    ended_at: float
    outcome: str
    agent: str
    from_agent: str
    talk_s: float
    hold_s: float
    legs: tuple[RecordedLeg, ...]
    tapes: tuple[RecordedTape, ...]
    parties: tuple[int, ...] = ()
    how: str = ""
    recording_basis: str = ""
    """Why it is, or is not, recorded: as in ``RecordingChanged``."""
    message: str = ""
    """The file of a message that the caller left, empty if there is none."""
    message_queue: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired(Event):
    """The state doctor found something that cannot be and put it right. ``what``: a stable code."""

    what: str
    agent: AgentId | None
    interaction: InteractionId | None
    detail: str
