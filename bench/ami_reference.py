"""The obvious way from AMI messages to facts: every message decoded and parsed whole, one plain function per rule,
nothing clever.

It is what ``cti.asterisk.translator`` must agree with, fact by fact, in order. Slow, and used by the bench and the
tests only.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from cti.asterisk.translator import CONTACT_IS_REACHABLE, DEVICE_STATES, DIAL_OUTCOMES, HANGUP_CAUSES, INTERNAL_TECHS
from cti.events import (
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
    Event,
    ForeignQueueJoined,
    ForeignQueueLeft,
    HangupCause,
    LegAnswered,
    LegEnded,
    LegHeld,
    LegIdentified,
    LegRelinked,
    LegRenamed,
    LegResumed,
    LegRinging,
    LegStarted,
    LocalPaired,
    PhoneReachable,
    PhoneUnreachable,
    PickedUp,
    RecordingPaused,
    RecordingResumed,
    RecordingStarted,
)
from cti.ids import BridgeId, LegId, PbxId


def split_stream(stream: bytes) -> list[bytes]:
    """The messages of a recorded stream; the greeting is dropped."""
    body = stream.partition(b"\r\n")[2] if stream.startswith(b"Asterisk Call Manager/") else stream
    return [message for message in body.split(b"\r\n\r\n") if message]


def headers_of(message: bytes) -> dict[str, str]:
    """All headers; the first of a name counts. Those of a user event itself are under ``"own " + name``."""
    headers: dict[str, str] = {}
    prefix = ""
    for line in message.decode("utf-8", "replace").split("\r\n"):
        name, _, value = line.partition(": ")
        headers.setdefault(prefix + name, value)
        if name == "UserEvent" and headers.get("Event") == "UserEvent":
            prefix = "own "
    return headers


def clean(text: str, limit: int = 120) -> str:
    """As the translator limits text."""
    return "" if text == "<unknown>" else "".join(letter for letter in text if letter.isprintable())[:limit]


class Reference:
    """Facts of one PBX's events."""

    def __init__(self, pbx: PbxId) -> None:
        self.pbx = pbx
        self.conversation: dict[str, str] = {}
        self.left: dict[str, set[str]] = {}
        self.up: set[str] = set()
        self.rung: set[str] = set()
        self.abandoned: set[str] = set()
        self.contacts: dict[str, set[str]] = {}
        self.reachable: dict[str, bool] = {}

    def id(self, unique: str) -> LegId:
        return LegId(f"{self.pbx}/{clean(unique, 150)}")

    def leg(self, h: dict[str, str], role: str, at: float, facts: list[Event]) -> LegId | None:
        unique = h.get(role + "Uniqueid", "")
        if not unique:
            return None
        linked = h.get(role + "Linkedid", "") or unique
        if unique not in self.conversation:
            channel = clean(h.get(role + "Channel", ""))
            tech, _, rest = channel.partition("/")
            if tech in INTERNAL_TECHS:
                return None
            self.conversation[unique] = linked
            self.left[unique] = set()
            dialled = clean(h.get(role + "Exten", ""), 80)
            facts.append(
                LegStarted(
                    at=at,
                    leg=self.id(unique),
                    conversation=self.id(linked),
                    channel=channel,
                    tech=tech,
                    endpoint="" if tech == "Local" else rest.rpartition("-")[0],
                    number=clean(h.get(role + "CallerIDNum", ""), 40),
                    name=clean(h.get(role + "CallerIDName", "")),
                    dialled="" if dialled == "s" else dialled,
                )
            )
            self.state(unique, h.get(role + "ChannelState", ""), at, facts)
        elif linked != self.conversation[unique] and linked not in self.left[unique]:
            self.left[unique].add(self.conversation[unique])
            self.conversation[unique] = linked
            facts.append(LegRelinked(at=at, leg=self.id(unique), conversation=self.id(linked)))
        return self.id(unique)

    def state(self, unique: str, state: str, at: float, facts: list[Event]) -> None:
        if state == "6" and unique not in self.up:
            self.up.add(unique)
            facts.append(LegAnswered(at=at, leg=self.id(unique)))
        if state == "5" and unique not in self.rung:
            self.rung.add(unique)
            facts.append(LegRinging(at=at, leg=self.id(unique)))

    def reach(self, endpoint: str, reachable: bool, at: float, facts: list[Event]) -> None:
        if self.reachable.get(endpoint) is not reachable:
            self.reachable[endpoint] = reachable
            kind = PhoneReachable if reachable else PhoneUnreachable
            facts.append(kind(at=at, pbx=self.pbx, endpoint=endpoint))

    def facts(self, message: bytes, at: float) -> list[Event]:
        """The facts in one event message."""
        facts: list[Event] = []
        h = headers_of(message)
        event = h.get("Event", "")

        def get(name: str) -> str:
            return h.get(name, "")

        def leg(role: str = "") -> LegId | None:
            return self.leg(h, role, at, facts)

        if event == "Newchannel":
            leg()
        elif event == "Newstate":
            if leg():
                self.state(get("Uniqueid"), get("ChannelState"), at, facts)
        elif event == "NewCallerid":
            if one := leg():
                number, name = clean(get("CallerIDNum"), 40), clean(get("CallerIDName"))
                facts.append(LegIdentified(at=at, leg=one, number=number, name=name))
        elif event == "Rename":
            if (one := leg()) and clean(get("Newname")):
                facts.append(LegRenamed(at=at, leg=one, channel=clean(get("Newname"))))
        elif event == "LocalBridge":
            one, two = leg("LocalOne"), leg("LocalTwo")
            if one and two:
                facts.append(LocalPaired(at=at, one=one, two=two))
        elif event in ("DialBegin", "DialEnd"):
            by, to = leg(), leg("Dest")
            if to and event == "DialBegin":
                facts.append(DialStarted(at=at, by=by, to=to))
            elif to:
                outcome = DIAL_OUTCOMES.get(get("DialStatus").encode(), DialOutcome.FAILED)
                if get("Forward") and outcome is not DialOutcome.ANSWERED:
                    outcome = DialOutcome.FORWARDED
                facts.append(DialEnded(at=at, by=by, to=to, outcome=outcome))
        elif event in ("BridgeEnter", "BridgeLeave"):
            bridge = BridgeId(f"{self.pbx}/{clean(get('BridgeUniqueid'), 150)}")
            kind = BridgeKind.HOLDING if get("BridgeTechnology") == "holding_bridge" else BridgeKind.TALK
            if (one := leg()) and event == "BridgeEnter":
                facts.append(BridgeJoined(at=at, leg=one, bridge=bridge, kind=kind))
            elif one:
                facts.append(BridgeParted(at=at, leg=one, bridge=bridge))
        elif event == "Hold":
            if one := leg():
                facts.append(LegHeld(at=at, leg=one))
        elif event == "Unhold":
            if one := leg():
                facts.append(LegResumed(at=at, leg=one))
        elif event == "Hangup":
            unique = get("Uniqueid")
            is_internal = get("Channel").partition("/")[0] in INTERNAL_TECHS
            if unique and (unique in self.conversation or not is_internal):
                self.conversation.pop(unique, None)
                self.left.pop(unique, None)
                for words in (self.up, self.rung, self.abandoned):
                    words.discard(unique)
                cause = HANGUP_CAUSES.get(get("Cause").encode(), HangupCause.FAILED)
                facts.append(LegEnded(at=at, leg=self.id(unique), cause=cause))
        elif event == "BlindTransfer":
            by, moved = leg("Transferer"), leg("Transferee")
            if by:
                ok = get("Result") == "Success"
                facts.append(BlindTransferred(at=at, by=by, moved=moved, to=clean(get("Extension"), 80), ok=ok))
        elif event == "AttendedTransfer":
            by, second = leg("OrigTransferer"), leg("SecondTransferer")
            moved, target = leg("Transferee"), leg("TransferTarget")
            if by and second:
                ok = get("Result") == "Success"
                facts.append(AttendedTransferred(at=at, by=by, by_second=second, moved=moved, target=target, ok=ok))
        elif event == "Pickup":
            by, target = leg(), leg("Target")
            if by and target:
                facts.append(PickedUp(at=at, by=by, target=target))
        elif event == "QueueCallerJoin":
            if one := leg():
                position = int(get("Position")) if re.fullmatch(r"[0-9]{1,6}", get("Position")) else 0
                facts.append(ForeignQueueJoined(at=at, leg=one, queue=clean(get("Queue"), 80), position=position))
        elif event == "QueueCallerAbandon":
            if leg():
                self.abandoned.add(get("Uniqueid"))
        elif event == "QueueCallerLeave":
            if one := leg():
                is_abandoned = get("Uniqueid") in self.abandoned
                self.abandoned.discard(get("Uniqueid"))
                queue = clean(get("Queue"), 80)
                facts.append(ForeignQueueLeft(at=at, leg=one, queue=queue, abandoned=is_abandoned))
        elif event == "UserEvent":
            self.user_event(h, at, facts)
        elif event == "MixMonitorMute":
            if one := leg():
                mute = RecordingPaused if get("State") == "1" else RecordingResumed
                facts.append(mute(at=at, leg=one))
        elif event == "ContactStatus":
            endpoint = clean(get("EndpointName") or get("AOR"), 80)
            reachable = CONTACT_IS_REACHABLE.get(get("ContactStatus").encode())
            if endpoint and reachable is not None:
                contacts = self.contacts.setdefault(endpoint, set())
                contacts.add(get("URI"))
                if not reachable:
                    contacts.discard(get("URI"))
                self.reach(endpoint, bool(contacts), at, facts)
        elif event == "DeviceStateChange" and get("Device").startswith("PJSIP/"):
            endpoint = clean(get("Device")[6:], 80)
            state = DEVICE_STATES.get(get("State").encode(), DeviceState.UNKNOWN)
            if endpoint:
                facts.append(DeviceChanged(at=at, pbx=self.pbx, endpoint=endpoint, state=state))
                if state in (DeviceState.NOT_INUSE, DeviceState.UNAVAILABLE):
                    self.reach(endpoint, state is DeviceState.NOT_INUSE, at, facts)
        return facts

    def user_event(self, h: dict[str, str], at: float, facts: list[Event]) -> None:
        """What our dialplan says."""

        def own(name: str) -> str:
            return clean(h.get("own " + name, ""))

        kind, unique = h.get("UserEvent", ""), h.get("own Channelid", "")
        if kind not in ("CallfloorOffer", "CallfloorFallback", "CallfloorRecording"):
            return
        self.leg({name: value for name, value in h.items() if not name.startswith("own ")}, "", at, facts)
        if unique not in self.conversation:
            return
        if kind == "CallfloorFallback":
            facts.append(CallerFellBack(at=at, leg=self.id(unique)))
        elif kind == "CallfloorRecording":
            file = clean(h.get("own File", ""), 200)
            if re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,120}\.wav", file):
                facts.append(RecordingStarted(at=at, leg=self.id(unique), file=file))
        else:
            is_withheld = own("Withheld") == "1" or not re.fullmatch(r"\+?[0-9]{1,20}", own("Ani"))
            words = {
                name: own(name) if re.fullmatch(r"[A-Za-z0-9._-]{0,40}", own(name)) else ""
                for name in ("Account", "Choice", "Callerlanguage")
            }
            target = own("Target")
            facts.append(
                CallOffered(
                    at=at,
                    leg=self.id(unique),
                    ani="" if is_withheld else own("Ani"),
                    ani_name="" if is_withheld else clean(unquote(h.get("own Aniname", ""))),
                    is_withheld=is_withheld,
                    dnis=re.sub(r"[^0-9+]", "", own("Dnis"))[:32],
                    account=words["Account"],
                    choice=words["Choice"],
                    language=words["Callerlanguage"][:10],
                    waited_s=min(float(own("Waited")), 604800.0) if re.fullmatch(r"[0-9]+", own("Waited")) else 0.0,
                    target=target if re.fullmatch(r"(agent|queue):[a-z0-9][a-z0-9._-]{0,39}", target) else "",
                )
            )
