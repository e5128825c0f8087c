"""From AMI events to facts: on recorded traffic of two versions, against the plain parser, and on bytes that nobody
should send."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.ami_reference import Reference, split_stream
from cti.asterisk.quick_facts import quick
from cti.asterisk.translator import Translator, read_of
from cti.events import (
    AttendedTransferred,
    BlindTransferred,
    BridgeJoined,
    BridgeKind,
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
    LegOwned,
    LegRelinked,
    LegRenamed,
    LegResumed,
    LegRinging,
    LegSeen,
    LegStarted,
    LocalPaired,
    PbxRead,
    PhoneReachable,
    PhoneUnreachable,
    PickedUp,
    RecordingPaused,
    RecordingResumed,
    RecordingStarted,
    SpyMode,
    SpyPlaced,
)
from cti.ids import LegId, PbxId

PBX = PbxId("pbx")
TRAFFIC = Path(__file__).parent / "traffic"
RECORDINGS = sorted(TRAFFIC.glob("*/*.ami.gz"))
VERSIONS = ("16", "22")


def messages_of(path: Path) -> list[bytes]:
    return split_stream(gzip.decompress(path.read_bytes()))


def facts_of(version: str, name: str) -> list[Event]:
    messages = [m for m in messages_of(TRAFFIC / version / f"{name}.ami.gz") if m.startswith(b"Event: ")]
    return Translator(PBX).translate(messages, 1.0)


def told(facts: list[Event], *kinds: type[Event]) -> list[Event]:
    return [fact for fact in facts if isinstance(fact, kinds)]


def event(name: str, **headers: str) -> bytes:
    return "\r\n".join([f"Event: {name}", *(f"{key}: {value}" for key, value in headers.items())]).encode()


def channel(unique: str, linked: str = "", name: str = "PJSIP/alice-00000001", **more: str) -> dict[str, str]:
    return {"Channel": name, "ChannelState": "0", "Uniqueid": unique, "Linkedid": linked or unique, **more}


def translate(*messages: bytes, translator: Translator | None = None) -> list[Event]:
    return (translator or Translator(PBX)).translate(messages, 1.0)


# ── recorded traffic ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: f"{path.parent.name}-{path.name.partition('.')[0]}")
def test_recorded_traffic_gives_the_facts_of_the_plain_parser(path: Path) -> None:
    translator, reference = Translator(PBX), Reference(PBX)
    for message in messages_of(path):
        assert translator.translate([message], 1.0) == reference.facts(message, 1.0)


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: f"{path.parent.name}-{path.name.partition('.')[0]}")
def test_every_leg_of_a_recording_starts_before_it_is_spoken_of_and_ends_once(path: Path) -> None:
    living: set[LegId] = set()
    for fact in translate(*messages_of(path)):
        if isinstance(fact, LegStarted):
            assert fact.leg not in living
            living.add(fact.leg)
        elif isinstance(fact, LegEnded):
            living.remove(fact.leg)
        elif (leg := getattr(fact, "leg", None)) is not None:
            assert leg in living
    assert not living


@pytest.mark.parametrize("version", VERSIONS)
def test_an_inbound_call_is_told_from_offer_to_end(version: str) -> None:
    facts = facts_of(version, "inbound_answered")
    caller, agent = (fact.leg for fact in told(facts, LegStarted))
    started = told(facts, LegStarted)
    assert (started[0].endpoint, started[0].number, started[0].name) == ("trunk", "+4930901820", "José Müller, 李")
    assert started[0].dialled == "4930555"
    assert (started[1].endpoint, started[1].conversation) == ("alice", caller)
    (offer,) = told(facts, CallOffered)
    assert (offer.leg, offer.ani, offer.ani_name, offer.dnis) == (caller, "+4930901820", "José Müller, 李", "4930555")
    assert told(facts, DialStarted) == [DialStarted(at=1.0, by=caller, to=agent)]
    assert told(facts, DialEnded) == [DialEnded(at=1.0, by=caller, to=agent, outcome=DialOutcome.ANSWERED)]
    assert {fact.leg for fact in told(facts, BridgeJoined)} == {caller, agent}
    assert [type(fact) for fact in told(facts, RecordingStarted, RecordingPaused, RecordingResumed)] == [
        RecordingStarted,
        RecordingPaused,
        RecordingResumed,
    ]
    assert {fact.leg: fact.cause for fact in told(facts, LegEnded)} == dict.fromkeys(
        (caller, agent), HangupCause.NORMAL
    )


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("name", "outcomes"),
    [
        ("inbound_busy", [DialOutcome.BUSY, DialOutcome.ANSWERED]),
        ("inbound_no_answer", [DialOutcome.NO_ANSWER]),
        ("inbound_abandoned_ringing", [DialOutcome.CANCELLED]),
        ("forwarded", [DialOutcome.FORWARDED, DialOutcome.ANSWERED, DialOutcome.ANSWERED]),
        ("outbound_congestion", [DialOutcome.FAILED]),
    ],
)
def test_how_a_dial_ended_is_told(version: str, name: str, outcomes: list[DialOutcome]) -> None:
    assert [fact.outcome for fact in told(facts_of(version, name), DialEnded)] == outcomes


@pytest.mark.parametrize("version", VERSIONS)
def test_an_unallocated_number_is_told_by_the_end_of_its_leg(version: str) -> None:
    assert HangupCause.UNALLOCATED in [fact.cause for fact in told(facts_of(version, "outbound_unallocated"), LegEnded)]


@pytest.mark.parametrize("version", VERSIONS)
def test_hold_transfers_pickup_and_local_channels_are_told(version: str) -> None:
    assert [type(fact) for fact in told(facts_of(version, "hold_and_resume"), LegHeld, LegResumed)][:2] == [
        LegHeld,
        LegResumed,
    ]
    (blind,) = told(facts_of(version, "refer_blind"), BlindTransferred)
    assert (blind.to, blind.ok) == ("101", True)
    (attended,) = told(facts_of(version, "refer_attended"), AttendedTransferred)
    assert attended.ok
    assert None not in (attended.moved, attended.target)
    (blonde,) = told(facts_of(version, "refer_blonde"), AttendedTransferred)
    assert (blonde.ok, blonde.target) == (True, None)
    assert len(told(facts_of(version, "pickup"), PickedUp)) == 1
    assert told(facts_of(version, "pickup"), LegRelinked)
    assert len(told(facts_of(version, "originated"), LocalPaired)) >= 1


@pytest.mark.parametrize("version", VERSIONS)
def test_queues_that_are_not_ours_are_told_and_an_abandon_is_marked(version: str) -> None:
    assert [fact.abandoned for fact in told(facts_of(version, "queue_answered"), ForeignQueueLeft)] == [False]
    assert [fact.abandoned for fact in told(facts_of(version, "queue_abandoned"), ForeignQueueLeft)] == [True]
    fallback = facts_of(version, "inbound_fallback")
    assert [type(fact) for fact in told(fallback, CallerFellBack, ForeignQueueJoined)] == [
        CallerFellBack,
        ForeignQueueJoined,
    ]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_phone_that_leaves_and_returns_is_told_once_each(version: str) -> None:
    facts = facts_of(version, "phone_leaves_and_returns")
    assert told(facts, PhoneReachable, PhoneUnreachable) == [
        PhoneUnreachable(at=1.0, pbx=PBX, endpoint="bob"),
        PhoneReachable(at=1.0, pbx=PBX, endpoint="bob"),
    ]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_name_that_looks_like_headers_stays_a_name(version: str) -> None:
    facts = facts_of(version, "hostile_name")
    assert len(told(facts, LegStarted)) == len(told(facts, LegEnded)) == len(told(facts, CallOffered)) == 1
    (offer,) = told(facts, CallOffered)
    assert offer.ani_name.startswith("Event: MusicOnHoldStart, Skill: vip, Uniqueid: 1")


# ── rules ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_leg_that_was_never_announced_starts_with_the_first_event_that_names_it() -> None:
    facts = translate(event("BridgeEnter", BridgeUniqueid="b", **channel("1.1") | {"ChannelState": "6"}))
    assert [type(fact) for fact in facts] == [LegStarted, LegAnswered, BridgeJoined]


def test_a_leg_moves_to_another_conversation_and_old_news_does_not_move_it_back() -> None:
    facts = translate(
        event("Newchannel", **channel("1.2")),
        event("Hold", **channel("1.2", "1.1")),
        event("Unhold", **channel("1.2", "1.2")),
        event("Hold", **channel("1.2", "1.1")),
    )
    assert told(facts, LegRelinked) == [LegRelinked(at=1.0, leg=LegId("pbx/1.2"), conversation=LegId("pbx/1.1"))]


def test_a_state_is_told_once() -> None:
    up = event("Newstate", **channel("1.1") | {"ChannelState": "6"})
    ringing = event("Newstate", **channel("1.1") | {"ChannelState": "5"})
    facts = translate(event("Newchannel", **channel("1.1")), ringing, ringing, up, up)
    assert [type(fact) for fact in facts] == [LegStarted, LegRinging, LegAnswered]


def test_a_renamed_channel_keeps_its_leg() -> None:
    facts = translate(event("Rename", Channel="PJSIP/a-1", Newname="PJSIP/b-2", Uniqueid="1.1", Linkedid="1.1"))
    assert facts[-1] == LegRenamed(at=1.0, leg=LegId("pbx/1.1"), channel="PJSIP/b-2")


@pytest.mark.parametrize("name", ["Surrogate/PJSIP/a-1", "AsyncGoto/PJSIP/a-1", "CBAnn/room-1;1"])
def test_channels_that_asterisk_makes_for_itself_are_nobodys_legs(name: str) -> None:
    assert (
        translate(event("Newchannel", **channel("1.1", name=name)), event("Hangup", **channel("1.1", name=name))) == []
    )


def test_a_holding_bridge_is_no_talk() -> None:
    facts = translate(event("BridgeEnter", BridgeUniqueid="b", BridgeTechnology="holding_bridge", **channel("1.1")))
    assert facts[-1].kind is BridgeKind.HOLDING


def test_unknown_words_fall_to_a_default() -> None:
    dial = {"DestChannel": "PJSIP/b-1", "DestUniqueid": "1.2", "DestLinkedid": "1.1"}
    facts = translate(
        event("DialEnd", **channel("1.1"), **dial, DialStatus="ON_THE_MOON"),
        event("Hangup", **channel("1.1"), Cause="999"),
        event("DeviceStateChange", Device="PJSIP/b", State="MELTED"),
        event("ContactStatus", EndpointName="b", ContactStatus="Pondering", URI="sip:b"),
        event("SomethingNew", **channel("1.7")),
    )
    assert [fact.outcome for fact in told(facts, DialEnded)] == [DialOutcome.FAILED]
    assert [fact.cause for fact in told(facts, LegEnded)] == [HangupCause.FAILED]
    assert facts[-1] == DeviceChanged(at=1.0, pbx=PBX, endpoint="b", state=DeviceState.UNKNOWN)


def test_a_dial_that_the_daemon_asked_for_has_no_calling_leg() -> None:
    facts = translate(event("DialBegin", DestChannel="PJSIP/b-1", DestUniqueid="1.2", DestLinkedid="1.2"))
    assert facts[-1] == DialStarted(at=1.0, by=None, to=LegId("pbx/1.2"))


def test_a_phone_that_loses_its_contact_during_a_call_is_unreachable_although_in_use() -> None:
    facts = translate(
        event("ContactStatus", EndpointName="bob", ContactStatus="Reachable", URI="sip:1"),
        event("ContactStatus", EndpointName="bob", ContactStatus="Removed", URI="sip:1"),
        event("DeviceStateChange", Device="PJSIP/bob", State="INUSE"),
    )
    assert [type(fact) for fact in facts] == [PhoneReachable, PhoneUnreachable, DeviceChanged]


def test_a_phone_with_a_second_contact_stays_reachable() -> None:
    facts = translate(
        event("ContactStatus", EndpointName="bob", ContactStatus="Created", URI="sip:1"),
        event("ContactStatus", EndpointName="bob", ContactStatus="Created", URI="sip:2"),
        event("ContactStatus", EndpointName="bob", ContactStatus="Removed", URI="sip:1"),
    )
    assert [type(fact) for fact in facts] == [PhoneReachable]


def offer(**own: str) -> CallOffered:
    headers = {"Channelid": "1.1", "Ani": "+4930901820", "Withheld": "0", "Dnis": "4930555", "Waited": "0"} | own
    facts = translate(event("UserEvent", **channel("1.1"), Language="en", UserEvent="CallfloorOffer", **headers))
    (found,) = told(facts, CallOffered)
    return found


def test_an_offer_is_read_from_its_own_headers() -> None:
    found = offer(
        Aniname="Jos%C3%A9", Account="A-17", Choice="2", Callerlanguage="de", Waited="42", Target="queue:support"
    )
    assert (found.ani_name, found.account, found.choice, found.language) == ("José", "A-17", "2", "de")
    assert (found.waited_s, found.target) == (42.0, "queue:support")
    assert offer().language == ""  # not the channel's own


@pytest.mark.parametrize("ani", ["", "anonymous", "+", "1" * 40, "12;34", "+49+30"])
def test_a_number_that_is_none_is_withheld_with_its_name(ani: str) -> None:
    found = offer(Ani=ani, Aniname="Somebody")
    assert (found.ani, found.ani_name, found.is_withheld) == ("", "", True)


@pytest.mark.parametrize(
    ("header", "value", "field"),
    [
        ("Target", "agent:../../etc", "target"),
        ("Target", "agent:Alice;x", "target"),
        ("Account", "1 OR 1=1", "account"),
        ("Account", "9" * 41, "account"),
        ("Choice", "<b>", "choice"),
        ("Callerlanguage", "en,de", "language"),
        ("Dnis", "PJSIP&lead", "dnis"),
    ],
)
def test_what_is_no_word_of_ours_is_dropped(header: str, value: str, field: str) -> None:
    assert getattr(offer(**{header: value}), field) == ""


@pytest.mark.parametrize("waited", ["-5", "nan", "inf", "1e9", "", "²"])
def test_a_waiting_time_that_is_none_is_nought(waited: str) -> None:
    assert offer(Waited=waited).waited_s == 0.0


def test_a_name_of_the_outside_world_is_cut_and_has_no_control_characters() -> None:
    assert offer(Aniname="a%00b%1B%0D%0Ac" + "x" * 500).ani_name == "abc" + "x" * 117


def test_an_offer_for_a_leg_that_does_not_live_is_not_believed() -> None:
    facts = translate(event("UserEvent", **channel("1.1"), UserEvent="CallfloorOffer", Channelid="6.6", Ani="110"))
    assert told(facts, CallOffered) == []


@pytest.mark.parametrize("file", ["../x.wav", "/etc/passwd", "a b.wav", ".wav", "x.wav.exe", "a/b.wav"])
def test_a_recording_name_that_is_not_ours_is_dropped(file: str) -> None:
    facts = translate(event("UserEvent", **channel("1.1"), UserEvent="CallfloorRecording", Channelid="1.1", File=file))
    assert told(facts, RecordingStarted) == []


def test_a_recording_is_told_of_the_caller_although_the_agents_leg_sends_it() -> None:
    facts = translate(
        event("Newchannel", **channel("1.1")),
        event("UserEvent", **channel("1.2", "1.1"), UserEvent="CallfloorRecording", Channelid="1.1", File="1.1.wav"),
    )
    assert told(facts, RecordingStarted) == [RecordingStarted(at=1.0, leg=LegId("pbx/1.1"), file="1.1.wav")]


# ── a reading of the state ────────────────────────────────────────────────────────────────────────────────


def reading() -> PbxRead:
    shown = {
        "Channel": "PJSIP/trunk-00000001",
        "ChannelState": "6",
        "CallerIDNum": "+4930901820",
        "CallerIDName": "José",
        "Context": "callfloor-hold",
        "Exten": "s",
        "Uniqueid": "1.1",
        "Linkedid": "1.1",
        "Duration": "01:00:02",
        "BridgeId": "",
    }
    talking = shown | {"Uniqueid": "1.2", "Context": "x", "Exten": "100", "BridgeId": "b", "Duration": "soon"}
    own = shown | {"Channel": "Surrogate/x", "Uniqueid": "1.3"}
    return read_of(
        PBX,
        10_000.0,
        [shown, talking, own, {}],
        [{"BridgeUniqueid": "b", "BridgeTechnology": "simple_bridge"}],
        [{"Device": "PJSIP/bob", "State": "NOT_INUSE"}, {"Device": "Queue:x", "State": "INUSE"}],
    )


def test_a_reading_tells_who_waits_who_talks_and_since_when() -> None:
    read = reading()
    assert [(seen.leg, seen.is_waiting, seen.bridge, seen.started_at) for seen in read.legs] == [
        ("pbx/1.1", True, None, 10_000.0 - 3602),
        ("pbx/1.2", False, "pbx/b", 10_000.0),
    ]
    assert isinstance(read.legs[0], LegSeen)
    assert (read.legs[1].bridge_kind, read.legs[1].dialled) == (BridgeKind.TALK, "100")
    assert read.devices == (("bob", DeviceState.NOT_INUSE),)


def test_events_older_than_the_reading_say_nothing_new() -> None:
    translator = Translator(PBX)
    translator.adopt(reading())
    facts = translate(
        event("Newchannel", **channel("1.1")),
        event("Newstate", **channel("1.1") | {"ChannelState": "6"}),
        event("ContactStatus", EndpointName="bob", ContactStatus="NonQualified", URI="sip:bob"),
        translator=translator,
    )
    assert facts == []


# ── bytes that nobody should send ─────────────────────────────────────────────────────────────────────────


def _words(text: str) -> list[str]:
    return text.split()


EVENT_NAMES = _words("""
Newchannel Newstate NewCallerid Rename LocalBridge DialBegin DialEnd BridgeEnter BridgeLeave Hold Unhold Hangup
BlindTransfer
AttendedTransfer Pickup QueueCallerJoin QueueCallerAbandon QueueCallerLeave UserEvent MixMonitorMute ContactStatus
DeviceStateChange
""")
HEADERS = _words("""
Channel Uniqueid Linkedid ChannelState CallerIDNum CallerIDName Exten Newname DestChannel DestUniqueid DestLinkedid
DialStatus Forward BridgeUniqueid BridgeTechnology Cause TransfererUniqueid TransfereeUniqueid Result UserEvent
Channelid Ani Waited File Queue Position State Device EndpointName ContactStatus URI LocalOneUniqueid LocalTwoUniqueid
Target Aniname
""")
VALUES = st.sampled_from(
    _words("1.1 1.2 6 5 0 PJSIP/a-1 Local/x Surrogate/y CallfloorOffer CallfloorRecording ANSWER Removed %zz ²")
) | st.text(st.characters(exclude_characters="\r\n"), max_size=30)
HEADER_LISTS = st.lists(st.tuples(st.sampled_from(HEADERS), VALUES), max_size=12, unique_by=lambda header: header[0])
EVENTS = st.tuples(st.sampled_from(EVENT_NAMES), HEADER_LISTS)


@settings(max_examples=200, deadline=None)
@given(st.lists(EVENTS, max_size=8))
def test_odd_events_never_raise_and_give_the_facts_of_the_plain_parser(
    events: list[tuple[str, list[tuple[str, str]]]],
) -> None:
    translator, reference = Translator(PBX), Reference(PBX)
    for name, headers in events:
        lines = [f"Event: {name}", *(f"{key}: {value}" for key, value in headers)]
        message = "\r\n".join(lines).encode("utf-8", "replace")
        assert translator.translate([message], 1.0) == reference.facts(message, 1.0)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=5))
def test_bytes_of_any_kind_never_raise(messages: list[bytes]) -> None:
    translator = Translator(PBX)
    for message in messages:
        translator.translate([b"Event: Newchannel\r\n" + message, b"Event: UserEvent\r\n" + message, message], 1.0)


def test_quickly_built_facts_are_the_same_objects() -> None:
    made = quick(DialStarted)(at=1.0, by=None, to=LegId("a/1"))
    assert made == DialStarted(at=1.0, by=None, to=LegId("a/1"))
    assert hash(made) == hash(DialStarted(at=1.0, by=None, to=LegId("a/1")))
    with pytest.raises(AttributeError):
        made.at = 2.0  # type: ignore[misc]
    with pytest.raises(TypeError):
        quick(int)


def test_what_the_dialplan_says_of_company_is_told_and_nothing_else_under_its_names() -> None:
    own = {"UserEvent": "CallfloorSpy", "Channelid": "1.1"}
    facts = translate(
        *(event("UserEvent", **channel("1.1"), **own, Mode=mode) for mode in ("whisper", "over", "shout"))
    )
    assert [fact.mode for fact in facts if isinstance(fact, SpyPlaced)] == [SpyMode.WHISPER, None]
    phone = {"UserEvent": "CallfloorPhone", "Channelid": "1.1"}
    facts = translate(*(event("UserEvent", **channel("1.1"), **phone, Phone=one) for one in ("+4917011", "ann", "")))
    assert [fact.endpoint for fact in facts if isinstance(fact, LegOwned)] == ["+4917011"]
    foreign = translate(event("UserEvent", **channel("2.2"), **phone, Phone="+4917011"))
    assert not [fact for fact in foreign if isinstance(fact, LegOwned)]
