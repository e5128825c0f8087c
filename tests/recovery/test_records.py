"""What Asterisk's own records say of calls, read from lines of real ones."""

from __future__ import annotations

import random

import pytest

from cti import events as e
from cti.asterisk.cel import CelTranslator, at_of_cel, rang_out_of
from cti.asterisk.local_pbx import CEL_COLUMNS
from cti.ids import LegId
from tests.recovery.records import PBX, VERSIONS, cel, queue_log, told


@pytest.mark.parametrize("version", VERSIONS)
def test_five_callers_of_the_fall_back_are_told_as_the_live_link_would_have(version: int) -> None:
    calls = {call.ani: call for call in told(cel(version), queue_log(version))}
    assert {ani: (call.queue, call.outcome, call.agent) for ani, call in calls.items()} == {
        "4930901999": ("sales", "answered", "ann"),
        "": ("sales", "short_abandoned", ""),
        "+8613800138000": ("support", "fell_back", ""),
        "4930901777": ("support", "fell_back", ""),
        "4930901555": ("sales", "answered", "ann"),
    }
    ada = calls["4930901999"]
    assert (ada.direction, ada.dnis, ada.ani_name, ada.was_offered) == ("inbound", "4001", 'Ada \\"Q\\", L', True)
    assert ada.talk_s == pytest.approx(2.0, abs=0.1)
    assert ada.queued_at is not None
    assert ada.answered_at is not None
    assert 3 < ada.answered_at - ada.queued_at < 4
    assert calls["+8613800138000"].ani_name == "李伟"
    assert calls[""].is_withheld
    assert calls[""].legs[0].number == ""


@pytest.mark.parametrize("version", VERSIONS)
def test_a_ring_that_nobody_answered_differs_from_one_whose_caller_left_by_the_queues_own_book(version: int) -> None:
    def of_bob(calls: list[e.CallRecorded]) -> list[str]:
        return [leg.outcome for call in calls for leg in call.legs if leg.agent == "bob"]

    assert of_bob(told(cel(version), queue_log(version))) == ["cancelled", "no_answer"]
    assert of_bob(told(cel(version), [])) == ["cancelled", "cancelled"]


def test_reading_may_begin_anywhere_and_then_tells_only_calls_whose_beginning_it_saw() -> None:
    lines = cel(22)
    every = told(lines, [])
    for begin in range(len(lines)):
        for call in told(lines[begin:], []):
            assert call in every


def record(**values: str) -> bytes:
    """One line of ours."""
    row = dict.fromkeys(CEL_COLUMNS, "") | {"eventtime": "1795329000.5", "uniqueid": "1.1", "linkedid": "1.1"}
    return (",".join('"' + (row | values)[name].replace('"', '""') + '"' for name in CEL_COLUMNS) + "\n").encode()


def test_whatever_the_bytes_nothing_raises_and_nothing_of_the_callers_becomes_more_than_text() -> None:
    translator = CelTranslator(PBX)
    rng = random.Random(5)
    lines = cel(22)
    for line in lines:
        for _ in range(5):
            broken = bytearray(line)
            for _ in range(rng.randrange(1, 6)):
                broken[rng.randrange(len(broken))] = rng.randrange(256)
            translator.facts(bytes(broken[: rng.randrange(1, len(broken) + 1)]))
            at_of_cel(bytes(broken))
            rang_out_of(PBX, bytes(broken))
    for extra in ("[]", "null", "{", "[" * 100_000, '{"extra":7}', '{"bridge_id":{}}'):
        for kind in ("BRIDGE_ENTER", "HANGUP", "CallfloorOffer", "CallfloorRecording", "ATTENDEDTRANSFER", "PICKUP"):
            translator = CelTranslator(PBX)
            translator.facts(record(eventtype="CHAN_START", channame="PJSIP/x-1"))
            translator.facts(record(eventtype=kind, eventextra=extra))
    assert translator.facts(record(eventtype="CHAN_START", uniqueid="../../etc", channame="PJSIP/x-1")) == []
    assert translator.facts(record(eventtype="CHAN_START", uniqueid="1.2", eventtime="nan")) == []
    offer = '{"extra":"Ani=0800;rm&Aniname=%0d%0aAction:%20x&Withheld=0&Dnis=40${X}01&Target=agent:../x&Waited=1e9"}'
    (fact,) = translator.facts(record(eventtype="CallfloorOffer", eventextra=offer))
    assert isinstance(fact, e.CallOffered)
    assert (fact.ani, fact.is_withheld, fact.ani_name, fact.dnis, fact.target, fact.waited_s) == (
        "",
        True,
        "",
        "4001",
        "",
        0.0,
    )
    recording = '{"extra":"Channelid=9.9&File=../../etc/passwd.wav"}'
    assert translator.facts(record(eventtype="CallfloorRecording", eventextra=recording)) == []


def test_a_recording_and_a_transfer_by_a_phone_are_found_in_the_records() -> None:
    translator = CelTranslator(PBX)
    for unique in ("1.1", "1.2", "1.3"):
        translator.facts(record(eventtype="CHAN_START", uniqueid=unique, linkedid="1.1", channame=f"PJSIP/x-{unique}"))
    own = '{"extra":"Channelid=1.1&File=1.1.wav"}'
    (tape,) = translator.facts(record(eventtype="CallfloorRecording", uniqueid="1.2", eventextra=own))
    assert tape == e.RecordingStarted(at=1795329000.5, leg=told_leg("1.1"), file="1.1.wav")
    extra = '{"extension":"4002","context":"x","bridge_id":"b","transferee_channel_uniqueid":"1.1"}'
    (blind,) = translator.facts(record(eventtype="BLINDTRANSFER", uniqueid="1.2", eventextra=extra))
    assert blind == e.BlindTransferred(at=1795329000.5, by=told_leg("1.2"), moved=told_leg("1.1"), to="4002", ok=True)
    extra = '{"channel2_uniqueid":"1.3","transferee_channel_uniqueid":"1.1","transfer_target_channel_uniqueid":"N/A"}'
    (attended,) = translator.facts(record(eventtype="ATTENDEDTRANSFER", uniqueid="1.2", eventextra=extra))
    assert attended == e.AttendedTransferred(
        at=1795329000.5, by=told_leg("1.2"), by_second=told_leg("1.3"), moved=told_leg("1.1"), target=None, ok=True
    )


def told_leg(unique: str) -> LegId:
    return LegId(f"{PBX}/{unique}")
