"""What happened is on disk before anything is done with it, and comes back as it was."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cti import codec, events, journal
from cti.events import AgentChosen, CallOffered, DeviceState, LegSeen, Passed, PbxRead, PlanChanged
from cti.ids import AgentId, BridgeId, InteractionId, LegId, PbxId, QueueId
from cti.journal import START, Journal, JournalBroken, Position
from tests.core.plans import small_plan


def offered(name: str, at: float = 1.0) -> CallOffered:
    return CallOffered(
        at=at,
        leg=LegId("pbx1/1.1"),
        ani="+8613800138000",
        ani_name=name,
        is_withheld=False,
        dnis="4001",
        account="",
        choice="",
        language="zh",
        waited_s=0.0,
        target="",
    )


EVERY_KIND = [
    offered("José 李伟"),
    PlanChanged(at=2.0, plan=small_plan()),
    PbxRead(
        at=3.0,
        pbx=PbxId("pbx1"),
        legs=(
            LegSeen(
                leg=LegId("pbx1/1.1"),
                conversation=LegId("pbx1/1.1"),
                channel="PJSIP/trunk-1",
                tech="PJSIP",
                endpoint="trunk",
                number="1",
                name="n",
                dialled="4001",
                is_up=True,
                is_ringing=False,
                started_at=1.5,
                bridge=BridgeId("pbx1/b"),
                bridge_kind=events.BridgeKind.TALK,
                is_waiting=False,
            ),
        ),
        devices=(("agent1", DeviceState.NOT_INUSE),),
    ),
    AgentChosen(
        at=4.0,
        interaction=InteractionId("pbx1-1.1"),
        queue=QueueId("sales"),
        agent=None,
        rule="longest_idle",
        passed=(Passed(AgentId("li"), "not_ready", "lunch"),),
    ),
]


def test_every_fact_reads_back_equal_to_what_was_written(tmp_path: Path) -> None:
    written = Journal(tmp_path)
    written.open()
    written.append(EVERY_KIND)
    written.close()
    assert [event for _, event in journal.read(tmp_path)] == EVERY_KIND


@given(name=st.text(st.characters(exclude_categories=()), max_size=200))
def test_no_caller_name_breaks_a_line_of_the_journal(name: str) -> None:
    lines = journal.encode_lines([offered(name), offered("next")])
    assert lines.count(b"\n") == 2


def test_reading_goes_on_from_a_position(tmp_path: Path) -> None:
    written = Journal(tmp_path)
    written.open()
    written.append([offered("a")])
    middle = written.position
    written.append([offered("b"), offered("c")])
    written.close()
    assert [event.ani_name for _, event in journal.read(tmp_path, middle)] == ["b", "c"]  # type: ignore[attr-defined]


def test_a_line_torn_by_a_power_cut_is_passed_over_and_the_next_start_writes_on(tmp_path: Path) -> None:
    written = Journal(tmp_path)
    written.open()
    written.append([offered("kept"), offered("torn")])
    written.close()
    segment = tmp_path / "00000001.journal"
    os.truncate(segment, segment.stat().st_size - 7)
    again = Journal(tmp_path)
    again.open()
    again.append([offered("later")])
    again.close()
    assert [event.ani_name for _, event in journal.read(tmp_path)] == ["kept", "later"]  # type: ignore[attr-defined]


def test_a_line_whose_bytes_changed_on_disk_is_passed_over(tmp_path: Path) -> None:
    written = Journal(tmp_path)
    written.open()
    written.append([offered("first"), offered("second")])
    written.close()
    segment = tmp_path / "00000001.journal"
    segment.write_bytes(segment.read_bytes().replace(b"first", b"fIrst"))
    assert [event.ani_name for _, event in journal.read(tmp_path)] == ["second"]  # type: ignore[attr-defined]


def test_a_new_segment_begins_with_the_preface(tmp_path: Path) -> None:
    written = Journal(tmp_path, preface=lambda: [PlanChanged(at=0.0, plan=small_plan())], segment_bytes=2000)
    written.open()
    for number in range(20):
        written.append([offered(f"caller {number}")])
    written.close()
    segments = journal.segments_of(tmp_path)
    assert len(segments) > 1
    for segment in segments:
        _, first = next(iter(journal.read(tmp_path, Position(segment, 0))))
        assert isinstance(first, PlanChanged)
    names = [event.ani_name for _, event in journal.read(tmp_path, START) if isinstance(event, CallOffered)]
    assert names == [f"caller {number}" for number in range(20)]


def test_a_disk_that_takes_nothing_is_said_plainly(tmp_path: Path) -> None:
    written = Journal(tmp_path)
    written.open()
    os.close(written._file)
    written._file = os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(JournalBroken, match="No space left"):
        written.append([offered("x")])


def test_facts_reach_the_disk_itself_in_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reached: list[int] = []
    is_through = threading.Event()

    def fdatasync(file: int) -> None:
        reached.append(os.fstat(file).st_size)
        if reached[-1] == written.position.offset:
            is_through.set()

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    written = Journal(tmp_path)
    written.open()
    for number in range(50):
        written.append([offered(str(number))])
        written.sync_soon()
    assert is_through.wait(15)
    assert len(reached) < 50
    for number in range(50, 53):
        is_through.clear()
        written.append([offered(str(number))])
        written.sync_soon()
        assert is_through.wait(15)
    written.close()


def test_a_fact_of_an_older_version_is_filled_from_defaults_and_one_of_an_unknown_class_refused() -> None:
    line = codec.encode(offered("x"))
    assert codec.decode(line.replace(b'"dnis"', b'"gone":1,"dnis"')) == offered("x")
    with pytest.raises(codec.UnknownFact):
        codec.decode(b'["NeverHeardOf",{"at":1}]')
    with pytest.raises(codec.UnknownFact):
        codec.decode(b'["CallOffered",{"at":"yesterday"}]')
