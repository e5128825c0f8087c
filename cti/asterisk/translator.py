"""AMI events → facts of ours. The only place that knows AMI's event words.

Fast where it matters: an event is told by its name in the raw bytes, what nobody wants is not looked at further, and
of what is wanted only the headers that the fact needs are found and decoded. A small table of living legs makes up
for what AMI leaves out: which channels were announced, and when the conversation that a leg belongs to
(``Linkedid``) has changed.

Everything in an event is hostile: lengths are limited, what must be a name of ours is matched, unknown words fall to
a default, and nothing here raises, whatever the bytes.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import unquote

from cti.asterisk.quick_facts import quick
from cti.events import (
    AnnouncementPlayed,
    AttendedTransferred,
    BlindTransferred,
    BridgeJoined,
    BridgeKind,
    BridgeParted,
    CallerFellBack,
    CallOffered,
    DeviceChanged,
    DeviceState,
    DialEnded,
    DialOutcome,
    DialStarted,
    ForeignQueueJoined,
    ForeignQueueLeft,
    HangupCause,
    KeyPressed,
    LegAnswered,
    LegEnded,
    LegHeld,
    LegIdentified,
    LegOwned,
    LegRelinked,
    LegRenamed,
    LegResumed,
    LegRinging,
    LegSeen,
    LegStarted,
    LocalPaired,
    MemberSeen,
    MessageRecorded,
    PbxRead,
    PhoneReachable,
    PhoneUnreachable,
    PickedUp,
    PromptMissing,
    QueuedSeen,
    RecordingPaused,
    RecordingRefused,
    RecordingResumed,
    RecordingStarted,
    RecordingStopped,
    SpyMode,
    SpyPlaced,
)
from cti.ids import SLUG, BridgeId, LegId, QueueId

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping

    from cti.events import Event
    from cti.ids import PbxId

    Facts = list[Event]
    Translate = Callable[[bytes, float, Facts], None]
    TranslateOwn = Callable[[dict[bytes, bytes], LegId, float, Facts], None]

EOL: Final = b"\r\n"

HANGUP_CAUSES: Final[Mapping[bytes, HangupCause]] = {
    b"0": HangupCause.NORMAL,  # nobody said why: the usual end of a leg that we or the dialplan ended
    b"1": HangupCause.UNALLOCATED,
    b"2": HangupCause.UNALLOCATED,
    b"3": HangupCause.UNREACHABLE,
    b"5": HangupCause.UNALLOCATED,
    b"16": HangupCause.NORMAL,
    b"17": HangupCause.BUSY,
    b"18": HangupCause.NO_ANSWER,
    b"19": HangupCause.NO_ANSWER,
    b"20": HangupCause.UNREACHABLE,
    b"21": HangupCause.REJECTED,
    b"22": HangupCause.UNALLOCATED,
    b"23": HangupCause.NORMAL,  # redirected: the called phone forwarded the call
    b"26": HangupCause.ANSWERED_ELSEWHERE,
    b"27": HangupCause.UNREACHABLE,
    b"28": HangupCause.UNALLOCATED,
    b"31": HangupCause.NORMAL,
    b"34": HangupCause.CONGESTION,
    b"38": HangupCause.UNREACHABLE,
    b"41": HangupCause.CONGESTION,
    b"42": HangupCause.CONGESTION,
    b"44": HangupCause.CONGESTION,
}
"""Q.850 causes; any other is FAILED."""

DIAL_OUTCOMES: Final[Mapping[bytes, DialOutcome]] = {
    b"ANSWER": DialOutcome.ANSWERED,
    b"BUSY": DialOutcome.BUSY,
    b"NOANSWER": DialOutcome.NO_ANSWER,
    b"CANCEL": DialOutcome.CANCELLED,
    b"ABORT": DialOutcome.CANCELLED,
    b"GOTO": DialOutcome.ANSWERED,
    b"CONTINUE": DialOutcome.ANSWERED,
    b"CHANUNAVAIL": DialOutcome.UNREACHABLE,
    b"DONTCALL": DialOutcome.REJECTED,
    b"TORTURE": DialOutcome.REJECTED,
}
"""``DialStatus``; any other (CONGESTION, INVALIDARGS…) is FAILED."""

DEVICE_STATES: Final[Mapping[bytes, DeviceState]] = {
    b"NOT_INUSE": DeviceState.NOT_INUSE,
    b"INUSE": DeviceState.INUSE,
    b"BUSY": DeviceState.BUSY,
    b"RINGING": DeviceState.RINGING,
    b"RINGINUSE": DeviceState.RINGING,
    b"ONHOLD": DeviceState.ON_HOLD,
    b"UNAVAILABLE": DeviceState.UNAVAILABLE,
}
"""Any other (INVALID, UNKNOWN) is UNKNOWN."""

CONTACT_IS_REACHABLE: Final[Mapping[bytes, bool]] = {
    b"Created": True,
    b"Reachable": True,
    b"NonQualified": True,
    b"Updated": True,
    b"Removed": False,
    b"Unreachable": False,
}
"""Any other says nothing."""

HOLDING_TECHNOLOGY: Final = b"holding_bridge"
HOLD_CONTEXT: Final = "callfloor-hold"
INTERNAL_TECHS: Final = frozenset(
    {"Surrogate", "AsyncGoto", "CBAnn", "CBRec", "Announcer", "Recorder", "Snoop", "UnicastRTP"}
)
"""Channels that Asterisk makes for itself: nobody speaks on them."""

STORE_CHANNEL: Final = "Local/s@callfloor-mirror-"
"""How the daemon writes settings into the PBX's database: no call either."""

FALLBACK_QUEUE_PREFIX: Final = "callfloor-"

RECORDING_BASES: Final = frozenset({"announced", "consent"})
KEYS: Final = "0123456789*#"
REFUSALS: Final = frozenset({"no_consent", "objected", "unannounced"})

SPY_MODES: Final[Mapping[bytes, SpyMode | None]] = {
    **{mode.value.encode(): mode for mode in SpyMode},
    b"over": None,
}

STATE_RINGING: Final = b"5"
STATE_UP: Final = b"6"

_STATE_TELLS_REACH: Final = frozenset({DeviceState.NOT_INUSE, DeviceState.UNAVAILABLE})
"""A phone that lost its registration during a call goes on being INUSE: the other states say nothing of its reach."""

_ANI = re.compile(r"\+?[0-9]{1,20}")
_NOT_DIALLABLE = re.compile(r"[^0-9+]")
_WORD = re.compile(r"[A-Za-z0-9._-]{0,40}")
_TARGET = re.compile(r"(?:agent|queue):[a-z0-9][a-z0-9._-]{0,39}")
_PATH = re.compile(r"[a-z0-9:>*#._-]{0,120}")
_FILE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,120}\.wav")
MAX_TEXT = 120
MAX_WAITED_S = 7 * 86400.0


_new_announcement_played = quick(AnnouncementPlayed)
_new_attended_transferred = quick(AttendedTransferred)
_new_blind_transferred = quick(BlindTransferred)
_new_bridge_joined = quick(BridgeJoined)
_new_bridge_parted = quick(BridgeParted)
_new_caller_fell_back = quick(CallerFellBack)
_new_call_offered = quick(CallOffered)
_new_device_changed = quick(DeviceChanged)
_new_dial_ended = quick(DialEnded)
_new_dial_started = quick(DialStarted)
_new_foreign_queue_joined = quick(ForeignQueueJoined)
_new_foreign_queue_left = quick(ForeignQueueLeft)
_new_key_pressed = quick(KeyPressed)
_new_leg_answered = quick(LegAnswered)
_new_leg_ended = quick(LegEnded)
_new_leg_held = quick(LegHeld)
_new_leg_identified = quick(LegIdentified)
_new_leg_owned = quick(LegOwned)
_new_leg_relinked = quick(LegRelinked)
_new_leg_renamed = quick(LegRenamed)
_new_leg_resumed = quick(LegResumed)
_new_leg_ringing = quick(LegRinging)
_new_leg_started = quick(LegStarted)
_new_local_paired = quick(LocalPaired)
_new_message_recorded = quick(MessageRecorded)
_new_phone_reachable = quick(PhoneReachable)
_new_phone_unreachable = quick(PhoneUnreachable)
_new_picked_up = quick(PickedUp)
_new_prompt_missing = quick(PromptMissing)
_new_recording_paused = quick(RecordingPaused)
_new_recording_resumed = quick(RecordingResumed)
_new_recording_refused = quick(RecordingRefused)
_new_recording_started = quick(RecordingStarted)
_new_recording_stopped = quick(RecordingStopped)
_new_spy_placed = quick(SpyPlaced)


def _value(message: bytes, needle: bytes) -> bytes:
    """The value of the first header that ``needle`` (line end, name, colon, space) introduces; empty if there is
    none."""
    start = message.find(needle)
    if start < 0:
        return b""
    start += len(needle)
    end = message.find(EOL, start)
    return message[start:end] if end >= 0 else message[start:]


def clean_text(raw: bytes | str, limit: int = MAX_TEXT) -> str:
    """Text of the outside world: no control characters, at most ``limit`` characters; Asterisk's ``<unknown>`` is
    nothing."""
    text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw
    if text == "<unknown>":
        return ""
    if not text.isprintable():
        text = "".join(letter for letter in text if letter.isprintable())
    return text[:limit]


def split_channel(channel: str) -> tuple[str, str]:
    """Technology and endpoint of a channel name: ``PJSIP/alice-0000001f`` → ``("PJSIP", "alice")``; Local has no
    endpoint."""
    tech, _, rest = channel.partition("/")
    return tech, "" if tech == "Local" else rest.rpartition("-")[0]


def extension(raw: bytes | str) -> str:
    """An extension somebody dialled; ``s`` is Asterisk's word for none."""
    text = clean_text(raw, 80)
    return "" if text == "s" else text


@lru_cache(maxsize=2048)
def phone_of(device: bytes) -> str:
    """The endpoint that an Asterisk device names, empty for devices that are no phone (queues, rooms, Local)."""
    return clean_text(device[6:], 80) if device.startswith(b"PJSIP/") else ""


class _Role:
    """What introduces the headers of one of the channels in an event; Asterisk puts the role before each name."""

    __slots__ = ("channel", "exten", "linkedid", "name", "number", "size", "state", "uniqueid")

    def __init__(self, role: bytes) -> None:
        self.uniqueid = b"\r\n%bUniqueid: " % role
        self.size = len(self.uniqueid)
        self.linkedid = b"\r\n%bLinkedid: " % role
        self.channel = b"\r\n%bChannel: " % role
        self.number = b"\r\n%bCallerIDNum: " % role
        self.name = b"\r\n%bCallerIDName: " % role
        self.exten = b"\r\n%bExten: " % role
        self.state = b"\r\n%bChannelState: " % role


_MAIN: Final = _Role(b"")
_DEST: Final = _Role(b"Dest")
_LOCAL_ONE: Final = _Role(b"LocalOne")
_LOCAL_TWO: Final = _Role(b"LocalTwo")
_TRANSFERER: Final = _Role(b"Transferer")
_TRANSFEREE: Final = _Role(b"Transferee")
_ORIG_TRANSFERER: Final = _Role(b"OrigTransferer")
_SECOND_TRANSFERER: Final = _Role(b"SecondTransferer")
_TRANSFER_TARGET: Final = _Role(b"TransferTarget")
_TARGET_CHANNEL: Final = _Role(b"Target")


class _Leg:
    """What is remembered of a living leg."""

    __slots__ = ("conversation", "has_rung", "is_up", "keys", "left", "leg")

    def __init__(self, leg: LegId, conversation: bytes) -> None:
        self.leg = leg
        self.conversation = conversation
        self.left: set[bytes] = set()
        self.keys: list[bytes] = []
        self.has_rung = False
        self.is_up = False


class MemberWatch(Protocol):
    """Who keeps the members of queues in mind. ``queue`` and ``interface`` are Asterisk's names."""

    def member_seen(self, queue: str, interface: str, is_paused: bool, is_static: bool) -> None:
        """There is this member, so paused."""
        ...

    def member_gone(self, queue: str, interface: str) -> None:
        """There is no such member any more."""
        ...


class Translator:
    """The events of one PBX. ``members`` is told what is no fact of ours: who joins and leaves queues as a phone."""

    def __init__(self, pbx: PbxId, members: MemberWatch | None = None) -> None:
        self.pbx = pbx
        self._members = members
        self._prefix = f"{pbx}/"
        self._legs: dict[bytes, _Leg] = {}
        self._known: dict[bytes, _Leg] = {}
        self._abandoned: set[LegId] = set()
        self._contacts: dict[str, set[bytes]] = {}
        self._is_reachable: dict[str, bool] = {}
        self._table: dict[bytes, Translate] = {
            b"Newchannel": self._newchannel,
            b"Newstate": self._newstate,
            b"NewCallerid": self._new_callerid,
            b"Rename": self._rename,
            b"LocalBridge": self._local_bridge,
            b"DialBegin": self._dial_begin,
            b"DialEnd": self._dial_end,
            b"BridgeEnter": self._bridge_enter,
            b"BridgeLeave": self._bridge_leave,
            b"Hold": self._hold,
            b"Unhold": self._unhold,
            b"Hangup": self._hangup,
            b"BlindTransfer": self._blind_transfer,
            b"AttendedTransfer": self._attended_transfer,
            b"Pickup": self._pickup,
            b"QueueCallerJoin": self._queue_join,
            b"QueueCallerAbandon": self._queue_abandon,
            b"QueueCallerLeave": self._queue_leave,
            b"UserEvent": self._user_event,
            b"MixMonitorMute": self._mix_monitor_mute,
            b"MixMonitorStop": self._mix_monitor_stop,
            b"ContactStatus": self._contact_status,
            b"DeviceStateChange": self._device_state_change,
        }
        if members is not None:
            self._table |= {
                b"QueueMemberAdded": self._queue_member,
                b"QueueMemberPause": self._queue_member,
                b"QueueMemberRemoved": self._queue_member_removed,
            }
        self._user_table: dict[bytes, TranslateOwn] = {
            b"CallfloorOffer": self._offer,
            b"CallfloorFallback": self._fallback,
            b"CallfloorRecording": self._recording,
            b"CallfloorUnrecorded": self._unrecorded,
            b"CallfloorSaid": self._said,
            b"CallfloorKey": self._key,
            b"CallfloorPromptMissing": self._prompt_missing,
            b"CallfloorMessage": self._message_left,
            b"CallfloorSpy": self._spy,
            b"CallfloorPhone": self._phone,
        }

    def translate(self, messages: Iterable[bytes], at: float) -> list[Event]:
        """The facts in raw event messages (each beginning with ``Event: ``, without the empty line), in order."""
        facts: list[Event] = []
        table = self._table
        for message in messages:
            translate = table.get(message[7 : message.find(EOL)])
            if translate is not None:
                translate(message, at, facts)
        return facts

    def adopt(self, read: PbxRead) -> None:
        """Take a full reading as the truth: the legs and phones in it are known from here on, all others are
        forgotten."""
        self._legs.clear()
        self._known.clear()
        self._abandoned.clear()
        self._contacts.clear()
        for seen in read.legs:
            entry = _Leg(seen.leg, seen.conversation.partition("/")[2].encode())
            entry.is_up = seen.is_up
            entry.has_rung = seen.is_ringing
            self._legs[seen.leg.partition("/")[2].encode()] = entry
        self._is_reachable = {
            phone: state is DeviceState.NOT_INUSE for phone, state in read.devices if state in _STATE_TELLS_REACH
        }

    # ── legs ──────────────────────────────────────────────────────────────────────────────────────────────

    def _leg(self, message: bytes, at: float, facts: Facts, role: _Role = _MAIN) -> _Leg | None:
        """The leg that plays ``role`` in an event, None if it names none or one of Asterisk's own.

        Asterisk writes ``Uniqueid`` and ``Linkedid`` one after the other; both together are the key of the short way.
        """
        start = message.find(role.uniqueid)
        if start < 0:
            return None
        start += role.size
        end = message.find(EOL, message.find(EOL, start) + 2)
        key = message[start:end] if end >= 0 else message[start:]
        return self._known.get(key) or self._meet(message, key, at, facts, role)

    def _meet(self, message: bytes, key: bytes, at: float, facts: Facts, role: _Role) -> _Leg | None:
        """The long way: a leg that was not seen before, or that belongs to another conversation than before."""
        unique = _value(message, role.uniqueid)
        if not unique:
            return None
        linked = _value(message, role.linkedid) or unique
        entry = self._legs.get(unique)
        if entry is None:
            channel = clean_text(_value(message, role.channel))
            tech, endpoint = split_channel(channel)
            if tech in INTERNAL_TECHS or channel.startswith(STORE_CHANNEL):
                return None
            first = self._legs.get(linked)
            leg = self._id(unique)
            entry = _Leg(leg, linked)
            self._legs[unique] = entry
            facts.append(
                _new_leg_started(
                    at=at,
                    leg=leg,
                    conversation=leg if linked == unique else self._id(linked) if first is None else first.leg,
                    channel=channel,
                    tech=tech,
                    endpoint=endpoint,
                    number=clean_text(_value(message, role.number), 40),
                    name=clean_text(_value(message, role.name)),
                    dialled=extension(_value(message, role.exten)),
                )
            )
            self._note_state(entry, _value(message, role.state), at, facts)
        elif linked != entry.conversation and linked not in entry.left:
            # Asterisk lets joined conversations keep the oldest id: a leg never returns to one that it left, it is only
            # named so in events that were made before and come after.
            entry.left.add(entry.conversation)
            entry.conversation = linked
            for old in entry.keys:
                self._known.pop(old, None)
            entry.keys.clear()
            facts.append(_new_leg_relinked(at=at, leg=entry.leg, conversation=self._id(linked)))
        if key == b"%b%b%b" % (unique, role.linkedid, linked):
            self._known[key] = entry
            entry.keys.append(key)
        return entry

    def _id(self, unique: bytes) -> LegId:
        return LegId(self._prefix + clean_text(unique, 150))

    def _note_state(self, entry: _Leg, state: bytes, at: float, facts: Facts) -> None:
        if state == STATE_UP:
            if not entry.is_up:
                entry.is_up = True
                facts.append(_new_leg_answered(at=at, leg=entry.leg))
        elif state == STATE_RINGING and not entry.has_rung:
            entry.has_rung = True
            facts.append(_new_leg_ringing(at=at, leg=entry.leg))

    def _newchannel(self, message: bytes, at: float, facts: Facts) -> None:
        self._leg(message, at, facts)

    def _newstate(self, message: bytes, at: float, facts: Facts) -> None:
        entry = self._leg(message, at, facts)
        if entry is not None:
            self._note_state(entry, _value(message, b"\r\nChannelState: "), at, facts)

    def _new_callerid(self, message: bytes, at: float, facts: Facts) -> None:
        entry = self._leg(message, at, facts)
        if entry is not None:
            number = clean_text(_value(message, b"\r\nCallerIDNum: "), 40)
            name = clean_text(_value(message, b"\r\nCallerIDName: "))
            facts.append(_new_leg_identified(at=at, leg=entry.leg, number=number, name=name))

    def _rename(self, message: bytes, at: float, facts: Facts) -> None:
        entry = self._leg(message, at, facts)
        channel = clean_text(_value(message, b"\r\nNewname: "))
        if entry is not None and channel:
            facts.append(_new_leg_renamed(at=at, leg=entry.leg, channel=channel))

    def _hangup(self, message: bytes, at: float, facts: Facts) -> None:
        unique = _value(message, b"\r\nUniqueid: ")
        if not unique:
            return
        entry = self._legs.pop(unique, None)
        if entry is None:
            channel = clean_text(_value(message, b"\r\nChannel: "))
            if split_channel(channel)[0] in INTERNAL_TECHS or channel.startswith(STORE_CHANNEL):
                return
            leg = self._id(unique)
        else:
            leg = entry.leg
            for key in entry.keys:
                self._known.pop(key, None)
        self._abandoned.discard(leg)
        cause = HANGUP_CAUSES.get(_value(message, b"\r\nCause: "), HangupCause.FAILED)
        facts.append(_new_leg_ended(at=at, leg=leg, cause=cause))

    def _hold(self, message: bytes, at: float, facts: Facts) -> None:
        entry = self._leg(message, at, facts)
        if entry is not None:
            facts.append(_new_leg_held(at=at, leg=entry.leg))

    def _unhold(self, message: bytes, at: float, facts: Facts) -> None:
        entry = self._leg(message, at, facts)
        if entry is not None:
            facts.append(_new_leg_resumed(at=at, leg=entry.leg))

    def _local_bridge(self, message: bytes, at: float, facts: Facts) -> None:
        one = self._leg(message, at, facts, _LOCAL_ONE)
        two = self._leg(message, at, facts, _LOCAL_TWO)
        if one is not None and two is not None:
            facts.append(_new_local_paired(at=at, one=one.leg, two=two.leg))

    # ── dials and bridges ─────────────────────────────────────────────────────────────────────────────────

    def _dial_begin(self, message: bytes, at: float, facts: Facts) -> None:
        by = self._leg(message, at, facts)
        to = self._leg(message, at, facts, _DEST)
        if to is not None:
            facts.append(_new_dial_started(at=at, by=None if by is None else by.leg, to=to.leg))

    def _dial_end(self, message: bytes, at: float, facts: Facts) -> None:
        by = self._leg(message, at, facts)
        to = self._leg(message, at, facts, _DEST)
        if to is None:
            return
        outcome = DIAL_OUTCOMES.get(_value(message, b"\r\nDialStatus: "), DialOutcome.FAILED)
        if outcome is not DialOutcome.ANSWERED and _value(message, b"\r\nForward: "):
            outcome = DialOutcome.FORWARDED
        facts.append(_new_dial_ended(at=at, by=None if by is None else by.leg, to=to.leg, outcome=outcome))

    def _bridge(self, message: bytes) -> BridgeId:
        return BridgeId(self._prefix + clean_text(_value(message, b"\r\nBridgeUniqueid: "), 150))

    def _bridge_enter(self, message: bytes, at: float, facts: Facts) -> None:
        entry = self._leg(message, at, facts)
        if entry is not None:
            is_holding = _value(message, b"\r\nBridgeTechnology: ") == HOLDING_TECHNOLOGY
            kind = BridgeKind.HOLDING if is_holding else BridgeKind.TALK
            facts.append(_new_bridge_joined(at=at, leg=entry.leg, bridge=self._bridge(message), kind=kind))

    def _bridge_leave(self, message: bytes, at: float, facts: Facts) -> None:
        entry = self._leg(message, at, facts)
        if entry is not None:
            facts.append(_new_bridge_parted(at=at, leg=entry.leg, bridge=self._bridge(message)))

    # ── transfers ─────────────────────────────────────────────────────────────────────────────────────────

    def _blind_transfer(self, message: bytes, at: float, facts: Facts) -> None:
        by = self._leg(message, at, facts, _TRANSFERER)
        moved = self._leg(message, at, facts, _TRANSFEREE)
        if by is not None:
            facts.append(
                _new_blind_transferred(
                    at=at,
                    by=by.leg,
                    moved=None if moved is None else moved.leg,
                    to=clean_text(_value(message, b"\r\nExtension: "), 80),
                    ok=_value(message, b"\r\nResult: ") == b"Success",
                )
            )

    def _attended_transfer(self, message: bytes, at: float, facts: Facts) -> None:
        by = self._leg(message, at, facts, _ORIG_TRANSFERER)
        by_second = self._leg(message, at, facts, _SECOND_TRANSFERER)
        moved = self._leg(message, at, facts, _TRANSFEREE)
        target = self._leg(message, at, facts, _TRANSFER_TARGET)
        if by is not None and by_second is not None:
            facts.append(
                _new_attended_transferred(
                    at=at,
                    by=by.leg,
                    by_second=by_second.leg,
                    moved=None if moved is None else moved.leg,
                    target=None if target is None else target.leg,
                    ok=_value(message, b"\r\nResult: ") == b"Success",
                )
            )

    def _pickup(self, message: bytes, at: float, facts: Facts) -> None:
        by = self._leg(message, at, facts)
        target = self._leg(message, at, facts, _TARGET_CHANNEL)
        if by is not None and target is not None:
            facts.append(_new_picked_up(at=at, by=by.leg, target=target.leg))

    # ── queues that are not ours ──────────────────────────────────────────────────────────────────────────

    def _queue_join(self, message: bytes, at: float, facts: Facts) -> None:
        entry = self._leg(message, at, facts)
        if entry is not None:
            position = _value(message, b"\r\nPosition: ")
            facts.append(
                _new_foreign_queue_joined(
                    at=at,
                    leg=entry.leg,
                    queue=clean_text(_value(message, b"\r\nQueue: "), 80),
                    position=int(position) if position.isdigit() and len(position) < 7 else 0,
                )
            )

    def _queue_abandon(self, message: bytes, at: float, facts: Facts) -> None:
        entry = self._leg(message, at, facts)
        if entry is not None:
            self._abandoned.add(entry.leg)

    def _queue_leave(self, message: bytes, at: float, facts: Facts) -> None:
        entry = self._leg(message, at, facts)
        if entry is not None:
            is_abandoned = entry.leg in self._abandoned
            self._abandoned.discard(entry.leg)
            queue = clean_text(_value(message, b"\r\nQueue: "), 80)
            facts.append(_new_foreign_queue_left(at=at, leg=entry.leg, queue=queue, abandoned=is_abandoned))

    def _queue_member(self, message: bytes, at: float, facts: Facts) -> None:
        if self._members is not None:
            self._members.member_seen(
                clean_text(_value(message, b"\r\nQueue: ")),
                clean_text(_value(message, b"\r\nInterface: ")),
                _value(message, b"\r\nPaused: ") == b"1",
                _value(message, b"\r\nMembership: ") == b"static",
            )

    def _queue_member_removed(self, message: bytes, at: float, facts: Facts) -> None:
        if self._members is not None:
            self._members.member_gone(
                clean_text(_value(message, b"\r\nQueue: ")), clean_text(_value(message, b"\r\nInterface: "))
            )

    # ── what our dialplan says ────────────────────────────────────────────────────────────────────────────

    def _user_event(self, message: bytes, at: float, facts: Facts) -> None:
        start = message.find(b"\r\nUserEvent: ")
        if start < 0:
            return
        # Asterisk's own headers of the channel come first; the event's (which repeat "Language") come after its name.
        lines = message[start + 2 :].split(EOL)
        translate = self._user_table.get(lines[0][11:])
        if translate is None:
            return
        own: dict[bytes, bytes] = {}
        for line in lines:
            name, _, value = line.partition(b": ")
            own.setdefault(name, value)
        unique = own.get(b"Channelid")
        entry = self._leg(message[:start], at, facts)
        if unique:
            leg = self._id(unique)
            # The recording is announced by the agent's leg at the moment of the answer; the rest speaks for itself.
            if entry is None or entry.leg == leg or translate == self._recording:
                translate(own, leg, at, facts)

    def _offer(self, own: dict[bytes, bytes], leg: LegId, at: float, facts: Facts) -> None:
        def get(name: bytes) -> str:
            return clean_text(own.get(name, b""))

        def word(name: bytes) -> str:
            text = get(name)
            return text if _WORD.fullmatch(text) else ""

        ani = get(b"Ani")
        is_withheld = own.get(b"Withheld") == b"1" or _ANI.fullmatch(ani) is None
        waited = get(b"Waited")
        target = get(b"Target")
        consent = get(b"Consent")
        path = get(b"Path")
        facts.append(
            _new_call_offered(
                at=at,
                leg=leg,
                ani="" if is_withheld else ani,
                ani_name="" if is_withheld else clean_text(unquote(own.get(b"Aniname", b""))),
                is_withheld=is_withheld,
                dnis=_NOT_DIALLABLE.sub("", get(b"Dnis"))[:32],
                account=word(b"Account"),
                choice=word(b"Choice"),
                language=word(b"Callerlanguage")[:12],
                waited_s=min(float(waited), MAX_WAITED_S) if waited.isascii() and waited.isdigit() else 0.0,
                target=target if _TARGET.fullmatch(target) else "",
                consent=consent if consent in ("yes", "no") else "",
                path=path if _PATH.fullmatch(path) else "",
            )
        )

    def _fallback(self, own: dict[bytes, bytes], leg: LegId, at: float, facts: Facts) -> None:
        facts.append(_new_caller_fell_back(at=at, leg=leg))

    def _recording(self, own: dict[bytes, bytes], leg: LegId, at: float, facts: Facts) -> None:
        file = clean_text(own.get(b"File", b""), 200)
        if _FILE.fullmatch(file):
            basis = clean_text(own.get(b"Basis", b""), 20)
            basis = basis if basis in RECORDING_BASES else ""
            facts.append(_new_recording_started(at=at, leg=leg, file=file, basis=basis))

    def _unrecorded(self, own: dict[bytes, bytes], leg: LegId, at: float, facts: Facts) -> None:
        why = clean_text(own.get(b"Why", b""), 20)
        if why in REFUSALS:
            facts.append(_new_recording_refused(at=at, leg=leg, why=why))

    def _phone(self, own: dict[bytes, bytes], leg: LegId, at: float, facts: Facts) -> None:
        number = clean_text(own.get(b"Phone", b""), 40)
        if _ANI.fullmatch(number):
            facts.append(_new_leg_owned(at=at, leg=leg, endpoint=number))

    def _spy(self, own: dict[bytes, bytes], leg: LegId, at: float, facts: Facts) -> None:
        word = own.get(b"Mode", b"")
        if word in SPY_MODES:
            facts.append(_new_spy_placed(at=at, leg=leg, mode=SPY_MODES[word]))

    def _said(self, own: dict[bytes, bytes], leg: LegId, at: float, facts: Facts) -> None:
        what, missing = clean_text(own.get(b"What", b""), 40), clean_text(own.get(b"Missing", b""), 60)
        if _WORD.fullmatch(what):
            facts.append(_new_announcement_played(at=at, leg=leg, what=what, missing=missing))

    def _key(self, own: dict[bytes, bytes], leg: LegId, at: float, facts: Facts) -> None:
        key = clean_text(own.get(b"Key", b""), 2)
        if len(key) == 1 and key in KEYS:
            facts.append(_new_key_pressed(at=at, leg=leg, key=key))

    def _prompt_missing(self, own: dict[bytes, bytes], leg: LegId, at: float, facts: Facts) -> None:
        prompt, language = clean_text(own.get(b"Prompt", b""), 60), clean_text(own.get(b"Tongue", b""), 12)
        facts.append(_new_prompt_missing(at=at, pbx=self.pbx, prompt=prompt, language=language))

    def _message_left(self, own: dict[bytes, bytes], leg: LegId, at: float, facts: Facts) -> None:
        file, queue = clean_text(own.get(b"File", b""), 200), clean_text(own.get(b"Queue", b""), 40)
        if _FILE.fullmatch(file):
            facts.append(_new_message_recorded(at=at, leg=leg, file=file, queue=queue if SLUG.match(queue) else ""))

    def _mix_monitor_mute(self, message: bytes, at: float, facts: Facts) -> None:
        entry = self._leg(message, at, facts)
        if entry is not None:
            is_muted = _value(message, b"\r\nState: ") == b"1"
            make = _new_recording_paused if is_muted else _new_recording_resumed
            facts.append(make(at=at, leg=entry.leg))

    def _mix_monitor_stop(self, message: bytes, at: float, facts: Facts) -> None:
        entry = self._leg(message, at, facts)
        if entry is not None:
            facts.append(_new_recording_stopped(at=at, leg=entry.leg))

    # ── phones ────────────────────────────────────────────────────────────────────────────────────────────

    def _contact_status(self, message: bytes, at: float, facts: Facts) -> None:
        endpoint = clean_text(_value(message, b"\r\nEndpointName: ") or _value(message, b"\r\nAOR: "), 80)
        is_reachable = CONTACT_IS_REACHABLE.get(_value(message, b"\r\nContactStatus: "))
        if not endpoint or is_reachable is None:
            return
        contacts = self._contacts.setdefault(endpoint, set())
        address = _value(message, b"\r\nURI: ")
        if is_reachable:
            contacts.add(address)
        else:
            contacts.discard(address)
        self._note_reach(endpoint, bool(contacts), at, facts)

    def _device_state_change(self, message: bytes, at: float, facts: Facts) -> None:
        endpoint = phone_of(_value(message, b"\r\nDevice: "))
        if not endpoint:
            return
        state = DEVICE_STATES.get(_value(message, b"\r\nState: "), DeviceState.UNKNOWN)
        facts.append(_new_device_changed(at=at, pbx=self.pbx, endpoint=endpoint, state=state))
        if state in _STATE_TELLS_REACH:
            self._note_reach(endpoint, state is DeviceState.NOT_INUSE, at, facts)

    def _note_reach(self, endpoint: str, is_reachable: bool, at: float, facts: Facts) -> None:
        """A phone is told reachable or not when that changes, by whichever of its two witnesses speaks first."""
        if self._is_reachable.get(endpoint) is not is_reachable:
            self._is_reachable[endpoint] = is_reachable
            make = _new_phone_reachable if is_reachable else _new_phone_unreachable
            facts.append(make(at=at, pbx=self.pbx, endpoint=endpoint))


# ── what list actions say ─────────────────────────────────────────────────────────────────────────────────


def read_of(
    pbx: PbxId,
    at: float,
    channels: Iterable[Mapping[str, str]],
    bridges: Iterable[Mapping[str, str]],
    devices: Iterable[Mapping[str, str]],
    queues: Iterable[Mapping[str, str]] = (),
) -> PbxRead:
    """The items of ``CoreShowChannels``, ``BridgeList``, ``DeviceStateList`` and ``QueueStatus`` as one reading, taken
    at ``at`` (Unix seconds)."""
    holding = {
        item.get("BridgeUniqueid", "")
        for item in bridges
        if item.get("BridgeTechnology", "").encode() == HOLDING_TECHNOLOGY
    }
    states: dict[str, DeviceState] = {}
    for item in devices:
        endpoint = phone_of(item.get("Device", "").encode())
        if endpoint:
            states[endpoint] = DEVICE_STATES.get(item.get("State", "").encode(), DeviceState.UNKNOWN)
    members: list[MemberSeen] = []
    queued: list[QueuedSeen] = []
    for item in queues:
        queue = _our_queue(item.get("Queue", ""))
        if queue is None:
            continue
        kind = item.get("Event")
        endpoint = phone_of(item.get("Location", "").encode())
        unique = clean_text(item.get("Uniqueid", ""), 150)
        if kind == "QueueMember" and endpoint:
            members.append(MemberSeen(queue=queue, endpoint=endpoint, is_paused=item.get("Paused") == "1"))
        elif kind == "QueueEntry" and unique:
            wait = item.get("Wait", "")
            waited_s = min(float(wait), MAX_WAITED_S) if wait.isascii() and wait.isdigit() else 0.0
            queued.append(QueuedSeen(leg=LegId(f"{pbx}/{unique}"), queue=queue, waited_s=waited_s))
    return PbxRead(
        at=at,
        pbx=pbx,
        legs=tuple(legs_of_channels(pbx, at, channels, holding)),
        devices=tuple(states.items()),
        members=tuple(members),
        queued=tuple(queued),
    )


def _our_queue(name: str) -> QueueId | None:
    """The queue of ours behind an ``app_queue`` queue; None for anybody else's."""
    slug = name.removeprefix(FALLBACK_QUEUE_PREFIX)
    return QueueId(slug) if slug != name and SLUG.match(slug) else None


def legs_of_channels(
    pbx: PbxId, at: float, channels: Iterable[Mapping[str, str]], holding: Container[str] = ()
) -> list[LegSeen]:
    """The items of ``CoreShowChannels``, taken at ``at``; ``holding``: ids of bridges in which one waits."""
    legs: list[LegSeen] = []
    for item in channels:
        channel = clean_text(item.get("Channel", ""))
        unique = clean_text(item.get("Uniqueid", ""), 150)
        tech, endpoint = split_channel(channel)
        if not unique or tech in INTERNAL_TECHS or channel.startswith(STORE_CHANNEL):
            continue
        bridge = clean_text(item.get("BridgeId", ""), 150)
        state = item.get("ChannelState", "").encode()
        legs.append(
            LegSeen(
                leg=LegId(f"{pbx}/{unique}"),
                conversation=LegId(f"{pbx}/{clean_text(item.get('Linkedid', ''), 150) or unique}"),
                channel=channel,
                tech=tech,
                endpoint=endpoint,
                number=clean_text(item.get("CallerIDNum", ""), 40),
                name=clean_text(item.get("CallerIDName", "")),
                dialled=extension(item.get("Exten", "")),
                is_up=state == STATE_UP,
                is_ringing=state == STATE_RINGING,
                started_at=at - duration_s(item.get("Duration", "")),
                bridge=BridgeId(f"{pbx}/{bridge}") if bridge else None,
                bridge_kind=(BridgeKind.HOLDING if bridge in holding else BridgeKind.TALK) if bridge else None,
                is_waiting=item.get("Context", "") == HOLD_CONTEXT,
            )
        )
    return legs


def duration_s(text: str) -> float:
    """``HH:MM:SS`` in seconds; 0 if it is anything else."""
    parts = text.split(":")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() and len(part) < 6 for part in parts):
        return 0.0
    hours, minutes, seconds = (int(part) for part in parts)
    return float(hours * 3600 + minutes * 60 + seconds)
